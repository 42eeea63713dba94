"""The load generator: sends prepared requests at a fixed concurrency and keeps every time and answer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from bench.est_stream import EstStream, StreamAnswer

BROKEN = (OSError, EOFError, ssl.SSLError)  # what a connection that does not hold raises


@dataclass(frozen=True, slots=True)
class Shot:
    """One request as octets, and the TLS settings of its connection (None: plain HTTP)."""

    octets: bytes
    context: ssl.SSLContext | None = None


class Asked(Protocol):
    """A prepared request for one certificate."""

    @property
    def spki_der(self) -> bytes:
        """The key that the certificate must be for."""


@dataclass(slots=True)
class Load:
    """What came of a run. ``latencies_s`` counts answered requests, a connection's handshake included.

    ``numbers`` are those of the prepared requests that ``answers`` belong to, one for one. ``certificates``
    holds each such number with the DER that came for it; it is filled after the clock has stopped.
    """

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    answers: list[StreamAnswer] = field(default_factory=list)
    certificates: list[tuple[int, bytes]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0

    def answered(self, number: int, answer: StreamAnswer, begun: float) -> None:
        """``begun`` is what the clock (time.perf_counter) said when the request began."""
        self.latencies_s.append(time.perf_counter() - begun)
        self.numbers.append(number)
        self.answers.append(answer)


Prepared = TypeVar("Prepared", bound=Asked)


class Driver(Protocol[Prepared]):
    """How one protocol is put under load: what is slow comes before and after ``fire``."""

    async def start(self) -> None:
        """Once, with the gateway running."""

    def prepare(self, name: str, count: int) -> Sequence[Prepared]:
        """Keys and messages for ``count`` certificates; ``name`` is part of the names in them."""

    async def fire(self, prepared: Sequence[Prepared], concurrency: int) -> Load:
        """Get a certificate for each; the clock runs."""

    def check(self, prepared: Sequence[Prepared], load: Load, /) -> None:
        """Take the certificates out of the answers; wrong answers become errors."""

    async def stop(self) -> None:
        """Leave nothing open."""


async def fire(shots: Iterable[Shot], *, port: int, concurrency: int, keep: bool) -> Load:
    """Send all shots; ``keep``: each of the ``concurrency`` senders stays on one connection."""
    load = Load()
    waiting = iter(enumerate(shots))
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(_sender(waiting, load, port, keep=keep))
    load.seconds = time.perf_counter() - started
    return load


async def _sender(waiting: Iterator[tuple[int, Shot]], load: Load, port: int, *, keep: bool) -> None:
    stream: EstStream | None = None
    for number, shot in waiting:  # one iterator, shared by all senders
        begun = time.perf_counter()
        try:
            if stream is None or not stream.is_open:
                stream = EstStream("localhost", port, shot.context)
                await stream.open()
            answer = await stream.exchange(shot.octets)
        except BROKEN as exc:
            load.errors[type(exc).__name__] += 1
            if stream is not None:
                stream.abort()
            continue
        load.answered(number, answer, begun)
        if answer.status != 200:
            load.errors[f"HTTP {answer.status}"] += 1
        if not keep:
            # The next one opens its own connection; closing this one is not part of its time.
            await stream.close()
    if stream is not None:
        await stream.close()
