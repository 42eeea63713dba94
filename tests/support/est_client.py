"""A knob-rich EST client over raw sockets, for the wire behaviour of real client families (RFC 7030).

``Style`` says how a family writes and reads; ``EstClient`` does one operation per call and gives the parsed
answer. It sends exactly what it is told to, good or bad, and never follows, repairs or hides anything.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support import pki
from tests.support.est_channel import Channel, PlainChannel, exporter_channel, tls_channel

WELL_KNOWN = "/.well-known/est"
PKCS10 = "application/pkcs10"


class ClientRefusesError(Exception):
    """This family would give up on such an answer."""


@dataclass(frozen=True, slots=True)
class Style:
    """How one client family speaks. ``wrap`` None = base64 on one line."""

    name: str
    wrap: int | None = 64
    newline: bytes = b"\n"
    last_newline: bool = True
    chunked: bool = False
    http_version: str = "1.1"
    user_agent: str | None = None
    accept: str | None = None
    transfer_encoding: str | None = None  # Content-Transfer-Encoding
    content_type: str | None = PKCS10
    close: bool = False
    expect_continue: bool = False
    exact_header_names: bool = False  # looks for Content-Type, WWW-Authenticate ... by their exact case
    needs_lines: bool | None = None  # True: base64 in lines or nothing; False: one line or nothing
    unauthenticated_first: bool = False  # sends credentials only after a 401
    tls: str | None = None  # "1.2" or "1.3"; None = what both can


PLAIN = Style("plain")
LIBEST = Style(
    "libest",
    user_agent="libest 3.2.0",
    close=True,
    exact_header_names=True,
    needs_lines=True,
    unauthenticated_first=True,
    tls="1.2",
)
GO = Style(
    "go",
    wrap=76,
    newline=b"\r\n",
    chunked=True,
    user_agent="Go-http-client/1.1",
    accept="*/*",
    transfer_encoding="base64",
)
STRONGSWAN = Style("strongswan", wrap=None, last_newline=False, needs_lines=False, tls="1.2")


@dataclass(frozen=True, slots=True)
class Answer:
    """One parsed response. ``head`` is the raw status line and headers."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    head: bytes = b""
    informational: tuple[int, ...] = ()
    closed: bool = False  # the server closed the connection after it

    def header(self, name: str, *, exact: bool = False) -> str | None:
        for key, value in self.headers:
            if key == name if exact else key.lower() == name.lower():
                return value
        return None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def der(self) -> bytes:
        return base64.b64decode(self.body, validate=False)


@dataclass(frozen=True, slots=True)
class EstClient:
    """A client of one gateway. ``identity`` is its TLS certificate; every call opens a connection of its own
    unless ``connection()`` is used."""

    url: str  # https://host:port
    root_pem: Path
    user: str | None = None
    password: str | None = None
    identity: pki.Identity | None = None
    endpoint: str | None = None
    style: Style = PLAIN
    timeout_s: float = 60.0
    exporter: bool = False

    def having(self, **changes: Any) -> Self:
        """The same client with other fields."""
        return replace(self, **changes)

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def path(self, operation: str) -> str:
        return "/".join(part for part in (WELL_KNOWN, self.endpoint, operation) if part)

    @property
    def basic(self) -> str | None:
        """The Authorization value of RFC 7617, or None without a user."""
        if self.user is None:
            return None
        pair = f"{self.user}:{self.password or ''}".encode()
        return "Basic " + base64.b64encode(pair).decode()

    # -- operations --

    def cacerts(self) -> Answer:
        return self.request("GET", self.path("cacerts"), authorization=None)

    def csrattrs(self) -> Answer:
        return self.request("GET", self.path("csrattrs"), authorization=None)

    def simple_enroll(self, csr_der: bytes | Callable[[Connection], bytes], **more: Any) -> Answer:
        return self.enroll("simpleenroll", csr_der, **more)

    def simple_reenroll(self, csr_der: bytes | Callable[[Connection], bytes], **more: Any) -> Answer:
        return self.enroll("simplereenroll", csr_der, **more)

    def enroll(self, operation: str, csr: bytes | Callable[[Connection], bytes], **more: Any) -> Answer:
        """POST a CSR as this style writes it. A function gets the connection, for its channel binding."""
        with self.connection() as connection:
            if self.style.unauthenticated_first:
                first = connection.enroll(operation, csr, authorization=None, **more)
                if first.status != 401:
                    return first
                challenge = first.header("WWW-Authenticate", exact=self.style.exact_header_names)
                if challenge is None or not challenge.startswith("Basic realm="):
                    raise ClientRefusesError("No WWW-Authenticate header found")
                if not self.style.close:
                    return connection.enroll(operation, csr, authorization=self.basic, **more)
            else:
                return connection.enroll(operation, csr, authorization=self.basic, **more)
        with self.connection() as connection:
            return connection.enroll(operation, csr, authorization=self.basic, **more)

    def request(self, method: str, path: str, **more: Any) -> Answer:
        more.setdefault("authorization", self.basic)
        with self.connection() as connection:
            return connection.request(method, path, **more)

    def raw(self, octets: bytes) -> Answer:
        """Send these octets as they are and read one answer."""
        with self.connection() as connection:
            connection.channel.sendall(octets)
            return connection.read_answer()

    # -- connections --

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a TLS connection (plain TCP for an http URL) that several requests can share."""
        channel = self._open()
        try:
            yield Connection(self, channel)
        finally:
            channel.close()

    def _open(self) -> Channel:
        split = urlsplit(self.url)
        sock = socket.create_connection((split.hostname or "localhost", self.port), timeout=self.timeout_s)
        try:
            if split.scheme == "http":
                return PlainChannel(sock)
            handshake = exporter_channel if self.exporter else tls_channel
            return handshake(
                sock,
                split.hostname or "localhost",
                self.root_pem,
                version=self.style.tls,
                identity=self.identity,
            )
        except BaseException:
            sock.close()
            raise


@dataclass(slots=True)
class Connection:
    """One open connection and what was read of it but not used."""

    client: EstClient
    channel: Channel
    _buffer: bytearray = field(default_factory=bytearray)

    def enroll(
        self,
        operation: str,
        csr: bytes | Callable[[Connection], bytes],
        *,
        authorization: str | None = None,
        body: bytes | None = None,
        **more: Any,
    ) -> Answer:
        """POST a CSR; ``body`` replaces the encoded CSR where the test wants other octets."""
        style = self.client.style
        if body is None:
            csr_der = csr(self) if callable(csr) else csr
            body = pki.base64_lines(csr_der, style.wrap, style.newline, last=style.last_newline)
        more.setdefault("content_type", style.content_type)
        path = self.client.path(operation)
        answer = self.request("POST", path, body=body, authorization=authorization, **more)
        if answer.status == 200:
            _check_family_reads(style, answer)
        return answer

    def linked_csr(self, private_key: Any, binding: str = "tls-unique", **csr: Any) -> bytes:
        """A CSR whose challengePassword is this connection's channel binding (RFC 7030 section 3.5)."""
        value = self.channel.binding(binding)
        assert value, f"this connection has no {binding}"
        return pki.csr(private_key, challenge=base64.b64encode(value), **csr)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        authorization: str | None = None,
        content_type: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        pause_s: float = 0.0,
    ) -> Answer:
        """Write one request and read its answer; ``pause_s`` waits between the body's 64-byte pieces."""
        head = self.head(method, path, body, authorization, content_type, headers)
        style = self.client.style
        self.channel.sendall(head)
        if body is not None:
            if style.expect_continue:
                early = self.read_answer()
                if early.status != 100:
                    return early
            self._send_body(body, pause_s)
        answer = self.read_answer(head_only=method == "HEAD")
        if style.exact_header_names:
            for name in ("Content-Type", "Content-Length"):
                if answer.body and answer.header(name, exact=True) is None:
                    raise ClientRefusesError(f"no {name} header found in {answer.head!r}")
        return answer

    def head(
        self,
        method: str,
        path: str,
        body: bytes | None,
        authorization: str | None,
        content_type: str | None,
        headers: Sequence[tuple[str, str]],
    ) -> bytes:
        """The request line and headers as this style writes them."""
        style = self.client.style
        rows: list[tuple[str, str | None]] = [
            ("Host", urlsplit(self.client.url).netloc),
            ("User-Agent", style.user_agent),
            ("Accept", style.accept),
            ("Authorization", authorization),
            ("Content-Type", content_type),
            ("Content-Transfer-Encoding", style.transfer_encoding if body is not None else None),
            ("Connection", "close" if style.close else None),
            ("Expect", "100-continue" if style.expect_continue and body is not None else None),
        ]
        if body is not None:
            chunked = style.chunked and style.http_version != "1.0"
            rows.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body))))
        given = {name.lower() for name, _ in headers}
        lines = [f"{method} {path} HTTP/{style.http_version}"]
        lines += [
            f"{name}: {value}" for name, value in rows if value is not None and name.lower() not in given
        ]
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _send_body(self, body: bytes, pause_s: float) -> None:
        size = 64 if pause_s else 512
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        if self.client.style.chunked:
            pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
        if not pause_s:
            self.channel.sendall(b"".join(pieces))
            return
        for piece in pieces:
            self.channel.sendall(piece)
            time.sleep(pause_s)

    def read_answer(self, *, head_only: bool = False) -> Answer:
        """Read one response, skipping nothing: a 100 is returned if it is all there is to come first."""
        head = self._read_head()
        status, headers = _parse_head(head)
        if status == 100:
            return Answer(status, headers, b"", head)
        named = {name.lower(): value for name, value in headers}
        if head_only or status in (204, 304):
            return Answer(status, headers, b"", head)
        if "content-length" in named:
            body = self._read(int(named["content-length"]))
        elif named.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunks()
        else:
            body = self._read_rest()
        return Answer(status, headers, body, head, closed=named.get("connection", "").lower() == "close")

    def _read_head(self) -> bytes:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._more()
        head = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        return head

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        body = bytes(self._buffer[:size])
        del self._buffer[:size]
        return body

    def _read_chunks(self) -> bytes:
        parts = []
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                self._more()
            size = int(self._buffer[:end], 16)
            del self._buffer[: end + 2]
            parts.append(self._read(size))
            self._read(2)
            if size == 0:
                return b"".join(parts)

    def _read_rest(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            while True:
                self._more()
        body = bytes(self._buffer)
        self._buffer.clear()
        return body

    def _more(self) -> None:
        octets = self.channel.recv(65536)
        if not octets:
            raise ConnectionError(f"the server closed the connection; unread: {bytes(self._buffer[:200])!r}")
        self._buffer += octets


def _parse_head(head: bytes) -> tuple[int, tuple[tuple[str, str], ...]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    status = int(first.split(" ")[1])
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return status, headers


def _check_family_reads(style: Style, answer: Answer) -> None:
    """Refuse what this family refuses (protocols/est.md 0.4 and 0.5)."""
    if style.needs_lines is True and max(len(line) for line in answer.body.splitlines()) > 76:
        raise ClientRefusesError("base64 without line breaks")
    if style.needs_lines is False and b"\n" in answer.body.strip():
        raise ClientRefusesError("could not parse pkcs7: base64 with line breaks")
