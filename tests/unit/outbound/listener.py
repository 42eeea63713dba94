"""Listeners of the outbound tests: what was connected to, on which of this host's addresses."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

# Takes what was received and the connection's number (from 0), and gives the whole answer.
Answer = Callable[[bytes, int], bytes]


@dataclass(slots=True)
class Listener:
    """``hits`` are the local addresses of accepted connections, ``requests`` what they sent."""

    port: int
    answer: Answer
    hits: list[str] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)


def ok(body: bytes = b"hello", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), headers, body)


def redirect(location: bytes, status: int = 302) -> bytes:
    return b"HTTP/1.1 %d Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)


@contextlib.contextmanager
def listening(
    answer: Answer = lambda _request, _number: ok(), *, ipv4_only: bool = False
) -> Iterator[Listener]:
    """Listen on a spare port of every address that this host has, or of its IPv4 ones."""
    if ipv4_only:
        opened = socket.create_server(("0.0.0.0", 0), backlog=128)
    else:
        opened = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    with opened as server:
        listener = Listener(server.getsockname()[1], answer)
        thread = threading.Thread(target=_accept, args=(server, listener), daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join()


def own_address() -> str | None:
    """An IPv4 address of this host that is not loopback, None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # sends nothing
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if address.startswith("127.") else address


def _accept(server: socket.socket, listener: Listener) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        number = len(listener.hits)
        listener.hits.append(connection.getsockname()[0].removeprefix("::ffff:"))
        threading.Thread(target=_serve, args=(connection, listener, number), daemon=True).start()


def _serve(connection: socket.socket, listener: Listener, number: int) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(60)
        request = b""
        while b"\r\n\r\n" not in request:
            part = connection.recv(4096)
            if not part:
                break
            request += part
        listener.requests.append(request)
        connection.sendall(listener.answer(request, number))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
