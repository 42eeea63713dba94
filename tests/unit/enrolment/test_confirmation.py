"""Certificates that must be confirmed: by their requester in time, or they are withdrawn."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gateway.enrolment.approval import approve
from gateway.enrolment.confirmation import CONFIRM_JOB
from gateway.model.certificate import CertificateStatus, RevocationReason
from gateway.model.outcome import Confirmation, Issued, Outcome, Pending, Refused, State
from gateway.store import crl_state, jobs
from gateway.store.statement import driver_of
from gateway.store.unit import Unit
from tests.unit.enrolment.transactions import CONFIRM_WITHIN_S, GRACE_S, Device, TransactionHouse


@pytest.fixture(autouse=True)
async def _credential(transactions: TransactionHouse) -> None:
    await transactions.credential("device")


async def _issued(house: TransactionHouse, **changes: Any) -> Issued:
    issued = await house.submit(house.message(Device(), **changes))
    assert isinstance(issued, Issued)
    return issued


async def _waits(house: TransactionHouse) -> list[str]:
    """Keys of the jobs that are to withdraw."""
    return [job.dedup_key for job in await house.jobs() if (job.kind, job.state) == (CONFIRM_JOB, "ready")]


async def _status(house: TransactionHouse, issued: Outcome) -> tuple[str, str | None]:
    record = await house.certificate(issued)
    return record.status, record.revocation_reason


WITHDRAWN = ("revoked", "cessationOfOperation")
GOOD = ("good", None)


# -- in time --


async def test_certificate_waits_for_its_confirmation(transactions: TransactionHouse) -> None:
    """cmp.md C71: the answer tells until when."""
    issued = await _issued(transactions)
    until = transactions.clock.now() + timedelta(seconds=CONFIRM_WITHIN_S)
    assert issued.confirm_by == until
    row = await transactions.row(issued.request_id)
    assert (row.state, row.confirm_by, row.closed_at) == (State.UNCONFIRMED, until, None)
    assert await transactions.outcome_of() == issued
    assert await _status(transactions, issued) == GOOD
    assert await _waits(transactions) == [issued.request_id]


async def test_confirmed_certificate_is_issued_for_good(transactions: TransactionHouse) -> None:
    """cmp.md C65, C70: a repeat is answered as the first, another message is told that it comes late."""
    issued = await _issued(transactions)
    transactions.clock.advance(seconds=CONFIRM_WITHIN_S)
    assert await transactions.confirm("one") is Confirmation.DONE
    row = await transactions.row(issued.request_id)
    now = transactions.clock.now()
    assert (row.state, row.closed_at) == (State.ISSUED, now)
    assert row.answers_until == now + timedelta(seconds=GRACE_S)
    assert await _waits(transactions) == []
    outcome = await transactions.outcome_of()
    assert isinstance(outcome, Issued)
    assert (outcome.certificate_der, outcome.confirm_by) == (issued.certificate_der, None)
    assert await transactions.confirm("one") is Confirmation.DONE
    assert await transactions.confirm("two") is Confirmation.CONFIRMED_BEFORE
    assert await transactions.confirm("two", accepted=False) is Confirmation.CONFIRMED_BEFORE
    transactions.clock.advance(days=30)
    assert await transactions.confirm("one") is Confirmation.DONE
    assert await _status(transactions, issued) == GOOD
    (event,) = await transactions.audited("certificate.confirm", "certificate.withdraw")
    assert (event["object_id"], event["actor"]) == (issued.request_id, row.identity)
    assert event["details"]["sha256"] == row.certificate_sha256


@pytest.mark.parametrize("endpoint", ["direct", "remote"])
async def test_declined_certificate_is_withdrawn(transactions: TransactionHouse, endpoint: str) -> None:
    """cmp.md C67: revoked in our record, on the next CRL and at its CA; the transaction gives no other."""
    message = transactions.message(Device(), endpoint=endpoint)
    issued = await transactions.submit(message)
    record = await transactions.certificate(issued)
    assert await transactions.confirm(accepted=False, endpoint=endpoint) is Confirmation.DONE
    row = await transactions.row(issued.request_id)
    assert (row.state, row.closed_at) == (State.WITHDRAWN, transactions.clock.now())
    assert await _status(transactions, issued) == WITHDRAWN
    state = await transactions.store.reader.read(lambda c: crl_state.get(c, record.issuer_key_sha256))
    assert (state.revocation_count, state.stale) == (1, True)
    assert await transactions.confirm(accepted=False, endpoint=endpoint) is Confirmation.DONE
    assert await transactions.confirm("again", endpoint=endpoint) is Confirmation.WITHDRAWN
    for outcome in (await transactions.submit(message), await transactions.outcome_of(endpoint=endpoint)):
        assert isinstance(outcome, Refused)
        assert "withdrawn" in outcome.reasons[0].message
    revoked, withdrawn = await transactions.audited("certificate.revoke", "certificate.withdraw")
    assert revoked["details"]["reason"] == "cessationOfOperation"
    assert (withdrawn["actor"], withdrawn["details"]["why"]) == (row.identity, "the requester declined it")
    async with transactions.at_work():
        while any(job.state == "ready" for job in await transactions.jobs() if job.kind == "revoke-at-ca"):
            await asyncio.sleep(0.01)
    told = transactions.foreign.revoked == {record.serial_hex: "cessationOfOperation"}
    assert told is (endpoint == "remote")


async def test_copies_of_a_confirmation_at_once_are_all_told_that_it_is_done(
    transactions: TransactionHouse,
) -> None:
    await _issued(transactions)
    found = await asyncio.gather(*(transactions.confirm() for _ in range(10)))
    assert set(found) == {Confirmation.DONE}
    assert len(await transactions.audited("certificate.confirm")) == 1


async def test_of_yes_and_no_at_once_the_first_counts(transactions: TransactionHouse) -> None:
    issued = await _issued(transactions)
    yes, no = await asyncio.gather(transactions.confirm("yes"), transactions.confirm("no", accepted=False))
    state = (await transactions.row(issued.request_id)).state
    if state is State.ISSUED:
        assert (yes, no) == (Confirmation.DONE, Confirmation.CONFIRMED_BEFORE)
    else:
        assert (yes, no) == (Confirmation.WITHDRAWN, Confirmation.DONE)
    assert await _status(transactions, issued) == (GOOD if state is State.ISSUED else WITHDRAWN)


async def test_confirmation_of_what_was_never_issued_is_unknown(transactions: TransactionHouse) -> None:
    """cmp.md C69."""
    assert await transactions.confirm() is Confirmation.UNKNOWN
    await transactions.submit(transactions.message(Device(), endpoint="slow"))
    assert await transactions.confirm(endpoint="slow") is Confirmation.UNKNOWN
    transactions.foreign.ca.switches.refuse = "not today"
    await transactions.submit(transactions.message(Device(), endpoint="remote"))
    assert await transactions.confirm(endpoint="remote") is Confirmation.UNKNOWN


async def test_confirmation_that_was_not_asked_for_comes_late(transactions: TransactionHouse) -> None:
    """cmp.md C70: after an implicit confirmation."""
    issued = await _issued(transactions, confirm_within_s=None)
    assert issued.confirm_by is None
    assert (await transactions.row(issued.request_id)).state is State.ISSUED
    assert await transactions.confirm(accepted=False) is Confirmation.CONFIRMED_BEFORE
    assert await _status(transactions, issued) == GOOD
    assert await transactions.jobs() == ()


async def test_certificate_that_an_operator_revoked_keeps_his_reason(transactions: TransactionHouse) -> None:
    issued = await _issued(transactions)
    record = await transactions.certificate(issued)
    await transactions.certificates.revoke(record, RevocationReason.KEY_COMPROMISE, "cli:anna")
    assert await transactions.confirm(accepted=False) is Confirmation.DONE
    assert (await transactions.row(issued.request_id)).state is State.WITHDRAWN
    assert await _status(transactions, issued) == ("revoked", "keyCompromise")


async def test_certificate_that_an_operator_revoked_is_not_confirmed(transactions: TransactionHouse) -> None:
    """Who confirms would else believe that it has a good one; a repeat hears the same."""
    issued = await _issued(transactions)
    record = await transactions.certificate(issued)
    await transactions.certificates.revoke(record, RevocationReason.SUPERSEDED, "cli:anna")
    assert await transactions.confirm() is Confirmation.WITHDRAWN
    assert await transactions.confirm() is Confirmation.WITHDRAWN
    assert (await transactions.row(issued.request_id)).state is State.WITHDRAWN
    assert await _status(transactions, issued) == ("revoked", "superseded")
    (event,) = await transactions.audited("certificate.confirm", "certificate.withdraw")
    assert event["details"]["why"] == "it was revoked before it was confirmed"


async def test_certificate_on_hold_can_be_confirmed(transactions: TransactionHouse) -> None:
    issued = await _issued(transactions)
    record = await transactions.certificate(issued)
    await transactions.certificates.revoke(record, RevocationReason.CERTIFICATE_HOLD, "cli:anna")
    assert await transactions.confirm() is Confirmation.DONE


async def test_certificate_on_hold_is_revoked_when_it_is_declined(transactions: TransactionHouse) -> None:
    issued = await _issued(transactions)
    record = await transactions.certificate(issued)
    await transactions.certificates.revoke(record, RevocationReason.CERTIFICATE_HOLD, "cli:anna")
    assert (await transactions.certificate(issued)).status is CertificateStatus.ON_HOLD
    assert await transactions.confirm(accepted=False) is Confirmation.DONE
    assert await _status(transactions, issued) == WITHDRAWN


# -- when the time is up --


@pytest.mark.parametrize("endpoint", ["direct", "remote"])
async def test_certificate_that_is_not_confirmed_in_time_is_withdrawn_by_its_job(
    transactions: TransactionHouse, endpoint: str
) -> None:
    """cmp.md C71."""
    issued = await _issued(transactions, endpoint=endpoint)
    async with transactions.at_work():
        transactions.clock.advance(seconds=CONFIRM_WITHIN_S)
        transactions.runner.wake()
        await transactions.reaches(issued.request_id, State.WITHDRAWN, seconds=1)
    assert await _status(transactions, issued) == WITHDRAWN
    assert await transactions.confirm(endpoint=endpoint) is Confirmation.WITHDRAWN
    (event,) = await transactions.audited("certificate.withdraw")
    assert (event["actor"], event["details"]["why"]) == ("system", "it was not confirmed in time")


async def test_job_that_comes_too_early_waits(transactions: TransactionHouse) -> None:
    issued = await _issued(transactions)
    transactions.clock.advance(seconds=CONFIRM_WITHIN_S)
    (job,) = [job for job in await transactions.jobs() if job.kind == CONFIRM_JOB]
    assert await transactions.work.withdraw_unconfirmed(job) == transactions.clock.now() + timedelta(
        seconds=1
    )
    assert (await transactions.row(issued.request_id)).state is State.UNCONFIRMED
    await transactions.confirm()
    assert await transactions.work.withdraw_unconfirmed(job) is None
    assert await _status(transactions, issued) == GOOD


async def test_late_confirmation_withdraws_although_no_job_ran(transactions: TransactionHouse) -> None:
    issued = await _issued(transactions)
    transactions.clock.advance(seconds=CONFIRM_WITHIN_S + 1)
    assert await transactions.confirm() is Confirmation.WITHDRAWN
    assert await _status(transactions, issued) == WITHDRAWN
    assert await _waits(transactions) == []


@pytest.mark.parametrize("how", ["repeat", "look-up"])
async def test_whoever_asks_when_the_time_is_up_hears_that_it_was_withdrawn(
    transactions: TransactionHouse, how: str
) -> None:
    message = transactions.message(Device())
    issued = await transactions.submit(message)
    transactions.clock.advance(seconds=CONFIRM_WITHIN_S + 1)
    for _ in range(2):
        refused = await (transactions.submit(message) if how == "repeat" else transactions.outcome_of())
        assert isinstance(refused, Refused)
        assert "withdrawn" in refused.reasons[0].message
    assert await _status(transactions, issued) == WITHDRAWN


async def test_who_waits_for_approval_has_its_polling_interval_and_the_whole_time_to_confirm(
    transactions: TransactionHouse,
) -> None:
    """cmp.md C73, C76: it hears of the certificate at its next poll only."""
    pending = await transactions.submit(transactions.message(Device(), endpoint="slow"))
    assert isinstance(pending, Pending)
    approve(transactions.store, pending.request_id, "cli:anna", clock=transactions.clock)
    async with transactions.at_work():
        await transactions.reaches(pending.request_id, State.UNCONFIRMED)
    issued = await transactions.outcome_of(endpoint="slow")
    assert isinstance(issued, Issued)
    waits_s = pending.retry_after_s + CONFIRM_WITHIN_S
    assert issued.confirm_by == transactions.clock.now() + timedelta(seconds=waits_s)
    transactions.clock.advance(seconds=waits_s)
    assert await transactions.confirm(endpoint="slow") is Confirmation.DONE


async def test_certificate_of_a_slow_ca_waits_for_its_confirmation(transactions: TransactionHouse) -> None:
    transactions.foreign.ca.switches.pending = 2
    pending = await transactions.submit(transactions.message(Device(), endpoint="remote"))
    assert isinstance(pending, Pending)
    async with transactions.at_work():
        await transactions.reaches(pending.request_id, State.UNCONFIRMED, seconds=2)
    assert await transactions.confirm(endpoint="remote") is Confirmation.DONE


async def test_unconfirmed_certificate_whose_job_was_lost_is_withdrawn_by_the_sweep(
    transactions: TransactionHouse,
) -> None:
    issued = await _issued(transactions)
    later = transactions.clock.now() + timedelta(hours=1)
    (lost,) = await jobs.claim(transactions.store.recorder, [CONFIRM_JOB], "killed", later)
    unit = Unit()
    jobs.finish(unit, lost)
    await transactions.store.recorder.commit(unit)
    transactions.clock.advance(seconds=CONFIRM_WITHIN_S + 60)
    await transactions.work.sweep()
    assert await _waits(transactions) == []
    transactions.clock.advance(minutes=2)
    async with transactions.at_work():
        await transactions.reaches(issued.request_id, State.WITHDRAWN)


async def test_sweep_after_a_long_stop_leaves_alone_what_has_its_job(
    transactions: TransactionHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start the sweep comes before the jobs: a certificate that is overdue then was not lost."""
    await _issued(transactions)
    transactions.clock.advance(days=1)
    await transactions.work.sweep()
    assert "request.stranded" not in caplog.text


async def test_job_of_a_submission_leaves_an_unconfirmed_certificate_alone(
    transactions: TransactionHouse,
) -> None:
    issued = await _issued(transactions, endpoint="remote", confirm_within_s=3600)
    transactions.clock.advance(minutes=10)
    (job,) = [job for job in await transactions.jobs() if job.kind == "settle"]
    assert await transactions.work.settle(job) is None
    assert (await transactions.row(issued.request_id)).state is State.UNCONFIRMED


# -- work done --


@pytest.mark.parametrize("each_database", ["sqlite"], indirect=True)
async def test_enrolment_and_confirmation_take_one_read_and_one_commit_each(
    transactions: TransactionHouse,
) -> None:
    """cmp.md E: "ir needs 1 durable write before answering, certConf 1"."""
    await _issued(transactions, transaction="before")
    message = transactions.message(Device())
    seen = await _work(transactions, transactions.submit(message))
    assert seen == (["credential", "request", "certificate", "certificate"], 1)
    assert await _work(transactions, transactions.confirm()) == (["request", "certificate"], 1)
    assert await _work(transactions, transactions.confirm()) == (["request"], 0)
    assert await _work(transactions, transactions.submit(message)) == (
        ["credential", "request", "certificate", "chain", "certificate", "certificate"],
        0,
    )


async def _work(house: TransactionHouse, asked: Any) -> tuple[list[str], int]:
    """The tables that are read, and the transactions that are written."""
    seen: list[str] = []

    def note(statement: str) -> None:
        seen.append(statement.split("FROM ")[1].split()[0])

    before = house.store.recorder.counts.transactions
    await house.store.reader.read(lambda connection: driver_of(connection).set_trace_callback(note))
    await asked
    await house.store.reader.read(lambda connection: driver_of(connection).set_trace_callback(None))
    return seen, house.store.recorder.counts.transactions - before
