"""What an order hears in every state of its request, and while its CA is away."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from ca_backend.api import CaAnswer, RetryClass
from gateway.acme import order_state
from gateway.enrolment import record
from gateway.enrolment.correlation import transaction_hash
from gateway.enrolment.states import MOVES
from gateway.errors import BackendInDoubt, BackendUnavailable
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from gateway.store import certificates, requests
from gateway.store.unit import Unit
from tests.unit.enrolment.orders import ACME, OrderHouse
from tests.unit.enrolment.test_people import lost_answer
from tests.unit.store.samples import CHAIN, certificate_record, request_row

REASON = Reason(ReasonCode.BACKEND_REFUSED, "the CA refused this request")
# State: outcome, status of the order, seconds to wait where the request names none and where it names 7.
TOLD: dict[State, tuple[type[Outcome], str, tuple[int, int] | None]] = {
    State.AWAITING_APPROVAL: (Pending, order_state.PROCESSING, (5, 7)),
    State.SUBMITTING: (Pending, order_state.PROCESSING, (5, 7)),
    State.AWAITING_CA: (Pending, order_state.PROCESSING, (5, 7)),
    State.IN_DOUBT: (Unavailable, order_state.PROCESSING, (60, 60)),
    State.UNCONFIRMED: (Issued, order_state.VALID, None),
    State.ISSUED: (Issued, order_state.VALID, None),
    State.REFUSED: (Refused, order_state.INVALID, None),
    State.WITHDRAWN: (Refused, order_state.INVALID, None),
}


def test_table_holds_every_state() -> None:
    assert set(TOLD) == set(MOVES) == set(State)


@pytest.mark.parametrize("state", list(State))
async def test_order_hears_what_its_request_has_become(order_house: OrderHouse, state: State) -> None:
    """acme.md C89: processing always comes with Retry-After."""
    kind, status, waits = TOLD[state]
    for index, retry_after_s in enumerate((None, 7)):
        order_id = f"o{index}"
        await _recorded(order_house, order_id, state, retry_after_s)
        outcome = await order_house.outcome_of(order_id)
        assert isinstance(outcome, kind), outcome
        found = _state(order_house, outcome)
        assert (found.status, found.retry_after_s) == (status, None if waits is None else waits[index])


@pytest.mark.parametrize("retry", list(RetryClass))
async def test_order_is_processing_while_its_ca_is_away_and_then_issued(
    order_house: OrderHouse, retry: RetryClass
) -> None:
    """acme.md C89."""
    order_house.foreign.retry = retry
    order_house.foreign.ca.switches.retry = retry.value
    order_house.foreign.before = _away
    first = await order_house.submit(order_house.order("o1", endpoint="acme-foreign"))
    assert isinstance(first, Unavailable)
    async with order_house.at_work():
        for _ in range(5):
            outcome = await order_house.outcome_of("o1", "acme-foreign")
            found = _state(order_house, outcome)
            assert (found.status, outcome) == (order_state.PROCESSING, Pending(_id(first), "ca", 5))
            order_house.clock.advance(minutes=10)
            await order_house.work.sweep()
            order_house.runner.wake()
            await _waits_again(order_house)
        order_house.foreign.before = lambda _: None
        await order_house.reaches(first.request_id, State.ISSUED, seconds=1)
    assert isinstance(await order_house.outcome_of("o1", "acme-foreign"), Issued)
    assert await order_house.issued_count() == 1


@pytest.mark.parametrize("retry", [RetryClass.IDEMPOTENT, RetryClass.FINDABLE])
async def test_order_whose_answer_was_lost_is_processing_and_then_issued_once(
    order_house: OrderHouse, retry: RetryClass
) -> None:
    order_house.foreign.retry = retry
    order_house.foreign.ca.switches.retry = retry.value

    def lose(answer: CaAnswer) -> CaAnswer:
        raise BackendInDoubt("the answer was lost")

    order_house.foreign.altered = lose
    first = await order_house.submit(order_house.order("o1", endpoint="acme-foreign"))
    assert isinstance(first, Unavailable)
    assert _state(order_house, first).retry_after_s
    assert await order_house.outcome_of("o1", "acme-foreign") == Pending(_id(first), "ca", 5)
    order_house.foreign.altered = lambda answer: answer
    async with order_house.at_work():
        await order_house.reaches(first.request_id, State.ISSUED, seconds=1)
    assert await order_house.issued_count() == 1


@pytest.mark.parametrize("each_database", ["sqlite"], indirect=True)
async def test_doubt_is_logged_once_with_what_the_operator_is_to_do(
    order_house: OrderHouse, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        outcome = await lost_answer(order_house, order_house.order("o1", endpoint="acme-foreign"))
        for _ in range(3):
            found = _state(order_house, await order_house.outcome_of("o1", "acme-foreign"))
            assert (found.status, found.retry_after_s) == (order_state.PROCESSING, 60)
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert line.startswith(f"request.in-doubt request {outcome.request_id}: the CA's answer was lost")
    assert "look at the CA foreign" in line
    assert f"pkigate request settle {outcome.request_id} --retry" in line


async def _recorded(house: OrderHouse, order_id: str, state: State, retry_after_s: int | None) -> None:
    """A request in this state as an order's finalization leaves it."""
    row = request_row(
        state=state,
        protocol=ACME,
        endpoint="acme",
        correlation=transaction_hash(ACME, "acme", (b"order", order_id.encode())),
        transaction_id=order_id,
        retry_after_s=retry_after_s,
        decision={"reasons": record.reasons_json((REASON,))},
    )
    unit = Unit()
    if state in (State.ISSUED, State.UNCONFIRMED, State.WITHDRAWN):
        issued = certificate_record(request_id=row.id)
        certificates.insert(unit, issued, CHAIN)
        row = replace(row, certificate_sha256=issued.sha256)
    requests.insert(unit, row)
    await house.store.recorder.commit(unit)


async def _waits_again(house: OrderHouse) -> None:
    """Its job has had its turn: the clock must not go past the lease of one that runs."""
    async with asyncio.timeout(60):
        while any(
            job.state == "running" or (job.state == "ready" and job.run_at <= house.clock.now())
            for job in await house.jobs()
        ):
            await asyncio.sleep(0.01)


def _state(house: OrderHouse, outcome: Outcome | None) -> order_state.OrderState:
    unread: Any = None  # the order's rows are not looked at once there is an outcome
    assert outcome is not None
    return order_state.derived_state(unread, outcome, house.clock.now())


def _id(outcome: Unavailable) -> Any:
    return outcome.request_id


def _away(_: str) -> None:
    raise BackendUnavailable("away", retry_after_s=1)
