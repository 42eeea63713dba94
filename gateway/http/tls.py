"""TLS termination with OpenSSL memory buffers under an inner HTTP protocol (RFC 5246, RFC 8446).

Unlike the standard library's ``ssl`` it lets every client certificate reach the routes, sends the right
alert on refusal, gives the client's full chain and the channel bindings of RFC 5929 and RFC 9266. It judges
no trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Any, Protocol, cast

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from gateway.http.exchange import plain_response
from gateway.http.listener import ClientCertificateMode, TlsCredentials, TlsSettings
from gateway.http.message import TlsPeer

EXPORTER_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 section 2
EXPORTER_BYTES = 32
RECORD_BYTES, RECORD_HEADER_BYTES = 16_384, 5
_MOST_FLUSHED = 4 * RECORD_BYTES
LINGER_S = 2.0
# No TLS record begins with a letter (RFC 8446 section 5.1).
_PLAIN_HTTP = re.compile(rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE|PRI) ")
CIPHERS_TLS12 = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:ECDHE+AES:!aNULL:!eNULL"

log = structlog.get_logger("gateway.http.tls")


def load_tls_context(
    credentials: TlsCredentials,
    client_certificate: ClientCertificateMode,
    client_roots: tuple[bytes, ...] = (),
) -> SSL.Context:
    """Build a server context for TLS 1.2 and 1.3 without session resumption.

    A resumed session would lose the client's intermediate certificates and make tls-unique ambiguous.
    TLS 1.3 tickets are still sent, since pyOpenSSL cannot set their number to 0, but none is ever accepted.
    Raises OpenSSL.SSL.Error if key and certificate do not fit.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS_TLS12)
    leaf, *issuers = credentials.chain
    context.use_certificate(leaf)
    for issuer in issuers:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(cast(Any, credentials.key))  # its type leaves the ML-DSA keys out
    context.check_privatekey()
    _ask_for_certificate(context, client_certificate, client_roots)
    return context


def _ask_for_certificate(
    context: SSL.Context, mode: ClientCertificateMode, client_roots: tuple[bytes, ...]
) -> None:
    if mode is ClientCertificateMode.NONE:
        context.set_verify(SSL.VERIFY_NONE, None)
        return
    flags = SSL.VERIFY_PEER
    if mode is ClientCertificateMode.REQUIRE:
        flags |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        if client_roots:
            store = context.get_cert_store()
            assert store is not None
            for der in client_roots:
                root = x509.load_der_x509_certificate(der)
                store.add_cert(crypto.X509.from_cryptography(root))
                context.add_client_ca(root)
            context.set_verify(flags, None)
            return
    # Possession of the key is proven by CertificateVerify; trust is judged by policy, which answers in words.
    context.set_verify(flags, lambda *_verdict: True)


class TlsContexts:
    """The context for new connections of one listener; ``reload`` swaps it, old connections keep theirs."""

    def __init__(self, settings: TlsSettings, client_certificate: ClientCertificateMode) -> None:
        self._settings = settings
        self._client_certificate = client_certificate
        self.current = self._load()

    def _load(self) -> SSL.Context:
        return load_tls_context(self._settings.load(), self._client_certificate, self._settings.client_roots)

    def reload(self) -> None:
        """Load the credentials again. Raises what loading raises; the old context then stays."""
        self.current = self._load()


class HandshakeRegister(Protocol):
    """Whoever counts connections and sweeps deadlines."""

    handshakes: set[TlsTerminator]

    @property
    def full(self) -> bool: ...


class InnerProtocol(Protocol):
    """The HTTP protocol inside."""

    def connection_made(self, transport: asyncio.Transport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class TlsTerminator(asyncio.Protocol):
    """One TLS connection: ciphertext on the real transport, plaintext to the inner protocol."""

    def __init__(
        self,
        context: SSL.Context,
        register: HandshakeRegister,
        inner_factory: Callable[[TlsPeer], InnerProtocol],
        loop: asyncio.AbstractEventLoop,
        handshake_s: float,
    ) -> None:
        self._ssl = SSL.Connection(context, None)
        self._ssl.set_accept_state()
        self._register = register
        self._inner_factory = inner_factory
        self._inner: InnerProtocol | None = None
        self.loop = loop
        self.handshake_deadline = loop.time() + handshake_s
        self._real: asyncio.Transport = cast(asyncio.Transport, None)
        self._peer_address: Any = None
        self._read_paused = False
        self._finished = False  # our close_notify is out, or the connection failed
        self._saw_bytes = False
        self._drained = False  # OpenSSL has nothing left to decrypt

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._real = cast(asyncio.Transport, transport)
        self._peer_address = transport.get_extra_info("peername")
        if self._register.full:
            self.abort()
        else:
            self._register.handshakes.add(self)

    def data_received(self, data: bytes) -> None:
        if self._finished:
            return
        if not self._saw_bytes and _PLAIN_HTTP.match(data):
            self._answer_plain_http()
            return
        self._saw_bytes = True
        self._ssl.bio_write(data)
        if self._inner is None and not self._shake_hands():
            return
        # One whole record, as a request usually is: behind its content there is nothing to look for.
        alone = self._drained and int.from_bytes(data[3:5], "big") + RECORD_HEADER_BYTES == len(data)
        self._drained = False
        self._decrypt(alone=alone)

    def eof_received(self) -> bool | None:
        if self._inner is None:
            return False
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._register.handshakes.discard(self)
        self._finished = True
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    # Handshake

    def _answer_plain_http(self) -> None:
        """Tell somebody who wrote http:// for https:// so, in the words that he can read."""
        local = self._real.get_extra_info("sockname")
        port = f"port {local[1]}" if isinstance(local, tuple) else "this port"
        log.info("tls.plain-http", client=self._client_text())
        self._finished = True
        text = f"{port} speaks https only, and this request came without TLS; begin its address with https://"
        self._real.write(plain_response(400, text, []))
        # Closing with unread bytes would reset the connection: what comes is thrown away until the deadline.
        self._real.write_eof()
        self.handshake_deadline = self.loop.time() + LINGER_S

    def check_deadline(self, now: float) -> None:
        """Abort a handshake that takes too long; called by the listener's sweep."""
        if now > self.handshake_deadline and self._inner is None:
            if self._saw_bytes:
                log.info("tls.handshake-timeout", client=self._client_text())
            self._finished = True
            self._real.abort()

    def abort(self) -> None:
        self._finished = True
        self._real.abort()

    def _shake_hands(self) -> bool:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return False
        except SSL.Error as error:
            self._refuse(error)
            return False
        peer = _peer(self._ssl)
        if peer.version != "TLSv1.3":
            # In TLS 1.3 only session tickets are left to send, which nobody can use here: they go with the
            # first answer, which saves a system call and a wake-up of the client.
            self._flush()
        self._register.handshakes.discard(self)
        self._inner = self._inner_factory(peer)
        self._inner.connection_made(cast(asyncio.Transport, PlaintextTransport(self)))
        return not self._finished

    def _refuse(self, error: SSL.Error) -> None:
        # OpenSSL has put the alert into its buffer: it must go out before the connection closes, or the
        # client sees nothing but a reset.
        self._flush()
        log.info("tls.handshake-refused", client=self._client_text(), reason=_error_text(error))
        self._finished = True
        self._real.close()

    def _client_text(self) -> str:
        return str(self._peer_address[0]) if isinstance(self._peer_address, tuple) else ""

    # Plaintext in

    def _decrypt(self, *, alone: bool = False) -> None:
        """Hand on what can be decrypted. ``alone``: there is one record, which one call reads whole."""
        inner, recv = self._inner, self._ssl.recv
        assert inner is not None
        while not self._read_paused and not self._finished:
            try:
                plaintext = recv(RECORD_BYTES)
            except SSL.WantReadError:
                self._drained = True
                return
            except SSL.ZeroReturnError:
                # The client's close_notify: like the end of a TCP stream. An answer under way is still sent.
                if not inner.eof_received():
                    self.close()
                return
            except SSL.Error as error:
                self._flush()
                log.info("tls.record-refused", client=self._client_text(), reason=_error_text(error))
                self._finished = True
                self._real.close()
                return
            self._drained = alone
            inner.data_received(plaintext)
            if alone:
                return

    def pause_reading(self) -> None:
        if not self._read_paused:
            self._read_paused = True
            if not self._real.is_closing():
                self._real.pause_reading()

    def resume_reading(self) -> None:
        if self._read_paused:
            self._read_paused = False
            if not self._real.is_closing():
                self._real.resume_reading()
                self.loop.call_soon(self._decrypt_rest)

    def _decrypt_rest(self) -> None:
        if not self._finished:
            self._decrypt()

    # Plaintext out

    def write(self, plaintext: bytes | bytearray | memoryview) -> None:
        if self._finished or not plaintext:
            return
        try:
            self._ssl.sendall(plaintext)
        except SSL.Error as error:
            log.info("tls.record-refused", client=self._client_text(), reason=_error_text(error))
            self.abort()
            return
        self._flush(min(len(plaintext) + RECORD_BYTES // 16, _MOST_FLUSHED))

    def _flush(self, size: int = _MOST_FLUSHED) -> None:
        """Send what OpenSSL has written, ``size`` bytes at a time: as much as it probably is."""
        while True:
            try:
                ciphertext = self._ssl.bio_read(size)
            except SSL.Error:  # the buffer is empty
                return
            self._real.write(ciphertext)
            if len(ciphertext) < size:
                return

    def write_eof(self) -> None:
        """Send close_notify and end the TCP stream; what still comes in is thrown away."""
        if self._finished:
            return
        self._finished = True
        with contextlib.suppress(SSL.Error):
            self._ssl.shutdown()
        self._flush()
        if self._read_paused:
            self._read_paused = False
            self._real.resume_reading()
        self._real.write_eof()

    def close(self) -> None:
        """Send close_notify, flush and close."""
        if not self._finished:
            self._finished = True
            with contextlib.suppress(SSL.Error):
                self._ssl.shutdown()
            self._flush()
        self._real.close()

    @property
    def real_transport(self) -> asyncio.Transport:
        return self._real


class PlaintextTransport:
    """The transport that the inner protocol sees."""

    def __init__(self, terminator: TlsTerminator) -> None:
        self._terminator = terminator
        self._real = terminator.real_transport
        self.write = terminator.write
        self.write_eof = terminator.write_eof
        self.close = terminator.close
        self.abort = terminator.abort
        self.pause_reading = terminator.pause_reading
        self.resume_reading = terminator.resume_reading

    def is_closing(self) -> bool:
        return self._real.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":  # uvicorn takes the scheme from it
            return self._terminator
        return self._real.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._real.get_write_buffer_size()


def _peer(connection: SSL.Connection) -> TlsPeer:
    leaf = connection.get_peer_certificate(as_cryptography=True)
    chain: tuple[bytes, ...] = ()
    if leaf is not None:
        # OpenSSL leaves the leaf out of a server's view of the client's chain.
        rest = connection.get_peer_cert_chain(as_cryptography=True) or []
        chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in (leaf, *rest))
        if len(chain) > 1 and chain[0] == chain[1]:
            chain = chain[1:]
    name = connection.get_servername()
    version = connection.get_protocol_version_name()
    return TlsPeer(
        version=version,
        cipher=connection.get_cipher_name() or "",
        chain_der=chain,
        server_name=name.decode("ascii", "backslashreplace") if name else None,
        binding=lambda kind: _binding(connection, version, kind),
    )


def _binding(connection: SSL.Connection, version: str, kind: str) -> bytes | None:
    if kind == "tls-unique" and version == "TLSv1.2":
        # RFC 5929 section 3: the first Finished of the handshake; the client's, as nothing is ever resumed.
        return connection.get_peer_finished()
    if kind == "tls-exporter" and version == "TLSv1.3":
        return connection.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, b"")
    return None


def _error_text(error: SSL.Error) -> str:
    details = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[2]) for entry in details if len(entry) > 2) or type(error).__name__
