"""So many at once for each key: an account, a name, an address. Nothing is kept of keys that nobody uses."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class _Room:
    places: asyncio.Semaphore
    users: int = 0


class Rooms:
    """One room of ``size`` places for each key. Who comes first is let in first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rooms: dict[Hashable, _Room] = {}

    async def enter(self, key: Hashable, deadline: float) -> bool:
        """Take a place, to be given back by ``leave``; False if none is free until then (the loop's time)."""
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = _Room(asyncio.Semaphore(self._size))
        room.users += 1
        try:
            if not room.places.locked():
                await room.places.acquire()  # at once
                return True
            if deadline > asyncio.get_running_loop().time():
                async with asyncio.timeout_at(deadline):
                    await room.places.acquire()
                return True
        except TimeoutError:
            pass
        except BaseException:
            self._forget(key, room)
            raise
        self._forget(key, room)
        return False

    def leave(self, key: Hashable) -> None:
        """Give a place back that ``enter`` gave."""
        room = self._rooms[key]
        room.places.release()
        self._forget(key, room)

    def _forget(self, key: Hashable, room: _Room) -> None:
        room.users -= 1
        if not room.users:
            del self._rooms[key]
