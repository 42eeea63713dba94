"""Events for the world outside (notifications, hooks), written in their unit, sent at least once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.model.ids import new_id
from gateway.store.columns import json_object, json_text, storable_text
from gateway.store.leased import LeasedTable, after_failure, error_text
from gateway.store.recorder import Recorder
from gateway.store.schema import OUTBOX
from gateway.store.unit import Unit

MAX_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """``id`` lets a receiver tell a repeat from a new event."""

    id: str
    kind: str
    payload: Mapping[str, object]
    created_at: datetime
    attempts: int
    max_attempts: int
    lease_owner: str | None


def add(unit: Unit, kind: str, payload: Mapping[str, object], at: datetime) -> None:
    """Add an event that becomes known with the rest of its unit."""
    at_s = to_epoch_s(at)
    unit.insert(
        OUTBOX,
        {
            "id": new_id(),
            "kind": kind,
            "payload": json_text(payload),
            "created_at": at_s,
            "state": "ready",
            "run_at": at_s,
            "attempts": 0,
            "max_attempts": MAX_ATTEMPTS,
            "lease_owner": None,
            "lease_until": None,
            "last_error": None,
        },
    )


async def claim(
    recorder: Recorder, kinds: Sequence[str], owner: str, now: datetime, *, lease_s: int = 60, limit: int = 50
) -> tuple[OutboxEvent, ...]:
    """Take events that are due for ``lease_s`` seconds. Raises StoreUnavailable."""

    def take(connection: Connection) -> list[Any]:
        return _LEASED.claim(
            connection, kinds=kinds, owner=owner, now_s=to_epoch_s(now), lease_s=lease_s, limit=limit
        )

    return tuple(_event(row) for row in await recorder.run(take))


def sent(unit: Unit, event: OutboxEvent) -> None:
    """Commit raises Conflict if the lease ran out and somebody else has the event now."""
    unit.move(_LEASED.finish, {"row_id": event.id, "owner": event.lease_owner})


def fail(unit: Unit, event: OutboxEvent, error: str, now: datetime) -> None:
    """Try again after a back-off, or give up after the last attempt. Conflict as ``sent``."""
    state, run_at = after_failure(event.attempts, event.max_attempts, to_epoch_s(now))
    unit.move(
        _LEASED.put_back,
        {
            "row_id": event.id,
            "owner": event.lease_owner,
            "new_state": state,
            "new_run_at": run_at,
            "error": error_text(storable_text(error)),
        },
    )


_NAMES = tuple(OutboxEvent.__dataclass_fields__)
_LEASED = LeasedTable(OUTBOX, _NAMES)


def _event(row: Any) -> OutboxEvent:
    values = dict(zip(_NAMES, row, strict=True))
    values["payload"] = json_object(values["payload"])
    values["created_at"] = from_epoch_s(values["created_at"])
    return OutboxEvent(**values)
