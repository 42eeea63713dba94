"""Debian's openssl command as a judge of certificates and CRLs."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from tests.support.gateway import Gateway


class Judge:
    """Verifies against the gateway's root with what the gateway itself hands out, in a directory."""

    def __init__(self, gateway: Gateway, directory: Path) -> None:
        self._gateway = gateway
        self._directory = directory

    def assert_valid(self, certificate_pem: Path) -> None:
        """Chain, dates and revocation (by the CRL at the certificate's own address) are good."""
        completed = self._verify(certificate_pem, "-crl_check", "-CRLfile", str(self.crl(certificate_pem)))
        assert completed.returncode == 0, completed.stdout + completed.stderr

    def assert_revoked(self, certificate_pem: Path) -> None:
        """The CRL that is current now holds the certificate."""
        completed = self._verify(certificate_pem, "-crl_check", "-CRLfile", str(self.crl(certificate_pem)))
        assert completed.returncode != 0
        assert "certificate revoked" in completed.stdout + completed.stderr
        without_crl = self._verify(certificate_pem)
        assert without_crl.returncode == 0, without_crl.stderr

    def crl(self, certificate_pem: Path) -> Path:
        """Fetch the CRL as a relying party does, as PEM."""
        certificate = x509.load_pem_x509_certificate(certificate_pem.read_bytes())
        points = certificate.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS).value
        assert isinstance(points, x509.CRLDistributionPoints)
        names = points[0].full_name
        assert names is not None
        with urllib.request.urlopen(names[0].value, timeout=60) as answer:
            crl = x509.load_der_x509_crl(answer.read())
        path = self._directory / "current.crl"
        path.write_bytes(crl.public_bytes(Encoding.PEM))
        return path

    def issuer(self, certificate_pem: Path) -> Path:
        """Fetch the issuing CA's certificate from where the certificate says, as PEM."""
        certificate = x509.load_pem_x509_certificate(certificate_pem.read_bytes())
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        (url,) = [
            one.access_location.value
            for one in access
            if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        ]
        with urllib.request.urlopen(url, timeout=60) as answer:
            issuer = x509.load_der_x509_certificate(answer.read())
        path = self._directory / "issuer.pem"
        path.write_bytes(issuer.public_bytes(Encoding.PEM))
        return path

    def _verify(self, certificate_pem: Path, *more: str) -> subprocess.CompletedProcess[str]:
        facts = self._gateway.quickstart
        command = ["openssl", "verify", "-CAfile", facts["root_pem"], "-untrusted"]
        command += [str(self.issuer(certificate_pem)), *more, str(certificate_pem)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def run(*command: str | Path, cwd: Path, stdin: bytes | None = None, timeout_s: float = 120) -> bytes:
    """Run a foreign client; fails with what it said."""
    completed = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    said = completed.stderr.decode(errors="replace")
    assert completed.returncode == 0, f"{command[0]}: exit {completed.returncode}\n{said}"
    return completed.stdout
