"""Debian's HAProxy before several gateways: TLS ends here, each request goes to the next one by TLS anew."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.openssl import run
from tests.support.ports import spare_port

PROGRAM = "/usr/sbin/haproxy"
_READY_S = 60
_CONFIGURATION = """
global
    maxconn 500
    ssl-server-verify required
defaults
    mode http
    balance roundrobin
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
frontend https
    bind 127.0.0.1:{https} ssl crt {directory}/haproxy.pem
    http-request set-header X-Forwarded-Proto https
    default_backend gateways
frontend http
    bind 127.0.0.1:{http}
    default_backend publishers
backend gateways
{gateways}
backend publishers
{publishers}
"""


@dataclass(frozen=True, slots=True)
class Balancer:
    """Where HAProxy listens, or is going to; ``trust_pem`` is what its clients must trust."""

    directory: Path
    https_port: int
    http_port: int

    @property
    def public_urls(self) -> list[str]:
        return [f"https://127.0.0.1:{self.https_port}", f"http://127.0.0.1:{self.http_port}"]

    @property
    def trust_pem(self) -> Path:
        return self.directory / "haproxy.crt"

    @contextlib.contextmanager
    def serving(
        self, https_ports: Sequence[int], http_ports: Sequence[int], root_pem: Path
    ) -> Iterator[None]:
        """Run before gateways on these loopback ports, whose certificates ``root_pem`` vouches for."""
        secure = "    server g{} 127.0.0.1:{} ssl ca-file {} verifyhost localhost sni str(localhost)"
        text = _CONFIGURATION.format(
            directory=self.directory,
            https=self.https_port,
            http=self.http_port,
            gateways="\n".join(secure.format(i, port, root_pem) for i, port in enumerate(https_ports)),
            publishers="\n".join(f"    server p{i} 127.0.0.1:{port}" for i, port in enumerate(http_ports)),
        )
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(text)
        log_path = self.directory / "haproxy.log"
        command = [PROGRAM, "-db", "-f", str(configuration)]
        with (
            log_path.open("wb") as log,
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
        ):
            try:
                self._wait_ready(process, log_path)
                yield
            finally:
                process.terminate()

    def _wait_ready(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        deadline = time.monotonic() + _READY_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.https_port), timeout=1).close()
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{PROGRAM} does not serve: {log_path.read_text()}")
            time.sleep(0.02)


def balancer(directory: Path) -> Balancer:
    """Choose ports and make the certificate for 127.0.0.1, self-signed."""
    directory.mkdir(parents=True, exist_ok=True)
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-days", "2", "-subj", "/CN=balancer", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", "haproxy.key", "-out", "haproxy.crt"),
        cwd=directory,
    )
    pem = (directory / "haproxy.crt").read_bytes() + (directory / "haproxy.key").read_bytes()
    (directory / "haproxy.pem").write_bytes(pem)
    return Balancer(directory, spare_port(), spare_port())
