"""A lean asyncio EST client connection for load: writes prepared octets, reads status and body."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from dataclasses import dataclass

ENROLL = "/.well-known/est/simpleenroll"
REENROLL = "/.well-known/est/simplereenroll"


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """One response. ``head`` is the raw status line and headers."""

    status: int
    head: bytes
    body: bytes

    @property
    def retry_after_s(self) -> int | None:
        for line in self.head.split(b"\r\n"):
            if line.lower().startswith(b"retry-after:"):
                return int(line.split(b":", 1)[1])
        return None

    @property
    def leaf_der(self) -> bytes:
        """The one certificate of a certs-only answer (RFC 7030 section 4.2.3)."""
        return only_certificate(base64.b64decode(self.body))


def only_certificate(certs_only_der: bytes) -> bytes:
    """Take the first certificate out of a degenerate SignedData by its own little DER reading (RFC 5652)."""
    content = _inside(certs_only_der, 0)  # ContentInfo
    position = _end(certs_only_der, content)  # after contentType
    signed_data = _inside(certs_only_der, _inside(certs_only_der, position))  # [0] { SignedData {
    for _ in range(3):  # version, digestAlgorithms, encapContentInfo
        signed_data = _end(certs_only_der, signed_data)
    if certs_only_der[signed_data] != 0xA0:
        raise ValueError("no certificates in the answer")
    first = _inside(certs_only_der, signed_data)
    return certs_only_der[first : _end(certs_only_der, first)]


def _header(der: bytes, at: int) -> tuple[int, int]:
    """Start and size of the content of the element at ``at``."""
    size = der[at + 1]
    if size < 0x80:
        return at + 2, size
    width = size & 0x7F
    return at + 2 + width, int.from_bytes(der[at + 2 : at + 2 + width], "big")


def _inside(der: bytes, at: int) -> int:
    return _header(der, at)[0]


def _end(der: bytes, at: int) -> int:
    start, size = _header(der, at)
    return start + size


def basic(user: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def post(path: str, host: str, csr_der: bytes, authorization: str | None) -> bytes:
    """A whole POST of a CSR, as octets."""
    body = base64.encodebytes(csr_der)
    credentials = f"Authorization: {authorization}\r\n" if authorization is not None else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: pkigate-load\r\n{credentials}"
        f"Content-Type: application/pkcs10\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class EstStream:
    """One connection. ``open`` shakes hands; ``exchange`` may be called again on the kept connection."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    async def open(self) -> None:
        name = self._host if self._context is not None else None
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname=name
        )

    async def exchange(self, octets: bytes, *, head_only: bool = False) -> StreamAnswer:
        """Send a request, read its answer; ``head_only`` after HEAD, which has no body.

        Raises OSError or EOFError where the connection breaks.
        """
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(octets)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length, closing = 0, False
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
            elif line.startswith(b"connection:"):
                closing = line[11:].strip() == b"close"
        body = await self._reader.readexactly(length) if length and not head_only else b""
        if closing:
            await self.close()
        return StreamAnswer(status, head, body)

    def abort(self) -> None:
        """Drop the connection without a word."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
