"""Bounds of what is under way at once (acme.md E11)."""

from __future__ import annotations

import asyncio

import pytest

from gateway.acme.slots import NoSlot, Slots


class Looks:
    """Counts what is under way."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.now = self.most = self.done = 0
        self.go_on = asyncio.Event()

    async def look(self, host: str, patience_s: float = 60, account: str = "one") -> None:
        async with self.slots.taken(account, host, patience_s):
            self.now += 1
            self.most = max(self.most, self.now)
            await self.go_on.wait()
            self.now -= 1
            self.done += 1


async def turn() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_host_is_looked_at_by_four_at_once() -> None:
    looks = Looks(Slots(per_host=4, total=64))
    tasks = [asyncio.create_task(looks.look("a.test")) for _ in range(10)]
    other = asyncio.create_task(looks.look("b.test"))
    await turn()
    assert looks.now == 5  # four, and the one of the other host
    looks.go_on.set()
    await asyncio.gather(*tasks, other)
    assert (looks.done, looks.most) == (11, 5)


async def test_all_hosts_together_are_bounded() -> None:
    looks = Looks(Slots(per_host=4, total=3))
    tasks = [asyncio.create_task(looks.look(f"{number}.test")) for number in range(10)]
    await turn()
    assert looks.now == 3
    looks.go_on.set()
    await asyncio.gather(*tasks)
    assert looks.most == 3


async def test_who_waits_too_long_or_finds_the_queue_full_gives_way() -> None:
    looks = Looks(Slots(per_host=1, total=2, waiting=1))
    first = asyncio.create_task(looks.look("a.test"))
    await turn()
    with pytest.raises(NoSlot):
        await looks.look("a.test", patience_s=0.01)
    waiting = [asyncio.create_task(looks.look("a.test")) for _ in range(2)]
    await turn()
    with pytest.raises(NoSlot):
        await looks.look("b.test")
    looks.go_on.set()
    await asyncio.gather(first, *waiting)
    assert looks.done == 3


async def test_slot_of_a_cancelled_look_is_free_again() -> None:
    looks = Looks(Slots(per_host=1, total=1))
    holding = asyncio.create_task(looks.look("a.test"))
    waiting = asyncio.create_task(looks.look("a.test"))
    await turn()
    for task in (waiting, holding):
        task.cancel()
    await asyncio.gather(waiting, holding, return_exceptions=True)
    looks.go_on.set()
    await looks.look("a.test", patience_s=0.01)
    assert looks.done == 1


async def test_one_account_leaves_room_for_others() -> None:
    """acme.md C96, E11: whoever answers a hundred challenges at once holds up no other account"""
    looks = Looks(Slots(per_account=3, total=4))
    tasks = [asyncio.create_task(looks.look(f"{number}.test")) for number in range(10)]
    await turn()
    assert looks.now == 3
    other = asyncio.create_task(looks.look("b.test", account="other"))
    await turn()
    assert looks.now == 4
    looks.go_on.set()
    await asyncio.gather(*tasks, other)
    assert (looks.done, looks.most) == (11, 4)


async def test_one_account_does_not_fill_the_waiting_room_of_all() -> None:
    """acme.md E11"""
    looks = Looks(Slots(per_account=1, total=2, waiting=10, waiting_per_account=2))
    tasks = [asyncio.create_task(looks.look(f"{number}.test")) for number in range(3)]
    await turn()
    with pytest.raises(NoSlot):
        await looks.look("4.test")
    other = asyncio.create_task(looks.look("b.test", account="other"))
    await turn()
    assert looks.now == 2
    looks.go_on.set()
    await asyncio.gather(*tasks, other)


async def test_jobs_of_one_account_leave_places_for_those_of_others() -> None:
    """acme.md E11: the runner has so many places for validations only"""
    looks = Looks(Slots(jobs_per_account=1))
    holding = asyncio.create_task(looks.look("a.test", patience_s=0))
    await turn()
    with pytest.raises(NoSlot):
        await looks.look("b.test", patience_s=0)
    other = asyncio.create_task(looks.look("b.test", account="other", patience_s=0))
    await turn()
    assert looks.now == 2
    looks.go_on.set()
    await asyncio.gather(holding, other)


async def test_who_has_no_patience_gives_way_at_once() -> None:
    looks = Looks(Slots(per_host=1))
    holding = asyncio.create_task(looks.look("a.test"))
    await turn()
    began = asyncio.get_running_loop().time()
    with pytest.raises(NoSlot):
        await looks.look("a.test", patience_s=0)
    assert asyncio.get_running_loop().time() - began < 30  # and not after the patience of others
    looks.go_on.set()
    await holding
    await looks.look("a.test", patience_s=0)


async def test_patience_is_for_all_rooms_together() -> None:
    """Else a look would begin after it is overdue, and a job would look as well."""
    slots = Slots(per_account=1, per_host=1)
    first, second = Looks(slots), Looks(slots)
    holding = [
        asyncio.create_task(first.look("a.test", account="one")),
        asyncio.create_task(second.look("b.test", account="two")),
    ]
    await turn()
    began = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(2.0, first.go_on.set)
    with pytest.raises(NoSlot):
        await Looks(slots).look("b.test", account="one", patience_s=3.0)
    assert 2.0 < asyncio.get_running_loop().time() - began < 4.9  # two patiences end after five
    second.go_on.set()
    await asyncio.gather(*holding)
