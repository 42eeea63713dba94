"""A real edge on loopback sockets, with certificates of its own, for the wire tests."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import io
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.http.edge import Edge
from gateway.http.listener import ClientCertificateMode, HttpLimits, ListenerSpec, TlsCredentials, TlsSettings
from gateway.http.listeners import bind, bound_spec, serve
from gateway.http.log import LogWriter, RequestLog, render_json
from gateway.http.message import HttpRequest, HttpResponse, PathRoute, PathRoutes


@dataclass(frozen=True)
class Identity:
    """A certificate with key and the chain above it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuers: tuple[x509.Certificate, ...] = ()

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain = (self.certificate, *self.issuers)
        certificate.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain))
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, key


def make(
    name: str,
    issuer: Identity | None = None,
    *,
    ca: bool = False,
    start: dt.datetime = dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    end: dt.datetime = dt.datetime(2040, 1, 1, tzinfo=dt.UTC),
) -> Identity:
    """A P-256 certificate; self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    above = (issuer.certificate, *issuer.issuers) if issuer and issuer.issuers else ()
    if issuer and not issuer.issuers and issuer.certificate.subject != issuer.certificate.issuer:
        above = (issuer.certificate,)
    return Identity(certificate, key, above)


@dataclass(frozen=True)
class Pki:
    """The identities of these tests."""

    root: Identity
    intermediate: Identity
    server: Identity
    client: Identity
    expired: Identity
    self_signed: Identity
    folder: Path

    @property
    def root_pem(self) -> Path:
        return self.folder / "root.pem"

    def credentials(self) -> TlsCredentials:
        return TlsCredentials((self.server.certificate, *self.server.issuers), self.server.key)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    root = make("root", ca=True)
    intermediate = make("intermediate", root, ca=True)
    made = Pki(
        root=root,
        intermediate=intermediate,
        server=make("localhost", root),
        client=make("device", intermediate),
        expired=make("old-device", intermediate, end=dt.datetime(2021, 1, 1, tzinfo=dt.UTC)),
        self_signed=make("self-made"),
        folder=folder,
    )
    for name in ("root", "server", "client", "expired", "self_signed"):
        getattr(made, name).write(folder, name)
    return made


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each wire test runs on the loop of production, and on asyncio's in debug mode."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def quiet_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers = [h for h in logging.getLogger().handlers if not hasattr(h, "_writer")]


@dataclass
class Running:
    """A served edge."""

    spec: ListenerSpec
    stop: asyncio.Event
    task: asyncio.Task[None]
    requests: list[HttpRequest] = field(default_factory=list)
    log: io.BytesIO = field(default_factory=io.BytesIO)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        return self.spec.port


Handler = Callable[[HttpRequest], Any]


async def plain_app(scope: Any, receive: Any, send: Any) -> None:
    """Stands where FastAPI stands: echoes the path in lower-case headers, streams if asked to."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["path"] == "/api/stream":
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "http.response.body", "body": scope["path"].encode()})


def _routes(requests: list[HttpRequest], gate: asyncio.Event, handler: Handler | None) -> PathRoutes:
    async def echo(request: HttpRequest) -> HttpResponse:
        requests.append(request)
        body = await request.body(100_000)
        return HttpResponse(200, body or request.path.encode(), "text/plain")

    async def gated(request: HttpRequest) -> HttpResponse:
        requests.append(request)
        await gate.wait()
        return HttpResponse(200, b"through", "text/plain")

    async def careless(request: HttpRequest) -> HttpResponse:
        return HttpResponse(401, b"no", "text/plain", (("WWW-Authenticate", 'Basic realm="est"'),))

    async def broken(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("a secret inside")

    return (
        PathRoute("/echo", "test", handler or echo),
        PathRoute("/tree/", "test", handler or echo),
        PathRoute("/gated", "test", gated),
        PathRoute("/careless", "test", careless),
        PathRoute("/broken", "test", broken),
        PathRoute("/.well-known/est/", "est", echo),
        PathRoute("/ocsp/", "ocsp", echo),
        PathRoute("/acme/", "acme", echo),
        PathRoute("/acme/tree/", "test", echo),
    )


@contextlib.asynccontextmanager
async def running(
    pki: Pki | None = None,
    *,
    mode: ClientCertificateMode = ClientCertificateMode.NONE,
    limits: HttpLimits | None = None,
    handler: Handler | None = None,
    serves: frozenset[str] = frozenset(("est", "test", "api")),
    app: Any = plain_app,
    drain_s: float = 10.0,
    spec_changes: dict[str, Any] | None = None,
    edge_changes: dict[str, Any] | None = None,
    roots: tuple[bytes, ...] = (),
) -> AsyncIterator[Running]:
    """Serve an edge on a free port until the block ends."""
    asyncio.get_running_loop().set_debug(not isinstance(asyncio.get_running_loop(), uvloop.Loop))
    spec = ListenerSpec(
        "https" if pki else "http",
        "127.0.0.1",
        0,
        serves,
        tls=TlsSettings(pki.credentials, roots) if pki else None,
        client_certificate=mode,
        limits=limits or HttpLimits(),
        **(spec_changes or {}),
    )
    sock = bind(spec)
    spec = bound_spec(spec, sock)
    up = asyncio.Event()
    stop = asyncio.Event()
    log = io.BytesIO()
    requests: list[HttpRequest] = []
    gate = asyncio.Event()

    writer = LogWriter(log, threaded=False)
    edge = Edge(
        routes=_routes(requests, gate, handler),
        app=app,
        **{
            "listeners": (spec,),
            "request_log": RequestLog(writer, render_json),
            **(edge_changes or {}),
        },
    )
    task = asyncio.create_task(serve([(spec, sock)], edge, ready=up.set, drain_s=drain_s, stop=stop))
    started = asyncio.create_task(up.wait())
    await asyncio.wait({started, task}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        started.cancel()
        task.result()
    try:
        yield Running(spec, stop, task, requests, log, gate)
    finally:
        stop.set()
        await task


def client_context(
    pki: Pki, name: str | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """A standard-library client that trusts the root."""
    context = ssl.create_default_context(cafile=pki.root_pem)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if name is not None:
        context.load_cert_chain(pki.folder / f"{name}.pem", pki.folder / f"{name}.key")
    return context


async def exchange(
    port: int, wire: bytes, *, context: ssl.SSLContext | None = None, eof: bool = False
) -> bytes:
    """Send bytes on a fresh connection and read to its end."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost" if context else None
    )
    try:
        writer.write(wire)
        if eof:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
