"""Limits on both databases: counted in the unit that grants, exact however many come at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ca_backend.api import CaAnswer, CaRefused
from gateway.enrolment.approval import approve, reject
from gateway.enrolment.revocation import revoke
from gateway.model.certificate import CertificateStatus, RevocationReason
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State
from gateway.model.reasons import ReasonCode
from gateway.store import certificates
from gateway.store.store import Store
from tests.support import pki, policies
from tests.unit.enrolment.house import ForeignCa, House, SetClock

Open = Callable[..., AbstractContextManager[House]]
LIMITED = "limited"


def limited(*limits: policies.Document, endpoint: str = LIMITED, **parts: Any) -> list[policies.Document]:
    return [
        policies.endpoint(endpoint),
        policies.enroll_policy(endpoint, endpoint, priority=500, limits=list(limits), **parts),
    ]


def count(per: str, most: int, window: str = "1h", **more: Any) -> policies.Document:
    return {"per": per, "count": most, "window": window, **more}


def active(per: str, most: int, **more: Any) -> policies.Document:
    return {"per": per, "active": most, **more}


@pytest.fixture
def opened(each_database: str, tmp_path: Path, clock: SetClock, foreign: ForeignCa) -> Open:
    """Houses on one database: ``opened(*documents)`` as a context."""

    @contextmanager
    def open_house(*documents: policies.Document) -> Iterator[House]:
        with Store(each_database, clock=clock) as store:
            yield House(tmp_path, store, clock, foreign, *documents)

    return open_house


async def enroll(house: House, host: str, *, endpoint: str = LIMITED, **changes: Any) -> Outcome:
    return await house.submit(house.request(host, endpoint=endpoint, **changes))


def beyond(outcome: Outcome) -> int | None:
    """The Retry-After of a refusal by a limit."""
    assert isinstance(outcome, Refused), outcome
    assert {reason.code for reason in outcome.reasons} == {ReasonCode.LIMIT_EXCEEDED}
    return outcome.retry_after_s


async def status(house: House, issued: Outcome) -> CertificateStatus | None:
    assert isinstance(issued, Issued)
    found = await house.store.reader.read(
        lambda connection: certificates.by_request(connection, issued.request_id)
    )
    assert found is not None
    return found.status


async def test_fifty_at_once_get_as_many_certificates_as_the_limit_allows(opened: Open) -> None:
    with opened(*limited(count("client", 5))) as house:
        await house.credential("device")
        requests = [house.request(f"device-{number}.test", endpoint=LIMITED) for number in range(50)]
        outcomes = await asyncio.gather(*(house.submit(request) for request in requests))
        assert sum(isinstance(outcome, Issued) for outcome in outcomes) == 5
        for outcome in outcomes:
            assert isinstance(outcome, Issued) or beyond(outcome)


async def test_two_gateways_at_once_share_the_limit(opened: Open) -> None:
    with opened(*limited(count("policy", 5))) as one, opened(*limited(count("policy", 5))) as other:
        await one.credential("device")
        requests = [one.request(f"device-{number}.test", endpoint=LIMITED) for number in range(30)]
        outcomes = await asyncio.gather(
            *((one, other)[number % 2].submit(request) for number, request in enumerate(requests))
        )
        assert sum(isinstance(outcome, Issued) for outcome in outcomes) == 5


async def test_window_slides_and_retry_after_tells_when_it_is_free(opened: Open) -> None:
    with opened(*limited(count("client", 2, "1h"))) as house:
        await house.credential("device")
        assert isinstance(await enroll(house, "a.test"), Issued)
        house.clock.advance(minutes=20)
        assert isinstance(await enroll(house, "b.test"), Issued)
        house.clock.advance(minutes=20)
        retry_after_s = beyond(await enroll(house, "c.test"))
        assert retry_after_s is not None
        assert 20 * 60 <= retry_after_s <= 21 * 60  # a window has parts of a sixtieth
        house.clock.advance(seconds=retry_after_s - 1)
        beyond(await enroll(house, "c.test"))
        house.clock.advance(seconds=1)
        assert isinstance(await enroll(house, "c.test"), Issued)
        beyond(await enroll(house, "d.test"))


async def test_refusals_and_repeats_count_nothing(opened: Open) -> None:
    with opened(*limited(count("client", 2))) as house:
        await house.credential("device")
        refused = await enroll(house, "a.elsewhere.org")
        assert isinstance(refused, Refused)
        assert refused.retry_after_s is None
        request = house.request("a.test", endpoint=LIMITED)
        repeats = await asyncio.gather(*(house.submit(request) for _ in range(5)))
        assert all(isinstance(outcome, Issued) for outcome in repeats)
        assert isinstance(await enroll(house, "b.test"), Issued)
        beyond(await enroll(house, "c.test"))


async def test_scopes_are_counted_apart(opened: Open) -> None:
    limits = [count("name", 1), count("source-ip", 3), count("registered-domain", 4)]
    with opened(*limited(*limits)) as house:
        await house.credential("device")
        assert isinstance(await enroll(house, "a.one.test"), Issued)
        beyond(await enroll(house, "a.one.test"))
        assert isinstance(await enroll(house, "b.one.test"), Issued)
        assert isinstance(await enroll(house, "c.two.test"), Issued)
        beyond(await enroll(house, "d.two.test"))
        assert isinstance(await enroll(house, "d.two.test", address="192.0.2.2"), Issued)
        assert isinstance(await enroll(house, "c.one.test", address="192.0.2.2"), Issued)
        assert isinstance(await enroll(house, "d.one.test", address="192.0.2.2"), Issued)
        refused = await enroll(house, "e.one.test", address="192.0.2.3")
        beyond(refused)
        assert isinstance(refused, Refused)
        assert "4 within 1h per registered-domain" in refused.reasons[0].message
        assert "one.test" in refused.reasons[0].message
        assert refused.reasons[0].rule == "limited.limits[2]"


async def test_refusal_is_on_record_with_the_rule_in_its_trace(opened: Open) -> None:
    with opened(*limited(count("global", 1))) as house:
        await house.credential("device")
        await enroll(house, "a.test")
        refused = await enroll(house, "b.test")
        assert isinstance(refused, Refused)
        row = await house.row(refused.request_id)
        assert row.state is State.REFUSED
        decision: Any = row.decision
        (step,) = [step for step in decision["trace"] if step["step"] == "limits"]
        assert (step["rule"], step["verdict"]) == ("limited.limits[0]", "refused")
        assert step["where"].startswith("bundle.yaml:")


async def test_what_the_ca_refuses_is_given_back(opened: Open, foreign: ForeignCa) -> None:
    parts: dict[str, Any] = {"issue": [{"backend": "foreign"}]}
    with opened(*limited(count("client", 1), active("name", 1), **parts)) as house:
        await house.credential("device")

        def refuse(answer: CaAnswer) -> CaAnswer:
            return CaRefused("no", "not this one")

        foreign.altered = refuse
        assert isinstance(await enroll(house, "a.test"), Refused)
        foreign.altered = lambda answer: answer
        assert isinstance(await enroll(house, "a.test"), Issued)
        beyond(await enroll(house, "b.test"))


async def test_request_beyond_a_pending_limit_waits_for_people(opened: Open) -> None:
    with opened(*limited(count("client", 1, on_exceed="pend"))) as house:
        await house.credential("device")
        assert isinstance(await enroll(house, "a.test"), Issued)
        first, second = await enroll(house, "b.test"), await enroll(house, "c.test")
        assert isinstance(first, Pending)
        assert isinstance(second, Pending)
        reject(house.store, second.request_id, "cli:anna", clock=house.clock)
        approve(house.store, first.request_id, "cli:anna", clock=house.clock)
        async with house.at_work():
            await house.reaches(first.request_id, State.ISSUED)


async def test_rejected_request_counts_nothing(opened: Open) -> None:
    slow: dict[str, Any] = {"approval": {"required": 1, "expires": "1h", "retry_after": "5s"}}
    with opened(*limited(count("client", 1), active("name", 1), **slow)) as house:
        await house.credential("device")
        first = await enroll(house, "a.test")
        assert isinstance(first, Pending)
        beyond(await enroll(house, "a.test"))
        reject(house.store, first.request_id, "cli:anna", clock=house.clock)
        assert isinstance(await enroll(house, "a.test"), Pending)


async def test_active_certificates_are_counted_until_they_are_revoked_or_expire(opened: Open) -> None:
    with opened(*limited(active("name", 2))) as house:
        await house.credential("device")
        first = await enroll(house, "a.test")
        assert isinstance(await enroll(house, "a.test"), Issued)
        beyond(await enroll(house, "a.test"))
        assert isinstance(await enroll(house, "b.test"), Issued)
        assert isinstance(first, Issued)
        held = await house.store.reader.read(
            lambda connection: certificates.by_request(connection, first.request_id)
        )
        assert held is not None
        await asyncio.to_thread(
            revoke, house.store, held, RevocationReason.SUPERSEDED, "cli:anna", clock=house.clock
        )
        assert isinstance(await enroll(house, "a.test"), Issued)
        beyond(await enroll(house, "a.test"))
        house.clock.moment += timedelta(days=91)
        assert isinstance(await enroll(house, "a.test"), Issued)


async def test_active_certificates_of_many_at_once_are_never_too_many(opened: Open) -> None:
    with opened(*limited(active("client", 3))) as house:
        await house.credential("device")
        outcomes = await asyncio.gather(*(enroll(house, f"device-{n}.test") for n in range(20)))
        assert sum(isinstance(outcome, Issued) for outcome in outcomes) == 3


async def test_oldest_certificate_is_revoked_for_a_new_one(opened: Open) -> None:
    with opened(*limited(active("name", 2, on_exceed="revoke-oldest"))) as house:
        await house.credential("device")
        issued = []
        for _ in range(4):
            issued.append(await enroll(house, "a.test"))
            house.clock.advance(minutes=1)
        assert [await status(house, one) for one in issued] == [
            CertificateStatus.REVOKED,
            CertificateStatus.REVOKED,
            CertificateStatus.GOOD,
            CertificateStatus.GOOD,
        ]


async def test_of_many_at_once_as_many_stay_active_as_may(opened: Open) -> None:
    with opened(*limited(active("name", 2, on_exceed="revoke-oldest"))) as house:
        await house.credential("device")
        outcomes = await asyncio.gather(*(enroll(house, "a.test") for _ in range(8)))
        found = [await status(house, one) for one in outcomes if isinstance(one, Issued)]
        assert found.count(CertificateStatus.GOOD) == 2


async def test_request_that_waits_for_people_revokes_nothing(opened: Open) -> None:
    slow: dict[str, Any] = {"approval": {"required": 1, "expires": "1h", "retry_after": "5s"}}
    rule = active("name", 1, on_exceed="revoke-oldest")
    with opened(*limited(rule), *limited(rule, endpoint="people", **slow)) as house:
        await house.credential("device")
        first = await enroll(house, "a.test")
        assert isinstance(await enroll(house, "a.test", endpoint="people"), Pending)
        assert await status(house, first) is CertificateStatus.GOOD


async def test_strictest_of_several_limits_decides(opened: Open) -> None:
    limits = [count("client", 1, on_exceed="pend"), count("client", 2), active("client", 9)]
    with opened(*limited(*limits)) as house:
        await house.credential("device")
        assert isinstance(await enroll(house, "a.test"), Issued)
        assert isinstance(await enroll(house, "b.test"), Pending)
        beyond(await enroll(house, "c.test"))


async def test_guardrail_counts_over_all_policies(opened: Open) -> None:
    guardrail = policies.document("Guardrail", "floor", limits=[count("global", 2)])
    documents = [*limited(), *limited(endpoint="other"), guardrail]
    with opened(*documents) as house:
        await house.credential("device")
        assert isinstance(await enroll(house, "a.test"), Issued)
        assert isinstance(await enroll(house, "b.test", endpoint="other"), Issued)
        refused = await enroll(house, "c.test")
        beyond(refused)
        assert isinstance(refused, Refused)
        assert refused.reasons[0].rule == "floor.limits[0]"
        beyond(await enroll(house, "d.test", endpoint="other"))


async def test_policy_without_limits_reads_no_window(house: House) -> None:
    await house.credential("device")
    before = house.store.recorder.counts.statements
    assert isinstance(await house.submit(house.request("a.test", private_key=pki.key())), Issued)
    assert house.store.recorder.counts.statements - before <= 4  # chain, request, certificate, and no more
