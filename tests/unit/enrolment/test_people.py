"""People's decisions: approvals, rejections and ends of doubt, as devices and workers see them."""

from __future__ import annotations

import pytest

from ca_backend.api import CaAnswer, RetryClass
from gateway.enrolment.approval import approve, reject
from gateway.enrolment.doubt import end_without_certificate, order_again
from gateway.errors import BackendInDoubt, Conflict, NotFound
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.ids import new_id
from gateway.model.outcome import Issued, Pending, Refused, State, Unavailable
from tests.unit.enrolment.house import House


async def lost_answer(house: House, request: EnrolmentRequest) -> Unavailable:
    """Submit to a CA that cannot be asked, whose answer is lost."""
    house.foreign.retry = RetryClass.NEITHER
    house.foreign.ca.switches.retry = RetryClass.NEITHER.value

    def lose(answer: CaAnswer) -> CaAnswer:
        raise BackendInDoubt("the answer was lost")

    house.foreign.altered = lose
    outcome = await house.submit(request)
    house.foreign.altered = lambda answer: answer
    assert isinstance(outcome, Unavailable)
    return outcome


async def _in_doubt(house: House) -> tuple[EnrolmentRequest, str]:
    """A request whose answer a CA lost that cannot be asked."""
    await house.credential("device")
    request = house.request("a.test", endpoint="foreign")
    outcome = await lost_answer(house, request)
    assert outcome.request_id is not None
    return request, outcome.request_id


async def test_request_in_doubt_waits_for_an_operator(house: House) -> None:
    request, request_id = await _in_doubt(house)
    house.clock.advance(minutes=30)
    await house.work.sweep()
    async with house.at_work():
        pass
    assert isinstance(await house.submit(request), Unavailable)
    assert (await house.row(request_id)).state is State.IN_DOUBT
    assert house.foreign.calls.count("issue") == 1


async def test_order_that_is_sent_again_ends_with_a_certificate(house: House) -> None:
    request, request_id = await _in_doubt(house)
    order_again(house.store, request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        await house.reaches(request_id, State.ISSUED)
    assert isinstance(await house.submit(request), Issued)
    assert house.foreign.calls.count("issue") == 2


async def test_answer_lost_again_is_in_doubt_again(house: House) -> None:
    _, request_id = await _in_doubt(house)

    def lose(answer: CaAnswer) -> CaAnswer:
        raise BackendInDoubt("lost again")

    house.foreign.altered = lose
    order_again(house.store, request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        await house.reaches(request_id, State.IN_DOUBT)
        while any(job.state != "done" for job in await house.jobs()):
            house.clock.advance(seconds=5)
            house.runner.wake()
    assert house.foreign.calls.count("issue") == 2


async def test_device_of_an_ended_request_begins_a_new_one(house: House) -> None:
    request, request_id = await _in_doubt(house)
    end_without_certificate(house.store, request_id, "cli:anna", clock=house.clock)
    house.clock.advance(seconds=1)
    again = await house.submit(request)
    assert isinstance(again, Issued)
    assert again.request_id != request_id


async def test_doubt_is_ended_once(house: House) -> None:
    _, request_id = await _in_doubt(house)
    order_again(house.store, request_id, "cli:anna", clock=house.clock)
    with pytest.raises(Conflict):
        end_without_certificate(house.store, request_id, "cli:berta", clock=house.clock)
    with pytest.raises(NotFound):
        order_again(house.store, new_id(), "cli:anna", clock=house.clock)


async def test_note_of_a_rejection_is_not_told_to_the_device(house: House) -> None:
    await house.credential("device")
    request = house.request("a.test", endpoint="approval")
    waiting = await house.submit(request)
    reject(house.store, str(waiting.request_id), "cli:anna", "Berta has left", clock=house.clock)
    heard = await house.submit(request)
    assert isinstance(heard, Refused)
    assert [reason.message for reason in heard.reasons] == ["a person refused this request"]
    row = await house.row(waiting.request_id)
    assert "Berta has left" in str(row.decision)
    assert "cli:anna" in str(row.decision)


async def test_approved_request_is_issued_with_its_whole_validity(house: House) -> None:
    await house.credential("device")
    request = house.request("a.test", endpoint="approval")
    waiting = await house.submit(request)
    assert isinstance(waiting, Pending)
    house.clock.advance(minutes=30)
    approve(house.store, waiting.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        await house.reaches(waiting.request_id, State.ISSUED)
    assert isinstance(await house.submit(request), Issued)


async def test_lost_answer_to_an_approved_request_ends_with_the_certificate_of_its_later_validity(
    house: House,
) -> None:
    await house.credential("device")
    waiting = await house.submit(house.request("a.test", endpoint="slow-foreign"))
    house.clock.advance(minutes=30)
    approve(house.store, str(waiting.request_id), "cli:anna", clock=house.clock)
    lost: list[str] = []

    def lose_first_answer(answer: CaAnswer) -> CaAnswer:
        if not lost:
            lost.append("answer")
            raise BackendInDoubt("the connection broke")
        return answer

    house.foreign.altered = lose_first_answer
    async with house.at_work():
        row = await house.reaches(waiting.request_id, State.ISSUED, seconds=5)
    assert lost == ["answer"]
    assert row.certificate_sha256 is not None
    assert house.foreign.revoked == {}


async def test_rejected_request_cannot_be_approved(house: House) -> None:
    await house.credential("device")
    waiting = await house.submit(house.request("a.test", endpoint="approval"))
    reject(house.store, str(waiting.request_id), "cli:anna", clock=house.clock)
    with pytest.raises(Conflict):
        approve(house.store, str(waiting.request_id), "cli:berta", clock=house.clock)
