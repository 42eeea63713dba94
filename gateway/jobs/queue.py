"""Durable work of front ends, as ``frontend.JobQueue`` names it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gateway.store import jobs
from gateway.store.unit import Unit


class FrontEndJobs:
    """Puts jobs into the units of a front end; the runner does them with the handlers that it mounted."""

    def enqueue(self, unit: Unit, kind: str, key: str, args: Mapping[str, object], run_at: datetime) -> None:
        """Add a job in this unit, unless one of this kind and key waits or runs already."""
        jobs.enqueue(unit, kind, key, args, run_at)

    def withdraw(self, unit: Unit, kind: str, key: str) -> None:
        """Take a job that nobody has begun out of the queue, since its work is done in this unit."""
        jobs.withdraw(unit, kind, key)
