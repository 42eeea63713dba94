"""What is measured: the real gateway and the floor server, each a process tree of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench import material
from bench.acme_load import AcmeLoad
from bench.cmp_load import CmpLoad
from bench.est_load import EstLoad, take_certificates
from bench.est_stream import ENROLL, post
from bench.load import Asked, Driver, Load, Shot, fire
from bench.process_cost import cpu_s, pss_mib
from bench.scep_load import ScepLoad
from tests.support.database import certificate_count
from tests.support.gateway import Gateway, process_tree

WARM_UP = 200
MODES = ("kept", "new", "mtls", "acme", "scep", "scep-new", "cmp")


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


def _result(prepared: Sequence[Asked], load: Load, cpu_seconds: float) -> Result:
    """Count and check: every certificate has the key that was asked for and a serial number of its own."""
    serials = set()
    for number, certificate_der in load.certificates:
        certificate = x509.load_der_x509_certificate(certificate_der)
        spki_der = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if spki_der != prepared[number].spki_der:
            raise MeasurementError(f"certificate {certificate.serial_number:x} is for another key")
        serials.add(certificate.serial_number)
    count = len(load.certificates)
    if not count or len(serials) != count:
        found = f"{count} certificates with {len(serials)} different serial numbers"
        raise MeasurementError(f"{found}; errors: {dict(load.errors)}")
    return Result(
        certificates=count,
        cpu_ms=cpu_seconds * 1000 / count,
        per_s=count / load.seconds,
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
        await self._fire(self._prepare("warm", WARM_UP), 16)

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "bench.floor", str(self._directory)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    async def measure(self, name: str, count: int, concurrency: int) -> Result:
        assert self._process is not None
        prepared = self._prepare(name, count)
        before = cpu_s([self._process.pid])
        load = await self._fire(prepared, concurrency)
        spent = cpu_s([self._process.pid]) - before
        take_certificates(load)
        return _result(prepared, load, spent)

    def _prepare(self, name: str, count: int) -> Sequence[material.Request]:
        return material.requests(f"floor-{name}-{number}.test" for number in range(count))

    async def _fire(self, prepared: Sequence[material.Request], concurrency: int) -> Load:
        shots = [Shot(post(ENROLL, "localhost", request.csr_der, None)) for request in prepared]
        return await fire(shots, port=self._port, concurrency=concurrency, keep=True)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()


@dataclass(slots=True)
class GatewaySubject:
    """The gateway as ``pkigate serve`` starts it, with the default policies.

    ``most`` certificates are asked for in each mode, in all runs together.
    """

    directory: Path
    database_url: str | None
    workers: int | None
    most: int
    _gateway: Gateway = field(init=False)
    _facts: dict[str, Any] = field(default_factory=dict)
    _drivers: dict[str, Driver[Any]] = field(default_factory=dict)

    async def start(self) -> None:
        self.directory.mkdir()
        self._gateway = Gateway(self.directory, database_url=self.database_url, workers=self.workers)
        began = time.perf_counter()
        await asyncio.to_thread(self._gateway.start)
        self._facts["first start, s"] = round(time.perf_counter() - began, 2)
        await asyncio.to_thread(self._gateway.stop)
        began = time.perf_counter()
        await asyncio.to_thread(self._gateway.start)
        client = self._gateway.est_client()
        await asyncio.to_thread(client.cacerts)
        self._facts["second start to first answer, s"] = round(time.perf_counter() - began, 2)
        self._facts["memory per worker when idle, MiB PSS"] = self._memory()

    async def measure(self, mode: str, name: str, count: int, concurrency: int) -> Result:
        """One of ``MODES``. A warm-up comes first and is not counted."""
        if mode not in self._drivers:
            driver = self._drivers[mode] = self._driver(mode)
            await driver.start()
        driver = self._drivers[mode]
        await driver.fire(driver.prepare(f"{mode}-{name}-warm", WARM_UP), concurrency)
        prepared = driver.prepare(f"{mode}-{name}", count)
        rows_before = self._rows()
        requests_before = driver.requests if isinstance(driver, AcmeLoad) else 0
        pids = process_tree(self._pid)
        before = cpu_s(pids)
        load = await driver.fire(prepared, concurrency)
        spent = cpu_s(pids) - before
        driver.check(prepared, load)
        result = _result(prepared, load, spent)
        written = self._rows() - rows_before
        if written != result.certificates:
            raise MeasurementError(f"{result.certificates} certificates, but {written} rows: {result.errors}")
        if isinstance(driver, AcmeLoad):
            asked = (driver.requests - requests_before) / count
            self._facts["ACME requests per certificate"] = round(asked, 2)
        return result

    def _driver(self, mode: str) -> Driver[Any]:
        match mode:
            case "kept" | "new" | "mtls":
                return EstLoad(self._gateway, mode, self.directory)
            case "acme":
                return AcmeLoad(self._gateway)
            case "scep" | "scep-new":
                return ScepLoad(self._gateway, keep=mode == "scep", most=self.most)
            case "cmp":
                return CmpLoad(self._gateway)
            case _:
                raise ValueError(f"no mode {mode}")

    async def burst(self, count: int, concurrency: int) -> Result:
        """``count`` ACME orders at once on one account: the errors are what it is for."""
        return await self.measure("acme", f"burst-{concurrency}", count, concurrency)

    async def facts(self) -> dict[str, Any]:
        self._facts["memory per worker at the end, MiB PSS"] = self._memory()
        self._facts["certificates in the database"] = self._rows()
        return self._facts

    async def stop(self) -> None:
        for driver in self._drivers.values():
            await driver.stop()
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
