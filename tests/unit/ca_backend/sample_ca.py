"""Runs the sample CA's server as a process of its own."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Self

from ca_backend.api import CaBackend
from tests.support.ports import spare_port
from tests.unit.ca_backend import embedded_ca


class SampleCa:
    """``with SampleCa(directory, "--retry", "findable") as ca: ca.backend(retry="findable")``."""

    def __init__(self, state: Path, *switches: str) -> None:
        self.state = state
        self.address = ""
        # A port that stays its own while it is down, so that it can come back.
        listens = [] if "--socket" in switches else ["--port", str(spare_port())]
        server = [sys.executable, "-m", "pkigate_sample.ca_server", "--state", str(state)]
        self._arguments = [*server, *listens, *switches]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        assert words[:1] == ["listening"], f"the CA did not start: {words}"
        self.address = words[1] if len(words) == 2 else f"{words[1]}:{words[2]}"

    def stop(self) -> None:
        """Kill it, as a crash would: what it answered must be on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def call(self, operation: str, **message: Any) -> dict[str, Any]:
        """Send a message to the CA itself, from code that runs no event loop."""
        return asyncio.run(self.acall(operation, **message))

    async def acall(self, operation: str, **message: Any) -> dict[str, Any]:
        wire = importlib.import_module("pkigate_sample.wire")  # installed beside the gateway: see its README
        answer: dict[str, Any] = await wire.call(self.address, {"op": operation, **message})
        return answer

    async def aswitch(self, **switches: object) -> None:
        """Set the CA's switches while it runs."""
        assert await self.acall("control", switches=switches) == {"status": "ok"}

    def backend(self, **options: object) -> CaBackend:
        """A backend of the plug-in that the entry point ``sample-remote`` names."""
        (found,) = entry_points(group="pkigate.ca_backends", name="sample-remote")
        plugin = found.load()()
        used = embedded_ca.context(self.state)
        chosen = plugin.options_model(address=self.address, **options)
        plugin.initialise(chosen, used)
        backend: CaBackend = plugin.open(chosen, used)
        return backend
