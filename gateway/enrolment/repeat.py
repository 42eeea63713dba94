"""Answers to a message that came before: it is told what its request has become (decisions: "Enrolment")."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from sqlalchemy import Connection

from gateway.clock import to_epoch_s
from gateway.enrolment import record
from gateway.enrolment.approval import SYSTEM, expired_reason, overdue, refuse_waiting
from gateway.enrolment.closing import in_doubt
from gateway.enrolment.confirmation import time_is_up, withdraw_late
from gateway.enrolment.gather import Earlier, answers, find_earlier
from gateway.errors import Conflict
from gateway.model.enrolment import Correlation, Differing
from gateway.model.ids import RequestId
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from gateway.store import progress
from gateway.store.progress import Progress
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

CA_RETRY_S = 5
_IN_USE = Reason(
    ReasonCode.TRANSACTION_IN_USE,
    "another message began this transaction with other content; begin a transaction of your own",
    rule="transaction",
)
_ANSWERED = Reason(
    ReasonCode.TRANSACTION_IN_USE,
    "this very message was answered long ago; begin a new transaction with a message of its own",
    rule="transaction",
)
_WITHDRAWN = Reason(ReasonCode.BACKEND_REFUSED, "the certificate was not confirmed and has been withdrawn")


def transaction_reason(earlier: Earlier | None, correlation: Correlation, now: datetime) -> Reason | None:
    """Why this message must not take part in the transaction that an earlier one began; None: it may.

    Where content tells, whoever kept a message must not get a second certificate by it once it is no longer
    answered as a repeat.
    """
    if earlier is None or correlation.differing is not Differing.REFUSE:
        return None
    if answers(earlier.row, to_epoch_s(now)):
        return _IN_USE if _differs(earlier, correlation) else None
    return None if _differs(earlier, correlation) else _ANSWERED


def unconfirmed_reason(until: datetime) -> Reason:
    """Why a certificate is not renewed while another renewal of it waits (RFC 9810 section 5.3.5)."""
    text = (
        f"another renewal of this certificate waits until {until:%Y-%m-%dT%H:%M:%SZ} for its confirmation; "
        "confirm or decline that one first"
    )
    return Reason(ReasonCode.TRANSACTION_IN_USE, text, "renews", rule="transaction")


async def answer_again(
    store: Store, earlier: Earlier | None, correlation: Correlation, now: datetime
) -> Outcome | None:
    """The answer to a repeat, or None if the message is to be judged as a new request.

    A correlation without identity is the protocol's own transaction, which as long as it answers gives no
    second certificate to the same message, even after the first was revoked. ``transaction_reason`` comes
    first. Raises StoreUnavailable.
    """
    if earlier is None or not answers(earlier.row, to_epoch_s(now)):
        return None
    row, transaction = earlier.row, not correlation.with_identity
    if correlation.differing is not Differing.REPEAT and _differs(earlier, correlation):
        # While the earlier request is open, whatever comes is a poll.
        return await what_became(store, earlier, now) if row.closed_at is None else None
    match row.state:
        case State.ISSUED | State.UNCONFIRMED if not (transaction or earlier.certificate_good):
            return None
        case State.WITHDRAWN if not transaction:
            return None
        case _:
            return await what_became(store, earlier, now)


def _differs(earlier: Earlier, correlation: Correlation) -> bool:
    return earlier.row.content_sha256 != correlation.content_sha256


async def what_became(store: Store, earlier: Earlier, now: datetime) -> Outcome:
    """What a recorded request has become, however long ago. Raises StoreUnavailable."""
    row = earlier.row
    request_id = RequestId(row.id)
    match row.state:
        case State.ISSUED | State.UNCONFIRMED:
            if earlier.certificate is None:
                return under_work(request_id)
            if row.state is State.UNCONFIRMED and time_is_up(row, now):
                return await _withdrawn(store, row, now)
            confirm_by = row.confirm_by if row.state is State.UNCONFIRMED else None
            return Issued(request_id, earlier.certificate.certificate_der, earlier.chain_der, confirm_by)
        case State.REFUSED:
            return Refused(request_id, record.reasons_of(row))
        case State.WITHDRAWN:
            return Refused(request_id, (_WITHDRAWN,))
        case State.AWAITING_APPROVAL:
            if overdue(row, now):
                return await _expired(store, row, now)
            return Pending(request_id, "approval", row.retry_after_s or CA_RETRY_S)
        case State.SUBMITTING | State.AWAITING_CA:
            return Pending(request_id, "ca", row.retry_after_s or CA_RETRY_S)
        case State.IN_DOUBT:
            return in_doubt(row)
        case _:
            assert_never(row.state)


async def outcomes_by_correlation(
    store: Store, hashes: Sequence[str], now: datetime
) -> tuple[Outcome | None, ...]:
    """What the requests with these correlations have become, in one read; None where there is none.

    Raises StoreUnavailable.
    """

    def find(connection: Connection) -> list[Issued | Earlier | None]:
        there = progress.by_correlations(connection, hashes)
        return [
            _issued(there[one], now) or find_earlier(connection, one) if one in there else None
            for one in hashes
        ]

    found = await store.reader.read(find)
    return tuple([await what_became(store, one, now) if isinstance(one, Earlier) else one for one in found])


def _issued(found: Progress, now: datetime) -> Issued | None:
    """None also where its confirmation is overdue: then it is to be withdrawn first."""
    confirm_by = found.confirm_by if found.state is State.UNCONFIRMED else None
    in_time = found.state is State.ISSUED or (confirm_by is not None and confirm_by >= now)
    if found.certificate_der is None or not in_time:
        return None
    return Issued(RequestId(found.request_id), found.certificate_der, found.chain_der, confirm_by)


def under_work(request_id: RequestId | None = None) -> Unavailable:
    """What is said while the same request changes under our hands; with its id it is on record."""
    reason = Reason(ReasonCode.OVERLOADED, "the same request is being worked on; ask again")
    return Unavailable(reason, 1, request_id)


async def _withdrawn(store: Store, row: RequestRow, now: datetime) -> Outcome:
    """Withdraw what was not confirmed in time, since the job that does so is late."""
    try:
        await withdraw_late(store, row, now)
    except Conflict:
        return under_work(RequestId(row.id))
    return Refused(RequestId(row.id), (_WITHDRAWN,))


async def _expired(store: Store, row: RequestRow, now: datetime) -> Outcome:
    """Refuse what nobody approved in time, since the job that does so is late."""
    reason, unit = expired_reason(row), Unit()
    refuse_waiting(unit, row, reason, SYSTEM, now)
    try:
        await store.recorder.commit(unit)
    except Conflict:
        return under_work(RequestId(row.id))
    return Refused(RequestId(row.id), (reason,))
