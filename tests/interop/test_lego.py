"""lego 4.9, Debian's package, unmodified (acme.md part D)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.acme_programs import CONTACT, AcmeLab, ExternalKey, run_client
from tests.support.openssl import Judge

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Lego:
    """One lego with its own directory."""

    lab: AcmeLab
    directory: Path
    endpoint: str = "default"

    def __call__(self, *arguments: str, **environment: str) -> str:
        return run_client(
            *("/usr/bin/lego", "--server", self.lab.directory(self.endpoint), "--email", CONTACT),
            *("--accept-tos", "--path", str(self.directory), *arguments),
            cwd=self.directory,
            environment={"LEGO_CA_CERTIFICATES": str(self.lab.root_pem), **environment},
        )

    @property
    def http(self) -> tuple[str, ...]:
        return ("--http", "--http.port", f"127.0.0.1:{self.lab.http01_port}")

    def certificate(self, name: str) -> Path:
        return self.directory / "certificates" / f"{name}.crt"


@pytest.fixture
def lego(acme_lab: AcmeLab, tmp_path: Path) -> Lego:
    return Lego(acme_lab, tmp_path)


def test_lego_renews_and_revokes_what_it_proved_by_http(lego: Lego, acme_judge: Judge) -> None:
    host = "lego-http.test"
    lego(*lego.http, "-d", host, "-d", f"www.{host}", "run")
    first = lego.certificate(host).read_bytes()
    acme_judge.assert_valid(lego.certificate(host))
    lego(*lego.http, "-d", host, "-d", f"www.{host}", "renew", "--days", "9999", "--no-random-sleep")
    assert lego.certificate(host).read_bytes() != first
    acme_judge.assert_valid(lego.certificate(host))
    lego("-d", host, "revoke", "--keep", "--reason", "4")
    acme_judge.assert_revoked(lego.certificate(host))


def test_lego_answers_tls_alpn(lego: Lego, acme_judge: Judge) -> None:
    """acme.md C82"""
    port = f"127.0.0.1:{lego.lab.tls_alpn01_port}"
    lego("--tls", "--tls.port", port, "-d", "lego-tls.test", "run")
    acme_judge.assert_valid(lego.certificate("lego-tls.test"))


def test_lego_proves_a_wildcard_by_dns(lego: Lego, acme_judge: Judge) -> None:
    """acme.md C81"""
    by_dns = ("--dns", "exec", "--dns.disable-cp", "--dns.resolvers", lego.lab.dns.address)
    hook = lego.lab.hook(lego.directory)
    lego(*by_dns, "-d", "*.lego-dns.test", "run", EXEC_PATH=str(hook), EXEC_POLLING_INTERVAL="1")
    acme_judge.assert_valid(lego.certificate("_.lego-dns.test"))


def test_lego_binds_an_external_account(
    acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path, external_key: ExternalKey
) -> None:
    """acme.md C54"""
    lego, host = Lego(acme_lab, tmp_path, endpoint="eab"), "lego-bound.test"
    binding = ("--eab", "--kid", external_key.kid, "--hmac", external_key.hmac_key)
    lego(*lego.http, *binding, "-d", host, "run")
    acme_judge.assert_valid(lego.certificate(host))
