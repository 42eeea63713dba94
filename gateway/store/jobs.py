"""Work for later: one active job per kind and key, done at least once by whichever worker leases it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, text, update

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.model.ids import new_id
from gateway.store.columns import json_object, json_text, storable_text
from gateway.store.leased import LeasedTable, after_failure, error_text
from gateway.store.recorder import Recorder
from gateway.store.schema import JOB
from gateway.store.statement import INSERT_RANK, Column, Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_keep

MAX_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Job:
    """``state``: ready, running, done or failed. ``args`` are what JSON can hold."""

    id: str
    kind: str
    dedup_key: str
    args: Mapping[str, object]
    state: str
    run_at: datetime
    attempts: int
    max_attempts: int
    lease_owner: str | None
    lease_until: datetime | None
    last_error: str | None


def enqueue(
    unit: Unit,
    kind: str,
    dedup_key: str,
    args: Mapping[str, object],
    run_at: datetime,
    *,
    max_attempts: int = MAX_ATTEMPTS,
) -> None:
    """Add a job, unless one of this kind and key waits or runs already."""
    unit.move(
        _ENQUEUE,
        {
            "id": new_id(),
            "kind": kind,
            "dedup_key": dedup_key,
            "args": json_text(args),
            "state": "ready",
            "run_at": to_epoch_s(run_at),
            "attempts": 0,
            "max_attempts": max_attempts,
            "lease_owner": None,
            "lease_until": None,
            "last_error": None,
        },
    )


def hasten(unit: Unit, kind: str, dedup_key: str, run_at: datetime) -> None:
    """Let a waiting job run at this time already; one that runs or is due earlier is left alone."""
    unit.move(_HASTEN, {"kind_was": kind, "key_was": dedup_key, "new_run_at": to_epoch_s(run_at)})


def postpone(unit: Unit, kind: str, dedup_key: str, run_at: datetime) -> None:
    """Let a waiting job run at this time only; one that runs or is due later is left alone."""
    unit.move(_POSTPONE, {"kind_was": kind, "key_was": dedup_key, "new_run_at": to_epoch_s(run_at)})


def withdraw(unit: Unit, kind: str, dedup_key: str) -> None:
    """Remove a job that nobody has begun: its work is done in this unit. One that runs is left alone."""
    unit.move(_WITHDRAW, {"kind_was": kind, "key_was": dedup_key})


def due(connection: Connection, kinds: Sequence[str], now: datetime) -> bool:
    """Whether there is anything to claim: a read, so that an idle worker never takes the write lock."""
    return _LEASED.due(connection, kinds=kinds, now_s=to_epoch_s(now))


async def claim(
    recorder: Recorder, kinds: Sequence[str], owner: str, now: datetime, *, lease_s: int = 60, limit: int = 10
) -> tuple[Job, ...]:
    """Take due jobs for ``lease_s`` seconds; ``owner`` names this worker. Raises StoreUnavailable."""

    def take(connection: Connection) -> list[Any]:
        return _LEASED.claim(
            connection, kinds=kinds, owner=owner, now_s=to_epoch_s(now), lease_s=lease_s, limit=limit
        )

    return tuple(_job(row) for row in await recorder.run(take))


def finish(unit: Unit, job: Job) -> None:
    """Commit raises Conflict if the lease ran out and somebody else has the job now."""
    unit.move(_LEASED.finish, {"row_id": job.id, "owner": job.lease_owner})


def fail(unit: Unit, job: Job, error: str, now: datetime) -> None:
    """Put a job back with a back-off, or give it up after its last attempt. Conflict as ``finish``."""
    state, run_at_s = after_failure(job.attempts, job.max_attempts, to_epoch_s(now))
    unit.move(
        _LEASED.put_back,
        {
            "row_id": job.id,
            "owner": job.lease_owner,
            "new_state": state,
            "new_run_at": run_at_s,
            "error": error_text(storable_text(error)),
        },
    )


def put_back(unit: Unit, job: Job, run_at: datetime, *, error: str = "") -> None:
    """Let a job that could only wait run again; its attempts count anew. Conflict as ``finish``."""
    unit.move(
        _LEASED.wait,
        {
            "row_id": job.id,
            "owner": job.lease_owner,
            "new_run_at": to_epoch_s(run_at),
            "error": error_text(storable_text(error)) or None,
        },
    )


def running(connection: Connection, now: datetime) -> tuple[Job, ...]:
    """Jobs that somebody leased until now."""
    rows = connection.execute(_RUNNING.where(JOB.c.run_at <= to_epoch_s(now)))
    return tuple(_job(row) for row in rows)


def shorten_lease(unit: Unit, job: Job, until: datetime, attempts: int) -> None:
    """Let the lease of a dead holder end at this time, and the job be one that had so many attempts.

    Nothing happens if the lease ends earlier, or somebody else has the job now.
    """
    values: dict[str, Column] = {"row_id": job.id, "owner": job.lease_owner, "new_attempts": attempts}
    unit.move(_SHORTEN, {**values, "new_until": to_epoch_s(until)})


def waiting(connection: Connection, kind: str) -> dict[str, Mapping[str, object]]:
    """Arguments, by key, of the jobs of one kind that nobody has begun."""
    return {key: json_object(args) for key, args in _WAITING.all(connection, kind_is=kind)}


def search(
    connection: Connection, *, state: str | None = None, kind: str | None = None, limit: int = 200
) -> tuple[Job, ...]:
    """Jobs, newest first."""
    query = select(*(JOB.c[name] for name in _NAMES)).order_by(JOB.c.pk.desc()).limit(limit)
    if state is not None:
        query = query.where(JOB.c.state == state)
    if kind is not None:
        query = query.where(JOB.c.kind == kind)
    return tuple(_job(row) for row in connection.execute(query))


_NAMES = tuple(Job.__dataclass_fields__)
_LEASED = LeasedTable(JOB, _NAMES)
_ENQUEUE = insert_or_keep(JOB)
_HASTEN = Statement(
    update(JOB)
    .where(
        JOB.c.kind == bindparam("kind_was"),
        JOB.c.dedup_key == bindparam("key_was"),
        text("state = 'ready'"),
        JOB.c.run_at > bindparam("new_run_at"),
    )
    .values(run_at=bindparam("new_run_at")),
    ("kind_was", "key_was", "new_run_at"),
    exact=False,
)
_POSTPONE = Statement(
    update(JOB)
    .where(
        JOB.c.kind == bindparam("kind_was"),
        JOB.c.dedup_key == bindparam("key_was"),
        text("state = 'ready'"),
        JOB.c.run_at < bindparam("new_run_at"),
    )
    .values(run_at=bindparam("new_run_at")),
    ("kind_was", "key_was", "new_run_at"),
    exact=False,
)
_SHORTEN = Statement(
    update(JOB)
    .where(
        JOB.c.id == bindparam("row_id"),
        JOB.c.lease_owner == bindparam("owner"),
        text("state = 'running'"),
        JOB.c.lease_until >= bindparam("new_until"),
    )
    .values(lease_until=bindparam("new_until"), attempts=bindparam("new_attempts")),
    ("row_id", "owner", "new_until", "new_attempts"),
    exact=False,
)
# The words of the partial index, which SQLite uses only if it finds them again.
_RUNNING = select(*(JOB.c[name] for name in _NAMES)).where(
    text("state IN ('ready', 'running')"), text("state = 'running'")
)
_WAITING = Statement(
    select(JOB.c.dedup_key, JOB.c.args).where(
        JOB.c.kind == bindparam("kind_is"), text("state IN ('ready', 'running')"), text("state = 'ready'")
    ),
    ("kind_is",),
)
_WITHDRAW = Statement(
    delete(JOB).where(
        JOB.c.kind == bindparam("kind_was"),
        JOB.c.dedup_key == bindparam("key_was"),
        text("state = 'ready'"),
    ),
    ("kind_was", "key_was"),
    exact=False,
    rank=INSERT_RANK - 1,  # a unit that withdraws a job may put another one in its place
)


def _job(row: Any) -> Job:
    values = dict(zip(_NAMES, row, strict=True))
    values["args"] = json_object(values["args"])
    values["run_at"] = from_epoch_s(values["run_at"])
    if values["lease_until"] is not None:
        values["lease_until"] = from_epoch_s(values["lease_until"])
    return Job(**values)
