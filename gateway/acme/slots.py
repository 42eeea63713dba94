"""How many looks are under way at once: in all, of one account, and at one host name.

Whoever has to wait too long gives way. Addresses have a bound of their own (``gateway.outbound.connect``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.outbound.rooms import Rooms


class NoSlot(Exception):
    """Too much is going on: what was to be done has to be done later."""


class Slots:
    """Bounds for one worker."""

    def __init__(
        self, *, per_host: int = 4, per_account: int = 16, total: int = 64, waiting: int = 1000
    ) -> None:
        """``waiting``: how many may wait for their turn."""
        self._accounts = Rooms(per_account)
        self._hosts = Rooms(per_host)
        self._all = Rooms(total)
        self._most = total + waiting
        self._users = 0

    @asynccontextmanager
    async def taken(self, account: str, host: str, patience_s: float) -> AsyncIterator[None]:
        """Hold one slot for a look at ``host``, waiting so long at most; 0: not at all. Raises NoSlot."""
        if self._users >= self._most:
            raise NoSlot
        deadline = asyncio.get_running_loop().time() + patience_s
        # Last what is everybody's: who waits for its own kind holds up nobody else.
        wanted = ((self._accounts, account), (self._hosts, host), (self._all, ""))
        held: list[tuple[Rooms, str]] = []
        self._users += 1
        try:
            for rooms, key in wanted:
                if not await rooms.enter(key, deadline):
                    raise NoSlot
                held.append((rooms, key))
            yield
        finally:
            self._users -= 1
            for rooms, key in held:
                rooms.leave(key)
