"""ir and certConf at a fixed concurrency: PBM with 500 iterations, P-256, every key and name different."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from cryptography.hazmat.primitives.asymmetric import ec

from bench.cmp_stream import (
    CmpRefused,
    CmpServer,
    Sent,
    Transaction,
    begin,
    check_mac,
    confirm,
    find_server,
    read,
    response,
)
from bench.est_stream import EstStream, StreamAnswer
from bench.load import BROKEN, Load
from gateway.asn1 import cmp
from gateway.asn1.cmp import BodyType
from gateway.errors import MalformedMessage
from tests.support.gateway import Gateway


class CmpLoad:
    """Two messages for each certificate, on one of ``concurrency`` kept connections."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._confirmed: list[StreamAnswer] = []

    async def start(self) -> None:
        self._server = find_server(self._gateway.quickstart["cmp"])

    def prepare(self, name: str, count: int) -> Sequence[Transaction]:
        names = [f"{name}-{number}.test" for number in range(count)]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(_prepare, names, repeat(self._server), chunksize=200))

    async def fire(self, prepared: Sequence[Transaction], concurrency: int) -> Load:
        load = Load()
        waiting = iter(enumerate(prepared))
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._client(waiting, load))
        load.seconds = time.perf_counter() - started
        return load

    async def _client(self, waiting: Iterator[tuple[int, Transaction]], load: Load) -> None:
        """A latency is that of both exchanges, with what the client has to do between them."""
        stream = EstStream("localhost", self._server.port, None)
        for number, transaction in waiting:
            begun = time.perf_counter()
            try:
                issued = await self._exchange(stream, transaction.request)
                answered = read(issued.body, transaction, transaction.request)
                certificate_der = response(answered).certificate_der
                if certificate_der is None:
                    raise CmpRefused(f"ip {response(answered).status}")
                confirmation = confirm(self._server, transaction, answered, certificate_der)
                confirmed = await self._exchange(stream, confirmation)
                if read(confirmed.body, transaction, confirmation).body_type is not BodyType.PKICONF:
                    raise CmpRefused("certConf is not answered by pkiConf")
            except (CmpRefused, MalformedMessage) as refused:
                load.errors[str(refused)] += 1
                continue
            except BROKEN as error:
                load.errors[type(error).__name__] += 1
                stream.abort()
                continue
            load.answered(number, issued, begun)
            load.certificates.append((number, certificate_der))
            self._confirmed.append(confirmed)
        await stream.close()

    async def _exchange(self, stream: EstStream, sent: Sent) -> StreamAnswer:
        if not stream.is_open:
            await stream.open()
        answer = await stream.exchange(self._server.post(sent.octets))
        if answer.status != 200:
            raise CmpRefused(f"HTTP {answer.status}")
        return answer

    def check(self, _prepared: Sequence[Transaction], load: Load, /) -> None:
        """The certificates are there already, since they had to be confirmed; here the MACs are verified."""
        for answer in (*load.answers, *self._confirmed):
            try:
                check_mac(cmp.decode_message(answer.body), self._server)
            except CmpRefused as refused:
                load.errors[str(refused)] += 1
        self._confirmed.clear()

    async def stop(self) -> None:
        """Nothing is open."""


def _prepare(cn: str, server: CmpServer) -> Transaction:
    return begin(ec.generate_private_key(ec.SECP256R1()), cn, server)
