"""Runs leased jobs in a worker: whoever claims a job does it.

The lease of a dead worker runs out, unless the one in its place frees it sooner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gateway.clock import Clock
from gateway.errors import Conflict, GatewayError, RetryLater
from gateway.jobs.holder import Holder
from gateway.store import jobs
from gateway.store.jobs import Job
from gateway.store.store import Store
from gateway.store.unit import Unit

LOG = logging.getLogger(__name__)
POLL_S = 1.0
LEASE_S = 90
DEADLINE_S = LEASE_S - 10  # a job ends before anybody else may take it
LOSS_COUNTS_S = 2 * LEASE_S
LEAST_WAIT = timedelta(seconds=1)
_NONE = timedelta()
AT_ONCE = 32
GUEST_AT_ONCE = AT_ONCE // 2
SWEEP_S = 60.0

# A handler gives None when the job is done, or the time to run it again.
Handler = Callable[[Job], Awaitable[datetime | None]]
Sweep = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Group:
    """Kinds of jobs with places of their own, so that however many of them wait, others run."""

    kinds: tuple[str, ...]
    places: int
    running: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def room(self) -> int:
        return self.places - len(self.running)


class JobRunner:
    """Looks for due jobs once a second, or at once after ``wake``; a slow job holds up no other one."""

    def __init__(
        self,
        store: Store,
        handlers: Mapping[str, Handler],
        clock: Clock,
        *,
        guests: Mapping[str, Handler] | None = None,
        sweep: Sweep | None = None,
        holder: Holder | None = None,
        lingering: Mapping[str, timedelta] | None = None,
    ) -> None:
        """``guests`` are handlers of front ends: each kind has places apart from all others, and what runs of
        it at the end is put back for another worker. ``sweep`` is called at the start and once a minute: it
        queues what was left without a job. ``holder`` takes up at the start what dead workers left running;
        ``lingering`` tells, by kind, how long what they asked of others may go on without them.
        """
        self._store = store
        self._handlers = {**handlers, **(guests or {})}
        self._own = _Group(tuple(handlers), AT_ONCE)
        self._guests = tuple(_Group((kind,), GUEST_AT_ONCE) for kind in guests or {})
        self._interruptible: set[asyncio.Task[None]] = set()
        self._clock = clock
        self._sweep = sweep
        self._swept_at = float("-inf")
        self._holder = holder or Holder()
        self._lingering = lingering or {}
        self._took_over = False
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; running jobs are finished first, those of guests given up."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    await self._take_over()
                    await self._swept()
                    await self._claim()
                except RetryLater as error:
                    LOG.warning("jobs.store-unavailable %s", error.detail or error)
                except Exception:  # the runner must outlive every fault of one round
                    LOG.exception("jobs.fault")
                waking = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({stopping, waking}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
        finally:
            stopping.cancel()
        for task in self._interruptible:
            task.cancel()
        running = [task for group in self._groups for task in group.running]
        await asyncio.gather(*running, return_exceptions=True)

    @property
    def _groups(self) -> tuple[_Group, ...]:
        return self._own, *self._guests

    async def _take_over(self) -> None:
        """Once, let the jobs be claimed that dead workers left running."""
        if self._took_over:
            return
        self._took_over = True  # a fault here must not keep jobs from running: their leases run out, too
        now = self._clock.now()
        try:
            left = await self._store.reader.read(lambda connection: jobs.running(connection, now))
            unit = Unit()
            for job in left:
                if self._holder.outlived(job.lease_owner or ""):
                    self._free(unit, job, now)
            await self._store.recorder.commit(unit)
        except RetryLater:
            self._took_over = False
            raise

    def _free(self, unit: Unit, job: Job, now: datetime) -> None:
        wait, attempts = _after_loss(job, now)
        # A lease is over in the second after its end.
        until = now + max(wait, self._lingering.get(job.kind, _NONE)) - timedelta(seconds=1)
        if job.lease_until is not None and (until < job.lease_until or attempts < job.attempts):
            LOG.info("job.worker-lost %s %s", job.kind, job.dedup_key)
            jobs.shorten_lease(unit, job, min(until, job.lease_until), attempts)

    async def _swept(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._sweep is None or now_s < self._swept_at + SWEEP_S:
            return
        self._swept_at = now_s
        await self._sweep()

    async def _claim(self) -> None:
        """Begin as many due jobs as there is room for."""
        now = self._clock.now()
        open_groups = [group for group in self._groups if group.kinds and group.room > 0]

        def due(connection: Any) -> list[_Group]:
            return [group for group in open_groups if jobs.due(connection, group.kinds, now)]

        # A read first: an idle gateway must not take the write lock every second.
        for group in await self._store.reader.read(due) if open_groups else ():
            claimed = await jobs.claim(
                self._store.recorder, group.kinds, self._holder.name, now, lease_s=LEASE_S, limit=group.room
            )
            for job in claimed:
                self._begin(job, group)

    def _begin(self, job: Job, group: _Group) -> None:
        task = asyncio.create_task(self._do(job), name=f"job {job.kind} {job.dedup_key}")
        group.running.add(task)
        task.add_done_callback(group.running.discard)
        if group is not self._own:
            self._interruptible.add(task)
            task.add_done_callback(self._interruptible.discard)
        task.add_done_callback(self._done)

    def _ahead(self, at: datetime) -> datetime:
        """Not before a second from now: a CA that always says "at once" must not keep a worker busy."""
        return max(at, self._clock.now() + LEAST_WAIT)

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._wake.set()

    async def _do(self, job: Job) -> None:
        unit = Unit()
        try:
            async with asyncio.timeout(DEADLINE_S):
                again_at = await self._handlers[job.kind](job)
        except asyncio.CancelledError:
            # By ``run``, at its end; the handler was written to run twice.
            jobs.put_back(unit, job, self._clock.now())
        except RetryLater as error:
            # The database or a CA is away: that is no fault of the job, however long it lasts.
            LOG.warning("job.waits %s %s: %s", job.kind, job.dedup_key, error.detail or error)
            at = self._clock.now() + timedelta(seconds=error.retry_after_s)
            jobs.put_back(unit, job, self._ahead(at), error=f"{type(error).__name__}: {error}")
        except Conflict as error:
            # Somebody else moved the same request; if that goes on, something is wrong, so attempts count.
            jobs.fail(unit, job, f"{type(error).__name__}: {error}", self._clock.now())
        except Exception as error:  # a handler may fail with anything; the job is tried again, so many times
            LOG.exception("job.failed %s %s", job.kind, job.dedup_key)
            jobs.fail(unit, job, f"{type(error).__name__}: {error}", self._clock.now())
        else:
            if again_at is None:
                jobs.finish(unit, job)
            else:
                jobs.put_back(unit, job, self._ahead(again_at))
        self._interruptible.discard(asyncio.current_task())
        try:
            await self._store.recorder.commit(unit)
        except GatewayError as error:  # the lease runs out, and the job is claimed anew
            LOG.warning("job.lease-lost %s %s: %s", job.kind, job.dedup_key, error)


def _after_loss(job: Job, now: datetime) -> tuple[timedelta, int]:
    """How long a job waits whose worker was lost, at most its lease, and how many attempts it had then.

    The first time it does not wait. Then it may be what kills its workers: it waits half as long as it has
    been due. But mostly it is not, and whatever kills one worker after the other must not use up its attempts
    within minutes: they count by the time since it was due, one for each LOSS_COUNTS_S.
    """
    if job.attempts == 1:
        return _NONE, 1
    age = now - job.run_at
    return max(LEAST_WAIT, age / 2), min(job.attempts, 2 + age // timedelta(seconds=LOSS_COUNTS_S))
