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
from gateway.enrolment.gather import Earlier, answers, find_earlier
from gateway.errors import Conflict
from gateway.model.ids import RequestId
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from gateway.store import progress
from gateway.store.progress import Progress
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

CA_RETRY_S = 5
_WITHDRAWN = Reason(ReasonCode.BACKEND_REFUSED, "the certificate was not confirmed and has been withdrawn")


async def answer_again(
    store: Store, earlier: Earlier | None, now: datetime, *, transaction: bool = False
) -> Outcome | None:
    """The answer to a repeat, or None if the message is to be judged as a new request.

    ``transaction``: its correlation is the protocol's own transaction, which never gives a second
    certificate, even after the first was revoked. Raises StoreUnavailable.
    """
    if earlier is None or not answers(earlier.row, to_epoch_s(now)):
        return None
    match earlier.row.state:
        case State.ISSUED | State.UNCONFIRMED if not (transaction or earlier.certificate_good):
            return None
        case State.WITHDRAWN:
            return None
        case _:
            return await what_became(store, earlier, now)


async def what_became(store: Store, earlier: Earlier, now: datetime) -> Outcome:
    """What a recorded request has become, however long ago. Raises StoreUnavailable."""
    row = earlier.row
    request_id = RequestId(row.id)
    match row.state:
        case State.ISSUED | State.UNCONFIRMED:
            if earlier.certificate is None:
                return under_work()
            return Issued(request_id, earlier.certificate.certificate_der, earlier.chain_der)
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
            _issued(there[one]) or find_earlier(connection, one) if one in there else None for one in hashes
        ]

    found = await store.reader.read(find)
    return tuple([await what_became(store, one, now) if isinstance(one, Earlier) else one for one in found])


def _issued(found: Progress) -> Issued | None:
    if found.state is not State.ISSUED or found.certificate_der is None:
        return None
    return Issued(RequestId(found.request_id), found.certificate_der, found.chain_der)


def under_work() -> Unavailable:
    """What is said while the same request changes under our hands."""
    return Unavailable(Reason(ReasonCode.OVERLOADED, "the same request is being worked on; ask again"), 1)


async def _expired(store: Store, row: RequestRow, now: datetime) -> Outcome:
    """Refuse what nobody approved in time, since the job that does so is late."""
    reason, unit = expired_reason(row), Unit()
    refuse_waiting(unit, row, reason, SYSTEM, now)
    try:
        await store.recorder.commit(unit)
    except Conflict:
        return under_work()
    return Refused(RequestId(row.id), (reason,))
