"""Durable work of front ends, as ``frontend.JobQueue`` names it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gateway.store import jobs
from gateway.store.store import Store
from gateway.store.unit import Unit


class FrontEndJobs:
    """Puts jobs into the units of a front end; the runner does them with the handlers that it mounted."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def enqueue(self, unit: Unit, kind: str, key: str, args: Mapping[str, object], run_at: datetime) -> None:
        """Add a job in this unit, unless one of this kind and key waits or runs already."""
        jobs.enqueue(unit, kind, key, args, run_at)

    def withdraw(self, unit: Unit, kind: str, key: str) -> None:
        """Take a job that nobody has begun out of the queue, since its work is done in this unit."""
        jobs.withdraw(unit, kind, key)

    def hasten(self, unit: Unit, kind: str, key: str, run_at: datetime) -> None:
        """Let a job that nobody has begun run at this time already."""
        jobs.hasten(unit, kind, key, run_at)

    async def waiting(self, kind: str) -> Mapping[str, Mapping[str, object]]:
        """Arguments, by key, of the jobs that nobody has begun. Raises StoreUnavailable."""
        return await self._store.reader.read(lambda connection: jobs.waiting(connection, kind))
