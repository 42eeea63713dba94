"""Requests that are the protocol's own transaction (ACME orders): one certificate each, whatever comes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.enrolment.approval import approve, reject
from gateway.enrolment.correlation import correlation_hash, transaction_hash
from gateway.enrolment.doubt import end_without_certificate
from gateway.enrolment.issued import IssuedCertificates
from gateway.errors import Conflict
from gateway.model.certificate import CertificateStatus, RevocationReason
from gateway.model.enrolment import Correlation
from gateway.model.outcome import Issued, Pending, Refused, State, Unavailable
from gateway.model.reasons import ReasonCode
from gateway.store import requests
from tests.support import pki
from tests.unit.enrolment.house import House
from tests.unit.enrolment.orders import ACCOUNT, ACME, OrderHouse
from tests.unit.enrolment.test_people import lost_answer


async def test_order_is_issued_and_found_again_by_its_transaction(order_house: OrderHouse) -> None:
    assert await order_house.outcome_of("o1") is None
    issued = await order_house.submit(order_house.order("o1", "a.test", "b.test"))
    assert isinstance(issued, Issued)
    assert await order_house.outcome_of("o1") == issued
    assert await order_house.outcome_of("o1", endpoint="acme-slow") is None
    row = await order_house.row(issued.request_id)
    assert (row.transaction_id, row.identity, row.identity_label) == ("o1", f"acme:{ACCOUNT}", "ops@a.test")
    page = await order_house.store.reader.read(lambda c: requests.search(c, transaction_id="o1"))
    assert [found.id for found in page.rows] == [issued.request_id]
    page = await order_house.store.reader.read(lambda c: requests.search(c, transaction_id="o2"))
    assert page.rows == ()


async def test_finalize_that_policy_refused_leaves_the_order_free_for_another(
    order_house: OrderHouse,
) -> None:
    """acme.md C87: the order stays ready."""
    refused = await order_house.submit(order_house.order("o1", "a.test", "b.test", proven=["a.test"]))
    assert isinstance(refused, Refused)
    assert [reason.code for reason in refused.reasons] == [ReasonCode.NAME_UNPROVEN]
    assert (await order_house.row(refused.request_id)).transaction_id == "o1"
    assert await order_house.outcome_of("o1") is None
    assert isinstance(await order_house.submit(order_house.order("o1")), Issued)


async def test_order_that_the_ca_refused_stays_refused(order_house: OrderHouse) -> None:
    order_house.foreign.ca.switches.refuse = "not today"
    request = order_house.order("o1", endpoint="acme-foreign")
    refused = await order_house.submit(request)
    assert isinstance(refused, Refused)
    assert [reason.code for reason in refused.reasons] == [ReasonCode.BACKEND_REFUSED]
    order_house.foreign.ca.switches.refuse = ""
    order_house.clock.advance(hours=2)
    assert await order_house.outcome_of("o1", "acme-foreign") == refused
    assert await order_house.submit(request) == refused
    assert order_house.foreign.calls.count("issue") == 1


async def test_finalizes_at_the_same_time_end_with_one_certificate(order_house: OrderHouse) -> None:
    """acme.md C89, E13: also if each of them brings a key of its own."""
    requests_ = [order_house.order("o1", private_key=pki.key()) for _ in range(20)]
    outcomes = await asyncio.gather(*(order_house.submit(request) for request in requests_))
    issued = {one.certificate_der for one in outcomes if isinstance(one, Issued)}
    assert len(issued) == 1
    assert all(isinstance(one, Issued) for one in outcomes)
    assert await order_house.issued_count() == 1


async def test_order_gives_no_second_certificate_after_the_first_was_revoked(order_house: OrderHouse) -> None:
    request = order_house.order("o1")
    issued = await order_house.submit(request)
    assert isinstance(issued, Issued)
    certificates = IssuedCertificates(order_house.store, order_house.clock)
    (record,) = await certificates.by_serial(await _serial(order_house, issued))
    await certificates.revoke(record, RevocationReason.SUPERSEDED, "acme:a")
    assert await order_house.outcome_of("o1") == issued
    assert await order_house.submit(request) == issued
    assert await order_house.issued_count() == 1


async def test_grace_of_a_request_holds_instead_of_the_endpoints(order_house: OrderHouse) -> None:
    key = pki.key()
    shorter = order_house.order("short", private_key=key, grace_s=60)
    longer = order_house.order("long", private_key=key)
    first = [await order_house.submit(request) for request in (shorter, longer)]
    order_house.clock.advance(seconds=59)
    assert [await order_house.submit(request) for request in (shorter, longer)] == first
    order_house.clock.advance(seconds=2)
    again = await order_house.submit(shorter)
    assert isinstance(again, Issued)
    assert again != first[0]
    order_house.clock.advance(days=300)
    assert await order_house.submit(longer) == first[1]


async def test_grace_begins_when_a_slow_request_is_closed(order_house: OrderHouse) -> None:
    request = order_house.order("o1", endpoint="acme-slow", grace_s=60)
    pending = await order_house.submit(request)
    order_house.clock.advance(minutes=30)
    await _approved(order_house, pending)
    row = await order_house.row(pending.request_id)
    assert row.closed_at is not None
    assert row.answers_until is not None
    assert (row.answers_until - row.closed_at).total_seconds() == 60


async def test_order_waits_for_approval_and_is_then_issued(order_house: OrderHouse) -> None:
    pending = await order_house.submit(order_house.order("o1", endpoint="acme-slow"))
    assert isinstance(pending, Pending)
    assert await order_house.outcome_of("o1", "acme-slow") == pending
    await _approved(order_house, pending)
    assert isinstance(await order_house.outcome_of("o1", "acme-slow"), Issued)


async def test_order_that_nobody_approved_in_time_is_refused_on_read(order_house: OrderHouse) -> None:
    await order_house.submit(order_house.order("o1", endpoint="acme-slow"))
    order_house.clock.advance(hours=2)
    for _ in range(2):
        refused = await order_house.outcome_of("o1", "acme-slow")
        assert isinstance(refused, Refused)
        assert [reason.code for reason in refused.reasons] == [ReasonCode.APPROVAL_EXPIRED]


async def test_order_that_a_person_rejected_stays_refused(order_house: OrderHouse) -> None:
    request = order_house.order("o1", endpoint="acme-slow")
    pending = await order_house.submit(request)
    assert isinstance(pending, Pending)
    reject(order_house.store, pending.request_id, "cli:anna", clock=order_house.clock)
    order_house.clock.advance(days=30)
    for outcome in (await order_house.submit(request), await order_house.outcome_of("o1", "acme-slow")):
        assert isinstance(outcome, Refused)
        assert [reason.code for reason in outcome.reasons] == [ReasonCode.APPROVAL_REJECTED]


async def test_order_in_doubt_is_unavailable_and_refused_once_it_was_ended(order_house: OrderHouse) -> None:
    request = order_house.order("o1", endpoint="acme-foreign")
    outcome = await lost_answer(order_house, request)
    assert isinstance(await order_house.outcome_of("o1", "acme-foreign"), Unavailable)
    assert outcome.request_id is not None
    end_without_certificate(order_house.store, outcome.request_id, "cli:anna", clock=order_house.clock)
    order_house.clock.advance(hours=1)
    assert isinstance(await order_house.outcome_of("o1", "acme-foreign"), Refused)
    assert isinstance(await order_house.submit(request), Refused)


def test_identity_and_renewed_certificate_say_nothing_about_a_transaction(house: House) -> None:
    request = house.request("a.test")
    parts = (b"order", b"1")
    own = replace(request, protocol=ACME, correlation=Correlation(parts, with_identity=False))
    wanted = transaction_hash(ACME, request.endpoint, parts)
    assert correlation_hash(own, "acme:1") == correlation_hash(own, "acme:2") == wanted
    assert correlation_hash(replace(own, renews_der=b"old"), "acme:1") == wanted
    # A request that is told apart by identity never meets a transaction, whatever its parts are.
    assert correlation_hash(replace(own, correlation=Correlation(parts)), "") != wanted
    assert transaction_hash(ACME, "other", parts) != wanted
    assert transaction_hash(ACME, request.endpoint, (b"order1", b"")) != wanted


async def test_revoked_certificate_is_not_revoked_again_and_its_key_is_known(order_house: OrderHouse) -> None:
    issued = await order_house.submit(order_house.order("o1"))
    assert isinstance(issued, Issued)
    certificates = IssuedCertificates(order_house.store, order_house.clock)
    serial_hex = await _serial(order_house, issued)
    (record,) = await certificates.by_serial(serial_hex)
    assert await certificates.by_sha256(record.sha256) == record
    assert not await certificates.key_compromised(record.spki_sha256)
    await certificates.revoke(record, RevocationReason.KEY_COMPROMISE, "acme:a")
    assert await certificates.key_compromised(record.spki_sha256)
    (revoked,) = await certificates.by_serial(serial_hex)
    assert revoked.status is CertificateStatus.REVOKED
    for stale_or_not in (record, revoked):
        with pytest.raises(Conflict):
            await certificates.revoke(stale_or_not, RevocationReason.SUPERSEDED, "acme:a")
    assert await certificates.by_serial("0") == ()
    assert {job.kind for job in await order_house.jobs()} >= {"revoke-at-ca"}


async def _approved(house: OrderHouse, pending: object) -> None:
    assert isinstance(pending, Pending)
    approve(house.store, pending.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        await house.reaches(pending.request_id, State.ISSUED)


async def _serial(house: OrderHouse, issued: Issued) -> str:
    sha256 = (await house.row(issued.request_id)).certificate_sha256
    assert sha256 is not None
    record = await IssuedCertificates(house.store, house.clock).by_sha256(sha256)
    assert record is not None
    return record.serial_hex
