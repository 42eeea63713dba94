"""strongSwan's ``pki --estca`` and ``pki --est`` 5.9.8, Debian's package, unmodified (est.md E2)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.openssl import Judge, run

pytestmark = pytest.mark.interop


def _key_and_csr(tmp_path: Path, host: str, kind: str = "ecdsa", size: str = "256") -> None:
    key = run("pki", "--gen", "--type", kind, "--size", size, "--outform", "pem", cwd=tmp_path)
    (tmp_path / f"{host}.key").write_bytes(key)
    _csr(tmp_path, host)


def _csr(tmp_path: Path, host: str) -> None:
    made = ("pki", "--req", "--in", f"{host}.key", "--type", "priv", "--dn", f"CN={host}", "--san", host)
    (tmp_path / f"{host}.csr").write_bytes(run(*made, cwd=tmp_path))


def _est(gateway: Gateway, host: str, *more: str) -> list[str]:
    command = ["pki", "--est", "--url", gateway.quickstart["https"], "--cacert", str(gateway.root_pem)]
    return [*command, "--in", f"{host}.csr", "--outform", "pem", *more]


def _userpass(gateway: Gateway) -> tuple[str, str]:
    est = gateway.quickstart["est"]
    return "--userpass", f"{est['user']}:{est['password']}"


def _enrol(gateway: Gateway, tmp_path: Path, host: str) -> Path:
    path = tmp_path / f"{host}.pem"
    path.write_bytes(run(*_est(gateway, host, *_userpass(gateway)), cwd=tmp_path))
    return path


def test_estca_gets_the_ca_certificates(gateway: Gateway, tmp_path: Path) -> None:
    run(
        *("pki", "--estca", "--url", gateway.quickstart["https"], "--cacert", gateway.root_pem),
        *("--caout", "ca.der", "--force"),
        cwd=tmp_path,
    )
    received = sorted(path.name for path in tmp_path.glob("ca*.der"))
    assert len(received) >= 2, received


@pytest.mark.parametrize(("kind", "size"), [("ecdsa", "256"), ("rsa", "2048")])
def test_strongswan_enrols(gateway: Gateway, judge: Judge, tmp_path: Path, kind: str, size: str) -> None:
    host = f"swan-{kind}.test"
    _key_and_csr(tmp_path, host, kind, size)
    judge.assert_valid(_enrol(gateway, tmp_path, host))


def test_strongswan_reenrols_and_is_revoked(gateway: Gateway, judge: Judge, tmp_path: Path) -> None:
    host = "swan-again.test"
    _key_and_csr(tmp_path, host)
    first = _enrol(gateway, tmp_path, host)
    _csr(tmp_path, host)
    second = tmp_path / "second.pem"
    certificate = ("--cert", str(first), "--key", f"{host}.key")
    second.write_bytes(run(*_est(gateway, host, *certificate), cwd=tmp_path))
    judge.assert_valid(second)
    assert first.read_bytes() != second.read_bytes()
    serial = run("openssl", "x509", "-in", second, "-noout", "-serial", cwd=tmp_path).decode()
    gateway.cli("cert", "revoke", serial.strip().partition("=")[2], "--reason", "cessationOfOperation")
    judge.assert_revoked(second)


def test_strongswan_polls_until_a_person_approves(approving: Gateway, tmp_path: Path) -> None:
    host = "swan-waits.test"
    _key_and_csr(tmp_path, host)
    polling = ("--interval", "1", "--maxpolltime", "200")
    command = _est(approving, host, *_userpass(approving), *polling)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        request_id = _parked(approving, host)
        time.sleep(1.5)  # let it poll while nobody has decided
        assert waiting.poll() is None, "it does not wait"
        approving.cli("request", "approve", request_id)
        certificate_pem, said = waiting.communicate(timeout=240)
    assert waiting.returncode == 0, said
    path = tmp_path / "waited.pem"
    path.write_bytes(certificate_pem)
    Judge(approving, tmp_path).assert_valid(path)


def _parked(gateway: Gateway, host: str) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        listed = gateway.cli_json("request", "list", "--state", "awaiting-approval")
        for row in listed["requests"]:
            if host in str(row):
                return str(row["id"])
        time.sleep(0.2)
    raise AssertionError("the request never arrived")
