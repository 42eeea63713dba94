"""CMP messages that OpenSSL made (tests/unit/asn1/vectors/cmp)."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DIRECTORY = Path(__file__).resolve().parents[1] / "unit" / "asn1" / "vectors" / "cmp"
SECRET = b"vector-secret"
NAMES = tuple(sorted(path.stem for path in DIRECTORY.glob("*.der")))


def read(name: str) -> bytes:
    """One message: ``ir-mac-q1`` is the first that the client sent, ``ir-mac-s1`` the answer to it."""
    return (DIRECTORY / f"{name}.der").read_bytes()


def certificate_der(name: str) -> bytes:
    """The certificate of ``ca``, ``device``, ``rsadevice`` or ``server``."""
    return (DIRECTORY / f"{name}.crt").read_bytes()


def spki_of(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate."""
    loaded = x509.load_der_x509_certificate(certificate)
    return loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
