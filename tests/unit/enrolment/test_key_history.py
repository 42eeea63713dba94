"""Whose key it is: identities, renewed certificates, and what an order says it replaces."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from gateway.enrolment.issued import IssuedCertificates
from gateway.enrolment.key_history import known_to_others
from gateway.model.certificate import CertificateRecord, RevocationReason
from gateway.model.evidence import ACME_ACCOUNT, BASIC, MTLS, CredentialKind, Evidence, VerifiedCredential
from gateway.model.names import DistinguishedName
from gateway.model.outcome import Issued, Outcome, Refused
from gateway.model.reasons import ReasonCode
from gateway.pki.keys import public_key
from gateway.policy.facts import PreviousCertificate
from gateway.store import certificates
from gateway.store.statement import driver_of
from tests.support import pki
from tests.unit.enrolment.orders import OrderHouse, presented
from tests.unit.policy.sample import previous
from tests.unit.store.samples import certificate_record


def _by(identity: str, kind: CredentialKind = BASIC) -> Evidence:
    return Evidence((VerifiedCredential(kind, identity, identity),))


def _record(identity: str, subject: str = "", **more: Any) -> CertificateRecord:
    return certificate_record(identity=identity, subject=subject, **more)


def _previous(cn: str = "") -> PreviousCertificate:
    made = previous(cn=cn or "x")
    return made if cn else replace(made, subject=DistinguishedName())


def test_key_of_one_s_own_identity_is_known_to_nobody_else() -> None:
    assert not known_to_others((), _by("basic:1"), None, None)
    assert not known_to_others((_record("basic:1"),), _by("basic:1"), None, None)
    assert known_to_others((_record("basic:1"), _record("basic:2")), _by("basic:1"), None, None)


def test_subject_of_the_renewed_certificate_counts_as_the_same_unless_it_is_empty() -> None:
    """acme.md C96: certificates for addresses alone have no subject, whoever they are for."""
    by = _by("cert:2", MTLS)
    assert not known_to_others((_record("basic:1", "CN=device 1"),), by, _previous("device 1"), None)
    assert known_to_others((_record("basic:1", "CN=device 2"),), by, _previous("device 1"), None)
    assert known_to_others((_record("basic:1", ""),), by, _previous(), None)
    assert known_to_others((_record("basic:1", ""),), by, None, None)


def test_certificate_without_subject_is_renewed_again_and_again_with_its_key() -> None:
    first = _record("basic:1")
    second = _record("cert:1/", predecessor_sha256=first.sha256)
    third = _record("cert:1/", predecessor_sha256=second.sha256)
    by = _by("cert:1/", MTLS)
    assert not known_to_others((first,), by, _previous(), first)
    assert not known_to_others((third, second, first), by, _previous(), third)
    assert known_to_others((third, second, first, _record("basic:2")), by, _previous(), third)


def test_line_of_predecessors_that_leads_back_to_itself_ends() -> None:
    first = _record("basic:1")
    second = _record("basic:2", predecessor_sha256=first.sha256)
    first = replace(first, predecessor_sha256=second.sha256)
    assert not known_to_others((first, second), _by("cert:1/", MTLS), _previous(), first)


def test_accounts_are_told_apart_by_identity_alone() -> None:
    """acme.md C96."""
    other = _record("acme:2", "CN=a.test")
    by = _by("acme:1", ACME_ACCOUNT)
    assert known_to_others((other,), by, _previous("a.test"), other)
    assert known_to_others((_record("basic:1", "CN=a.test"),), by, _previous("a.test"), None)
    assert not known_to_others((_record("acme:1", "CN=b.test"),), by, None, None)


@pytest.mark.parametrize("cn", ["a.test", None], ids=["subject", "no subject"])
async def test_order_that_replaces_a_certificate_brings_no_key_of_another_account(
    order_house: OrderHouse, cn: str | None
) -> None:
    """acme.md C96: the same subject, or none, says nothing of whose key it is."""
    key, own = pki.key(), pki.key()
    assert isinstance(await _ordered(order_house, "o1", "account-a", key, cn=cn), Issued)
    issued = await _ordered(order_house, "o2", "account-b", own, cn=cn)
    assert isinstance(issued, Issued)
    again = await _ordered(order_house, "o3", "account-b", key, cn=cn, renews_der=issued.certificate_der)
    assert isinstance(again, Refused)
    assert [reason.code for reason in again.reasons] == [ReasonCode.KEY_REUSE]
    renewed = await _ordered(order_house, "o4", "account-b", own, cn=cn, renews_der=issued.certificate_der)
    assert isinstance(renewed, Issued)
    row = await order_house.row(renewed.request_id)
    first = await order_house.row(issued.request_id)
    assert row.renews_sha256 == first.certificate_sha256, "the record still names the predecessor"


async def _ordered(
    house: OrderHouse, order_id: str, account_id: str, key: Any, *, cn: str | None, **more: Any
) -> Outcome:
    """An order for a DNS name, or for one too long to be a CN, which leaves the subject empty."""
    name = cn or f"{'x' * 60}.{'y' * 20}.test"
    account = presented(house.clock.now(), name, account_id=account_id)
    order = house.order(
        order_id, name, endpoint="acme-own-keys", private_key=key, account=account, with_cn=cn is not None
    )
    return await house.submit(replace(order, **more))


# -- keys that are certified --


async def test_key_is_certified_while_a_certificate_of_it_is_good(order_house: OrderHouse) -> None:
    """acme.md E10, the other way round: such a key is none for an account."""
    key = pki.key()
    spki_sha256 = public_key(pki.spki_der(key)).spki_sha256
    known = IssuedCertificates(order_house.store, order_house.clock)
    assert not await known.key_certified(spki_sha256)
    issued = await order_house.submit(order_house.order("o1", private_key=key))
    assert isinstance(issued, Issued)
    assert await known.key_certified(spki_sha256)
    row = await order_house.row(issued.request_id)
    assert row.certificate_sha256 is not None
    record = await known.by_sha256(row.certificate_sha256)
    assert record is not None
    order_house.clock.moment = record.not_after
    assert await known.key_certified(spki_sha256), "RFC 5280 section 4.1.2.5: through its last second"
    order_house.clock.advance(seconds=1)
    assert not await known.key_certified(spki_sha256)
    order_house.clock.moment = record.not_after - timedelta(days=1)
    await known.revoke(record, RevocationReason.CERTIFICATE_HOLD, "cli:anna")
    assert await known.key_certified(spki_sha256), "it may come back"
    held = await known.by_sha256(record.sha256)
    assert held is not None
    await known.revoke(held, RevocationReason.SUPERSEDED, "cli:anna")
    assert not await known.key_certified(spki_sha256)


@pytest.mark.parametrize("each_database", ["sqlite"], indirect=True)
async def test_certified_key_is_found_by_its_index(order_house: OrderHouse) -> None:
    seen: list[str] = []

    def plan(connection: Connection) -> None:
        driver = driver_of(connection)
        driver.set_trace_callback(seen.append)
        certificates.key_certified(connection, "00" * 32, order_house.clock.now())
        driver.set_trace_callback(None)
        seen.append(str(driver.execute(f"EXPLAIN QUERY PLAN {seen[-1]}").fetchall()))

    await order_house.store.reader.read(plan)
    assert "certificate_spki_sha256" in seen[-1]
