"""CRLs of the embedded CA against `cryptography`'s builder and OpenSSL (RFC 5280 section 5)."""

from __future__ import annotations

import subprocess
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ca_backend.api import CrlRequest
from ca_backend.embedded.backend import EmbeddedBackend
from gateway.errors import ConfigurationError
from gateway.model.certificate import RevocationReason, RevokedEntry
from gateway.pki.keyfile import private_key_for_tls
from tests.unit.ca_backend import embedded_ca

NOW = datetime(2049, 12, 31, 23, 59, 58, tzinfo=UTC)  # thisUpdate is UTCTime, nextUpdate GeneralizedTime
REASONS = {reason: x509.ReasonFlags(str(reason)) for reason in RevocationReason}


def request(*entries: RevokedEntry, number: int = 1, ca_name: str = "") -> CrlRequest:
    return CrlRequest(number, NOW, NOW + timedelta(days=1), entries, ca_name)


def built(backend: EmbeddedBackend, directory: Path, wanted: CrlRequest) -> x509.CertificateRevocationList:
    """The same CRL by `cryptography`."""
    issuer = x509.load_der_x509_certificate(backend.authorities()[0].certificate_der)
    key = private_key_for_tls(directory / "ca" / "embedded" / "issuing.key.pem", embedded_ca.PASSPHRASE)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder(issuer.subject, wanted.this_update, wanted.next_update)
        .add_extension(x509.AuthorityKeyIdentifier(identifier.digest, None, None), critical=False)
        .add_extension(x509.CRLNumber(wanted.number), critical=False)
    )
    for entry in wanted.entries:
        revoked = x509.RevokedCertificateBuilder(entry.serial, entry.revoked_at)
        if entry.reason is not RevocationReason.UNSPECIFIED:
            revoked = revoked.add_extension(x509.CRLReason(REASONS[entry.reason]), critical=False)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize("number", [0, 127, 128, (1 << 159) - 1])
async def test_crl_equals_what_another_builder_makes(number: int, tmp_path: Path) -> None:
    backend = embedded_ca.opened(tmp_path)
    entries = [
        RevokedEntry(1 << 8 * index, NOW - timedelta(days=index), reason)
        for index, reason in enumerate(RevocationReason)
    ]
    wanted = request(*entries, number=number)
    ours = x509.load_der_x509_crl(await backend.sign_crl(wanted))
    assert ours.tbs_certlist_bytes == built(backend, tmp_path, wanted).tbs_certlist_bytes


async def test_crl_without_entries_equals_what_another_builder_makes(tmp_path: Path) -> None:
    backend = embedded_ca.opened(tmp_path)
    ours = x509.load_der_x509_crl(await backend.sign_crl(request()))
    assert ours.tbs_certlist_bytes == built(backend, tmp_path, request()).tbs_certlist_bytes


async def test_openssl_shows_number_and_reasons(tmp_path: Path) -> None:
    backend = embedded_ca.opened(tmp_path)
    entry = RevokedEntry(0xBEEF, NOW, RevocationReason.AA_COMPROMISE)
    crl = x509.load_der_x509_crl(await backend.sign_crl(request(entry, number=77)))
    (tmp_path / "crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    directory = tmp_path / "ca" / "embedded"
    shown = subprocess.run(
        [
            "openssl",
            "crl",
            "-in",
            tmp_path / "crl.pem",
            "-noout",
            "-text",
            "-CAfile",
            directory / "issuing.pem",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "verify OK" in shown.stderr
    for part in (
        "Version 2",
        "Serial Number: BEEF",
        "AA Compromise",
        "X509v3 CRL Number: \n                77",
    ):
        assert part in shown.stdout


async def test_root_signs_its_own_crl(tmp_path: Path) -> None:
    backend = embedded_ca.opened(tmp_path)
    root = backend.authorities()[-1]
    crl = x509.load_der_x509_crl(await backend.sign_crl(request(ca_name=root.name)))
    issuer = x509.load_der_x509_certificate(root.certificate_der)
    assert crl.issuer == issuer.subject
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)


async def test_crl_of_an_unknown_ca_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no CA that is published as 'other'"):
        await embedded_ca.opened(tmp_path).sign_crl(request(ca_name="other"))


@pytest.mark.parametrize("number", [-1, 1 << 159])
async def test_crl_number_beyond_20_octets_or_below_0_is_refused(number: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CRL number"):
        await embedded_ca.opened(tmp_path).sign_crl(request(number=number))


async def test_crl_that_is_due_before_it_is_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="later"):
        await embedded_ca.opened(tmp_path).sign_crl(CrlRequest(1, NOW, NOW, []))


async def test_large_crl_is_built_in_memory_that_grows_with_its_entries_alone(tmp_path: Path) -> None:
    backend = embedded_ca.opened(tmp_path)
    sizes = []
    for count in (2_000, 20_000):
        entries = (
            RevokedEntry((1 << 158) + number, NOW - timedelta(seconds=number), RevocationReason.SUPERSEDED)
            for number in range(count)
        )
        tracemalloc.start()
        crl_der = await backend.sign_crl(CrlRequest(1, NOW, NOW + timedelta(days=1), entries))
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(x509.load_der_x509_crl(crl_der)) == count
    assert sizes[1] < 15 * sizes[0]
