"""How much one address gets at once, whatever names lead there (acme.md E1, E11)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.outbound import connect as connect_module
from gateway.outbound.faults import TargetBusy
from gateway.outbound.network import Network, NetworkSettings
from gateway.outbound.rooms import Rooms
from tests.unit.outbound.listener import Listener, listening, ok, redirect


class Counter:
    """A server that counts the requests it is at; each ends when ``go_on`` is set."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def answer(self, request: bytes, _number: int) -> bytes:
        if b"GET /away " in request:
            return redirect(b"http://elsewhere.test/x")
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.go_on.wait(60)
        with self._lock:
            self.now -= 1
        return ok()


@contextmanager
def counting() -> Iterator[tuple[Counter, Listener]]:
    counter = Counter()
    with listening(counter.answer) as listener:
        try:
            yield counter, listener
        finally:
            counter.go_on.set()


def network_to(listener: Listener, per_target: int) -> Network:
    settings = NetworkSettings((), listener.port, 443, allow_loopback=True, loopback_suffixes=("test",))
    return Network(settings, per_target=per_target)


@pytest.mark.parametrize("path", ["/x", "/away"])
async def test_many_names_of_one_address_are_few_connections_at_once(path: str) -> None:
    """acme.md E11: a wildcard zone cannot send all looks at one victim, nor can redirects"""
    with counting() as (counter, listener):
        network = network_to(listener, per_target=2)
        looks = [
            asyncio.create_task(network.fetch(f"http://{n}.test{path}", allowed=(), timeout_s=30))
            for n in range(7)
        ]
        async with asyncio.timeout(60):
            while counter.now < 2:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        assert counter.now == 2
        counter.go_on.set()
        assert {one.status for one in await asyncio.gather(*looks)} == {200}
        assert counter.most == 2


async def test_probes_of_tls_are_counted_with_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_module, "_MAX_TURN_S", 0.05)
    with counting() as (counter, listener):
        settings = NetworkSettings((), listener.port, listener.port, True, ("test",))
        network = Network(settings, per_target=1)
        look = asyncio.create_task(network.fetch("http://a.test/x", allowed=(), timeout_s=30))
        while not counter.now:
            await asyncio.sleep(0.005)
        with pytest.raises(TargetBusy, match=r"127\.0\.0\.1"):
            await network.probe_tls("b.test", server_name="b.test", protocol="x", allowed=(), timeout_s=30)
        counter.go_on.set()
        assert (await look).status == 200
        assert len(listener.hits) == 1


async def test_cancelled_and_failed_looks_leave_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_module, "_MAX_TURN_S", 0.05)
    with counting() as (counter, listener):
        network = network_to(listener, per_target=1)
        for number in range(3):
            look = asyncio.create_task(network.fetch(f"http://{number}.test/x", allowed=(), timeout_s=30))
            while len(listener.hits) <= number:
                await asyncio.sleep(0.005)
            look.cancel()
            await asyncio.gather(look, return_exceptions=True)
        counter.go_on.set()
        assert (await network.fetch("http://last.test/x", allowed=(), timeout_s=30)).status == 200


async def test_rooms_keep_nothing_of_keys_without_users() -> None:
    rooms, now = Rooms(1), asyncio.get_running_loop().time()
    assert await rooms.enter("a", now)
    assert not await rooms.enter("a", now)
    assert not await rooms.enter("a", now + 0.02)
    waiting = asyncio.create_task(rooms.enter("a", now + 5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    rooms.leave("a")
    assert rooms._rooms == {}
