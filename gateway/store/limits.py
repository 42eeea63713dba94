"""Rows of limits: what was granted within a window, and who holds active certificates.

A limit is looked at before the work and reserved in the unit that records the grant, by one statement that
counts and inserts. It is exact however many come at once: every batch of every gateway first locks the head
of the audit log, so that no two count at the same time (``gateway.store.batch``); that lock also keeps
reservations of several rows from deadlocking. A unit beyond the limit gets Conflict.

A window is counted in up to 61 parts, so that a look reads few rows however large the limit: the oldest part
counts until all of it has left the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text

from gateway.clock import to_epoch_s
from gateway.model.certificate import CertificateRecord
from gateway.store import certificates
from gateway.store.many import ByKeys
from gateway.store.schema import LIMIT_WINDOW
from gateway.store.statement import STATEMENT_RANK, Statement
from gateway.store.unit import Unit

_PARTS = 60
_NO_LIMIT = 2**31 - 1
# After revocations and new states of requests, which decide what is active.
_RESERVE_RANK = STATEMENT_RANK + 10
_RELEASE_RANK = _RESERVE_RANK + 10


@dataclass(frozen=True, slots=True)
class Window:
    """The parts of one scope's window: number and count, oldest first."""

    window_s: int
    parts: tuple[tuple[int, int], ...] = ()

    def used(self, now_s: int) -> int:
        """How many were granted in the window that ends now."""
        since = _since(self.window_s, now_s)
        return sum(count for part, count in self.parts if part >= since)

    def free_in_s(self, most: int, now_s: int) -> int:
        """In how many seconds one more is possible, at least 1."""
        since, left = _since(self.window_s, now_s), self.used(now_s)
        for part, count in self.parts:
            if part >= since and left >= most:
                left -= count
                if left < most:
                    return max(1, (part + 1) * _part_s(self.window_s) + self.window_s - now_s)
        return 1


@dataclass(frozen=True, slots=True)
class Holder:
    """A request with an active certificate, or one that may still get it."""

    request_id: str
    until_s: int


def windows(connection: Connection, scopes: Mapping[str, int]) -> dict[str, Window]:
    """The windows of scopes, given with their length in seconds."""
    found: dict[str, list[tuple[int, int]]] = {scope: [] for scope in scopes}
    if scopes:
        for scope, part, used in _WINDOWS.all(connection, sorted(scopes), {}):
            found[str(scope)].append((int(part), int(used)))
    return {scope: Window(scopes[scope], tuple(sorted(parts))) for scope, parts in found.items()}


def holders(
    connection: Connection, scopes: Sequence[str], renewed: str, now: datetime
) -> dict[str, tuple[Holder, ...]]:
    """Who holds active certificates, oldest first, without the request ``renewed``."""
    found: dict[str, tuple[Holder, ...]] = {}
    for scope in scopes:
        rows = _HOLDERS.all(connection, scope=scope, renewed=renewed, now_s=to_epoch_s(now))
        found[scope] = tuple(Holder(str(row[0]), int(row[1])) for row in rows)
    return found


def held_certificate(connection: Connection, holder: Holder) -> CertificateRecord | None:
    """The certificate of a holder, None while there is none."""
    return certificates.by_request(connection, holder.request_id)


def take(unit: Unit, scope: str, window_s: int, most: int | None, now: datetime) -> int:
    """Count one more in the window; commit raises Conflict where ``most`` are there already.

    Gives the part that counts it, for ``give_back``. ``most`` None: count whatever is there.
    """
    now_s = to_epoch_s(now)
    part = part_of(window_s, now_s)
    unit.move(
        _TAKE,
        {
            "scope": scope,
            "bucket": part,
            "until": (part + 1) * _part_s(window_s) + window_s,
            "since": _since(window_s, now_s),
            "most": _NO_LIMIT if most is None else most,
        },
    )
    return part


def give_back(unit: Unit, scope: str, part: int) -> None:
    """Undo one ``take``: what was granted has been refused after all."""
    unit.move(_GIVE_BACK, {"given_scope": scope, "given_bucket": part})


def hold(
    unit: Unit,
    scope: str,
    request_id: str,
    until: datetime,
    *,
    most: int | None,
    renewed: str,
    now: datetime,
) -> None:
    """Note an active certificate to be; commit raises Conflict where ``most`` are active already, without
    that of the request ``renewed``. ``until``: it ends no later; once it is there, its own end counts."""
    unit.move(
        _HOLD,
        {
            "scope": scope,
            "request_id": request_id,
            "until": to_epoch_s(until),
            "renewed": renewed,
            "now_s": to_epoch_s(now),
            "most": _NO_LIMIT if most is None else most,
        },
    )


def part_of(window_s: int, now_s: int) -> int:
    """The part of a window of this length that counts what is granted now."""
    return now_s // _part_s(window_s)


def _part_s(window_s: int) -> int:
    return max(1, -(-window_s // _PARTS))


def _since(window_s: int, now_s: int) -> int:
    """The oldest part of which anything lies in the window."""
    return (now_s - window_s) // _part_s(window_s)


_WINDOWS = ByKeys(
    select(LIMIT_WINDOW.c.scope, LIMIT_WINDOW.c.bucket, LIMIT_WINDOW.c.used), LIMIT_WINDOW.c.scope
)
_TAKE = Statement(
    text(
        "INSERT INTO limit_window (scope, bucket, used, until) "
        "SELECT CAST(:scope AS VARCHAR), CAST(:bucket AS BIGINT), 1, CAST(:until AS BIGINT) "
        "WHERE (SELECT coalesce(sum(w.used), 0) FROM limit_window w WHERE w.scope = :scope "
        "AND w.bucket >= CAST(:since AS BIGINT)) < CAST(:most AS BIGINT) "
        "ON CONFLICT (scope, bucket) DO UPDATE SET used = limit_window.used + 1"
    ),
    ("scope", "bucket", "until", "since", "most"),
    rank=_RESERVE_RANK,
)
_GIVE_BACK = Statement(
    LIMIT_WINDOW.update()
    .where(
        LIMIT_WINDOW.c.scope == bindparam("given_scope"),
        LIMIT_WINDOW.c.bucket == bindparam("given_bucket"),
        LIMIT_WINDOW.c.used > 0,
    )
    .values(used=LIMIT_WINDOW.c.used - 1),
    ("given_scope", "given_bucket"),
    exact=False,
    rank=_RELEASE_RANK,
)
# Refused requests hold nothing, nor do those whose certificate was revoked; one on hold may come back.
_ACTIVE = (
    "FROM limit_hold h WHERE h.scope = :scope AND h.until >= CAST(:now_s AS BIGINT) "
    "AND h.request_id <> :renewed "
    "AND NOT EXISTS (SELECT 1 FROM request r WHERE r.id = h.request_id "
    "AND r.state IN ('refused', 'withdrawn')) "
    "AND (EXISTS (SELECT 1 FROM certificate c WHERE c.request_id = h.request_id "
    "AND c.status <> 'revoked' AND c.not_after >= CAST(:now_s AS BIGINT)) "
    "OR NOT EXISTS (SELECT 1 FROM certificate c WHERE c.request_id = h.request_id))"
)
_HOLDERS = Statement(
    text(
        "SELECT h.request_id, coalesce("  # noqa: S608  our own words
        "(SELECT max(c.not_after) FROM certificate c WHERE c.request_id = h.request_id), h.until) "
        f"{_ACTIVE} ORDER BY h.pk"
    ),
    ("scope", "renewed", "now_s"),
)
_HOLD = Statement(
    text(
        "INSERT INTO limit_hold (scope, request_id, until) "
        "SELECT CAST(:scope AS VARCHAR), CAST(:request_id AS VARCHAR), CAST(:until AS BIGINT) "
        f"WHERE (SELECT count(*) {_ACTIVE}) < CAST(:most AS BIGINT)"
    ),
    ("scope", "request_id", "until", "renewed", "now_s", "most"),
    rank=_RESERVE_RANK,
)
