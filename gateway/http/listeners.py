"""Listening sockets and the servers on them: one uvicorn server per listener on one event loop.

``bind`` runs in the supervisor before the fork; ``serve`` runs in each worker until it is told to drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import structlog
from uvicorn import Config, Server

from gateway.errors import ConfigurationError
from gateway.http.application import AsgiApp
from gateway.http.heartbeat import BEAT_S
from gateway.http.listener import (
    CertificateHeader,
    ClientCertificateMode,
    HttpLimits,
    ListenerSpec,
    TlsCredentials,
    TlsSettings,
)
from gateway.http.message import TlsPeer
from gateway.http.protocol import ConnectionState, EdgeProtocol
from gateway.http.tls import TlsContexts, TlsTerminator

__all__ = [
    "CertificateHeader",
    "ClientCertificateMode",
    "HttpLimits",
    "ListenerSpec",
    "TlsCredentials",
    "TlsSettings",
    "bind",
    "bound_spec",
    "serve",
]

log = structlog.get_logger("gateway.http.listeners")

BACKLOG = 2048
SWEEP_S = 0.25
ACCEPTED_AT_CLOSE = 4096  # connections taken from the kernel's queue before a draining listener closes

Listening = tuple[ListenerSpec, socket.socket]


def bind(spec: ListenerSpec) -> socket.socket:
    """Bind and listen. Port 0 takes a free one. Raises ConfigurationError in words for people."""
    family = socket.AF_INET6 if ":" in spec.address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and spec.address != "::":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        elif family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((spec.address, spec.port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigurationError(_bind_error(spec, error)) from error
    return listening


def _bind_error(spec: ListenerSpec, error: OSError) -> str:
    flag = spec.flag or f"the port of the listener {spec.name!r}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {spec.port} is in use by another program; choose another with {flag}"
        case errno.EACCES:
            return f"port {spec.port} needs root or CAP_NET_BIND_SERVICE; choose one above 1023 with {flag}"
        case errno.EADDRNOTAVAIL:
            return (
                f"this machine has no address {spec.address}; the listener {spec.name!r} needs one of its own"
            )
        case _:
            where = f"{spec.address} port {spec.port}"
            return f"the listener {spec.name!r} cannot listen on {where}: {error.strerror}"


def bound_spec(spec: ListenerSpec, listening: socket.socket) -> ListenerSpec:
    """The spec with the port that the socket really has."""
    return replace(spec, port=listening.getsockname()[1])


class ListenerServer(Server):
    """uvicorn's server on one socket, with our protocol, our drain and no signal handling of its own."""

    server_state: ConnectionState

    def __init__(self, spec: ListenerSpec, listening: socket.socket, app: AsgiApp, drain_s: float) -> None:
        config = Config(
            app,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="off",
            loop="none",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
        )
        super().__init__(config)
        config.load()
        self.spec = spec
        self.server_state = ConnectionState(spec)
        self._listening = listening
        self._drain_s = drain_s
        self._contexts = TlsContexts(spec.tls, spec.client_certificate) if spec.tls else None
        self._accepting: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # uvicorn's
        loop = asyncio.get_running_loop()
        await self.on_tick(0)
        # The server gets a copy of the socket: the drain takes the last connections from the original.
        self._accepting = await loop.create_server(
            self._protocol, sock=self._listening.dup(), backlog=BACKLOG, start_serving=True
        )
        self._sweep(loop)
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        if self._contexts is None:
            return EdgeProtocol(self.config, self.server_state, loop)

        def inner(peer: TlsPeer) -> EdgeProtocol:
            return EdgeProtocol(self.config, self.server_state, loop, peer)

        return TlsTerminator(
            self._contexts.current, self.server_state, inner, loop, self.spec.limits.handshake_s
        )

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.server_state.sweep(loop.time())
        self._sweeper = loop.call_later(SWEEP_S, self._sweep, loop)

    def reload(self) -> None:
        """Take new TLS credentials for new connections; on error the old ones stay and one line says why."""
        if self._contexts is None:
            return
        try:
            self._contexts.reload()
        except Exception as error:  # whatever is wrong with the new files, the listener keeps running
            log.exception("tls.reload-failed", listener=self.spec.name, reason=str(error))
        else:
            log.info("tls.reloaded", listener=self.spec.name)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # uvicorn's
        """Stop listening, answer what is under way, close; aborts what is left after the drain time."""
        loop = asyncio.get_running_loop()
        state = self.server_state
        state.begin_drain()
        assert self._accepting is not None
        self._accepting.close()
        await asyncio.sleep(0)
        await self._accept_rest(loop)
        ends_at = loop.time() + self._drain_s
        while self._busy() and loop.time() < ends_at and not self.force_exit:  # noqa: ASYNC110  # as it says
            await asyncio.sleep(0.02)
        if self._busy():
            log.warning(
                "drain.cut", listener=self.spec.name, connections=state.count(), requests=len(state.tasks)
            )
            for task in list(state.tasks):
                task.cancel()
            state.abort_all()
            await asyncio.sleep(0.05)
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _busy(self) -> bool:
        """Whether a connection is open or a request under way; uvicorn tells nobody when that ends."""
        return bool(self.server_state.count() or self.server_state.tasks)

    async def _accept_rest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve the connections that the kernel had taken already, which closing would reset."""
        taken: list[socket.socket] = []
        # In one go: a client who is answered meanwhile connects again, and the queue would never be empty.
        with contextlib.suppress(OSError):  # none is left, or another worker took it
            while len(taken) < ACCEPTED_AT_CLOSE:
                taken.append(self._listening.accept()[0])
        self._listening.close()
        for accepted in taken:
            accepted.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, accepted)


async def serve(
    listening: Sequence[Listening],
    edge: AsgiApp,
    *,
    ready: Callable[[], None],
    drain_s: float = 30.0,
    on_reload: Callable[[], None] | None = None,
    on_drain: Callable[[], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve all listeners on the running loop until SIGTERM, SIGINT or ``stop``, then drain.

    ``ready`` is called as soon as every listener accepts, and then once a second while the loop turns, as a
    sign of life. SIGUSR1 reloads TLS credentials; SIGHUP too, then calls ``on_reload``. A second SIGTERM or
    SIGINT ends the drain. Closes the sockets.
    """
    servers = _servers(listening, edge, drain_s)
    loop = asyncio.get_running_loop()
    told = stop or asyncio.Event()

    def terminate() -> None:
        if told.is_set():
            for server in servers:
                server.force_exit = True
        told.set()

    def reload_tls() -> None:
        for server in servers:
            server.reload()

    def reload() -> None:
        reload_tls()
        if on_reload is not None:
            on_reload()

    handlers: dict[int, Callable[[], Any]] = {
        signal.SIGTERM: terminate,
        signal.SIGINT: terminate,
        signal.SIGHUP: reload,
        signal.SIGUSR1: reload_tls,
    }
    with _signal_handlers(loop, handlers):
        async with asyncio.TaskGroup() as group:
            serving = [group.create_task(server.serve()) for server in servers]
            group.create_task(_watch(servers, told, ready, on_drain))
            group.create_task(_live(servers, serving, ready))


@contextlib.contextmanager
def _signal_handlers(
    loop: asyncio.AbstractEventLoop, handlers: dict[int, Callable[[], Any]]
) -> Generator[None, None, None]:
    for number, handler in handlers.items():
        with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: the caller stops us
            loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            with contextlib.suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)


def _servers(listening: Sequence[Listening], edge: AsgiApp, drain_s: float) -> list[ListenerServer]:
    try:
        return [ListenerServer(spec, sock, edge, drain_s) for spec, sock in listening]
    except BaseException:  # credentials that do not load: the caller hears of it, the sockets are closed
        for _, sock in listening:
            sock.close()
        raise


async def _watch(
    servers: Sequence[ListenerServer],
    told: asyncio.Event,
    ready: Callable[[], None],
    on_drain: Callable[[], None] | None,
) -> None:
    while not all(server.started for server in servers):  # noqa: ASYNC110  # uvicorn sets a flag only
        await asyncio.sleep(0)
    ready()
    await told.wait()
    if on_drain is not None:
        on_drain()
    for server in servers:
        server.should_exit = True


async def _live(
    servers: Sequence[ListenerServer], serving: Sequence[asyncio.Task[None]], ready: Callable[[], None]
) -> None:
    """Say that the loop turns until the last server has drained."""
    while (await asyncio.wait(serving, timeout=BEAT_S))[1]:
        if all(server.started for server in servers):
            ready()
