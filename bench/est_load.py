"""EST enrolment at a fixed concurrency: on kept connections, on new ones, with client certificates."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench import material
from bench.est_stream import ENROLL, REENROLL, basic, post
from bench.load import Load, Shot, fire
from tests.support.gateway import Gateway

CLIENT_CERTIFICATES = 1000  # for mutual TLS, each another key and name


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """One enrolment, ready to be sent."""

    spki_der: bytes
    shot: Shot


@dataclass(slots=True)
class EstLoad:
    """``kept`` connections, ``new`` TLS connection each, ``mtls``: the same with a certificate to renew."""

    gateway: Gateway
    mode: Literal["kept", "new", "mtls"]
    directory: Path  # for the clients' keys
    _host: str = ""
    _authorization: str = field(default="", repr=False)
    _context: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    _clients: list[tuple[str, ssl.SSLContext]] = field(default_factory=list)  # name, context with certificate
    _next_client: int = 0

    async def start(self) -> None:
        """For mutual TLS, get client certificates in the way that devices do."""
        facts = self.gateway.quickstart
        self._host = facts["https"].partition("//")[2]
        self._authorization = basic(facts["est"]["user"], facts["est"]["password"])
        self._context = ssl.create_default_context(cafile=str(self.gateway.root_pem))
        if self.mode != "mtls":
            return
        made = material.requests(f"client-{number}.test" for number in range(CLIENT_CERTIFICATES))
        load = await self._fire([self._first(request) for request in made], 1, keep=True)
        for number, answer in zip(load.numbers, load.answers, strict=True):
            if answer.status != 200:
                raise RuntimeError(f"a client could not be enrolled: {answer.status} {answer.body!r}")
            self._clients.append((made[number].cn, self._client_context(made[number], answer.leaf_der)))

    def prepare(self, name: str, count: int) -> Sequence[PreparedRequest]:
        if self.mode != "mtls":
            made = material.requests(f"{name}-{number}.test" for number in range(count))
            return [PreparedRequest(request.spki_der, self._first(request)) for request in made]
        chosen = [self._clients[(self._next_client + n) % len(self._clients)] for n in range(count)]
        self._next_client += count
        made = material.requests(cn for cn, _ in chosen)
        return [
            PreparedRequest(
                request.spki_der, Shot(post(REENROLL, self._host, request.csr_der, None), context)
            )
            for request, (_, context) in zip(made, chosen, strict=True)
        ]

    async def fire(self, prepared: Sequence[PreparedRequest], concurrency: int) -> Load:
        shots = [request.shot for request in prepared]
        return await self._fire(shots, concurrency, keep=self.mode == "kept")

    def check(self, _prepared: Sequence[PreparedRequest], load: Load, /) -> None:
        take_certificates(load)

    async def stop(self) -> None:
        """Nothing is open."""

    async def _fire(self, shots: Sequence[Shot], concurrency: int, *, keep: bool) -> Load:
        return await fire(shots, port=self.gateway.est_client().port, concurrency=concurrency, keep=keep)

    def _first(self, request: material.Request) -> Shot:
        return Shot(post(ENROLL, self._host, request.csr_der, self._authorization), self._context)

    def _client_context(self, request: material.Request, certificate_der: bytes) -> ssl.SSLContext:
        certificate = x509.load_der_x509_certificate(certificate_der)
        context = ssl.create_default_context(cafile=str(self.gateway.root_pem))
        path = self.directory / "client.pem"
        path.write_bytes(request.key_pem + certificate.public_bytes(Encoding.PEM))
        context.load_cert_chain(path)
        return context


def take_certificates(load: Load) -> None:
    """Out of the certs-only answers."""
    for number, answer in zip(load.numbers, load.answers, strict=True):
        if answer.status == 200:
            load.certificates.append((number, answer.leaf_der))
