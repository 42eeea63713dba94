"""Transactions of a protocol: which message is a repeat, which a request of its own, which neither."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from gateway.enrolment import gather
from gateway.enrolment.approval import approve
from gateway.errors import Conflict
from gateway.model.certificate import RevocationReason
from gateway.model.enrolment import Differing
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import ReasonCode
from gateway.store import renewals, requests
from gateway.store.unit import Unit
from tests.unit.enrolment.transactions import GRACE_S, Device, TransactionHouse

NEW = Differing.NEW_ONCE_CLOSED


@pytest.fixture(autouse=True)
async def _credential(transactions: TransactionHouse) -> None:
    await transactions.credential("device")


def _in_use(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Refused) and [one.code for one in outcome.reasons] == [
        ReasonCode.TRANSACTION_IN_USE
    ]


async def _held(house: TransactionHouse) -> list[str]:
    """The requests that still hold a correlation."""
    return [row.id for row in await house.rows() if row.correlation is not None]


async def _approved(house: TransactionHouse, pending: Outcome, state: State) -> None:
    assert isinstance(pending, Pending)
    approve(house.store, pending.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        await house.reaches(pending.request_id, state)


# -- the transaction is in use (CMP) --


async def test_same_message_again_gets_the_same_certificate(transactions: TransactionHouse) -> None:
    """cmp.md C23, F: a retransmission answers what is stored."""
    message = transactions.message(Device())
    first = await transactions.submit(message)
    assert isinstance(first, Issued)
    assert await transactions.submit(message) == first
    assert await transactions.outcome_of() == first
    assert len(await transactions.rows()) == 1


async def test_other_content_in_a_transaction_is_refused_and_recorded(transactions: TransactionHouse) -> None:
    """cmp.md C23."""
    device = Device()
    first = await transactions.submit(transactions.message(device, "first"))
    other = await transactions.submit(transactions.message(device, "other"))
    assert _in_use(other)
    assert isinstance(other, Refused)
    row = await transactions.row(other.request_id)
    assert (row.state, row.correlation, row.policy) == (State.REFUSED, None, "directly")
    assert await transactions.outcome_of() == first
    assert [job.kind for job in await transactions.jobs()] == ["withdraw-unconfirmed"]


async def test_transaction_stays_in_use_until_its_grace_has_ended(transactions: TransactionHouse) -> None:
    device = Device()
    first = await transactions.submit(transactions.message(device, "first"))
    assert (await transactions.confirm()).value == "done"
    transactions.clock.advance(seconds=GRACE_S)
    assert _in_use(await transactions.submit(transactions.message(device, "other")))
    transactions.clock.advance(seconds=1)
    other = await transactions.submit(transactions.message(device, "other"))
    assert isinstance(other, Issued)
    assert other != first
    assert await _held(transactions) == [other.request_id]


async def test_message_that_is_no_longer_answered_gets_no_second_certificate(
    transactions: TransactionHouse,
) -> None:
    """cmp.md C23: whoever has recorded a message has not got it for ever."""
    message = transactions.message(Device())
    first = await transactions.submit(message)
    assert (await transactions.confirm()).value == "done"
    transactions.clock.advance(seconds=GRACE_S)
    again = await transactions.submit(message)
    assert isinstance(first, Issued)
    assert isinstance(again, Issued)
    assert again.certificate_der == first.certificate_der
    transactions.clock.advance(seconds=1)
    assert _in_use(await transactions.submit(message))
    assert await _held(transactions) == [first.request_id]


async def test_transaction_of_a_waiting_request_is_in_use(transactions: TransactionHouse) -> None:
    device = Device()
    message = transactions.message(device, endpoint="slow")
    pending = await transactions.submit(message)
    assert isinstance(pending, Pending)
    assert _in_use(await transactions.submit(transactions.message(device, "other", endpoint="slow")))
    assert await transactions.submit(message) == pending


async def test_transaction_that_its_ca_refused_is_in_use_for_its_grace(
    transactions: TransactionHouse,
) -> None:
    transactions.foreign.ca.switches.refuse = "not today"
    device = Device()
    message = transactions.message(device, endpoint="remote")
    refused = await transactions.submit(message)
    assert isinstance(refused, Refused)
    assert await transactions.submit(message) == refused
    assert _in_use(await transactions.submit(transactions.message(device, "other", endpoint="remote")))
    assert transactions.foreign.calls.count("issue") == 1


async def test_transaction_that_policy_refused_is_free(transactions: TransactionHouse) -> None:
    device = Device("a.evil")
    assert isinstance(await transactions.submit(transactions.message(device)), Refused)
    device.host = "a.test"
    assert isinstance(await transactions.submit(transactions.message(device, "other")), Issued)


async def test_same_message_is_one_request_however_often_it_comes_at_once(
    transactions: TransactionHouse,
) -> None:
    message = transactions.message(Device())
    outcomes = await asyncio.gather(*(transactions.submit(message) for _ in range(20)))
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], Issued)
    assert len(await transactions.rows()) == 1


async def test_of_messages_with_different_content_at_once_one_has_the_transaction(
    transactions: TransactionHouse,
) -> None:
    """cmp.md C23: whichever is first, and no certificate is made twice."""
    device = Device()
    messages = [transactions.message(device, f"content {number}") for number in range(10)]
    outcomes = await asyncio.gather(*(transactions.submit(message) for message in messages))
    assert sorted(_in_use(outcome) for outcome in outcomes) == [False] + [True] * 9
    (issued,) = [outcome for outcome in outcomes if isinstance(outcome, Issued)]
    assert await _held(transactions) == [issued.request_id]


async def test_message_of_a_used_up_credential_is_answered_again_and_no_other_one(
    transactions: TransactionHouse,
) -> None:
    await transactions.credential("once", uses_left=1)
    device = Device()
    message = transactions.message(device, user="once")
    first = await transactions.submit(message)
    assert isinstance(first, Issued)
    assert await transactions.submit(message) == first
    refused = await transactions.submit(transactions.message(device, transaction="u", user="once"))
    assert isinstance(refused, Refused)
    assert "used up" in refused.reasons[0].message


# -- a new request once the earlier one is closed (SCEP) --


async def test_other_content_while_a_request_is_open_is_a_poll(transactions: TransactionHouse) -> None:
    """scep.md B9: the transactionID is often the hash of the key."""
    device = Device()
    first = transactions.message(device, endpoint="slow", differing=NEW, confirm_within_s=None)
    pending = await transactions.submit(first)
    assert isinstance(pending, Pending)
    other = transactions.message(device, "other", endpoint="slow", differing=NEW, confirm_within_s=None)
    assert await transactions.submit(other) == pending
    assert len(await transactions.rows()) == 1
    await _approved(transactions, pending, State.ISSUED)
    assert isinstance(await transactions.submit(first), Issued)
    again = await transactions.submit(other)
    assert isinstance(again, Pending)
    assert again.request_id != pending.request_id


async def test_other_content_after_a_request_was_closed_is_a_new_request(
    transactions: TransactionHouse,
) -> None:
    """scep.md B9: a renewal with the same key has the same transactionID and gets a new certificate."""
    device = Device()
    first_message = transactions.message(device, "first", differing=NEW, confirm_within_s=None)
    second_message = transactions.message(device, "second", differing=NEW, confirm_within_s=None)
    first = await transactions.submit(first_message)
    assert await transactions.submit(first_message) == first
    second = await transactions.submit(second_message)
    assert isinstance(second, Issued)
    assert second != first
    assert await transactions.submit(second_message) == second
    assert await transactions.outcome_of() == second
    assert await _held(transactions) == [second.request_id]
    assert {row.state for row in await transactions.rows()} == {State.ISSUED}


async def test_generations_that_come_at_once_leave_one_that_holds_the_transaction(
    transactions: TransactionHouse,
) -> None:
    device = Device()
    await transactions.submit(transactions.message(device, differing=NEW, confirm_within_s=None))
    messages = [
        transactions.message(device, f"generation {number}", differing=NEW, confirm_within_s=None)
        for number in range(8)
    ]
    outcomes = await asyncio.gather(*(transactions.submit(message) for message in messages))
    issued = [outcome for outcome in outcomes if isinstance(outcome, Issued)]
    assert issued
    assert all(isinstance(outcome, Issued | Unavailable) for outcome in outcomes)
    (held,) = await _held(transactions)
    assert held in {outcome.request_id for outcome in issued}
    assert len(await transactions.rows()) == 1 + len(issued)


async def test_content_says_nothing_where_it_is_not_to_count(transactions: TransactionHouse) -> None:
    device = Device()
    first = await transactions.submit(transactions.message(device, "first", differing=Differing.REPEAT))
    assert isinstance(first, Issued)
    other = transactions.message(device, "other", differing=Differing.REPEAT)
    assert await transactions.submit(other) == first


async def test_same_message_gets_no_second_certificate_after_the_first_was_revoked(
    transactions: TransactionHouse,
) -> None:
    message = transactions.message(Device(), differing=NEW, confirm_within_s=None)
    first = await transactions.submit(message)
    record = await transactions.certificate(first)
    await transactions.certificates.revoke(record, RevocationReason.SUPERSEDED, "cli:anna")
    assert await transactions.submit(message) == first


# -- one unconfirmed renewal at a time (CMP) --


async def _first(house: TransactionHouse, device: Device) -> Issued:
    issued = await house.submit(house.message(device, confirm_within_s=None))
    assert isinstance(issued, Issued)
    return issued


async def test_second_renewal_is_refused_while_the_first_waits_for_confirmation(
    transactions: TransactionHouse,
) -> None:
    """cmp.md C60."""
    device = Device()
    old = await _first(transactions, device)
    first = transactions.renewal(device, old, "r1")
    renewed = await transactions.submit(first)
    assert isinstance(renewed, Issued)
    for confirm_within_s in (300, None):
        second = transactions.renewal(device, old, "r2", confirm_within_s=confirm_within_s)
        refused = await transactions.submit(second)
        assert _in_use(refused)
        assert isinstance(refused, Refused)
        assert "confirm or decline" in refused.reasons[0].message
    assert await transactions.submit(first) == renewed
    await transactions.confirm(transaction="r1")
    assert isinstance(await transactions.submit(second), Issued)


@pytest.mark.parametrize("declined", [True, False], ids=["declined", "not confirmed in time"])
async def test_renewal_that_was_withdrawn_blocks_no_other_one(
    transactions: TransactionHouse, declined: bool
) -> None:
    device = Device()
    old = await _first(transactions, device)
    assert isinstance(await transactions.submit(transactions.renewal(device, old, "r1")), Issued)
    if declined:
        await transactions.confirm(transaction="r1", accepted=False)
    else:
        transactions.clock.advance(seconds=301)
    assert isinstance(await transactions.submit(transactions.renewal(device, old, "r2")), Issued)


async def test_of_renewals_at_once_one_is_issued(transactions: TransactionHouse) -> None:
    device = Device()
    old = await _first(transactions, device)
    messages = [transactions.renewal(device, old, f"r{number}") for number in range(8)]
    outcomes = await asyncio.gather(*(transactions.submit(message) for message in messages))
    assert sum(isinstance(outcome, Issued) for outcome in outcomes) == 1
    assert sum(_in_use(outcome) for outcome in outcomes) == 7


async def test_renewal_that_is_issued_while_its_repeat_looks_for_it_is_answered_again(
    transactions: TransactionHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cmp.md C23, F: the one that waits for confirmation is this very message's."""
    device = Device()
    message = transactions.renewal(device, await _first(transactions, device), "r1")
    issued: list[Outcome] = []
    may_begin = [True]

    def then_another_worker(look: Callable[..., Any]) -> Callable[..., Any]:
        def looks(*arguments: Any) -> Any:
            found = look(*arguments)
            if may_begin:
                may_begin.clear()
                with ThreadPoolExecutor(1) as other:
                    issued.append(other.submit(asyncio.run, transactions.submit(message)).result(60))
            return found

        return looks

    for name in ("find_earlier", "find_unconfirmed"):
        monkeypatch.setattr(gather, name, then_another_worker(getattr(gather, name)))
    again = await transactions.submit(message)
    assert isinstance(again, Issued), again
    assert issued == [again]


async def test_renewals_of_two_certificates_do_not_meet(transactions: TransactionHouse) -> None:
    devices = [Device("a.test"), Device("b.test")]
    for number, device in enumerate(devices):
        old = await transactions.submit(
            transactions.message(device, transaction=f"t{number}", confirm_within_s=None)
        )
        assert isinstance(old, Issued)
        renewed = await transactions.submit(transactions.renewal(device, old, f"r{number}"))
        assert isinstance(renewed, Issued)


async def test_unit_of_a_renewal_is_in_conflict_with_one_recorded_meanwhile(
    transactions: TransactionHouse,
) -> None:
    device = Device()
    old = await _first(transactions, device)
    renewed = await transactions.submit(transactions.renewal(device, old, "r1"))
    row = await transactions.row(renewed.request_id)
    now = transactions.clock.now()
    unit = Unit()
    requests.insert(unit, replace(row, id="another", correlation=None, state=State.SUBMITTING))
    renewals.demand_no_other(unit, "another", str(row.renews_sha256), now)
    with pytest.raises(Conflict):
        await transactions.store.recorder.commit(unit)
