"""The real gateway in a process group of its own, on free ports and a data directory of the test's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.est_client import EstClient

ROOT = Path(__file__).resolve().parents[2]
PKIGATE = Path(sys.executable).with_name("pkigate")


class GatewayDidNotStartError(Exception):
    """The gateway ended or never became ready; the text holds the end of its log."""


@dataclass(slots=True)
class Gateway:
    """One gateway. ``config`` is merged into its pkigate.yaml, ``policies`` replaces the default bundle
    (file name to YAML text), ``launcher`` runs something else than the installed ``pkigate``."""

    directory: Path
    database_url: str | None = None
    workers: int | None = 1  # None: what the gateway takes by itself
    policies: Mapping[str, str] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    launcher: Sequence[str] | None = None
    lab: bool = True
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log_path(self) -> Path:
        return self.directory / "gateway.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def log_records(self) -> list[dict[str, Any]]:
        """Every JSON line of the log that is whole."""
        lines = self.log.rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def quickstart_path(self) -> Path:
        return self.data / "quickstart.json"

    @property
    def quickstart(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.quickstart_path.read_text())
        return facts

    @property
    def sql_url(self) -> str:
        """The database that this gateway writes; its own SQLite file where none was given."""
        return self.database_url or f"sqlite:///{self.data / 'pkigate.sqlite3'}"

    # -- life --

    def start(self, timeout_s: float = 90.0) -> None:
        """Start and wait until every worker listens. Raises GatewayDidNotStartError."""
        self.spawn()
        self.wait_ready(timeout_s)

    def spawn(self) -> None:
        """Start without waiting."""
        self._write_config()
        self.quickstart_path.unlink(missing_ok=True)  # a killed gateway leaves the old one
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def _command(self) -> list[str]:
        launcher = list(self.launcher) if self.launcher is not None else [str(PKIGATE)]
        command = [*launcher, "serve", "--config", str(self.directory / "pkigate.yaml")]
        command += [
            "--data-dir",
            str(self.data),
            "--https-port",
            "0",
            "--http-port",
            "0",
            "--metrics-port",
            "0",
        ]
        if self.workers is not None:
            command += ["--workers", str(self.workers)]
        return command + (["--lab"] if self.lab else []) + list(self.arguments)

    def _write_config(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        config = dict(self.config)
        if self.database_url is not None:
            config["database_url"] = self.database_url
        if self.policies is not None:
            policies = self.directory / "policies"
            policies.mkdir(exist_ok=True)
            for name, text in self.policies.items():
                (policies / name).write_text(text)
            config["policies"] = str(policies)
        if self.lab and "lab" not in config:
            # Free ports of its own, so that gateways of tests at the same time do not meet.
            config["lab"] = {"enabled": True, "http01_port": 0, "tls_alpn01_port": 0}
        # JSON is YAML, and says strings, numbers and lists without any doubt.
        (self.directory / "pkigate.yaml").write_text(json.dumps(config, indent=1) + "\n")

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while not self.quickstart_path.exists():
            if self.process.poll() is not None:
                raise GatewayDidNotStartError(f"exit code {self.process.returncode}\n{self.log[-4000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise GatewayDidNotStartError(f"not ready after {timeout_s} s\n{self.log[-4000:]}")
            time.sleep(0.01)

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM to the supervisor and wait for the drain; gives the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the supervisor and every worker."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def log_with(self, text: str, timeout_s: float = 60.0) -> str:
        """The log's whole lines, once this stands in them: they come a little later than what they tell."""
        deadline = time.monotonic() + timeout_s
        while text not in (found := self.log.rpartition("\n")[0] + "\n"):
            assert time.monotonic() < deadline, f"no {text!r} in the log:\n{found[-4000:]}"
            time.sleep(0.01)
        return found

    def banner(self) -> str:
        """The log with the whole banner in it, which comes right after quickstart.json."""
        return self.log_with("Stop with Ctrl-C")

    def banner_command(self, begins: str) -> str:
        """The copy-paste command of the banner that begins so, as it stands."""
        found = re.search(rf"^({re.escape(begins)}.*?)\n\s*\n", self.banner(), re.DOTALL | re.MULTILINE)
        assert found, f"no command in the banner begins with {begins!r}:\n{self.log[:4000]}"
        return found.group(1)

    @property
    def worker_pids(self) -> list[int]:
        """The supervisor's living children."""
        assert self.process is not None
        return children(self.process.pid)

    # -- clients and commands --

    @property
    def root_pem(self) -> Path:
        return Path(self.quickstart["root_pem"])

    def est_client(self, **more: Any) -> EstClient:
        """A client with the demo user's credentials; ``user=None`` for none."""
        facts = self.quickstart
        known = {"user": facts["est"]["user"], "password": facts["est"]["password"]} if "est" in facts else {}
        return EstClient(**{"url": facts["https"], "root_pem": self.root_pem, **known, **more})

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``pkigate`` against this data directory."""
        completed = subprocess.run(
            [str(PKIGATE), *arguments, *self.cli_options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.directory,
            env={**os.environ, **self.environment},
        )
        if check and completed.returncode != 0:
            said = f"exit {completed.returncode}\n{completed.stdout}{completed.stderr}"
            raise AssertionError(f"pkigate {' '.join(arguments)}: {said}")
        return completed

    @property
    def cli_options(self) -> list[str]:
        return ["--config", str(self.directory / "pkigate.yaml"), "--data-dir", str(self.data)]

    def cli_json(self, *arguments: str) -> Any:
        return json.loads(self.cli(*arguments, "--json").stdout)


@contextlib.contextmanager
def running(directory: Path, **options: Any) -> Iterator[Gateway]:
    """A started gateway; killed at the end if it still runs."""
    gateway = Gateway(directory, **options)
    try:
        gateway.start()
        yield gateway
    finally:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.stop()


def children(pid: int) -> list[int]:
    """Child process ids, from /proc."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [int(child) for child in path.read_text().split()]
    except FileNotFoundError:
        return []


def process_tree(pid: int) -> list[int]:
    """This process and everything below it."""
    found = [pid]
    for child in children(pid):
        found += process_tree(child)
    return found
