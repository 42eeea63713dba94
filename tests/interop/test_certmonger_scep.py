"""certmonger 0.79.17, Debian's package, unmodified, on a session bus of its own (scep.md E3)."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import gateway as gateways
from tests.support.gateway import Gateway
from tests.support.openssl import Judge
from tests.support.scep_programs import access, approve, certificate, shipped, until

pytestmark = pytest.mark.interop

DAEMON = "/usr/lib/certmonger/certmonger-session"


@pytest.fixture(scope="module")
def approving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The shipped policies, where a person approves first certificates."""
    with gateways.running(
        tmp_path_factory.mktemp("approving-scep"), policies=shipped(approval=True)
    ) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Certmonger:
    """The daemon with its own home and bus; ``request`` is the one that it looks after."""

    gateway: Gateway
    directory: Path
    environment: dict[str, str]

    def getcert(self, *arguments: str) -> str:
        completed = subprocess.run(
            ["getcert", *arguments[:1], "-s", *arguments[1:]],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert completed.returncode == 0, f"{arguments}: {completed.stdout}{completed.stderr}"
        return completed.stdout

    def add_ca(self) -> None:
        url, _ = access(self.gateway)
        self.getcert("add-scep-ca", "-c", "gateway", "-u", url)
        until(lambda: "gateway" in self.getcert("list-cas"), "the CA was not added")

    def request(self, host: str, *more: str, challenge: str | None = None) -> None:
        secret = access(self.gateway)[1] if challenge is None else challenge
        names = ("-N", f"CN={host}", "-D", host, "-I", "it", "-L", secret)
        self.getcert("request", "-c", "gateway", "-k", str(self.key), "-f", str(self.path), *names, *more)

    def status(self) -> str:
        lines = self.getcert("list", "-i", "it").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "status:" in line)

    def until(self, status: str, refresh: bool = False) -> None:
        """Wait for this status; with ``refresh`` the daemon is told to ask the CA again."""

        def reached() -> bool:
            found = self.status()
            if found != status and refresh:
                self.getcert("refresh", "-i", "it")
            return found == status

        until(reached, f"not {status}")

    @property
    def key(self) -> Path:
        return self.directory / "it.key"

    @property
    def path(self) -> Path:
        return self.directory / "it.pem"


@contextmanager
def _running(gateway: Gateway, directory: Path) -> Iterator[Certmonger]:
    """A bus and the daemon as children of ours; both are ended by their process ids."""
    home = directory / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    daemon = None
    try:
        assert bus.stdout is not None
        environment["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
        with (directory / "certmonger.log").open("wb") as log:
            daemon = subprocess.Popen(
                [DAEMON, "-n"], env=environment, cwd=directory, stdout=log, stderr=subprocess.STDOUT
            )
        certmonger = Certmonger(gateway, directory, environment)
        until(lambda: _answers(certmonger), f"no answer of {shlex.quote(DAEMON)}")
        certmonger.add_ca()
        yield certmonger
    finally:
        for process in (daemon, bus):
            if process is not None:
                process.terminate()
                process.wait(60)
        if bus.stdout is not None:
            bus.stdout.close()


def _answers(certmonger: Certmonger) -> bool:
    asked = subprocess.run(
        ["getcert", "list-cas", "-s"],
        env=certmonger.environment,
        capture_output=True,
        check=False,
        timeout=90,
    )
    return asked.returncode == 0


def test_certmonger_enrols_resubmits_and_rekeys(gateway: Gateway, judge: Judge, tmp_path: Path) -> None:
    """scep.md B14, B16, C10, C44: GET for everything, PKCSReq for renewals."""
    host = "monger.test"
    with _running(gateway, tmp_path) as certmonger:
        certmonger.request(host, "-w")
        certmonger.until("MONITORING")
        judge.assert_valid(certmonger.path)
        first = certificate(certmonger.path)
        certmonger.getcert("resubmit", "-i", "it", "-w")
        certmonger.until("MONITORING")
        second = certificate(certmonger.path)
        judge.assert_valid(certmonger.path)
        assert second.serial_number != first.serial_number
        certmonger.getcert("rekey", "-i", "it", "-w")
        certmonger.until("MONITORING")
        third = certificate(certmonger.path)
        judge.assert_valid(certmonger.path)
        assert third.public_key() != second.public_key()
    listed = gateway.cli_json("cert", "list", host)["certificates"]
    assert len(listed) == 3


def test_certmonger_waits_for_a_person_and_gets_its_certificate(approving: Gateway, tmp_path: Path) -> None:
    """scep.md B14, C28, C45: PENDING is CA_WORKING to it, since its content is empty and not absent."""
    host = "monger-waits.test"
    with _running(approving, tmp_path) as certmonger:
        certmonger.request(host)
        certmonger.until("CA_WORKING")
        approve(approving, host)
        certmonger.until("MONITORING", refresh=True)
        Judge(approving, tmp_path).assert_valid(certmonger.path)


def test_certmonger_is_told_that_its_challenge_is_wrong(gateway: Gateway, tmp_path: Path) -> None:
    """scep.md C38, B14: rejected, not unreachable."""
    with _running(gateway, tmp_path) as certmonger:
        certmonger.request("monger-guesses.test", challenge="guess")
        certmonger.until("CA_REJECTED")
    assert not certmonger.path.exists()
