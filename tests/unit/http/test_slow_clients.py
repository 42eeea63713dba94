"""Many clients that are slow on purpose: others are served meanwhile, and each is closed in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections import Counter

import pytest
from structlog.testing import capture_logs

from gateway.http.listener import HttpLimits
from tests.unit.http.conftest import Pki, client_context, exchange, running

SILENT = b""
PARTIAL_HEAD = b"POST /echo HTTP/1.1\r\nHost: a\r\nX-"
PARTIAL_BODY = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"
PARTIAL_HANDSHAKE = b"\x16\x03\x01\x02\x00\x01"
GET = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SLOW_CLIENTS = 1000
DEADLINE_S = 10.0
LIMITS = HttpLimits(
    handshake_s=DEADLINE_S, head_s=DEADLINE_S, body_s=DEADLINE_S, body_gap_s=DEADLINE_S, linger_s=0.5
)
GRACE_S = 30.0  # of a busy machine


async def be_slow(
    port: int, wire: bytes, dripping: bytes = b"", door: asyncio.Semaphore | None = None
) -> tuple[float, float]:
    """Connect, send the beginning, then ``dripping`` now and then; gives when that began and was ended."""
    async with door or asyncio.Semaphore():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    writer.write(wire)
    closed = asyncio.create_task(reader.read())
    with contextlib.suppress(OSError):
        while not (await asyncio.wait({closed}, timeout=0.5))[0]:
            writer.write(dripping)
        await closed
    ended = time.monotonic()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return began, ended


async def slowest_good_answer(port: int, stop: asyncio.Event, context: ssl.SSLContext | None = None) -> float:
    """Ask as a good client does, again and again; gives the longest time to an answer."""
    slowest = 0.0
    while not stop.is_set():
        began = time.monotonic()
        answer = await exchange(port, GET, context=context)
        assert answer.startswith(b"HTTP/1.1 200 ")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.05)
    return slowest


async def attack(
    port: int, wires: tuple[tuple[bytes, bytes], ...], context: ssl.SSLContext | None = None
) -> None:
    """All slow clients at once, a good one beside them."""
    asyncio.get_running_loop().set_debug(False)  # or the clients, on the same loop, are what is slow
    stop = asyncio.Event()
    door = asyncio.Semaphore(100)  # they come as fast as they are let in
    good = asyncio.create_task(slowest_good_answer(port, stop, context))
    lives = await asyncio.gather(*(be_slow(port, *wires[n % len(wires)], door) for n in range(SLOW_CLIENTS)))
    stop.set()
    assert await good < DEADLINE_S  # nobody waited until a slow one was gone
    assert max(ended - began for began, ended in lives) < DEADLINE_S + GRACE_S
    assert max(began for began, _ in lives) < min(ended for _, ended in lives)  # all were there at once


async def test_thousand_slow_clients_are_closed_in_time_with_a_line_each_and_others_are_served() -> None:
    wires = ((SILENT, b""), (PARTIAL_HEAD, b"a"), (PARTIAL_BODY, b"a"))
    async with running(limits=LIMITS) as up:
        with capture_logs() as lines:
            await attack(up.port, wires)
    records = [json.loads(line) for line in up.log.getvalue().splitlines()]
    said = Counter(str(line["event"]) for line in lines)
    statuses = Counter(record["status"] for record in records)
    # A silent one says nothing worth a line; half a header and half a body have one each.
    heads, bodies = (sum(n % 3 == kind for n in range(SLOW_CLIENTS)) for kind in (1, 2))
    assert said == {"http.refused": heads}
    assert statuses[408] == bodies
    assert set(statuses) == {200, 408}


async def test_thousand_slow_handshakes_are_closed_in_time_with_a_line_each_and_others_are_served(
    pki: Pki,
) -> None:
    wires = ((SILENT, b""), (PARTIAL_HANDSHAKE, b""))
    async with running(pki, limits=LIMITS) as up:
        with capture_logs() as lines:
            await attack(up.port, wires, client_context(pki))
    assert Counter(str(line["event"]) for line in lines) == {"tls.handshake-timeout": SLOW_CLIENTS // 2}


@pytest.mark.parametrize("gap", [b"", b"a"])
async def test_body_that_drips_or_stops_is_408_and_closed(gap: bytes) -> None:
    limits = HttpLimits(body_s=1.0, body_gap_s=0.8, linger_s=0.3)  # else 30 and 10
    async with running(limits=limits) as up:
        began, ended = await be_slow(up.port, PARTIAL_BODY, gap)
    assert ended - began < 9
    assert json.loads(up.log.getvalue())["status"] == 408
