"""The one writer of a process: a thread that turns whatever waits into one transaction.

An answer comes only after COMMIT. If the caller's task is cancelled, its unit may still be recorded.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from gateway.clock import Clock, SystemClock
from gateway.errors import GatewayError, Overloaded, StoreUnavailable
from gateway.store.batch import BatchCounts, BatchWriter
from gateway.store.unit import Unit

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
GATHER_S = 0.003  # the longest that a unit waits for others
GATHER_PAUSE_S = 0.0005
COMPANY_DECAY = 0.95  # by each batch: how soon it is forgotten that many units came together


@dataclass(frozen=True, slots=True)
class _Waiting:
    work: Unit | Callable[[Connection], Any]
    future: asyncio.Future[Any] | Future[Any]
    loop: asyncio.AbstractEventLoop | None


class Recorder:
    """Commits units in batches. ``start`` after the fork; ``close`` writes what is queued, then ends."""

    def __init__(
        self, engine: Engine, *, max_queue: int = 2000, max_batch: int = 256, clock: Clock | None = None
    ) -> None:
        self._writer = BatchWriter(engine, clock or SystemClock())
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._accepting = False
        self._lock = threading.Lock()
        self._company = 1.0  # how many units came together lately
        # How many callers are on their way to ``commit``, this one included; whoever knows sets it.
        self.under_way: Callable[[], int] = lambda: 1

    @property
    def depth(self) -> int:
        """Units that wait for a batch."""
        return self._queue.qsize()

    @property
    def counts(self) -> BatchCounts:
        return self._writer.counts

    def start(self) -> None:
        self._accepting = True
        self._thread = threading.Thread(target=self._work, name="pkigate-recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write everything that is queued and end the thread; new work is refused at once."""
        with self._lock:
            self._accepting = False
            thread, self._thread = self._thread, None
            if thread is not None:
                self._queue.put(None)
        if thread is not None:
            thread.join()

    async def commit(self, unit: Unit) -> None:
        """Return when the unit is durable.

        Raises Conflict (a unique key is taken or a compare-and-set failed), Overloaded, StoreUnavailable.
        """
        if unit.operations or unit.events:
            await self._put(unit)

    def commit_blocking(self, unit: Unit) -> None:
        """As ``commit``, for callers without an event loop."""
        if unit.operations or unit.events:
            self._put_blocking(unit)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run a function in a write transaction of its own and give what it returned, after COMMIT.

        For what must read what it writes (leases, claims); it writes no audit. Raises as ``commit``.
        """
        result: T = await self._put(work)
        return result

    def run_blocking(self, work: Callable[[Connection], T]) -> T:
        """As ``run``, for callers without an event loop."""
        result: T = self._put_blocking(work)
        return result

    async def _put(self, work: Unit | Callable[[Connection], Any]) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._enqueue(_Waiting(work, future, loop))
        return await future

    def _put_blocking(self, work: Unit | Callable[[Connection], Any]) -> Any:
        future: Future[Any] = Future()
        self._enqueue(_Waiting(work, future, None))
        return future.result()

    def _enqueue(self, waiting: _Waiting) -> None:
        if self._queue.qsize() >= self._max_queue:
            raise Overloaded("too much is waiting to be recorded", retry_after_s=2)
        # The lock keeps work from being queued behind the end mark, where nobody would answer it.
        with self._lock:
            if not self._accepting:
                raise StoreUnavailable("the gateway is stopping", retry_after_s=2)
            self._queue.put(waiting)

    def _work(self) -> None:
        going = True
        while going:
            first = self._queue.get()
            if first is None:
                break
            batch = [first]
            self._wait_for_company()
            while len(batch) < self._max_batch:
                try:
                    waiting = self._queue.get_nowait()
                except Empty:
                    break
                if waiting is None:
                    going = False
                    break
                batch.append(waiting)
            self._company = max(float(len(batch)), self._company * COMPANY_DECAY)
            self._record(batch)
        self._writer.close()

    def _wait_for_company(self) -> None:
        """Let units that are about to come share this transaction: a COMMIT costs more than a short wait.

        Expected are as many as are known to be under way, or as came together lately; a single client never
        waits.
        """
        deadline = time.monotonic() + GATHER_S
        while self._queue.qsize() + 1 < self._expected() and time.monotonic() < deadline:
            time.sleep(GATHER_PAUSE_S)

    def _expected(self) -> int:
        return min(max(self.under_way(), int(self._company)), self._max_batch)

    def _record(self, batch: Sequence[_Waiting]) -> None:
        with_units = [waiting for waiting in batch if isinstance(waiting.work, Unit)]
        if with_units:
            _answer(self._written(with_units))
        for waiting in batch:
            if not isinstance(waiting.work, Unit):
                _answer([self._ran(waiting, waiting.work)])

    def _written(self, batch: Sequence[_Waiting]) -> list[_Answer]:
        units = [waiting.work for waiting in batch if isinstance(waiting.work, Unit)]
        try:
            verdicts = self._writer.write(units)
        except Exception as exc:  # noqa: BLE001  # a dead thread would leave every later caller waiting
            return [(waiting, None, _fault(exc)) for waiting in batch]
        return [(waiting, None, verdict) for waiting, verdict in zip(batch, verdicts, strict=True)]

    def _ran(self, waiting: _Waiting, work: Callable[[Connection], Any]) -> _Answer:
        try:
            return waiting, self._writer.run(work), None
        except GatewayError as exc:
            return waiting, None, exc
        except Exception as exc:  # noqa: BLE001  # as above; the function is the caller's
            return waiting, None, _fault(exc)


_Answer = tuple[_Waiting, Any, Exception | None]


def _fault(error: Exception) -> GatewayError:
    _LOG.error("recorder.fault", exc_info=error)
    return GatewayError("this could not be recorded", detail=f"{type(error).__name__}: {error}")


def _answer(answers: Sequence[_Answer]) -> None:
    """Resolve futures, with one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, Exception | None]]] = {}
    for waiting, result, error in answers:
        if waiting.loop is not None and isinstance(waiting.future, asyncio.Future):
            by_loop.setdefault(waiting.loop, []).append((waiting.future, result, error))
        elif error is not None:
            waiting.future.set_exception(error)
        else:
            waiting.future.set_result(result)
    for loop, resolved in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, resolved)
        except RuntimeError:
            _LOG.warning("recorder.nobody-listens", extra={"units": len(resolved)})


def _resolve(resolved: Sequence[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
    for future, result, error in resolved:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
