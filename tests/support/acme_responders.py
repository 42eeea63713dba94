"""What a web server shows to a validating CA: http-01 and tls-alpn-01 answers on loopback ports."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import acme_signing, pki

CHALLENGE_PATH = "/.well-known/acme-challenge/"
ACME_TLS = "acme-tls/1"
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # id-pe-acmeIdentifier, RFC 8737 section 6.1


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that the responder got."""

    path: str
    host: str
    address: str


@dataclass(slots=True)
class Page:
    """What is answered for one token. ``gate`` is waited for first."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    gate: threading.Event | None = None


@dataclass(slots=True)
class Http01Responder:
    """Answers http-01 for every host name that leads here (RFC 8555 section 8.3)."""

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, token: str, private_key: pki.PrivateKey, **more: Any) -> Page:
        """Show the right key authorization for this token."""
        text = acme_signing.key_authorization(token, private_key)
        return self.show(token, text.encode(), **more)

    def show(self, token: str, body: bytes, **more: Any) -> Page:
        page = Page(body, **more)
        self.pages[token] = page
        return page

    def times_asked(self, token: str) -> int:
        return sum(1 for one in self.asked if one.path == CHALLENGE_PATH + token)


class _Handler(http.server.BaseHTTPRequestHandler):
    responder: Http01Responder

    def do_GET(self) -> None:
        host = self.headers.get("Host", "")
        self.responder.asked.append(Asked(self.path, host, self.client_address[0]))
        page = self.responder.pages.get(self.path.removeprefix(CHALLENGE_PATH), Page(b"not here", 404))
        if page.gate is not None:
            page.gate.wait(100)
        self.send_response(page.status)
        for name, value in page.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """The tests look at ``asked`` instead."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A validator may go away at any time."""


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def http01_responder(port: int, address: str = "127.0.0.1") -> Iterator[Http01Responder]:
    responder = Http01Responder(port)
    handler = type("_BoundHandler", (_Handler,), {"responder": responder})
    server = (_Server6 if ":" in address else _Server)((address, port), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield responder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(slots=True)
class AlpnResponder:
    """Answers tls-alpn-01 (RFC 8737): one certificate per server name; others get a fatal alert."""

    port: int
    protocols: tuple[str, ...] = (ACME_TLS,)
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(
        self,
        server_name: str,
        token: str,
        private_key: pki.PrivateKey,
        *,
        san: str | None = None,
        **more: Any,
    ) -> None:
        """Show the right certificate for this name. ``san``: another subject alternative name in it."""
        text = acme_signing.key_authorization(token, private_key)
        digest = hashlib.sha256(text.encode()).digest()
        self.show(server_name, *validation_certificate(san or server_name, digest, **more))

    def show(self, server_name: str, certificate_pem: bytes, key_pem: bytes) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as file:
            file.write(key_pem + certificate_pem)
            file.flush()
            context.load_cert_chain(file.name)
        context.set_alpn_protocols(list(self.protocols))
        self.contexts[server_name] = context


def validation_certificate(
    san: str, digest: bytes, *, critical: bool = True, more_sans: tuple[str, ...] = (), extension: bool = True
) -> tuple[bytes, bytes]:
    """A self-signed certificate of RFC 8737 section 3 and its key, as PEM."""
    private_key = pki.key()
    name = x509.Name([])
    now = datetime.now(UTC)
    sans = x509.SubjectAlternativeName([pki.general_name(one) for one in (san, *more_sans)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(sans, critical=False)
    )
    if extension:
        value = x509.UnrecognizedExtension(ACME_IDENTIFIER, b"\x04\x20" + digest)
        builder = builder.add_extension(value, critical=critical)
    certificate = builder.sign(private_key, SHA256())
    return certificate.public_bytes(Encoding.PEM), pki.key_pem(private_key)


@contextlib.contextmanager
def alpn_responder(port: int, address: str = "127.0.0.1") -> Iterator[AlpnResponder]:
    responder = AlpnResponder(port)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=64)
    thread = threading.Thread(target=_accept, args=(listener, responder), daemon=True)
    thread.start()
    try:
        yield responder
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _accept(listener: socket.socket, responder: AlpnResponder) -> None:
    choose = _chooser(responder)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_shake_hands, args=(connection, responder, choose), daemon=True).start()


def _chooser(responder: AlpnResponder) -> Callable[[Any, str | None, ssl.SSLContext], int | None]:
    def choose(tls: Any, server_name: str | None, _: ssl.SSLContext) -> int | None:
        responder.asked.append(server_name or "")
        context = responder.contexts.get(server_name or "")
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        tls.context = context
        return None

    return choose


def _shake_hands(connection: socket.socket, responder: AlpnResponder, choose: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(list(responder.protocols))
    context.sni_callback = choose
    connection.settimeout(60)
    quiet = contextlib.suppress(OSError, ssl.SSLError)
    with quiet, connection, context.wrap_socket(connection, server_side=True) as tls:
        tls.recv(1)
