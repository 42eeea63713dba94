"""A unit: rows that are written together or not at all, with the audit events that tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Table

from gateway.store.statement import Column, Statement, Values, insert_into


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what to what. The recorder adds sequence number, time and hashes.

    ``actor``: ``basic:ID``, ``cli:NAME``, ``system``; ``action``: ``certificate.issue``; ``object_id``: id of
    the request, certificate or credential; ``outcome``: ``ok``, ``refused``, ``failed``. ``details`` is what
    JSON can hold, and never a secret.
    """

    actor: str
    action: str
    object_id: str
    outcome: str = "ok"
    details: Mapping[str, object] = field(default_factory=dict)


class Unit:
    """Built by the functions of the table modules, committed by ``Recorder.commit``. Not to be used twice."""

    __slots__ = ("events", "operations")

    def __init__(self) -> None:
        self.operations: list[tuple[Statement, Values]] = []
        self.events: list[AuditEvent] = []

    def insert(self, table: Table, row: Mapping[str, Column]) -> None:
        """Insert one whole row of a table; Conflict if a unique key is taken."""
        statement = insert_into(table)
        self.operations.append((statement, statement.bind(row)))

    def move(self, statement: Statement, values: Mapping[str, Column]) -> None:
        """Run a statement; Conflict unless it changes exactly one row (or ``statement.exact`` is False)."""
        self.operations.append((statement, statement.bind(values)))

    def audit(self, event: AuditEvent) -> None:
        self.events.append(event)
