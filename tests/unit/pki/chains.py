"""Makers of certification paths, good and bad, and the questions that the chain tests ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.pki.chain import TrustAnchors, UntrustedCertificate, verify_client_chain
from tests.support import pki

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True)
class Made:
    certificate: x509.Certificate
    private_key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def make(
    cn: str,
    issuer: Made | None = None,
    *,
    kind: str = "P-256",
    ca: bool = True,
    path_length: int | None = None,
    starts: datetime = NOW - 365 * DAY,
    ends: datetime = NOW + 365 * DAY,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    usage: tuple[str, ...] = ("key_cert_sign", "crl_sign"),
    identifiers: bool = True,
    private_key: Any = None,
) -> Made:
    """A certificate for ``cn``; self-signed without an issuer."""
    private_key = private_key or pki.key(kind)
    signer = private_key if issuer is None else issuer.private_key
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki.name(cn))
        .issuer_name(pki.name(cn) if issuer is None else issuer.certificate.subject)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    )
    if ca:
        builder = builder.add_extension(pki.key_usage(*usage), critical=True)
    if identifiers:
        subject_identifier = x509.SubjectKeyIdentifier.from_public_key(private_key.public_key())
        builder = builder.add_extension(subject_identifier, critical=False)
        if issuer is not None:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
            builder = builder.add_extension(identifier, critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    with_hash = hasattr(signer, "curve") or hasattr(signer, "key_size")
    return Made(builder.sign(signer, hashes.SHA256() if with_hash else None), private_key)


def leaf(issuer: Made, **parts: Any) -> Made:
    return make("device-1", issuer, ca=False, **parts)


def verify(sent: Sequence[Made], anchors: Sequence[Made], at: datetime = NOW, **options: Any) -> Any:
    trusted = TrustAnchors([anchor.der for anchor in anchors])
    return verify_client_chain(tuple(made.der for made in sent), trusted, at, **options)


def refusal(
    sent: Sequence[Made], anchors: Sequence[Made], at: datetime = NOW, **options: Any
) -> UntrustedCertificate:
    with pytest.raises(UntrustedCertificate) as caught:
        verify(sent, anchors, at, **options)
    return caught.value
