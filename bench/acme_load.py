"""Whole ACME flows at a fixed concurrency on one account: newOrder to download, with real http-01."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator, Sequence

from bench import material
from bench.acme_stream import AcmeAccount, AcmeRefused, AcmeStream, Responder
from bench.load import BROKEN, Load
from tests.support.gateway import Gateway


class AcmeLoad:
    """One account of a lab gateway, and the responder at the port where that gateway looks."""

    def __init__(self, gateway: Gateway) -> None:
        facts = gateway.quickstart
        self._account = AcmeAccount(facts["acme"]["directory"])
        self._context = ssl.create_default_context(cafile=str(gateway.root_pem))
        self._port = int(facts["acme"]["http01_port"])
        self._responder = Responder()
        self.requests = 0  # of HTTP, in all runs together

    async def start(self) -> None:
        await self._responder.start(self._port)
        stream = self._stream()
        await stream.open_account()
        await stream.close()

    def prepare(self, name: str, count: int) -> Sequence[material.Request]:
        return material.requests(f"{name}-{number}.test" for number in range(count))

    async def fire(self, prepared: Sequence[material.Request], concurrency: int) -> Load:
        """One order per request, ``concurrency`` at once, each on a kept connection."""
        load = Load()
        waiting = iter(enumerate(prepared))
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._client(waiting, load))
        load.seconds = time.perf_counter() - started
        return load

    async def _client(self, waiting: Iterator[tuple[int, material.Request]], load: Load) -> None:
        stream = self._stream()
        for number, request in waiting:
            begun = time.perf_counter()
            try:
                certificate_der = await stream.issue([request.cn], request.csr_der)
            except AcmeRefused as refused:
                load.errors[refused.kind] += 1
                continue
            except BROKEN as error:
                load.errors[type(error).__name__] += 1
                stream.abort()
                continue
            load.latencies_s.append(time.perf_counter() - begun)
            load.certificates.append((number, certificate_der))
        self.requests += stream.requests
        if stream.bad_nonces:
            load.errors["badNonce"] += stream.bad_nonces
        await stream.close()

    def check(self, prepared: Sequence[material.Request], load: Load, /) -> None:
        """The certificates are there already: a client cannot end an order without looking."""

    def _stream(self) -> AcmeStream:
        return AcmeStream(self._account, self._context, self._responder)

    async def stop(self) -> None:
        await self._responder.stop()
