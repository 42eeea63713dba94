"""Asynchronous clients that never give up: each request is repeated until it is answered."""

from __future__ import annotations

import asyncio
import random
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from bench.est_stream import EstStream, StreamAnswer
from tests.harness.journal import Journal
from tests.support.gateway import Gateway

REPEAT_SHARE = 0.1  # of the answered requests are sent once more, as if the answer had been lost
HURRY_S = 0.1  # a client of the harness waits no longer than this, whatever Retry-After says
T = TypeVar("T")


class EnrolmentEnded(Exception):
    """The request cannot become a certificate any more; the text is what the gateway said."""


class Fleet(ABC):
    """``size`` clients of one protocol against one gateway. ``counts`` says how exchanges ended."""

    protocol: str

    def __init__(self, gateway: Gateway, journal: Journal, size: int) -> None:
        self.gateway = gateway
        self.journal = journal
        self.size = size
        self.counts: Counter[str] = Counter()
        self.in_flight = 0  # requests on an open connection that wait for their answer
        self.stopping = False
        self._clients: list[Client] = []
        self._tasks: list[asyncio.Task[None]] = []

    @abstractmethod
    def client(self, number: int) -> Client:
        """One client; it has a connection of its own."""

    async def open(self) -> None:  # noqa: B027  most have nothing to do here
        """What all clients share."""

    async def close(self) -> None:  # noqa: B027  most have nothing to do here
        """The end of what all clients share."""

    async def start(self) -> None:
        await self.open()
        self._clients = [self.client(number) for number in range(self.size)]
        self._tasks = [asyncio.create_task(client.run()) for client in self._clients]

    async def stop(self, patience_s: float = 90.0) -> None:
        """Nothing new; waits until every open request has come to its end. Raises what a client raised.

        A client that is still at its request after ``patience_s`` is trouble for the judge: it is stuck.
        """
        self.stopping = True
        try:
            if self._tasks:
                await self._wait_for_the_last(patience_s)
        finally:
            for client in self._clients:
                await client.close()
            await self.close()

    async def _wait_for_the_last(self, patience_s: float) -> None:
        _, stuck = await asyncio.wait(self._tasks, timeout=patience_s)
        for client, task in zip(self._clients, self._tasks, strict=True):
            if task in stuck:
                said = f"{self.protocol} stuck for {patience_s:.0f} s: {client.doing}"
                self.journal.trouble(client.spki, 0, said.encode())
                task.cancel()
        await asyncio.gather(*(task for task in self._tasks if task not in stuck))
        await asyncio.gather(*stuck, return_exceptions=True)

    def failed(self) -> BaseException | None:
        """The first error of a client's own, if any died."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    @contextmanager
    def counted_in_flight(self) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def count(self, what: str) -> None:
        self.counts[f"{self.protocol} {what}"] += 1

    @property
    def certificates(self) -> int:
        """Received so far, repeats counted."""
        return self.counts[f"{self.protocol} certificates"]


class Client(ABC):
    """One client: one enrolment after the other. ``spki`` is the key that it is at, as SHA-256."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self.fleet = fleet
        self.number = number
        self.spki = ""
        self.doing = ""  # the last that it was told
        self._broken = 0  # tries in a row

    async def run(self) -> None:
        await self.begin()
        serial = 0
        while not self.fleet.stopping:
            serial += 1
            try:
                await self.enrol(f"{self.fleet.protocol.lower()}-kill-{self.number}-{serial}.test")
            except EnrolmentEnded as ended:
                self.fleet.journal.trouble(self.spki, 0, str(ended).encode())

    async def begin(self) -> None:  # noqa: B027  most have nothing to do here
        """What comes before the first certificate."""

    @abstractmethod
    async def enrol(self, name: str) -> None:
        """Get one certificate, however often the gateway is killed. Raises EnrolmentEnded."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the connection."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connection."""

    def sent(self, spki: str) -> None:
        """Write down that a request for this key is about to be sent."""
        self.spki, self.doing = spki, "no answer yet"
        self.fleet.journal.sent(spki)

    def got(self, certificate_der: bytes) -> None:
        self.fleet.count("certificates")
        self.fleet.journal.got(self.spki, certificate_der)

    def repeats(self) -> bool:
        """Whether this answer counts as lost."""
        if random.random() >= REPEAT_SHARE:
            return False
        self.fleet.count("repeated after the answer")
        return True

    async def attempt(self, exchange: Awaitable[T]) -> T | None:
        """One try; None if the connection broke or nobody listened."""
        try:
            async with asyncio.timeout(30):
                done = await exchange
            self._broken = 0
            return done
        except (OSError, EOFError, ssl.SSLError):
            self.fleet.count("connection broken")
        except TimeoutError:
            self.fleet.count("no answer in 30 s")
        self.abort()
        self._broken += 1
        # Soon enough to meet a newborn worker, not so often that a gateway that starts finds no core.
        await asyncio.sleep(random.uniform(0.002, 0.02) * min(self._broken, 5))
        return None


class StreamClient(Client):
    """A client that sends prepared octets on a kept connection."""

    def __init__(self, fleet: Fleet, number: int, port: int, context: ssl.SSLContext | None = None) -> None:
        super().__init__(fleet, number)
        self._stream = EstStream("localhost", port, context)

    async def until_answered(self, octets: bytes) -> StreamAnswer:
        """Send the same octets until the answer is 200. Raises EnrolmentEnded."""
        while True:
            answer = await self.attempt(self._exchange(octets))
            if answer is None:
                continue
            self.fleet.count(str(answer.status))
            if answer.status == 200:
                return answer
            self.doing = f"{answer.status} {answer.body[:300]!r}"
            if answer.status not in (202, 503) or answer.retry_after_s is None:
                raise EnrolmentEnded(self.doing)
            await asyncio.sleep(min(answer.retry_after_s, HURRY_S))

    async def _exchange(self, octets: bytes) -> StreamAnswer:
        if not self._stream.is_open:
            await self._stream.open()
        with self.fleet.counted_in_flight():
            return await self._stream.exchange(octets)

    def abort(self) -> None:
        self._stream.abort()

    async def close(self) -> None:
        await self._stream.close()
