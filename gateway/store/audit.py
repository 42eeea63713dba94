"""The append-only audit trail: every event carries the hash of the one before it.

hash = SHA-256 over prev_hash and the event as a canonical JSON array. Tampering is found up to the last
hash that left the machine (an export or a signed head): whoever can rewrite the whole table can also make a
new chain, so keep heads elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from gateway.errors import StoreUnavailable
from gateway.json_writer import json_writer
from gateway.store.columns import json_text, storable_text
from gateway.store.schema import AUDIT, AUDIT_HEAD
from gateway.store.statement import Statement, Values, insert_into
from gateway.store.unit import AuditEvent

FIRST_HASH = "0" * 64
_ENCODE = json_writer()
_FORM = "pkigate audit v1"
_PAGE = 2000


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The last event's sequence number and hash; 0 and sixty-four zeros before the first."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """``first_bad_seq`` and ``what`` say where the chain breaks; ``head`` is what to keep elsewhere."""

    ok: bool
    checked: int
    first_bad_seq: int | None
    what: str
    head: AuditHead


_HEAD = Statement(
    select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash).where(AUDIT_HEAD.c.pk == 1).with_for_update(), ()
)
_MOVE_HEAD = Statement(
    update(AUDIT_HEAD)
    .where(AUDIT_HEAD.c.pk == 1)
    .values(seq=bindparam("new_seq"), hash=bindparam("new_hash")),
    ("new_seq", "new_hash"),
)
_COLUMNS = (
    AUDIT.c.seq,
    AUDIT.c.at,
    AUDIT.c.actor,
    AUDIT.c.action,
    AUDIT.c.object_id,
    AUDIT.c.outcome,
    AUDIT.c.details,
    AUDIT.c.prev_hash,
    AUDIT.c.hash,
)


def lock_head(connection: Connection) -> AuditHead:
    """Read the head and keep everybody else from it until the transaction ends. First in every batch."""
    row = _HEAD.first(connection)
    if row is None:
        raise StoreUnavailable("the database has no schema yet", detail="no audit head")
    return AuditHead(row[0], row[1])


def chain_rows(head: AuditHead, events: Sequence[AuditEvent], at_s: int) -> tuple[list[Values], AuditHead]:
    """The rows of ``events`` after ``head``, and the new head."""
    rows: list[Values] = []
    seq, previous = head.seq, head.hash
    for event in events:
        seq += 1
        fields = (
            seq,
            at_s,
            storable_text(event.actor),
            storable_text(event.action),
            storable_text(event.object_id),
            storable_text(event.outcome),
            json_text(event.details),
        )
        digest = _digest(previous, fields)
        rows.append((*fields, previous, digest))
        previous = digest
    return rows, AuditHead(seq, previous)


def append(connection: Connection, head: AuditHead, events: Sequence[AuditEvent], at_s: int) -> AuditHead:
    """Write events in one call of the driver; the caller then calls ``move_head`` once."""
    if not events:
        return head
    rows, new_head = chain_rows(head, events, at_s)
    insert_into(AUDIT).run(connection, rows)
    return new_head


def move_head(connection: Connection, head: AuditHead) -> None:
    _MOVE_HEAD.run(connection, ((head.seq, head.hash),))


def read_head(connection: Connection) -> AuditHead:
    """The head without a lock."""
    row = connection.execute(select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash).where(AUDIT_HEAD.c.pk == 1)).one()
    return AuditHead(row[0], row[1])


def verify_chain(connection: Connection, kept: AuditHead | None = None) -> AuditVerdict:
    """Recompute every hash, page by page. Events that are written meanwhile are not looked at.

    ``kept`` is a head of an earlier day that was kept elsewhere: the chain must still run through it, which a
    chain that was made anew from some event before it cannot.
    """
    head = read_head(connection)
    seq, previous = 0, FIRST_HASH
    for row in _rows(connection, head.seq):
        if row[0] != seq + 1:
            return AuditVerdict(False, seq, seq + 1, f"event {seq + 1} is missing", head)
        if row[7] != previous:
            return AuditVerdict(False, seq, row[0], f"event {row[0]} does not follow event {seq}", head)
        if row[8] != _digest(previous, row[:7]):
            return AuditVerdict(False, seq, row[0], f"event {row[0]} was changed", head)
        seq, previous = row[0], row[8]
        if kept is not None and seq == kept.seq and previous != kept.hash:
            what = f"event {seq} is not the one of the kept head: it, or one before it, was written anew"
            return AuditVerdict(False, seq - 1, seq, what, head)
    if seq != head.seq:
        return AuditVerdict(False, seq, seq + 1, f"event {seq + 1} is missing", head)
    if previous != head.hash:
        return AuditVerdict(False, seq, seq, f"the head does not name event {seq}", head)
    if kept is not None and kept.seq > seq:
        what = f"event {seq + 1} is missing: the chain ends before the kept head {kept.seq}"
        return AuditVerdict(False, seq, seq + 1, what, head)
    return AuditVerdict(True, seq, None, "", head)


def export(connection: Connection) -> Iterator[str]:
    """Every event as one line of JSON, oldest first, with its hashes."""
    names = [column.name for column in _COLUMNS]
    for row in _rows(connection, read_head(connection).seq):
        event = dict(zip(names, row, strict=True))
        event["details"] = json.loads(str(row[6]))
        yield _ENCODE(event)


def _rows(connection: Connection, last_seq: int) -> Iterator[Sequence[int | str]]:
    after = -1
    while True:
        page = connection.execute(
            select(*_COLUMNS)
            .where(AUDIT.c.seq > after, AUDIT.c.seq <= last_seq)
            .order_by(AUDIT.c.seq)
            .limit(_PAGE)
        ).all()
        yield from (tuple(row) for row in page)
        if len(page) < _PAGE:
            return
        after = page[-1][0]


def _digest(previous: str, fields: Sequence[object]) -> str:
    digest = hashlib.sha256(previous.encode())
    digest.update(_ENCODE([_FORM, *fields]).encode())
    return digest.hexdigest()
