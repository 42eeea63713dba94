"""``gateway.outbound.http_fetch``: what a stranger's web server answers to the look for an ACME challenge."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from gateway.outbound.connect import Channel
from gateway.outbound.faults import HttpFault
from gateway.outbound.http_fetch import MAX_BODY_BYTES, Hop, _exchange, _next, target_of

_TARGET = target_of("http://device.example/.well-known/acme-challenge/x")
_HOPS = (Hop(_TARGET.url, "192.0.2.1", "192.0.2.53"),)


class _Link:
    """A connection on which the answer has come already, in pieces, and then ends."""

    peer = "192.0.2.1:80"

    def __init__(self, octets: bytes) -> None:
        size = 1 + (octets[0] if octets else 0) * 16
        self._pieces = [octets[at : at + size] for at in range(0, len(octets), size)][::-1]

    async def send(self, octets: bytes) -> None:
        assert octets.startswith(b"GET /")

    async def receive(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""


def one_input(octets: bytes) -> None:
    answer: Any = None
    # It never waits, so one step carries it to its end
    run: Any = _exchange(_TARGET, cast("Channel", _Link(octets)))
    with suppress(HttpFault):
        try:
            run.send(None)
        except StopIteration as done:
            answer = done.value
    run.close()
    if answer is None:
        return
    assert len(answer.body) <= MAX_BODY_BYTES
    if answer.location is not None:
        with suppress(HttpFault):
            _next(_TARGET, answer.location, _HOPS)
