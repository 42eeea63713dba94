"""How many looks are under way at once: in all, and at one host. Whoever has to wait too long gives way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class NoSlot(Exception):
    """Too much is going on: what was to be done has to be done later."""


@dataclass(slots=True)
class _Host:
    room: asyncio.Semaphore
    users: int = 0


class Slots:
    """Bounds for one worker."""

    def __init__(self, *, per_host: int = 4, total: int = 64, waiting: int = 1000) -> None:
        """``waiting``: how many may wait for their turn."""
        self._per_host = per_host
        self._total = asyncio.Semaphore(total)
        self._hosts: dict[str, _Host] = {}
        self._most = total + waiting
        self._users = 0

    @asynccontextmanager
    async def taken(self, host: str, patience_s: float) -> AsyncIterator[None]:
        """Hold one slot for a look at ``host``. Raises NoSlot."""
        if self._users >= self._most:
            raise NoSlot
        entry = self._hosts.setdefault(host, _Host(asyncio.Semaphore(self._per_host)))
        entry.users += 1
        self._users += 1
        try:
            await self._acquire(entry.room, patience_s)
            try:
                await self._acquire(self._total, patience_s)
                try:
                    yield
                finally:
                    self._total.release()
            finally:
                entry.room.release()
        finally:
            self._users -= 1
            entry.users -= 1
            if not entry.users:
                del self._hosts[host]

    async def _acquire(self, room: asyncio.Semaphore, patience_s: float) -> None:
        if not room.locked():
            await room.acquire()
            return
        try:
            async with asyncio.timeout(patience_s):
                await room.acquire()
        except TimeoutError:
            raise NoSlot from None
