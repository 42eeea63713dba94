"""Debian's pebble-challtestsrv as DNS server of a test, on spare loopback ports.

Every A query gets 127.0.0.1, every AAAA query nothing, TXT what was set.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import spare_port

PROGRAM = "/usr/bin/pebble-challtestsrv"
_READY_S = 60


@dataclass(frozen=True, slots=True)
class ChallengeDns:
    """A running server. ``management`` is the base URL where records are set by JSON POST."""

    port: int
    management: str

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def set_txt(self, name: str, value: str) -> None:
        """Add a TXT record; ``name`` without the dot at its end."""
        self._post("set-txt", {"host": f"{name}.", "value": value})

    def clear_txt(self, name: str) -> None:
        self._post("clear-txt", {"host": f"{name}."})

    def set_cname(self, name: str, target: str) -> None:
        self._post("set-cname", {"host": f"{name}.", "target": f"{target}."})

    def _post(self, operation: str, document: dict[str, str]) -> None:
        request = urllib.request.Request(
            f"{self.management}/{operation}", data=json.dumps(document).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=20):
            pass


@contextlib.contextmanager
def serving(log_path: Path) -> Iterator[ChallengeDns]:
    """Start the server, wait until it can be told records, stop it at the end."""
    server = ChallengeDns(_dns_port(), f"http://127.0.0.1:{spare_port()}")
    command = [PROGRAM, "-dns01", server.address, "-management", server.management.removeprefix("http://")]
    command += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
    with (
        log_path.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            _wait_ready(server, process, log_path)
            yield server
        finally:
            process.terminate()


def _wait_ready(server: ChallengeDns, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        with contextlib.suppress(OSError):
            return server.set_txt("ready.test", "yes")
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{PROGRAM} does not serve: {log_path.read_text()}")
        time.sleep(0.02)


def _dns_port() -> int:
    """A port that is spare for TCP and for UDP."""
    while True:
        port = spare_port()
        with socket.socket(type=socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
