"""Loopback ports for servers of tests."""

from __future__ import annotations

import socket


def spare_port() -> int:
    """A port that nobody listens on, and that nobody but who is told of it gets while this process lives.

    It stays bound, so that the kernel gives it neither to another bind nor to an outgoing connection; a
    server that sets SO_REUSEADDR, as all do here, listens on it all the same.
    """
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    # Only now: two sockets that both have it could be given the same port.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port: int = held.getsockname()[1]
    held.detach()  # kept open, and not closed when the object goes
    return port
