"""Answers to a message that came before: it is told what its request has become (decisions: "Enrolment")."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from gateway.clock import to_epoch_s
from gateway.enrolment import record
from gateway.enrolment.approval import SYSTEM, expired_reason, overdue, refuse_waiting
from gateway.enrolment.closing import in_doubt
from gateway.enrolment.gather import Earlier, answers
from gateway.errors import Conflict
from gateway.model.ids import RequestId
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import Reason, ReasonCode
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
