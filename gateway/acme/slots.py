"""How many looks are under way at once: in all, of one account, and at one host name.

Whoever has to wait too long gives way. Addresses have a bound of their own (``gateway.outbound.connect``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.outbound.rooms import Rooms


class NoSlot(Exception):
    """Too much is going on: what was to be done has to be done later."""


class Slots:
    """Bounds for one worker."""

    def __init__(
        self,
        *,
        per_host: int = 4,
        per_account: int = 16,
        jobs_per_account: int = 4,
        total: int = 64,
        waiting: int = 1000,
        waiting_per_account: int = 64,
    ) -> None:
        """``waiting``: how many may wait for their turn. ``jobs_per_account`` is less than the runner has
        places for such jobs, so that no account can hold them all."""
        self._accounts = Rooms(per_account)
        self._jobs = Rooms(jobs_per_account)
        self._most_of_account = per_account + waiting_per_account
        self._of_account: Counter[str] = Counter()
        self._hosts = Rooms(per_host)
        self._all = Rooms(total)
        self._most = total + waiting
        self._users = 0

    @asynccontextmanager
    async def taken(self, account: str, host: str, patience_s: float) -> AsyncIterator[None]:
        """Hold one slot for a look at ``host``, waiting so long at most; 0, as jobs do: not at all.

        Raises NoSlot.
        """
        if self._users >= self._most or self._of_account[account] >= self._most_of_account:
            raise NoSlot
        deadline = asyncio.get_running_loop().time() + patience_s
        # Last what is everybody's: who waits for its own kind holds up nobody else.
        wanted: tuple[tuple[Rooms, str], ...]
        wanted = ((self._accounts, account), (self._hosts, host), (self._all, ""))
        if not patience_s:
            wanted = ((self._jobs, account), *wanted)
        held: list[tuple[Rooms, str]] = []
        self._users += 1
        self._of_account[account] += 1
        try:
            for rooms, key in wanted:
                if not await rooms.enter(key, deadline):
                    raise NoSlot
                held.append((rooms, key))
            yield
        finally:
            self._users -= 1
            self._of_account[account] -= 1
            if not self._of_account[account]:
                del self._of_account[account]
            for rooms, key in held:
                rooms.leave(key)
