"""Asynchronous EST clients that never give up: each request is repeated until it is answered."""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.est_stream import ENROLL, EstStream, StreamAnswer, basic, post
from tests.harness.journal import Journal
from tests.support import pki
from tests.support.gateway import Gateway

REPEAT_SHARE = 0.1  # of the answered requests are sent once more, as if the answer had been lost


@dataclass(slots=True)
class Fleet:
    """``size`` clients against one gateway. ``counts`` says how exchanges ended."""

    gateway: Gateway
    journal: Journal
    size: int = 16
    counts: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0  # requests on an open connection that wait for their answer
    _stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _clients: list[_Client] = field(default_factory=list)

    def start(self) -> None:
        facts = self.gateway.quickstart
        split = urlsplit(facts["https"])
        context = ssl.create_default_context(cafile=facts["root_pem"])
        authorization = basic(facts["est"]["user"], facts["est"]["password"])
        for number in range(self.size):
            client = _Client(self, number, split.port or 443, split.netloc, context, authorization)
            self._clients.append(client)
            self._tasks.append(asyncio.create_task(client.run()))

    async def stop(self, patience_s: float = 90.0) -> None:
        """No new requests; waits until every open one is answered. Raises what a client raised.

        A client whose request is not answered within ``patience_s`` is trouble for the judge.
        """
        self._stopping = True
        _, stuck = await asyncio.wait(self._tasks, timeout=patience_s)
        for client, task in zip(self._clients, self._tasks, strict=True):
            if task in stuck:
                self.journal.trouble(client.spki, 0, f"no answer for {patience_s:.0f} s".encode())
                task.cancel()
        await asyncio.gather(*(task for task in self._tasks if task not in stuck))
        await asyncio.gather(*stuck, return_exceptions=True)

    def failed(self) -> BaseException | None:
        """The first error of a client's own, if any died."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    @property
    def answers(self) -> int:
        """Certificates received so far, repeats counted."""
        return self.counts["200"]

    @property
    def stopping(self) -> bool:
        return self._stopping


@dataclass(slots=True)
class _Client:
    fleet: Fleet
    number: int
    port: int
    host: str
    context: ssl.SSLContext
    authorization: str
    stream: EstStream | None = None
    spki: str = ""  # of the request that it is at

    async def run(self) -> None:
        serial = 0
        while not self.fleet.stopping:
            serial += 1
            spki, octets = self._request(serial)
            self.spki = spki
            self.fleet.journal.sent(spki)
            await self._until_answered(spki, octets)
            if random.random() < REPEAT_SHARE:
                self.fleet.counts["repeated after the answer"] += 1
                await self._until_answered(spki, octets)
        if self.stream is not None:
            await self.stream.close()

    def _request(self, serial: int) -> tuple[str, bytes]:
        private_key = pki.key()
        csr_der = pki.device_csr(private_key, f"kill-{self.number}-{serial}.test")
        spki = pki.spki_der(private_key)
        octets = post(ENROLL, self.host, csr_der, self.authorization)
        return hashlib.sha256(spki).hexdigest(), octets

    async def _until_answered(self, spki: str, octets: bytes) -> None:
        counts, journal = self.fleet.counts, self.fleet.journal
        while True:
            answer = await self._exchange(octets)
            if answer is None:
                await asyncio.sleep(random.uniform(0.002, 0.02))
                continue
            counts[str(answer.status)] += 1
            if answer.status == 200:
                journal.got(spki, answer.leaf_der)
                return
            if answer.status in (202, 503) and answer.retry_after_s is not None:
                # The harness is in more of a hurry than a device would be.
                await asyncio.sleep(min(answer.retry_after_s, 0.2))
                continue
            journal.trouble(spki, answer.status, answer.body)
            if self.fleet.stopping:
                return
            await asyncio.sleep(0.05)

    async def _exchange(self, octets: bytes) -> StreamAnswer | None:
        """One try; None if the connection broke or nobody listened."""
        stream = self.stream
        try:
            async with asyncio.timeout(30):
                if stream is None or not stream.is_open:
                    stream = self.stream = EstStream("localhost", self.port, self.context)
                    await stream.open()
                self.fleet.in_flight += 1
                try:
                    return await stream.exchange(octets)
                finally:
                    self.fleet.in_flight -= 1
        except (OSError, EOFError, ssl.SSLError):
            self.fleet.counts["connection broken"] += 1
        except TimeoutError:
            self.fleet.counts["no answer in 30 s"] += 1
        if stream is not None:
            stream.abort()
        self.stream = None
        return None
