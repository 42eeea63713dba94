"""Policy bundles, named by the SHA-256 of their canonical JSON, which one is active, and which ones were."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.store import settings
from gateway.store.schema import BUNDLE, BUNDLE_ACTIVATION
from gateway.store.statement import Row, Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_keep

_ACTIVE = "active-bundle"


@dataclass(frozen=True, slots=True)
class BundleRow:
    """``documents`` is the canonical JSON of all documents; ``source`` tells where they came from.

    ``texts`` is what the bundle is compiled from on any host, as ``gateway.composition.policies`` writes it;
    None for bundles of versions that kept only the documents.
    """

    sha256: str
    documents: str
    source: str
    created_at: datetime
    texts: str | None = None


@dataclass(frozen=True, slots=True)
class Activation:
    """That a bundle became active: ``how`` is files, activate or rollback; ``actor`` as in the audit."""

    sha256: str
    at: datetime
    actor: str = "system"
    how: str = "files"
    note: str = ""
    revision: str = ""


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
            "texts": row.texts,
        },
    )
    if row.texts is not None:
        unit.move(_ADD_TEXTS, {"bundle_sha256": row.sha256, "new_texts": row.texts})


def activate(unit: Unit, activation: Activation) -> None:
    """Make a bundle the one that every replica follows, and write down that it became so."""
    settings.put(unit, _ACTIVE, activation.sha256, activation.at)
    unit.insert(
        BUNDLE_ACTIVATION,
        {
            "sha256": activation.sha256,
            "activated_at": to_epoch_s(activation.at),
            "actor": activation.actor,
            "how": activation.how,
            "note": activation.note,
            "revision": activation.revision,
        },
    )


def active(connection: Connection) -> str | None:
    """The SHA-256 of the active bundle."""
    return settings.get(connection, _ACTIVE)


def get(connection: Connection, sha256: str) -> BundleRow | None:
    row = _GET.first(connection, sha256=sha256)
    return None if row is None else _bundle(row)


def beginning_with(connection: Connection, prefix: str, limit: int = 2) -> tuple[BundleRow, ...]:
    """Bundles whose name begins with ``prefix`` (hexadecimal digits), the one that was stored last first."""
    query = select(*_COLUMNS).where(BUNDLE.c.sha256.startswith(prefix, autoescape=True))
    return tuple(_bundle(row) for row in connection.execute(query.order_by(BUNDLE.c.pk.desc()).limit(limit)))


def history(connection: Connection, limit: int = 50) -> tuple[BundleRow, ...]:
    """Bundles, the one that was stored last first."""
    query = select(*_COLUMNS).order_by(BUNDLE.c.pk.desc()).limit(limit)
    return tuple(_bundle(row) for row in connection.execute(query))


def activations(connection: Connection, limit: int = 50) -> tuple[Activation, ...]:
    """What became active when and by whom, the last one first."""
    table = BUNDLE_ACTIVATION.c
    query = select(table.sha256, table.activated_at, table.actor, table.how, table.note, table.revision)
    rows = connection.execute(query.order_by(table.pk.desc()).limit(limit))
    return tuple(Activation(row[0], from_epoch_s(row[1]), *row[2:]) for row in rows)


def _bundle(row: Row) -> BundleRow:
    return BundleRow(row[0], row[1], row[2], from_epoch_s(row[3]), row[4])


_COLUMNS = (BUNDLE.c.sha256, BUNDLE.c.documents, BUNDLE.c.source, BUNDLE.c.created_at, BUNDLE.c.texts)
_KEEP = insert_or_keep(BUNDLE)
_GET = Statement(select(*_COLUMNS).where(BUNDLE.c.sha256 == bindparam("sha256")), ("sha256",))
# A bundle that an older version stored without its texts gets them when it is stored again.
_ADD_TEXTS = Statement(
    update(BUNDLE)
    .where(BUNDLE.c.sha256 == bindparam("bundle_sha256"), BUNDLE.c.texts.is_(None))
    .values(texts=bindparam("new_texts")),
    ("bundle_sha256", "new_texts"),
    exact=False,
)
