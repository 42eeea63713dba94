"""People's decisions on parked requests. CLI and API only write; a worker's leased job issues."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gateway.clock import Clock, SystemClock
from gateway.enrolment import record
from gateway.enrolment.reserve import give_back
from gateway.errors import Conflict, NotFound
from gateway.model.ids import reason_id
from gateway.model.outcome import State
from gateway.model.reasons import Reason, ReasonCode
from gateway.store import jobs, requests
from gateway.store.requests import Approval, RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

APPROVED_JOB = "issue-approved"
EXPIRE_JOB = "expire-approval"
REJECTION_ANSWERS = timedelta(days=7)  # a device that still polls hears why, instead of asking people again
MAX_NOTE = 500
SYSTEM = "system"


def approve(
    store: Store, request_id: str, actor: str, note: str = "", *, clock: Clock | None = None
) -> RequestRow:
    """Add one person's approval; with the last one that is needed, the request is queued for issue.

    Raises NotFound, Conflict where the request no longer waits or this person has approved already, and
    StoreUnavailable.
    """
    now = (clock or SystemClock()).now()
    row = _waiting(store, request_id, now)
    if any(given.actor == actor for given in row.approvals):
        raise Conflict(f"{actor} has approved this request already; another person must approve it")
    approvals = (*row.approvals, Approval(actor, now, note[:MAX_NOTE]))
    unit = Unit()
    requests.move(
        unit,
        row.id,
        row.version,
        State.AWAITING_APPROVAL,
        from_state=State.AWAITING_APPROVAL,
        at=now,
        approvals=approvals,
    )
    unit.audit(record.event(row, "request.approve", actor=actor, note=note[:MAX_NOTE]))
    if len(approvals) >= row.approvals_required:
        jobs.enqueue(unit, APPROVED_JOB, row.id, {"request_id": row.id}, now)
    store.recorder.commit_blocking(unit)
    return replace(row, approvals=approvals, version=row.version + 1, updated_at=now)


def reject(
    store: Store, request_id: str, actor: str, note: str = "", *, clock: Clock | None = None
) -> RequestRow:
    """Refuse a waiting request for good. Raises as ``approve``."""
    now = (clock or SystemClock()).now()
    row = _waiting(store, request_id, now)
    # The note is for the record: it may name people and reasons that are no business of the device.
    reason = Reason(ReasonCode.APPROVAL_REJECTED, "a person refused this request", rule=row.policy or "")
    unit = Unit()
    row = replace(row, decision=with_person(row, "rejected", actor, note, now))
    refused = refuse_waiting(unit, row, reason, actor, now, note=note[:MAX_NOTE])
    store.recorder.commit_blocking(unit)
    return refused


def with_person(row: RequestRow, what: str, actor: str, note: str, now: datetime) -> dict[str, object]:
    """The row's decision with one more line of what a person did about it."""
    decision: dict[str, object] = {**(row.decision or {})}
    earlier = decision.get("people")
    done = {"what": what, "actor": actor, "at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "note": note[:MAX_NOTE]}
    decision["people"] = [*(earlier if isinstance(earlier, list) else ()), done]
    return decision


def refuse_waiting(
    unit: Unit, row: RequestRow, reason: Reason, actor: str, now: datetime, *, note: str = ""
) -> RequestRow:
    """Add the refusal of a request that waits for approval; repeats hear the reason for a week."""
    give_back(unit, row)
    decision = {**(row.decision or {}), "reasons": record.reasons_json((reason,))}
    answers_until = now + max(REJECTION_ANSWERS, record.grace_of(row) or REJECTION_ANSWERS)
    short_id = reason_id(row.id)
    requests.move(
        unit,
        row.id,
        row.version,
        State.REFUSED,
        from_state=State.AWAITING_APPROVAL,
        at=now,
        reason_id=short_id,
        decision=decision,
        answers_until=answers_until,
    )
    event = record.event(row, "request.reject", "refused", actor=actor, why=reason.message, note=note)
    unit.audit(event)
    return replace(
        row,
        state=State.REFUSED,
        version=row.version + 1,
        reason_id=short_id,
        decision=decision,
        updated_at=now,
        closed_at=now,
        answers_until=answers_until,
    )


def _waiting(store: Store, request_id: str, now: datetime) -> RequestRow:
    row = store.reader.read_blocking(lambda connection: requests.get(connection, request_id))
    if row is None:
        raise NotFound(f"there is no request {request_id}")
    if row.state is not State.AWAITING_APPROVAL:
        raise Conflict(f"request {row.id} does not wait for approval: it is {row.state}")
    if len(row.approvals) >= row.approvals_required:
        raise Conflict(f"request {row.id} has all its approvals and is about to be issued")
    if row.expires_at is not None and row.expires_at <= now:
        raise Conflict(f"request {row.id} waited until {row.expires_at:%Y-%m-%d %H:%M}Z and has expired")
    return row


def overdue(row: RequestRow, now: datetime) -> bool:
    """Whether a waiting request has missed its time; one with all its approvals has not."""
    if row.expires_at is None or len(row.approvals) >= row.approvals_required:
        return False
    return row.expires_at <= now


def expired_reason(row: RequestRow) -> Reason:
    """What a device hears whose request nobody approved in time."""
    until = f"{row.expires_at:%Y-%m-%d %H:%M}Z" if row.expires_at else "now"
    return Reason(ReasonCode.APPROVAL_EXPIRED, f"nobody approved this request until {until}; ask again")
