"""The history of policy bundles, named by the SHA-256 of their canonical JSON, and which one is active."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.store import settings
from gateway.store.schema import BUNDLE
from gateway.store.statement import Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_keep

_ACTIVE = "active-bundle"


@dataclass(frozen=True, slots=True)
class BundleRow:
    """``documents`` is the canonical JSON of all documents; ``source`` tells where they came from."""

    sha256: str
    documents: str
    source: str
    created_at: datetime


def insert(unit: Unit, row: BundleRow) -> None:
    """Add a bundle unless it is there. Raises ValueError if its name is not the hash of its documents."""
    if hashlib.sha256(row.documents.encode()).hexdigest() != row.sha256:
        raise ValueError("sha256 does not name these documents")
    unit.move(
        _KEEP,
        {
            "sha256": row.sha256,
            "documents": row.documents,
            "source": row.source,
            "created_at": to_epoch_s(row.created_at),
        },
    )


def activate(unit: Unit, sha256: str, at: datetime) -> None:
    """Make a bundle the one that every replica follows."""
    settings.put(unit, _ACTIVE, sha256, at)


def active(connection: Connection) -> str | None:
    """The SHA-256 of the active bundle."""
    return settings.get(connection, _ACTIVE)


def get(connection: Connection, sha256: str) -> BundleRow | None:
    row = _GET.first(connection, sha256=sha256)
    return None if row is None else BundleRow(row[0], row[1], row[2], from_epoch_s(row[3]))


def history(connection: Connection, limit: int = 50) -> tuple[BundleRow, ...]:
    """Bundles, the one that was stored last first."""
    query = select(*_COLUMNS).order_by(BUNDLE.c.pk.desc()).limit(limit)
    return tuple(BundleRow(row[0], row[1], row[2], from_epoch_s(row[3])) for row in connection.execute(query))


_COLUMNS = (BUNDLE.c.sha256, BUNDLE.c.documents, BUNDLE.c.source, BUNDLE.c.created_at)
_KEEP = insert_or_keep(BUNDLE)
_GET = Statement(select(*_COLUMNS).where(BUNDLE.c.sha256 == bindparam("sha256")), ("sha256",))
