"""Runs leased jobs in a worker: whoever claims a job does it, and a dead worker's lease runs out."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from gateway.clock import Clock
from gateway.errors import Conflict, RetryLater
from gateway.store import jobs
from gateway.store.jobs import Job
from gateway.store.store import Store
from gateway.store.unit import Unit

LOG = logging.getLogger(__name__)
POLL_S = 1.0
LEASE_S = 60
AT_ONCE = 8

# A handler gives None when the job is done, or the time to run it again.
Handler = Callable[[Job], Awaitable[datetime | None]]


class JobRunner:
    """Looks for due jobs once a second, or at once after ``wake``."""

    def __init__(self, store: Store, handlers: Mapping[str, Handler], clock: Clock) -> None:
        self._store = store
        self._handlers = dict(handlers)
        self._clock = clock
        self._owner = f"worker-{secrets.token_hex(8)}"
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; running jobs are finished first."""
        kinds = tuple(self._handlers)
        while not stop.is_set():
            try:
                await self._round(kinds)
            except RetryLater as error:
                LOG.warning("jobs.store-unavailable %s", error.detail or error)
            except Exception:  # the runner must outlive every fault of one round
                LOG.exception("jobs.fault")
            self._wake.clear()
            stopping = asyncio.ensure_future(stop.wait())
            waking = asyncio.ensure_future(self._wake.wait())
            await asyncio.wait({stopping, waking}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
            for task in (stopping, waking):
                task.cancel()

    async def _round(self, kinds: tuple[str, ...]) -> None:
        while True:
            now = self._clock.now()
            # A read first: an idle gateway must not take the write lock every second.
            if not await self._store.reader.read(partial(jobs.due, kinds=kinds, now=now)):
                return
            claimed = await jobs.claim(
                self._store.recorder, kinds, self._owner, self._clock.now(), lease_s=LEASE_S, limit=AT_ONCE
            )
            if not claimed:
                return
            async with asyncio.TaskGroup() as group:
                for job in claimed:
                    group.create_task(self._do(job))

    async def _do(self, job: Job) -> None:
        unit = Unit()
        try:
            again_at = await self._handlers[job.kind](job)
        except Conflict as error:
            # Somebody else moved the same request; look at it again soon.
            jobs.put_back(unit, job, self._clock.now() + timedelta(seconds=1), error=str(error))
        except Exception as error:  # a handler may fail with anything; the job is tried again
            LOG.exception("job.failed %s %s", job.kind, job.dedup_key)
            jobs.fail(unit, job, f"{type(error).__name__}: {error}", self._clock.now())
        else:
            if again_at is None:
                jobs.finish(unit, job)
            else:
                jobs.put_back(unit, job, again_at)
        try:
            await self._store.recorder.commit(unit)
        except (Conflict, RetryLater) as error:
            LOG.warning("job.lease-lost %s %s: %s", job.kind, job.dedup_key, error)
