"""What a TLS server on the loopback presents to a client that asks for a name and trusts one root."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path


def get(port: int, name: str, root_pem: Path) -> tuple[str, bytes]:
    """The verified certificate as PEM, and the answer to ``GET /``. Raises OSError (ssl.SSLError)."""
    context = ssl.create_default_context(cafile=str(root_pem))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as stream,
    ):
        certificate_der = stream.getpeercert(binary_form=True)
        assert certificate_der is not None
        stream.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
    return ssl.DER_cert_to_PEM_cert(certificate_der), answer


def get_once_trusted(
    port: int, name: str, root_pem: Path, *, timeout_s: float = 90, running: Callable[[], bool]
) -> tuple[str, bytes]:
    """As ``get``, but waits until the server has a certificate that verifies."""
    deadline = time.monotonic() + timeout_s
    while running() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return get(port, name, root_pem)
        time.sleep(0.1)
    return get(port, name, root_pem)
