"""The load generator: sends prepared requests at a fixed concurrency and keeps every time and answer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.est_stream import EstStream, StreamAnswer


@dataclass(frozen=True, slots=True)
class Shot:
    """One request as octets, and the TLS settings of its connection (None: plain HTTP)."""

    octets: bytes
    context: ssl.SSLContext | None


@dataclass(slots=True)
class Load:
    """What came of a run. ``latencies_s`` counts answered requests, a connection's handshake included."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    answers: list[StreamAnswer] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


async def fire(shots: Sequence[Shot], *, port: int, concurrency: int, keep: bool) -> Load:
    """Send all shots; ``keep``: each of the ``concurrency`` senders stays on one connection."""
    load = Load()
    waiting = iter(shots)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(_sender(waiting, load, port, keep=keep))
    load.seconds = time.perf_counter() - started
    return load


async def _sender(waiting: Iterator[Shot], load: Load, port: int, *, keep: bool) -> None:
    stream: EstStream | None = None
    for shot in waiting:  # one iterator, shared by all senders
        begun = time.perf_counter()
        try:
            if stream is None or not stream.is_open:
                stream = EstStream("localhost", port, shot.context)
                await stream.open()
            answer = await stream.exchange(shot.octets)
        except (OSError, EOFError, ssl.SSLError) as exc:
            load.errors[type(exc).__name__] += 1
            if stream is not None:
                stream.abort()
            continue
        load.latencies_s.append(time.perf_counter() - begun)
        load.answers.append(answer)
        if answer.status != 200:
            load.errors[f"HTTP {answer.status}"] += 1
        if not keep:
            # The next one opens its own connection; closing this one is not part of its time.
            await stream.close()
    if stream is not None:
        await stream.close()
