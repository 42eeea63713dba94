"""curl and openssl, as the README and the start banner have it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.openssl import Judge, run

pytestmark = pytest.mark.interop


def test_command_of_the_banner_gets_a_certificate(gateway: Gateway, judge: Judge, tmp_path: Path) -> None:
    said = run("bash", "-euo", "pipefail", "-c", gateway.banner_command("curl -sSf"), cwd=tmp_path).decode()
    assert "device-1.test" in said
    judge.assert_valid(tmp_path / "device-1.pem")


def _request(tmp_path: Path, host: str, *, key: str | None = None) -> None:
    """Make HOST.key (unless a key is given) and HOST.b64 as est.md E1 does."""
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{host}.key"]
    making: list[str] = ["-key", key] if key else new_key
    csr_der = run(
        *("openssl", "req", "-new", *making, "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"),
        *("-outform", "DER"),
        cwd=tmp_path,
    )
    (tmp_path / f"{host}.b64").write_bytes(run("base64", "-w64", cwd=tmp_path, stdin=csr_der))


def _post(gateway: Gateway, tmp_path: Path, operation: str, host: str, *credentials: str) -> Path:
    body = run(
        *("curl", "-sS", "--fail-with-body", "--cacert", str(gateway.root_pem), *credentials),
        *("-H", "Content-Type: application/pkcs10", "--data-binary", f"@{host}.b64"),
        f"{gateway.quickstart['https']}/.well-known/est/{operation}",
        cwd=tmp_path,
    )
    der = run("base64", "-d", cwd=tmp_path, stdin=body)
    pem = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", cwd=tmp_path, stdin=der)
    path = tmp_path / f"{host}.{operation}.pem"
    path.write_bytes(pem)
    return path


def test_curl_enrols_renews_and_is_revoked(gateway: Gateway, judge: Judge, tmp_path: Path) -> None:
    est = gateway.quickstart["est"]
    _request(tmp_path, "curl-1.test")
    basic = ("-u", f"{est['user']}:{est['password']}")
    first = _post(gateway, tmp_path, "simpleenroll", "curl-1.test", *basic)
    judge.assert_valid(first)
    certificate = ("--cert", str(first), "--key", str(tmp_path / "curl-1.test.key"))
    _request(tmp_path, "curl-1.test", key="curl-1.test.key")
    second = _post(gateway, tmp_path, "simplereenroll", "curl-1.test", *certificate)
    judge.assert_valid(second)
    assert first.read_bytes() != second.read_bytes()
    serial = run("openssl", "x509", "-in", second, "-noout", "-serial", cwd=tmp_path).decode()
    gateway.cli("cert", "revoke", serial.strip().partition("=")[2], "--reason", "superseded")
    judge.assert_revoked(second)
    judge.assert_valid(first)


def test_curl_with_a_revoked_certificate_is_told_so(gateway: Gateway, tmp_path: Path) -> None:
    est = gateway.quickstart["est"]
    _request(tmp_path, "curl-2.test")
    first = _post(gateway, tmp_path, "simpleenroll", "curl-2.test", "-u", f"{est['user']}:{est['password']}")
    serial = run("openssl", "x509", "-in", first, "-noout", "-serial", cwd=tmp_path).decode()
    gateway.cli("cert", "revoke", serial.strip().partition("=")[2], "--reason", "keyCompromise")
    command = ["curl", "-sS", "--cacert", str(gateway.root_pem), "--cert", str(first)]
    command += ["--key", "curl-2.test.key", "-H", "Content-Type: application/pkcs10"]
    command += ["--data-binary", "@curl-2.test.b64", "-w", "%{http_code}"]
    command += [f"{gateway.quickstart['https']}/.well-known/est/simplereenroll"]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert completed.stdout.endswith("403")
    assert "revoked" in completed.stdout
