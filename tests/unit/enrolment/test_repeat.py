"""The same message again: what its request has become is told, whatever became of the credential."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from gateway.enrolment.approval import approve
from gateway.enrolment.gather import find_recorded
from gateway.enrolment.repeat import what_became
from gateway.model.outcome import Issued, Pending, Refused, State, Unavailable
from gateway.model.reasons import ReasonCode
from gateway.store import credentials
from gateway.store.unit import Unit
from tests.unit.enrolment.house import House


async def test_repeat_of_a_one_time_request_gets_the_same_certificate(house: House) -> None:
    await house.credential("device", uses_left=1)
    request = house.request("a.test")
    first = await house.submit(request)
    assert isinstance(first, Issued)
    assert await house.submit(request) == first


async def test_used_up_credential_is_refused_for_another_request(house: House) -> None:
    await house.credential("device", uses_left=1)
    assert isinstance(await house.submit(house.request("a.test")), Issued)
    second = await house.submit(house.request("b.test"))
    assert isinstance(second, Refused)
    assert second.reasons[0].code is ReasonCode.AUTH_FAILED
    assert "used up" in second.reasons[0].message


async def test_one_time_credential_serves_one_of_many_requests_at_once(house: House) -> None:
    """Whoever was too late is told so at once, not to ask again."""
    await house.credential("device", uses_left=1)
    found = await asyncio.gather(*(house.submit(house.request(f"h{n}.test")) for n in range(8)))
    assert sum(isinstance(outcome, Issued) for outcome in found) == 1
    refused = [outcome for outcome in found if isinstance(outcome, Refused)]
    assert [outcome.reasons[0].code for outcome in refused] == [ReasonCode.AUTH_FAILED] * 7
    assert all("used up" in outcome.reasons[0].message for outcome in refused)


async def test_credential_for_three_uses_serves_three_of_many_requests_at_once(house: House) -> None:
    await house.credential("device", uses_left=3)
    found = await asyncio.gather(*(house.submit(house.request(f"h{n}.test")) for n in range(8)))
    assert sum(isinstance(outcome, Issued) for outcome in found) == 3
    assert sum(isinstance(outcome, Refused) for outcome in found) == 5


async def test_poll_after_the_credential_expired_is_answered(house: House) -> None:
    await house.credential("device", expires_at=house.clock.now() + timedelta(minutes=1))
    request = house.request("a.test", endpoint="approval")
    first = await house.submit(request)
    house.clock.advance(minutes=2)
    assert isinstance(first, Pending)
    assert await house.submit(request) == first
    again = await house.submit(house.request("b.test", endpoint="approval"))
    assert isinstance(again, Refused)
    assert "expired" in again.reasons[0].message


async def test_repeat_with_a_revoked_credential_is_refused(house: House) -> None:
    row = await house.credential("device")
    request = house.request("a.test")
    assert isinstance(await house.submit(request), Issued)
    unit = Unit()
    credentials.revoke(unit, row.id, house.clock.now())
    await house.store.recorder.commit(unit)
    assert isinstance(await house.submit(request), Refused)


async def test_repeat_with_a_wrong_secret_is_refused(house: House) -> None:
    await house.credential("device")
    assert isinstance(await house.submit(house.request("a.test")), Issued)
    assert isinstance(await house.submit(house.request("a.test", secret="guess")), Refused)


async def test_waiting_request_beyond_its_time_is_refused_although_no_job_ran(house: House) -> None:
    await house.credential("device")
    request = house.request("a.test", endpoint="approval")
    waiting = await house.submit(request)
    house.clock.advance(hours=1)
    late = await house.submit(request)
    assert isinstance(late, Refused)
    assert late.reasons[0].code is ReasonCode.APPROVAL_EXPIRED
    assert (await house.row(waiting.request_id)).state is State.REFUSED
    assert await house.submit(request) == late


async def test_request_approved_in_time_still_waits_for_the_ca_after_that_time(house: House) -> None:
    await house.credential("device")
    request = house.request("a.test", endpoint="approval")
    waiting = await house.submit(request)
    approve(house.store, str(waiting.request_id), "cli:anna", clock=house.clock)
    house.clock.advance(hours=1)
    assert await house.submit(request) == waiting


async def test_poll_beside_the_job_that_ends_the_request_is_told_to_ask_again_under_its_id(
    house: House,
) -> None:
    """Nobody must take that for the end: whoever polls goes on polling."""
    await house.credential("device")
    waiting = await house.submit(house.request("a.test", endpoint="approval"))
    assert isinstance(waiting, Pending)
    request_id = waiting.request_id
    seen = await house.store.reader.read(lambda connection: find_recorded(connection, request_id))
    assert seen is not None
    house.clock.advance(minutes=63)
    first, second = [await what_became(house.store, seen, house.clock.now()) for _ in range(2)]
    assert isinstance(first, Refused)
    assert isinstance(second, Unavailable)
    assert (second.request_id, second.retry_after_s) == (request_id, 1)
