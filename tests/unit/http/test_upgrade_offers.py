"""Requests that offer an upgrade, which nobody takes (RFC 9110 section 7.8): they are ordinary ones."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.http.conftest import exchange, running

GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
CLOSE = b"Connection: close\r\n\r\n"


async def test_upgrade_offer_is_ignored_and_the_next_request_served() -> None:
    wire = GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" + GET + CLOSE
    async with running() as up:
        answer = await exchange(up.port, wire)
    assert answer.count(b"HTTP/1.1 200") == 2


_UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000], ids=["octet-by-octet", "in-pieces", "at-once"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_body_of_a_request_that_offers_an_upgrade_is_read(framing: str, size: int) -> None:
    """Java's HTTP client offers HTTP/2 in its first request; the body is none of a second request."""
    smuggled = GET + b"\r\n"
    if framing == "length":
        wire = POST + _UPGRADE + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled
    else:
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled)
        wire = POST + _UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n" + chunk
    wire += POST + b"Content-Length: 2\r\n" + CLOSE + b"ab"
    async with running() as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        for start in range(0, len(wire), size):
            writer.write(wire[start : start + size])
            await writer.drain()
        answer = await reader.read()
        writer.close()
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [request.method for request in up.requests] == ["POST", "POST"]
    assert b"\r\n\r\n" + smuggled + b"HTTP/1.1 200" in answer, "the body was echoed"
    assert answer.endswith(b"\r\n\r\nab")


@pytest.mark.parametrize("size", [1, 10_000], ids=["octet-by-octet", "at-once"])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
async def test_empty_body_of_a_request_that_offers_an_upgrade_is_at_its_end(
    framing: bytes, size: int
) -> None:
    """Java's client says Content-Length: 0 of a POST without a body. What follows is none of it."""
    wire = POST + _UPGRADE + framing + POST + b"Content-Length: 2\r\n" + CLOSE + b"ab"
    async with running() as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        for start in range(0, len(wire), size):
            writer.write(wire[start : start + size])
            await writer.drain()
        answer = await reader.read()
        writer.close()
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.endswith(b"\r\n\r\nab")
    assert b"\r\n\r\n/echoHTTP/1.1 200" in answer, "an empty body is echoed as the path"


async def test_nothing_is_served_after_a_close_that_offers_an_upgrade() -> None:
    head = POST + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n"
    async with running() as up:
        answer = await exchange(up.port, head + b"ab" + GET + CLOSE)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert len(up.requests) == 1
