"""An operator's way out of doubt: a CA may have issued, cannot be asked, and a person has looked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gateway.clock import Clock, SystemClock
from gateway.enrolment import record
from gateway.enrolment.approval import MAX_NOTE, with_person
from gateway.enrolment.closing import SETTLE_JOB
from gateway.enrolment.settle import NOT_ACTED
from gateway.errors import Conflict, NotFound
from gateway.model.ids import reason_id
from gateway.model.outcome import State
from gateway.model.reasons import Reason, ReasonCode
from gateway.store import jobs, requests
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit


def order_again(
    store: Store, request_id: str, actor: str, note: str = "", *, clock: Clock | None = None
) -> RequestRow:
    """The CA has not issued: a worker sends the order anew.

    Raises NotFound, Conflict where the request is not in doubt, and StoreUnavailable.
    """
    now = (clock or SystemClock()).now()
    row = _in_doubt(store, request_id)
    decision = with_person(row, "settled: order again", actor, note, now)
    unit = Unit()
    requests.move(
        unit,
        row.id,
        row.version,
        State.SUBMITTING,
        from_state=State.IN_DOUBT,
        at=now,
        ca_handle=NOT_ACTED,
        decision=decision,
    )
    jobs.enqueue(unit, SETTLE_JOB, row.id, {"request_id": row.id}, now)
    jobs.hasten(unit, SETTLE_JOB, row.id, now)  # the one of the first order may still wait
    unit.audit(record.event(row, "request.settle", actor=actor, by="retry", note=note[:MAX_NOTE]))
    store.recorder.commit_blocking(unit)
    return _moved(row, State.SUBMITTING, now, decision)


def end_without_certificate(
    store: Store, request_id: str, actor: str, note: str = "", *, clock: Clock | None = None
) -> RequestRow:
    """The request is over; a device that asks again begins a new one. Raises as ``order_again``."""
    now = (clock or SystemClock()).now()
    row = _in_doubt(store, request_id)
    reason = Reason(
        ReasonCode.BACKEND_REFUSED, "the CA's answer to this request was lost and it was ended; ask again"
    )
    decision = with_person(row, "settled: refused", actor, note, now)
    decision["reasons"] = record.reasons_json((reason,))
    unit = Unit()
    requests.move(
        unit,
        row.id,
        row.version,
        State.REFUSED,
        from_state=State.IN_DOUBT,
        at=now,
        reason_id=reason_id(row.id),
        decision=decision,
        answers_until=now + (record.grace_of(row) or timedelta()),
    )
    unit.audit(record.event(row, "request.settle", "refused", actor=actor, by="refuse", note=note[:MAX_NOTE]))
    store.recorder.commit_blocking(unit)
    return replace(_moved(row, State.REFUSED, now, decision), reason_id=reason_id(row.id), closed_at=now)


def _in_doubt(store: Store, request_id: str) -> RequestRow:
    row = store.reader.read_blocking(lambda connection: requests.get(connection, request_id))
    if row is None:
        raise NotFound(f"there is no request {request_id}")
    if row.state is not State.IN_DOUBT:
        raise Conflict(f"request {row.id} is not in doubt: it is {row.state}")
    return row


def _moved(row: RequestRow, state: State, now: datetime, decision: dict[str, object]) -> RequestRow:
    return replace(row, state=state, version=row.version + 1, updated_at=now, decision=decision)
