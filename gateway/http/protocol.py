"""HTTP/1.1 on one connection (RFC 9112): uvicorn's httptools protocol with bounds, deadlines, a clean drain.

Deadlines are swept for all connections of a listener a few times a second, so that a request costs no timer.
No HTTP/2, no WebSocket. What a request means is the edge's business, not this module's.
"""

from __future__ import annotations

import asyncio
import re
from enum import IntEnum
from typing import Any, cast

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.http.exchange import Exchange, plain_response
from gateway.http.listener import CONNECTION_KEY, ConnectionFacts, HttpLimits, ListenerSpec
from gateway.http.message import TlsPeer
from gateway.http.parsing import body_head, error_text, framing
from gateway.http.tls import TlsTerminator

log = structlog.get_logger("gateway.http.protocol")

OVERHEAD_BYTES = 64 * 1024  # chunk headers, extensions and trailers beyond 8 per byte of the body are refused
REFUSED_POLITELY = 256  # connections over the cap that still get a 503
DRAIN_HANDSHAKE_S = 5.0
_TARGET_RE = re.compile(rb"[!-~]+")


class Reading(IntEnum):
    """Which part of the connection's input is awaited."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    LINGERING = 3  # the last answer is out; what comes is thrown away until the other side closes


class ConnectionState(ServerState):
    """What the connections of one listener share in one worker."""

    def __init__(self, spec: ListenerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.draining = False
        self.handshakes: set[TlsTerminator] = set()

    def begin_drain(self) -> None:
        """Every connection has its next answer, or a moment without a request, as its last."""
        self.draining = True
        for terminator in list(self.handshakes):
            terminator.handshake_deadline = min(
                terminator.handshake_deadline, terminator.loop.time() + DRAIN_HANDSHAKE_S
            )
        for connection in list(self.connections):
            cast(EdgeProtocol, connection).shutdown()

    def sweep(self, now: float) -> None:
        """Close whatever is past its deadline."""
        for terminator in list(self.handshakes):
            terminator.check_deadline(now)
        for connection in list(self.connections):
            cast(EdgeProtocol, connection).check_deadline(now)

    def abort_all(self) -> None:
        for terminator in list(self.handshakes):
            terminator.abort()
        for connection in list(self.connections):
            connection.transport.abort()

    def count(self) -> int:
        return len(self.connections) + len(self.handshakes)

    @property
    def full(self) -> bool:
        """So many connections over the cap that not even a 503 is affordable."""
        return self.count() > self.spec.limits.connections + REFUSED_POLITELY


class EdgeProtocol(HttpToolsProtocol):
    """One connection, plain or inside a TlsTerminator."""

    server_state: ConnectionState
    cycle: Exchange

    def __init__(
        self,
        config: Config,
        server_state: ConnectionState,
        loop: asyncio.AbstractEventLoop,
        tls: TlsPeer | None = None,
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self.access_log = False
        self.limits: HttpLimits = server_state.spec.limits
        self.tls = tls
        self.facts: ConnectionFacts = cast(ConnectionFacts, None)
        self.reading = Reading.IDLE
        self.deadline = loop.time() + self.limits.head_s
        self.last_byte_at = 0.0
        self.head_bytes = 0
        self.body_overhead = 0
        self.write_paused_at: float | None = None
        self.refusal: tuple[int, str] | None = None  # to be written when the exchange under way is over
        self.no_more_requests = False

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connections.add(self)
        self.flow = FlowControl(self.transport)
        peer = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        self.client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self.server = (str(local[0]), int(local[1])) if isinstance(local, tuple) else None
        self.scheme = "https" if self.tls is not None else "http"
        self.facts = ConnectionFacts(self.server_state.spec, self.client[0] if self.client else "", self.tls)
        if self.server_state.draining:
            self.shutdown()
        if self.server_state.full:
            self.transport.abort()
        elif self.server_state.count() > self.limits.connections:
            self._refuse(
                503, "too many connections are open; try again in a few seconds", b"retry-after: 5\r\n"
            )

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio calls it so
        self.connections.discard(self)
        for exchange, _ in self.pipeline:
            exchange.disconnected = True
        self.pipeline.clear()
        if self.cycle is not None:
            if not self.cycle.response_complete:
                self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_writing()
        self.parser = cast(Any, None)  # its callbacks refer to us: break the circle

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn never keeps its half open
        if self.reading is Reading.LINGERING:
            return False
        if self.cycle is None or self.cycle.response_complete:
            return False
        if self.reading is Reading.BODY:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            return False
        # The client has only ended its own side (RFC 9112 section 9.6): its answer is still wanted.
        self.no_more_requests = True
        return True

    def shutdown(self) -> None:
        """Begin to drain: the next answer says Connection: close; an idle connection has a moment for one."""
        if self.reading is Reading.IDLE and (self.cycle is None or self.cycle.response_complete):
            wait_s = self.limits.drain_idle_s * (2 if self.cycle is None else 1)
            self.deadline = min(self.deadline, self.loop.time() + wait_s)

    def pause_writing(self) -> None:
        self.write_paused_at = self.loop.time()
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.write_paused_at = None
        self.flow.resume_writing()

    # Deadlines

    def check_deadline(self, now: float) -> None:
        """Act if this connection is past a deadline; called by the sweep."""
        if self.write_paused_at is not None and now - self.write_paused_at > self.limits.write_s:
            self.transport.abort()
        elif self.refusal is not None and self.reading is not Reading.LINGERING:
            return  # it goes out after the exchange under way
        elif self.reading is Reading.BODY:
            if self.flow.read_paused or self.cycle.waiting_for_100_continue:
                self.last_byte_at = now  # it is we who do not read
            elif now > self.deadline or now - self.last_byte_at > self.limits.body_gap_s:
                self.cycle.time_out()
                if self.cycle.response_complete:
                    self.close_connection(linger=False)
        elif now > self.deadline:
            self._deadline_passed()

    def _deadline_passed(self) -> None:
        if self.reading is Reading.LINGERING:
            self.transport.abort()
        elif self.reading is Reading.HEAD:
            self._refuse(408, f"the request's header did not arrive within {self.limits.head_s:g} seconds")
        elif self.cycle is None or self.cycle.response_complete:
            self.close_connection(linger=False)

    # Input

    def data_received(self, data: bytes) -> None:
        if self.reading is Reading.LINGERING or self.refusal is not None or self.parser is None:
            return
        before = self.reading
        self.last_byte_at = self.loop.time()
        if before is Reading.BODY:
            self.body_overhead += len(data)
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # No upgrade is offered, so that the request was an ordinary one (RFC 9110 section 7.8).
                data = data[int(upgrade.args[0]) :]
                if self.reading is Reading.BODY:
                    head = body_head(self.headers, keep_alive=self.parser.should_keep_alive())
                    self.parser = httptools.HttpRequestParser(self)
                    self.parser.feed_data(head)  # which ends at once where Content-Length is 0
                continue
            except httptools.HttpParserError as error:
                self._refuse(400, f"this is no valid HTTP/1.1 request: {error_text(error)}")
                return
            break
        self._check_bounds(before, len(data))

    def _check_bounds(self, before: Reading, size: int) -> None:
        if self.reading is Reading.HEAD:
            self.head_bytes = self.head_bytes + size if before is Reading.HEAD else size
            if self.head_bytes > self.limits.head_bytes:
                self._refuse(431, f"the request's header is larger than {self.limits.head_bytes} bytes")
        elif self.reading is Reading.BODY and self.body_overhead > OVERHEAD_BYTES:
            self._refuse(400, "the chunked body has more framing than content")

    def on_message_begin(self) -> None:
        if self.refusal is not None or self.reading is Reading.BODY:  # the latter: see body_head
            return
        self.reading = Reading.HEAD
        self.deadline = self.loop.time() + self.limits.head_s
        self.head_bytes = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.reading is not Reading.HEAD or self.refusal is not None:
            return  # trailer fields never count as header fields (RFC 9110 section 6.5.1)
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.refusal is not None or self.reading is Reading.BODY:
            return
        self.reading = Reading.BODY
        self.deadline = self.loop.time() + self.limits.body_s
        self.body_overhead = 0
        refusal = self._head_refusal()
        if refusal is not None:
            self._refuse(*refusal)
            return
        scope = self._scope()
        existing = self.cycle
        exchange = Exchange(self, scope, expect_100_continue=self.expect_100_continue)
        self.cycle = exchange
        if existing is None or existing.response_complete:
            self._start_asgi_task(exchange, self.app)
        elif len(self.pipeline) >= self.limits.pipelined:
            self.cycle = existing
            self._refuse(400, f"more than {self.limits.pipelined} requests wait on this connection")
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def _head_refusal(self) -> tuple[int, str] | None:
        limits = self.limits
        if len(self.url) > limits.target_bytes:
            return 414, f"the request target is longer than {limits.target_bytes} bytes"
        if len(self.headers) > limits.head_fields:
            return 431, f"the request has more than {limits.head_fields} header fields"
        faulty = self._fields_refusal()
        if faulty is not None:
            return faulty
        if not _TARGET_RE.fullmatch(self.url) or self.parser.get_method() == b"CONNECT":
            return 400, "the request target is neither a path nor an absolute URL"
        return None

    def _fields_refusal(self) -> tuple[int, str] | None:
        hosts = size = 0
        chunked = False
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                if chunked or value.lower() != b"chunked":
                    return 400, "the only Transfer-Encoding taken here is chunked, once"
                chunked = True
        if size > self.limits.head_bytes:
            return 431, f"the request's header is larger than {self.limits.head_bytes} bytes"
        old = self.parser.get_http_version() == "1.0"
        if hosts > 1 or (hosts == 0 and not old):
            return 400, "a request has exactly one Host header"  # RFC 9112 section 3.2
        # RFC 9112 section 6.1: handle as faulty
        return (400, "HTTP/1.0 has no Transfer-Encoding") if chunked and old else None

    def _scope(self) -> dict[str, Any]:
        version = self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "path": raw_path.decode("ascii"),
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": {},
            CONNECTION_KEY: self.facts,
        }

    def on_body(self, body: bytes) -> None:
        self.body_overhead -= 8 * len(body)
        if self.refusal is None and self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.reading is Reading.LINGERING or self.refusal is not None:
            return
        if self.parser.should_upgrade() and framing(self.headers):
            return  # its body, if only an empty one, is still to come
        self.reading = Reading.IDLE
        self.deadline = self.loop.time() + self.limits.keep_alive_s
        if self.cycle is not None:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def body_awaited(self) -> None:
        """The body's time begins now: the client was waiting for 100 Continue (RFC 9110 section 10.1.1)."""
        self.last_byte_at = self.loop.time()
        self.deadline = self.last_byte_at + self.limits.body_s

    # Output

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or wait for one."""
        self.server_state.total_requests += 1
        if self.reading is Reading.LINGERING or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            exchange, app = self.pipeline.pop()
            self._start_asgi_task(exchange, app)
        elif self.refusal is not None:
            self._write_refusal(*self.refusal)
        elif self.no_more_requests:
            self.close_connection(linger=False)
        elif self.reading is Reading.IDLE:
            wait_s = self.limits.drain_idle_s if self.server_state.draining else self.limits.keep_alive_s
            self.deadline = self.loop.time() + wait_s

    def close_connection(self, *, linger: bool) -> None:
        """Close after what is written. ``linger`` while the client may still be sending."""
        if self.reading is Reading.LINGERING:
            return
        self.reading = Reading.LINGERING
        self.deadline = self.loop.time() + self.limits.linger_s
        self.flow.resume_reading()
        if linger:
            # Closing with unread bytes would reset the connection, and the answer might be lost with it.
            self.transport.write_eof()
        else:
            self.deadline += self.limits.write_s
            self.transport.close()

    def _refuse(self, status: int, text: str, headers: bytes = b"") -> None:
        """Answer and close, once the answers to earlier requests on this connection are out."""
        if self.refusal is not None:
            return
        self.refusal = (status, text)
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy and self.reading is Reading.BODY and self.cycle.more_body:
            self.cycle.disconnected = True  # the request under way is itself the faulty one
            self.cycle.message_event.set()
            busy = False
            if self.cycle.head_written:
                self.close_connection(linger=True)
                return
        if not busy:
            self._write_refusal(status, text, headers)

    def _write_refusal(self, status: int, text: str, headers: bytes = b"") -> None:
        log.info("http.refused", client=self.facts.peer_address, status=status, reason=text)
        if not self.transport.is_closing():
            self.transport.write(plain_response(status, text, self.server_state.default_headers, headers))
            self.close_connection(linger=True)
