"""Byte streams to a server: plain TCP, TLS by Python's ssl, TLS by pyOpenSSL (which gives tls-exporter)."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from OpenSSL import SSL, crypto

from tests.support import pki


class Channel(Protocol):
    """A byte stream to the server."""

    def sendall(self, octets: bytes) -> None: ...
    def recv(self, size: int) -> bytes: ...
    def binding(self, name: str) -> bytes | None: ...
    def close(self) -> None: ...


class PlainChannel:
    """TCP without TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def sendall(self, octets: bytes) -> None:
        self._sock.sendall(octets)

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    def binding(self, name: str) -> bytes | None:
        return None

    def close(self) -> None:
        self._sock.close()


class TlsChannel(PlainChannel):
    """TLS by Python's ssl: checks the server's chain and name."""

    _sock: ssl.SSLSocket

    def binding(self, name: str) -> bytes | None:
        return self._sock.get_channel_binding(name)

    @property
    def version(self) -> str | None:
        return self._sock.version()


class ExporterChannel:
    """TLS by pyOpenSSL, which gives tls-exporter (RFC 9266); checks the server's chain only."""

    def __init__(self, sock: socket.socket, connection: Any) -> None:
        self._sock = sock
        self._connection = connection

    def sendall(self, octets: bytes) -> None:
        self._connection.sendall(octets)

    def recv(self, size: int) -> bytes:
        try:
            received: bytes = self._connection.recv(size)
        except SSL.ZeroReturnError:
            return b""
        return received

    def binding(self, name: str) -> bytes | None:
        if name == "tls-exporter":
            exported: bytes = self._connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
            return exported
        finished: bytes | None = self._connection.get_finished()
        return finished

    def close(self) -> None:
        with contextlib.suppress(SSL.Error, OSError):
            self._connection.shutdown()
        self._sock.close()


def tls_channel(
    sock: socket.socket, host: str, root_pem: Path, *, version: str | None, identity: pki.Identity | None
) -> Channel:
    """Shake hands; ``version`` is ``1.0`` to ``1.3`` and nothing else, or None for what both can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(root_pem))
    versions = {
        "1.0": ssl.TLSVersion.TLSv1,
        "1.1": ssl.TLSVersion.TLSv1_1,
        "1.2": ssl.TLSVersion.TLSv1_2,
        "1.3": ssl.TLSVersion.TLSv1_3,
    }
    if version is not None:
        if version < "1.2":
            context.set_ciphers("ALL:@SECLEVEL=0")
        with _old_versions_allowed():
            context.minimum_version = versions[version]
            context.maximum_version = versions[version]
    if identity is not None:
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as file:
            file.write(identity.key_pem + identity.chain_pem)
            file.flush()
            context.load_cert_chain(file.name)
    return TlsChannel(context.wrap_socket(sock, server_hostname=host))


def exporter_channel(
    sock: socket.socket, host: str, root_pem: Path, *, version: str | None, identity: pki.Identity | None
) -> Channel:
    """Shake hands by pyOpenSSL; takes ML-DSA keys too, which Debian's own OpenSSL does not."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.load_verify_locations(str(root_pem))
    context.set_verify(SSL.VERIFY_PEER)
    if version is not None:
        wanted = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[version]
        context.set_min_proto_version(wanted)
        context.set_max_proto_version(wanted)
    if identity is not None:
        context.use_certificate(identity.certificate)
        context.use_privatekey(crypto.PKey.from_cryptography_key(identity.private_key))
        for certificate in identity.chain:
            context.add_extra_chain_cert(certificate)
    sock.settimeout(None)  # pyOpenSSL would see a socket with a timeout as one that never blocks
    connection = SSL.Connection(context, sock)
    connection.set_tlsext_host_name(host.encode())
    connection.set_connect_state()
    connection.do_handshake()
    return ExporterChannel(sock, connection)


@contextlib.contextmanager
def _old_versions_allowed() -> Iterator[None]:
    """TLS 1.0 and 1.1 are asked for on purpose: to see them refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
