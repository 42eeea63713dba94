"""What is measured: the real gateway and the floor server, each a process tree of its own."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench import material
from bench.acme_load import AcmeLoad
from bench.est_stream import ENROLL, REENROLL, StreamAnswer, basic, post
from bench.load import Load, Shot, fire
from bench.process_cost import cpu_s, pss_mib
from tests.support.database import certificate_count
from tests.support.gateway import Gateway, process_tree

WARM_UP = 200
CLIENT_CERTIFICATES = 1000  # for mutual TLS, each another key and name


class MeasurementError(Exception):
    """The figures would not mean what they say."""


@dataclass(frozen=True, slots=True)
class Result:
    """One repetition of one mode."""

    certificates: int
    cpu_ms: float  # server CPU per certificate
    per_s: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]


def _result(load: Load, cpu_seconds: float) -> Result:
    """Count and check: every 200 holds a certificate with a serial number of its own."""
    answered = [answer for answer in load.answers if answer.status == 200]
    serials = {x509.load_der_x509_certificate(answer.leaf_der).serial_number for answer in answered}
    if not answered or len(serials) != len(answered):
        found = f"{len(answered)} certificates with {len(serials)} different serial numbers"
        raise MeasurementError(f"{found}; errors: {dict(load.errors)}")
    return Result(
        certificates=len(answered),
        cpu_ms=cpu_seconds * 1000 / len(answered),
        per_s=len(answered) / load.seconds,
        p50_ms=load.quantile_ms(0.5),
        p99_ms=load.quantile_ms(0.99),
        errors=dict(load.errors),
    )


class FloorSubject:
    """The bare server of ``bench.floor``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    async def start(self) -> None:
        await asyncio.to_thread(self._spawn)
        await self._fire("warm", WARM_UP, 16)

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "bench.floor", str(self._directory)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    async def measure(self, name: str, count: int, concurrency: int) -> Result:
        assert self._process is not None
        prepared = self._shots(name, count)
        before = cpu_s([self._process.pid])
        load = await fire(prepared, port=self._port, concurrency=concurrency, keep=True)
        return _result(load, cpu_s([self._process.pid]) - before)

    async def _fire(self, name: str, count: int, concurrency: int) -> Load:
        return await fire(self._shots(name, count), port=self._port, concurrency=concurrency, keep=True)

    def _shots(self, name: str, count: int) -> list[Shot]:
        made = material.requests(f"floor-{name}-{number}.test" for number in range(count))
        return [Shot(post(ENROLL, "localhost", request.csr_der, None), None) for request in made]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()


@dataclass(slots=True)
class GatewaySubject:
    """The gateway as ``pkigate serve`` starts it, with the default policies."""

    directory: Path
    database_url: str | None
    workers: int | None
    with_clients: bool
    _gateway: Gateway = field(init=False)
    _facts: dict[str, Any] = field(default_factory=dict)
    _plain_context: ssl.SSLContext = field(init=False)
    _clients: list[tuple[str, ssl.SSLContext]] = field(default_factory=list)  # name, context with certificate
    _next_client: int = 0
    _acme: AcmeLoad | None = None

    async def start(self) -> None:
        self.directory.mkdir()
        self._gateway = Gateway(self.directory, database_url=self.database_url, workers=self.workers)
        began = time.perf_counter()
        await asyncio.to_thread(self._gateway.start)
        self._facts["first start, s"] = round(time.perf_counter() - began, 2)
        await asyncio.to_thread(self._gateway.stop)
        began = time.perf_counter()
        await asyncio.to_thread(self._gateway.start)
        self._plain_context = ssl.create_default_context(cafile=str(self._gateway.root_pem))
        client = self._gateway.est_client()
        await asyncio.to_thread(client.cacerts)
        self._facts["second start to first answer, s"] = round(time.perf_counter() - began, 2)
        self._facts["memory per worker when idle, MiB PSS"] = self._memory()
        await self._enrol_clients(CLIENT_CERTIFICATES if self.with_clients else WARM_UP)

    async def measure(self, mode: str, name: str, count: int, concurrency: int) -> Result:
        """Modes: ``kept`` connections, ``new`` TLS connection each, ``mtls``: the same with a certificate,
        ``acme``: whole ACME flows."""
        if mode == "acme":
            return await self._measure_acme(name, count, concurrency)
        shots = self._shots(mode, f"{mode}-{name}", count)
        warm = self._shots(mode, f"{mode}-{name}-warm", WARM_UP)
        await self._fire(warm, concurrency, keep=mode == "kept")
        rows_before = self._rows()
        pids = process_tree(self._pid)
        before = cpu_s(pids)
        load = await self._fire(shots, concurrency, keep=mode == "kept")
        spent = cpu_s(pids) - before
        result = _result(load, spent)
        written = self._rows() - rows_before
        if written < result.certificates:
            raise MeasurementError(f"{result.certificates} certificates, but {written} rows")
        return result

    async def _measure_acme(self, name: str, count: int, concurrency: int) -> Result:
        if self._acme is None:
            self._acme = AcmeLoad(self._gateway)
            await self._acme.start()
        warm = material.requests(f"acme-{name}-warm-{number}.test" for number in range(WARM_UP))
        made = material.requests(f"acme-{name}-{number}.test" for number in range(count))
        await self._acme.fire(warm, concurrency)
        rows_before = self._rows()
        pids = process_tree(self._pid)
        before = cpu_s(pids)
        load = await self._acme.fire(made, concurrency)
        spent = cpu_s(pids) - before
        result = _result(load, spent)
        if self._rows() - rows_before != result.certificates:
            raise MeasurementError(f"{result.certificates} certificates, and another number of rows")
        self._facts["ACME requests per certificate"] = round(self._acme.requests / (count + WARM_UP), 2)
        self._acme.requests = 0
        return result

    async def burst(self, count: int, concurrency: int) -> Result:
        """``count`` orders at once on one account: the errors are what it is for."""
        return await self._measure_acme(f"burst-{concurrency}", count, concurrency)

    async def facts(self) -> dict[str, Any]:
        self._facts["memory per worker at the end, MiB PSS"] = self._memory()
        self._facts["certificates in the database"] = self._rows()
        return self._facts

    def stop(self) -> None:
        if hasattr(self, "_gateway"):
            self._gateway.kill()

    @property
    def _pid(self) -> int:
        assert self._gateway.process is not None
        return self._gateway.process.pid

    def _memory(self) -> list[float]:
        return [round(pss_mib(pid), 1) for pid in self._gateway.worker_pids]

    def _rows(self) -> int:
        return certificate_count(self._gateway.sql_url)

    async def _fire(self, shots: Sequence[Shot], concurrency: int, *, keep: bool) -> Load:
        return await fire(shots, port=self._gateway.est_client().port, concurrency=concurrency, keep=keep)

    def _shots(self, mode: str, name: str, count: int) -> list[Shot]:
        host = self._gateway.quickstart["https"].partition("//")[2]
        if mode == "mtls":
            chosen = [self._clients[(self._next_client + n) % len(self._clients)] for n in range(count)]
            self._next_client += count
            made = material.requests(cn for cn, _ in chosen)
            return [
                Shot(post(REENROLL, host, request.csr_der, None), context)
                for request, (_, context) in zip(made, chosen, strict=True)
            ]
        made = material.requests(f"{name}-{number}.test" for number in range(count))
        authorization = self._authorization
        return [Shot(post(ENROLL, host, r.csr_der, authorization), self._plain_context) for r in made]

    @property
    def _authorization(self) -> str:
        est = self._gateway.quickstart["est"]
        return basic(est["user"], est["password"])

    async def _enrol_clients(self, count: int) -> None:
        """Warm up, and get client certificates in the way that devices do."""
        host = self._gateway.quickstart["https"].partition("//")[2]
        made = material.requests(f"client-{number}.test" for number in range(count))
        for request in made:
            octets = post(ENROLL, host, request.csr_der, self._authorization)
            load = await self._fire([Shot(octets, self._plain_context)], 1, keep=True)
            if load.errors:
                raise MeasurementError(f"a client could not be enrolled: {load.errors} {_text(load.answers)}")
            if self.with_clients:
                self._clients.append((request.cn, self._client_context(request, load.answers[0])))

    def _client_context(self, request: material.Request, answer: StreamAnswer) -> ssl.SSLContext:
        certificate = x509.load_der_x509_certificate(answer.leaf_der)
        context = ssl.create_default_context(cafile=str(self._gateway.root_pem))
        path = self.directory / "client.pem"
        path.write_bytes(request.key_pem + certificate.public_bytes(Encoding.PEM))
        context.load_cert_chain(path)
        return context


def _text(answers: Sequence[StreamAnswer]) -> str:
    return answers[0].body.decode("utf-8", "replace") if answers else ""
