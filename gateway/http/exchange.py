"""One request and its response on a connection (RFC 9112): the ASGI receive and send of uvicorn's cycle.

The head waits for the first part of the body, so that both leave in one write (one TLS record) and a response
of known size always has Content-Length. Header names go out in Title-Case, since libest compares them so.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.errors import RequestTimeout

if TYPE_CHECKING:
    from gateway.http.protocol import EdgeProtocol

_FORBIDDEN_IN_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_WIRE_NAMES = {b"www-authenticate": b"WWW-Authenticate", b"etag": b"ETag", b"te": b"TE"}
_BODILESS = frozenset((204, 304))
# The headers that say where a message ends: ours to write, but for a size that is known.
_FRAMING = frozenset((b"Connection", b"Transfer-Encoding", b"Content-Length"))


def wire_name(name: bytes) -> bytes:
    """The header name as it goes out: ``content-type`` becomes ``Content-Type``. Raises ValueError."""
    known = _WIRE_NAMES.get(name)
    if known is not None:
        return known
    if not name or _FORBIDDEN_IN_NAME.search(name):
        raise ValueError(f"{name!r} is no header name")
    lower = name.lower()
    written = _WIRE_NAMES.get(lower) or b"-".join(part.capitalize() for part in lower.split(b"-"))
    if len(_WIRE_NAMES) < 1000:
        _WIRE_NAMES[name] = written
    return written


def _faulty(headers: Sequence[tuple[bytes, bytes]]) -> str:
    return ", ".join(wire_name(name).decode() for name, value in headers if _FORBIDDEN_IN_VALUE.search(value))


def plain_response(
    status: int, text: str, default_headers: list[tuple[bytes, bytes]], headers: bytes = b""
) -> bytes:
    """A whole text response after which the connection closes."""
    body = (text + "\n").encode()
    lines = [STATUS_LINE[status]]
    lines.extend(b"%b: %b\r\n" % (wire_name(name), value) for name, value in default_headers)
    for line in headers.splitlines():
        name, _, value = line.partition(b":")
        lines.append(b"%b: %b\r\n" % (wire_name(name), value.strip()))
    lines.append(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        % len(body)
    )
    lines.append(body)
    return b"".join(lines)


class Exchange(RequestResponseCycle):
    """The cycle of one request; ``time_out`` makes ``receive`` raise RequestTimeout."""

    def __init__(self, protocol: EdgeProtocol, scope: Any, *, expect_100_continue: bool) -> None:
        super().__init__(
            scope=scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=False,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expect_100_continue,
            keep_alive=scope["http_version"] != "1.0" and protocol.parser.should_keep_alive(),
            on_response=protocol.on_response_complete,
        )
        self.protocol = protocol
        self.timed_out = False
        self.head_written = False
        self._start: Any = None
        self._status = 0
        self._framed = False  # chunked
        self._delivered = False  # the end of the body was handed over

    def time_out(self) -> None:
        """The client was too slow with its body."""
        if not self.timed_out:
            self.timed_out = True
            self.keep_alive = False
            self.message_event.set()

    async def receive(self) -> Any:
        """The next part of the body. Raises RequestTimeout."""
        if self.waiting_for_100_continue:
            self.waiting_for_100_continue = False
            if self.more_body and not self.body and not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.protocol.body_awaited()
        if self.more_body and not self.body and not self._over():
            self.flow.resume_reading()
            self.message_event.clear()
            await self.message_event.wait()
        elif not self.more_body and not self.body and self._delivered:
            # The body is complete: what is left to report is that the client went away, or that all is done.
            while not (self.disconnected or self.response_complete):
                self.message_event.clear()
                await self.message_event.wait()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        if self.timed_out and self.more_body and not self.body:
            raise RequestTimeout("the request's body did not arrive in time")
        part, self.body = bytes(self.body), bytearray()
        self._delivered = not self.more_body
        return {"type": "http.request", "body": part, "more_body": self.more_body}

    def _over(self) -> bool:
        return self.disconnected or self.response_complete or self.timed_out

    async def send(self, message: Any) -> None:
        """Take one ASGI message; a response whose client is gone is dropped."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.head_written:
            # A head that could not be written (a bad header) may be replaced by that of an error.
            self.response_started = True
            self._start, self._status = message, message["status"]
            return
        if kind != "http.response.body" or not self.response_started or self.response_complete:
            raise RuntimeError(f"the ASGI message {kind} is out of order")
        body = message.get("body", b"")
        more = message.get("more_body", False)
        bodiless = self.scope["method"] == "HEAD" or self._status in _BODILESS
        head = b"" if self._start is None else self._take_head(None if more else len(body))
        if bodiless:
            body = b""
        elif self._framed:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if head or body:
            self.transport.write(head + body)
        if not more:
            self._complete()

    def _take_head(self, body_size: int | None) -> bytes:
        """The head as bytes; ``body_size`` is None where more parts follow."""
        status, headers = self._start["status"], self._start.get("headers", ())
        lines = [STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status]
        sized = False
        whole = [*self.protocol.server_state.default_headers, *headers]
        if _FORBIDDEN_IN_VALUE.search(b"".join([value for _, value in whole])):
            raise ValueError(f"a header has control characters in its value: {_faulty(whole)}")
        for name, value in whole:
            written = _WIRE_NAMES.get(name) or wire_name(name)
            if written in _FRAMING:
                if written == b"Content-Length":
                    sized = True
                else:
                    if written == b"Connection" and b"close" in value.lower():
                        self.keep_alive = False
                    continue
            lines.append(b"%b: %b\r\n" % (written, value))
        if not sized and status not in _BODILESS:
            lines.append(self._framing(body_size))
        if self.more_body or self.protocol.server_state.draining or self.protocol.no_more_requests:
            self.keep_alive = False
        self._start, self.head_written = None, True
        lines.append(b"\r\n" if self.keep_alive else b"Connection: close\r\n\r\n")
        return b"".join(lines)

    def _framing(self, body_size: int | None) -> bytes:
        if body_size is not None:
            return b"Content-Length: %d\r\n" % body_size
        if self.scope["http_version"] == "1.0":
            self.keep_alive = False  # the end of the connection ends the body
            return b""
        self._framed = True
        return b"Transfer-Encoding: chunked\r\n"

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.protocol.close_connection(linger=self.more_body)
        self.on_response()
