"""uacme 1.7, Debian's package, unmodified; it knows the system's certificates only (acme.md part D)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.acme_programs import CONTACT, AcmeLab, ExternalKey, run_client
from tests.support.namespaces import trusting
from tests.support.openssl import Judge

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Uacme:
    """One uacme with its own directory and the hook that answers http-01 and dns-01."""

    lab: AcmeLab
    directory: Path
    hook: Path
    endpoint: str = "default"

    def __call__(self, *arguments: str | Path) -> str:
        options = ("-v", "-y", "-c", self.directory / "u", "-a", self.lab.directory(self.endpoint))
        command = ("/usr/bin/uacme", *options, "-h", self.hook, *arguments)
        return run_client(*trusting(self.lab.root_pem, *map(str, command)), cwd=self.directory)

    def certificate(self, name: str) -> Path:
        return self.directory / "u" / name / "cert.pem"


@pytest.fixture
def uacme(acme_lab: AcmeLab, tmp_path: Path) -> Iterator[Uacme]:
    with acme_lab.webroot(tmp_path):
        yield Uacme(acme_lab, tmp_path, acme_lab.hook(tmp_path))


def test_uacme_has_names_and_addresses_certified_with_either_chain(uacme: Uacme, acme_judge: Judge) -> None:
    """acme.md C64, C68, C90"""
    uacme("new", CONTACT)
    uacme("issue", "uacme.test", "www.uacme.test")
    acme_judge.assert_valid(uacme.certificate("uacme.test"))
    root = x509.load_pem_x509_certificate(uacme.lab.root_pem.read_bytes())
    assert root not in _chain(uacme.certificate("uacme.test"))
    uacme("-f", "-l", "1", "issue", "uacme.test", "www.uacme.test")
    assert root in _chain(uacme.certificate("uacme.test"))
    acme_judge.assert_valid(uacme.certificate("uacme.test"))
    uacme("issue", "127.0.0.1")
    acme_judge.assert_valid(uacme.certificate("127.0.0.1"))
    uacme("issue", "*.uacme-dns.test")
    acme_judge.assert_valid(uacme.certificate("uacme-dns.test"))


def test_uacme_changes_its_account_key_and_goes_on_with_it(uacme: Uacme, acme_judge: Judge) -> None:
    """acme.md C55, C57"""
    host = "uacme-newkey.test"
    uacme("-t", "EC", "new", CONTACT)
    key = uacme.directory / "u" / "private" / "key.pem"
    before = key.read_bytes()
    uacme("-t", "EC", "newkey")
    assert key.read_bytes() != before
    uacme("issue", host)
    acme_judge.assert_valid(uacme.certificate(host))
    uacme("update", "another@example.test")
    kept = _kept(uacme, host)
    uacme("-r", "4", "revoke", uacme.certificate(host))
    acme_judge.assert_revoked(kept)
    uacme("deactivate")


def test_uacme_revokes_with_the_key_of_the_certificate(uacme: Uacme, acme_judge: Judge) -> None:
    """acme.md C92"""
    host = "uacme-by-key.test"
    uacme("new", CONTACT)
    uacme("issue", host)
    key = uacme.directory / "u" / "private" / host / "key.pem"
    kept = _kept(uacme, host)
    uacme("-r", "1", "revoke", uacme.certificate(host), key)
    acme_judge.assert_revoked(kept)


def test_uacme_binds_an_external_account(uacme: Uacme, acme_judge: Judge, external_key: ExternalKey) -> None:
    """acme.md C54"""
    bound = Uacme(uacme.lab, uacme.directory, uacme.hook, endpoint="eab")
    bound("-e", f"{external_key.kid}:{external_key.hmac_key}", "new", CONTACT)
    bound("issue", "uacme-bound.test")
    acme_judge.assert_valid(bound.certificate("uacme-bound.test"))


def _kept(uacme: Uacme, host: str) -> Path:
    """A copy for the judge: uacme takes the file of a revoked certificate away."""
    kept = uacme.directory / "kept.pem"
    kept.write_bytes(uacme.certificate(host).read_bytes())
    return kept


def _chain(certificate_pem: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(certificate_pem.read_bytes())
