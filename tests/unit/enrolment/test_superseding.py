"""``renewal.revoke_previous``: what was renewed is revoked later, unless its successor is no good by then."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gateway.enrolment.superseding import HOLD_AGAIN, SUPERSEDE_JOB, revoke_previous
from gateway.errors import Conflict
from gateway.model.certificate import RevocationReason
from gateway.model.outcome import Confirmation, Issued
from gateway.store import certificates
from gateway.store.jobs import Job
from gateway.store.unit import Unit
from tests.unit.enrolment.transactions import Device, TransactionHouse

GOOD, SUPERSEDED = ("good", None), ("revoked", "superseded")
SPAN = timedelta(hours=1)


@pytest.fixture(autouse=True)
async def _credential(transactions: TransactionHouse) -> None:
    await transactions.credential("device")


async def _renewed(house: TransactionHouse, *, confirmed: bool = True) -> tuple[Issued, Issued]:
    """A certificate and its successor, ``confirmed`` or not."""
    device = Device()
    first = await house.submit(house.message(device, endpoint="superseding", confirm_within_s=None))
    assert isinstance(first, Issued)
    house.clock.advance(days=1)
    second = await house.submit(house.renewal(device, first, "again", endpoint="superseding"))
    assert isinstance(second, Issued)
    if confirmed:
        answer = await house.confirm(transaction="again", endpoint="superseding")
        assert answer is Confirmation.DONE
    return first, second


async def _jobs(house: TransactionHouse) -> list[Job]:
    return [job for job in await house.jobs() if job.kind == SUPERSEDE_JOB]


async def _status(house: TransactionHouse, issued: Issued) -> tuple[str, str | None]:
    record = await house.certificate(issued)
    return record.status, record.revocation_reason


async def _revoke(house: TransactionHouse, issued: Issued, reason: RevocationReason) -> None:
    await house.certificates.revoke(await house.certificate(issued), reason, "cli:tester")


async def _work(house: TransactionHouse) -> object:
    (job,) = await _jobs(house)
    return await house.work.revoke_previous(job)


async def test_first_certificate_revokes_nothing(transactions: TransactionHouse) -> None:
    await transactions.submit(transactions.message(Device(), endpoint="superseding", confirm_within_s=None))
    assert await _jobs(transactions) == []


async def test_predecessor_waits_for_its_time_and_is_superseded_then(transactions: TransactionHouse) -> None:
    first, second = await _renewed(transactions)
    (job,) = await _jobs(transactions)
    assert (job.state, job.run_at) == ("ready", transactions.clock.now() + SPAN)
    assert await _status(transactions, first) == GOOD
    transactions.clock.advance(seconds=SPAN.total_seconds())
    assert await _work(transactions) is None
    assert (await _status(transactions, first), await _status(transactions, second)) == (SUPERSEDED, GOOD)
    (event,) = await transactions.audited("certificate.supersede")
    assert (event["actor"], event["object_id"]) == ("system", second.request_id)
    revoked_at = (await transactions.certificate(first)).revoked_at
    transactions.clock.advance(seconds=60)
    assert await _work(transactions) is None  # a job may run twice
    assert (await transactions.certificate(first)).revoked_at == revoked_at


async def test_runner_does_it_by_itself(transactions: TransactionHouse) -> None:
    first, _ = await _renewed(transactions)
    transactions.clock.advance(seconds=SPAN.total_seconds())
    async with transactions.at_work(), asyncio.timeout(60):
        while await _status(transactions, first) == GOOD:
            await asyncio.sleep(0.01)
    assert await _status(transactions, first) == SUPERSEDED


async def test_unconfirmed_successor_replaces_nothing(transactions: TransactionHouse) -> None:
    first, _ = await _renewed(transactions, confirmed=False)
    assert await _jobs(transactions) == []
    await transactions.confirm(accepted=False, transaction="again", endpoint="superseding")
    assert await _jobs(transactions) == []
    assert await _status(transactions, first) == GOOD


@pytest.mark.parametrize("reason", [RevocationReason.KEY_COMPROMISE, RevocationReason.SUPERSEDED])
async def test_predecessor_of_a_revoked_successor_stays(
    transactions: TransactionHouse, reason: RevocationReason
) -> None:
    first, second = await _renewed(transactions)
    await _revoke(transactions, second, reason)
    assert await _work(transactions) is None
    assert await _status(transactions, first) == GOOD
    assert await transactions.audited("certificate.supersede") == []


async def test_predecessor_of_a_successor_on_hold_waits(transactions: TransactionHouse) -> None:
    first, second = await _renewed(transactions)
    await _revoke(transactions, second, RevocationReason.CERTIFICATE_HOLD)
    assert await _work(transactions) == transactions.clock.now() + HOLD_AGAIN
    assert await _status(transactions, first) == GOOD
    unit = Unit()
    certificates.release_hold(unit, await transactions.certificate(second))
    await transactions.store.recorder.commit(unit)
    assert await _work(transactions) is None
    assert await _status(transactions, first) == SUPERSEDED


async def test_predecessor_that_is_revoked_keeps_its_reason(transactions: TransactionHouse) -> None:
    first, _ = await _renewed(transactions)
    await _revoke(transactions, first, RevocationReason.KEY_COMPROMISE)
    assert await _work(transactions) is None
    assert await _status(transactions, first) == ("revoked", "keyCompromise")


async def test_predecessor_on_hold_is_revoked_for_good(transactions: TransactionHouse) -> None:
    first, _ = await _renewed(transactions)
    await _revoke(transactions, first, RevocationReason.CERTIFICATE_HOLD)
    assert await _work(transactions) is None
    assert await _status(transactions, first) == SUPERSEDED


async def test_expired_predecessor_is_left_alone(transactions: TransactionHouse) -> None:
    first, _ = await _renewed(transactions)
    transactions.clock.advance(days=90)
    assert await _work(transactions) is None
    assert await _status(transactions, first) == GOOD


async def test_unknown_request_is_no_fault(transactions: TransactionHouse) -> None:
    assert await revoke_previous(transactions.store, transactions.clock, "gone") is None


async def test_successor_that_is_revoked_meanwhile_keeps_the_unit_from_being_written(
    transactions: TransactionHouse,
) -> None:
    _, second = await _renewed(transactions)
    sha256 = (await transactions.certificate(second)).sha256
    unit = Unit()
    certificates.demand_good(unit, sha256)
    await transactions.store.recorder.commit(unit)
    await _revoke(transactions, second, RevocationReason.UNSPECIFIED)
    unit = Unit()
    certificates.demand_good(unit, sha256)
    with pytest.raises(Conflict):
        await transactions.store.recorder.commit(unit)
