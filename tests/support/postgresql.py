"""A private PostgreSQL cluster for tests, from Debian's packages, on a spare loopback port with fsync on.

PostgreSQL refuses to run as root, so root runs it as user ``postgres``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.ports import spare_port

_BINARIES = Path("/usr/lib/postgresql")
_START_S = 60


class PostgresqlMissingError(RuntimeError):
    """The server's programs are not on this machine: ``apt-get install postgresql``."""


class PostgresqlServer:
    """One cluster in a temporary directory; ``start`` makes it, ``stop`` removes it."""

    def __init__(self) -> None:
        self.port = spare_port()
        self._binaries = _newest_binaries()
        self._directory: Path | None = None
        self._databases = 0

    def start(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="pkigate-pg-"))
        self._directory.chmod(0o700)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self._directory, owner.pw_uid, owner.pw_gid)
        self._run(
            "initdb", "-D", str(self._cluster), "-U", "pkigate", "-A", "trust", "-E", "UTF8", "--locale=C"
        )
        self.restart()

    def restart(self) -> None:
        """Start the postmaster and wait until it answers; also after ``crash``."""
        options = (
            f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= "
            "-c fsync=on -c max_connections=60 -c log_min_messages=warning"
        )
        log = str(self._cluster / "server.log")
        self._run(
            "pg_ctl", "start", "-w", "-t", str(_START_S), "-D", str(self._cluster), "-l", log, "-o", options
        )

    def stop(self) -> None:
        """Stop the postmaster; the cluster is removed in the background."""
        if self._directory is None:
            return
        if self.pid is not None:
            # Nothing of it is kept, so it need not write its buffers out.
            self._run("pg_ctl", "stop", "-m", "immediate", "-w", "-D", str(self._cluster))
        # The databases of some hundred tests are tens of thousands of files: a minute on a busy disk, which
        # would count against the time limit of the last test. The shell returns at once.
        subprocess.run(["sh", "-c", 'rm -rf -- "$0" >/dev/null 2>&1 &', str(self._directory)], check=True)
        self._directory = None

    def shut_down(self) -> None:
        """Stop the postmaster and end every session; the cluster stays for ``restart``."""
        self._run("pg_ctl", "stop", "-m", "fast", "-w", "-D", str(self._cluster))

    def crash(self) -> None:
        """Kill the postmaster with SIGKILL and wait until its children are gone too."""
        pid = self.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # or it makes another child while we list them
        children = _children(pid)
        os.kill(pid, signal.SIGKILL)
        # Without their postmaster the others end by themselves within seconds; a crash does not wait.
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + _START_S
        while any(_lives(process) for process in (pid, *children)):
            if time.monotonic() > deadline:
                raise TimeoutError("the cluster does not die")
            time.sleep(0.01)
        # Where pid 1 reaps late, the dead postmaster keeps its process id and the next one will not start.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop every process of the cluster with SIGSTOP: connections stay open, and nobody answers."""
        assert self.pid is not None
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the processes go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        pid = self.pid
        assert pid is not None
        os.kill(pid, number)
        for child in _children(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def new_database(self) -> str:
        """Create an empty database and give its URL."""
        self._databases += 1
        name = f"pkigate_{self._databases}_{os.getpid()}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return f"postgresql://pkigate@127.0.0.1:{self.port}/{name}"

    def sql(self, database: str, statement: str) -> str:
        """Run one statement with psql and give what it printed."""
        return self._run(
            "psql",
            "-X",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            f"postgresql://pkigate@127.0.0.1:{self.port}/{database}",
            "-c",
            statement,
        )

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None where none runs."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if _lives(pid) else None

    @property
    def _cluster(self) -> Path:
        assert self._directory is not None, "start() comes first"
        return self._directory / "cluster"

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # The postmaster inherits its output: a pipe would keep us waiting for it for ever.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=False,
            )
            output.seek(0)
            text = output.read()
        if done.returncode != 0:
            log = self._cluster / "server.log"
            tail = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{program} failed ({done.returncode}): {text}{tail}")
        return text

    def __enter__(self) -> PostgresqlServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _newest_binaries() -> Path:
    found = sorted(_BINARIES.glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name))
    if not found:
        raise PostgresqlMissingError(
            "no PostgreSQL server here: apt-get install --no-install-recommends postgresql"
        )
    return found[-1].parent


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(status.parent.name))
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
