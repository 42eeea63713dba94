"""strongSwan's ``pki --scepca`` and ``pki --scep`` 5.9.8, Debian's package, unmodified (scep.md E2)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import gateway as gateways
from tests.support.gateway import Gateway
from tests.support.openssl import Judge, run
from tests.support.scep_programs import access, approve, certificate, shipped

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def approving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The shipped policies, where a person approves first certificates."""
    with gateways.running(
        tmp_path_factory.mktemp("approving-scep"), policies=shipped(approval=True)
    ) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Swan:
    """pki with the CA certificates of a gateway in a directory."""

    gateway: Gateway
    directory: Path

    def __call__(self, *arguments: str) -> bytes:
        return run("pki", *arguments, "--outform", "pem", cwd=self.directory)

    def learn(self) -> None:
        url, _ = access(self.gateway)
        self("--scepca", "--url", url, "--caout", "ca.pem", "--raout", "ra.pem", "--force")

    def key(self, name: str, size: str = "2048") -> str:
        (self.directory / name).write_bytes(self("--gen", "--type", "rsa", "--size", size))
        return name

    def command(self, key: str, host: str, *more: str, password: bool = True) -> list[str]:
        url, challenge = access(self.gateway)
        command = ["--scep", "--url", url, "--in", key, "--dn", f"CN={host}", "--san", host]
        command += ["--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem"]
        for name in ("ca.pem", "ca-1.pem"):
            command += ["--cacert", name]
        return [*command, *(("--password", challenge) if password else ()), *more]

    def enrol(self, key: str, host: str, *more: str, password: bool = True) -> Path:
        path = self.directory / f"{key}.crt"
        path.write_bytes(self(*self.command(key, host, *more, password=password)))
        return path


@pytest.fixture
def swan(gateway: Gateway, tmp_path: Path) -> Swan:
    made = Swan(gateway, tmp_path)
    made.learn()
    return made


def test_strongswan_gets_ra_issuer_and_root(swan: Swan, gateway: Gateway) -> None:
    """scep.md C7, B17"""
    ra, issuing, root = (certificate(swan.directory / name) for name in ("ra.pem", "ca-1.pem", "ca.pem"))
    if issuing.issuer == issuing.subject:
        issuing, root = root, issuing
    assert root == certificate(gateway.root_pem)
    ra.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)


@pytest.mark.parametrize(
    "options",
    [(), ("--rsa-padding", "pss"), ("--digest", "sha384"), ("--digest", "sha512", "--rsa-padding", "pss")],
    ids=" ".join,
)
def test_strongswan_enrols(swan: Swan, judge: Judge, options: tuple[str, ...]) -> None:
    """scep.md C23, B15: AES, since SHA-384 is advertised."""
    path = swan.enrol(swan.key("first.key"), "swan-scep.test", *options)
    judge.assert_valid(path)
    assert certificate(path).issuer == certificate(swan.directory / "ra.pem").issuer


def test_strongswan_with_a_key_of_4096_bits_enrols(swan: Swan, judge: Judge) -> None:
    """scep.md C13"""
    judge.assert_valid(swan.enrol(swan.key("large.key", "4096"), "swan-large.test"))


def test_strongswan_renews_with_a_new_key(swan: Swan, gateway: Gateway, judge: Judge) -> None:
    """scep.md C43: a true RenewalReq, without challenge."""
    host = "swan-renews.test"
    first = swan.enrol(swan.key("old.key"), host)
    renewal = ("--cert", str(first), "--key", "old.key")
    second = swan.enrol(swan.key("new.key"), host, *renewal, password=False)
    judge.assert_valid(second)
    assert certificate(second).public_key() != certificate(first).public_key()
    gateway.log_with("RenewalReq")
    (new, old) = gateway.cli_json("cert", "list", host)["certificates"]
    assert new["predecessor_sha256"] == old["sha256"]


def test_strongswan_is_told_that_its_challenge_is_wrong(swan: Swan) -> None:
    """scep.md C38"""
    command = swan.command(swan.key("guess.key"), "swan-guesses.test", "--password", "guess", password=False)
    refused = subprocess.run(
        ["pki", *command], cwd=swan.directory, capture_output=True, text=True, timeout=120, check=False
    )
    assert refused.returncode != 0
    assert "badRequest" in refused.stderr


def test_strongswan_polls_until_a_person_approves(approving: Gateway, tmp_path: Path) -> None:
    """scep.md C45"""
    swan, host = Swan(approving, tmp_path), "swan-waits.test"
    swan.learn()
    command = swan.command(swan.key("waits.key"), host, "--interval", "1", "--maxpolltime", "150")
    with subprocess.Popen(
        ["pki", *command, "--outform", "pem"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waiting:
        approve(approving, host)
        certificate_pem, said = waiting.communicate(timeout=150)
    assert waiting.returncode == 0, said
    path = tmp_path / "waited.pem"
    path.write_bytes(certificate_pem)
    Judge(approving, tmp_path).assert_valid(path)
    approving.log_with("CertPoll")
