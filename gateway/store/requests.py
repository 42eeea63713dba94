"""Rows of recorded requests. Which state may follow which is ``gateway.enrolment``'s business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypedDict, Unpack

from sqlalchemy import Connection, Select, and_, bindparam, exists, func, or_, select, text, update

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.model.ids import id_ending
from gateway.model.outcome import State
from gateway.store.columns import (
    json_object,
    json_text,
    optional_time,
    storable_text,
    texts,
    texts_column,
    time_column,
)
from gateway.store.schema import JOB, REQUEST
from gateway.store.statement import INSERT_RANK, Column, Statement
from gateway.store.unit import Unit

_CLOSED = frozenset({State.ISSUED, State.REFUSED, State.WITHDRAWN})
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's yes."""

    actor: str
    at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request as it is recorded.

    ``sans`` are texts such as ``dns:a.test``. ``plan``, ``decision`` and ``remote`` are JSON objects whose
    form their writers fix. ``correlation`` is None for messages that never became a request; ``version``
    counts the moves; ``answers_until`` is how long a closed request answers repeats (of an open one see
    ``enrolment.record.grace_of``). ``transaction_id`` is the protocol's own name of the request (an ACME
    order's id). ``content_sha256`` names what came, in hex, None where content tells nothing.
    ``confirm_within_s``: the requester must confirm its certificate; ``confirm_by`` is set with it, and
    ``confirmed_by_sha256`` names the message that confirmed or declined it.
    """

    id: str
    state: State
    protocol: str
    endpoint: str
    operation: str
    received_at: datetime
    updated_at: datetime
    reason_id: str | None = None
    correlation: str | None = None
    version: int = 1
    identity: str = "anonymous"
    identity_label: str = "anonymous"
    subject: str = ""
    sans: tuple[str, ...] = ()
    spki_sha256: str | None = None
    csr_der: bytes | None = None
    renews_sha256: str | None = None
    policy: str | None = None
    bundle_sha256: str | None = None
    backend: str | None = None
    profile: str | None = None
    plan: Json | None = None
    decision: Json | None = None
    remote: Json | None = None
    ca_handle: str | None = None
    approvals: tuple[Approval, ...] = ()
    approvals_required: int = 0
    expires_at: datetime | None = None
    retry_after_s: int | None = None
    certificate_sha256: str | None = None
    closed_at: datetime | None = None
    answers_until: datetime | None = None
    transaction_id: str | None = None
    content_sha256: str | None = None
    confirm_within_s: int | None = None
    confirm_by: datetime | None = None
    confirmed_by_sha256: str | None = None


class RequestChanges(TypedDict, total=False):
    """Columns that a move may change besides state, version and times."""

    reason_id: str | None
    policy: str | None
    bundle_sha256: str | None
    backend: str | None
    profile: str | None
    plan: Json | None
    decision: Json | None
    ca_handle: str | None
    approvals: tuple[Approval, ...]
    approvals_required: int
    expires_at: datetime | None
    retry_after_s: int | None
    certificate_sha256: str | None
    answers_until: datetime | None
    confirm_by: datetime | None
    confirmed_by_sha256: str | None


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Newest first; ``next_before_id`` continues, None at the end."""

    rows: tuple[RequestRow, ...]
    next_before_id: str | None


def insert(unit: Unit, row: RequestRow) -> None:
    """Add a request. Commit raises Conflict if its id is known or its correlation is open already."""
    unit.insert(
        REQUEST,
        {
            "id": row.id,
            "reason_id": row.reason_id,
            "correlation": row.correlation,
            "state": row.state.value,
            "version": row.version,
            "protocol": storable_text(row.protocol),
            "endpoint": storable_text(row.endpoint),
            "operation": storable_text(row.operation),
            "identity": storable_text(row.identity),
            "identity_label": storable_text(row.identity_label),
            "subject": storable_text(row.subject),
            "sans": texts_column(row.sans),
            "spki_sha256": row.spki_sha256,
            "csr_der": row.csr_der,
            "renews_sha256": row.renews_sha256,
            "policy": row.policy,
            "bundle_sha256": row.bundle_sha256,
            "backend": row.backend,
            "profile": row.profile,
            "plan": _optional_json(row.plan),
            "decision": _optional_json(row.decision),
            "remote": json_text(row.remote or {}),
            "ca_handle": row.ca_handle,
            "approvals": _approvals_column(row.approvals),
            "approvals_required": row.approvals_required,
            "expires_at": time_column(row.expires_at),
            "retry_after_s": row.retry_after_s,
            "certificate_sha256": row.certificate_sha256,
            "received_at": to_epoch_s(row.received_at),
            "updated_at": to_epoch_s(row.updated_at),
            "closed_at": time_column(row.closed_at or (row.updated_at if row.state in _CLOSED else None)),
            "answers_until": time_column(row.answers_until),
            "transaction_id": None if row.transaction_id is None else storable_text(row.transaction_id),
            "content_sha256": row.content_sha256,
            "confirm_within_s": row.confirm_within_s,
            "confirm_by": time_column(row.confirm_by),
            "confirmed_by_sha256": row.confirmed_by_sha256,
        },
    )


def move(
    unit: Unit,
    request_id: str,
    from_version: int,
    to_state: State,
    *,
    from_state: State,
    at: datetime,
    **changes: Unpack[RequestChanges],
) -> None:
    """Change a request if it still has this version and state; the version goes up by one.

    ``to_state`` may equal ``from_state`` (an approval more, another Retry-After). Commit raises Conflict
    where somebody else moved it first.
    """
    columns = tuple(sorted(changes))
    values: dict[str, Column] = {f"new_{name}": _change(name, changes.get(name)) for name in columns}
    at_s = to_epoch_s(at)
    values.update(
        request_id=request_id,
        from_version=from_version,
        from_state=from_state.value,
        new_version=from_version + 1,
        new_state=to_state.value,
        new_updated_at=at_s,
        new_closed_at=at_s if to_state in _CLOSED else None,
    )
    unit.move(_move_statement(columns), values)


def get(connection: Connection, id_or_reason_id: str) -> RequestRow | None:
    """By request id, or by the short id that a client was shown (the newest, should two be alike)."""
    query = _BY_REASON_ID if id_or_reason_id.startswith("PG-") else _BY_ID
    row = query.first(connection, key=id_or_reason_id)
    if row is None and (ending := id_ending(id_or_reason_id)) is not None:
        # Only refused requests keep it; one that waits, or has waited, is looked for among all ids.
        row = _BY_ENDING.first(connection, ending=f"%{ending}")
    return None if row is None else _row(row)


def by_correlation(connection: Connection, correlation: str) -> RequestRow | None:
    """The request that holds this correlation: the open one, else the newest closed one not retired."""
    row = _BY_CORRELATION.first(connection, correlation=correlation)
    return None if row is None else _row(row)


def retire(unit: Unit, request_id: str) -> None:
    """Take its correlation from a closed request, so that a new one can have it in the same unit.

    Commit raises Conflict where somebody else did so first.
    """
    unit.move(_RETIRE, {"request_id": request_id})


def search(
    connection: Connection,
    *,
    state: State | None = None,
    protocol: str | None = None,
    endpoint: str | None = None,
    transaction_id: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
    before_id: str | None = None,
) -> RequestPage:
    """Pages of requests, newest first; every filter that is given must hold."""
    query: Select[Any] = select(*_COLUMNS).order_by(REQUEST.c.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(REQUEST.c.state == state.value)
        if state not in _CLOSED:
            query = query.where(REQUEST.c.closed_at.is_(None))  # the partial index holds few rows
    for column, wanted in (
        (REQUEST.c.protocol, protocol),
        (REQUEST.c.endpoint, endpoint),
        (REQUEST.c.transaction_id, transaction_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(REQUEST.c.received_at >= to_epoch_s(since))
    if before_id is not None:
        query = query.where(REQUEST.c.id < before_id)
    found = connection.execute(query).all()
    rows = tuple(_row(row) for row in found[:limit])
    return RequestPage(rows, rows[-1].id if len(found) > limit else None)


def stranded(
    connection: Connection,
    kinds: Sequence[str],
    *,
    idle_since_s: int,
    expired_at_s: int,
    limit: int = 100,
) -> tuple[RequestRow, ...]:
    """Open requests that nobody will go on with: no job of these kinds is about them.

    They are on their way to a CA, or have all their approvals, and were not moved after ``idle_since_s``; or
    they waited for approval, or for confirmation, until ``expired_at_s`` at the latest.
    """
    c = REQUEST.c
    idle = c.updated_at <= idle_since_s
    under_way = and_(c.state.in_([State.SUBMITTING.value, State.AWAITING_CA.value]), idle)
    # Every approval is a move, so that the version counts them.
    approved = and_(c.version > c.approvals_required, idle)
    waiting = and_(c.state == State.AWAITING_APPROVAL.value, or_(approved, c.expires_at <= expired_at_s))
    unconfirmed = and_(c.state == State.UNCONFIRMED.value, c.confirm_by <= expired_at_s)
    active = and_(JOB.c.kind.in_(kinds), JOB.c.dedup_key == c.id, text("job.state IN ('ready', 'running')"))
    query = (
        select(*_COLUMNS)
        .where(c.closed_at.is_(None), or_(under_way, waiting, unconfirmed), ~exists().where(active))
        .order_by(c.pk)
        .limit(limit)
    )
    return tuple(_row(row) for row in connection.execute(query))


_COLUMNS = tuple(column for column in REQUEST.c if column.name != "pk")
_BY_ID = Statement(select(*_COLUMNS).where(REQUEST.c.id == bindparam("key")), ("key",))
_BY_REASON_ID = Statement(
    select(*_COLUMNS)
    .where(REQUEST.c.reason_id == bindparam("key"), REQUEST.c.reason_id.is_not(None))
    .order_by(REQUEST.c.pk.desc()),
    ("key",),
)
_NEWEST_ENDING = (
    select(func.max(REQUEST.c.pk)).where(REQUEST.c.id.like(bindparam("ending"))).scalar_subquery()
)
_BY_ENDING = Statement(select(*_COLUMNS).where(REQUEST.c.pk == _NEWEST_ENDING), ("ending",))
_BY_CORRELATION = Statement(
    select(*_COLUMNS).where(REQUEST.c.correlation == bindparam("correlation")), ("correlation",)
)
_RETIRE = Statement(
    update(REQUEST)
    .where(
        REQUEST.c.id == bindparam("request_id"),
        REQUEST.c.correlation.is_not(None),
        REQUEST.c.closed_at.is_not(None),
    )
    .values(correlation=None),
    ("request_id",),
    rank=INSERT_RANK - 2,
)


@cache
def _move_statement(columns: tuple[str, ...]) -> Statement:
    changed = (*columns, "version", "state", "updated_at", "closed_at")
    clause = (
        update(REQUEST)
        .where(
            REQUEST.c.id == bindparam("request_id"),
            REQUEST.c.version == bindparam("from_version"),
            REQUEST.c.state == bindparam("from_state"),
        )
        .values({name: bindparam(f"new_{name}", type_=REQUEST.c[name].type) for name in changed})
    )
    names = [f"new_{name}" for name in changed]
    return Statement(clause, (*names, "request_id", "from_version", "from_state"))


def _change(name: str, value: object) -> Column:
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, datetime):
        return to_epoch_s(value)
    if isinstance(value, Mapping):
        return json_text(value)
    if name == "approvals" and isinstance(value, tuple):
        return _approvals_column(value)
    raise TypeError(f"{name} cannot hold {type(value).__name__}")


def _optional_json(value: Json | None) -> str | None:
    return None if value is None else json_text(value)


def _approvals_column(approvals: Sequence[Approval]) -> str:
    return json_text(
        {"items": [{"actor": a.actor, "at": to_epoch_s(a.at), "note": a.note} for a in approvals]}
    )


def _approvals(column: str) -> tuple[Approval, ...]:
    items: Any = json_object(column)["items"]
    return tuple(Approval(item["actor"], from_epoch_s(item["at"]), item["note"]) for item in items)


def _row(row: Any) -> RequestRow:
    values = dict(zip(_NAMES, row, strict=True))
    for name in ("expires_at", "closed_at", "answers_until", "received_at", "updated_at", "confirm_by"):
        values[name] = optional_time(values[name])
    for name in ("plan", "decision", "remote"):
        if values[name] is not None:
            values[name] = json_object(values[name])
    values["state"] = State(values["state"])
    values["sans"] = texts(values["sans"])
    values["approvals"] = _approvals(values["approvals"])
    return RequestRow(**values)


_NAMES = tuple(column.name for column in _COLUMNS)
