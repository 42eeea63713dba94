"""What runs beside the requests: started again when it fails, and said to be failing while it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from gateway.errors import GatewayError

LOG = logging.getLogger(__name__)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0

Work = Callable[[], Awaitable[None]]


class Background:
    """Owns the tasks of a worker; none of them ends unseen."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._finishing: list[asyncio.Task[None]] = []
        self._problems: dict[str, str] = {}

    def problems(self) -> Mapping[str, str]:
        """What fails now, by name, in words."""
        return dict(self._problems)

    def forever(self, name: str, work: Work) -> None:
        """Run what never ends by itself."""
        self._tasks.append(asyncio.create_task(self._keep(name, work, 0.0), name=name))

    def every(self, name: str, interval_s: float, work: Work) -> None:
        """Run this once in so many seconds, sooner after it failed."""
        self._tasks.append(asyncio.create_task(self._keep(name, work, interval_s), name=name))

    def until(self, name: str, stop: asyncio.Event, work: Work) -> None:
        """Run what ends by itself, in good order, once ``stop`` is set."""
        self._finishing.append(asyncio.create_task(self._keep(name, work, 0.0, stop), name=name))

    async def stop(self) -> None:
        """Cancel what never ends, wait for what is told to."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._finishing, return_exceptions=True)

    async def _keep(
        self, name: str, work: Work, interval_s: float, stop: asyncio.Event | None = None
    ) -> None:
        stop = stop or asyncio.Event()
        clock = asyncio.get_running_loop().time
        pause_s = FIRST_PAUSE_S
        await _wait(stop, interval_s)
        while not stop.is_set():
            if not interval_s:
                self._problems.pop(name, None)  # it never returns: that it runs is all that can be said
            began_at = clock()
            try:
                await work()
            except Exception as error:  # the last place before this work would end unseen
                if clock() - began_at > LONGEST_PAUSE_S:
                    pause_s = FIRST_PAUSE_S
                LOG.exception("background.failed %s, again in %d s", name, pause_s)
                self._problems[name] = _words(error)
                await _wait(stop, pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                self._problems.pop(name, None)
                pause_s = FIRST_PAUSE_S
                await _wait(stop, interval_s)


def _words(error: Exception) -> str:
    if isinstance(error, GatewayError):
        return str(error)
    return f"{type(error).__name__}: {error}"


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    if seconds > 0:
        await asyncio.wait((task := asyncio.ensure_future(stop.wait()),), timeout=seconds)
        task.cancel()
