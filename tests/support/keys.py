"""Keys, names and good CSRs for tests, each in a line."""

from __future__ import annotations

import base64
import functools
import ipaddress
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.x509.oid import NameOID

PrivateKey = Any  # any private key of cryptography; its own union leaves ML-DSA out of some signatures

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-192": ec.SECP192R1,
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"


def key(kind: str = "P-256") -> PrivateKey:
    """A new private key: ``P-256``, ``RSA-2048``, ``Ed25519``, ``Ed448``, ``ML-DSA-65`` ..."""
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind]())
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(65537, int(kind[4:]))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    makers: dict[str, Any] = {
        "ML-DSA-44": mldsa.MLDSA44PrivateKey,
        "ML-DSA-65": mldsa.MLDSA65PrivateKey,
        "ML-DSA-87": mldsa.MLDSA87PrivateKey,
    }
    return makers[kind].generate()


@functools.cache
def shared_key(kind: str) -> PrivateKey:
    """One key of this kind for the whole test process: RSA keys take seconds to make."""
    return key(kind)


def key_pem(private_key: PrivateKey) -> bytes:
    octets: bytes = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return octets


def spki_der(private_key: PrivateKey) -> bytes:
    octets: bytes = private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return octets


def default_hash(private_key: PrivateKey) -> hashes.SHA256 | None:
    return (
        hashes.SHA256() if isinstance(private_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None
    )


def name(cn: str | None = "device-1", **attributes: str) -> x509.Name:
    """A name of one attribute per RDN; ``name("d", O="Org")`` gives O first, CN last."""
    oids = {"C": NameOID.COUNTRY_NAME, "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME}
    parts = [x509.NameAttribute(oids[short], text) for short, text in attributes.items()]
    if cn is not None:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, cn))
    return x509.Name(parts)


def general_name(text: str) -> x509.GeneralName:
    """``a.test``, ``ip:127.0.0.1``, ``email:a@b.test`` or ``uri:https://a.test/``."""
    kind, _, value = text.partition(":")
    match kind:
        case "ip":
            return x509.IPAddress(ipaddress.ip_address(value))
        case "email":
            return x509.RFC822Name(value)
        case "uri":
            return x509.UniformResourceIdentifier(value)
    return x509.DNSName(text)


def csr(
    private_key: PrivateKey,
    *,
    cn: str | None = "device-1",
    subject: x509.Name | None = None,
    sans: Sequence[str] = (),
    challenge: bytes | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """A good PKCS#10 as DER (RFC 2986). ``challenge`` goes into challengePassword (RFC 2985 5.4.1)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        subject if subject is not None else name(cn)
    )
    if sans:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general_name(text) for text in sans]), critical=False
        )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    if challenge is not None:
        builder = builder.add_attribute(x509.ObjectIdentifier(CHALLENGE_PASSWORD), challenge)
    signed = builder.sign(private_key, default_hash(private_key))
    return signed.public_bytes(serialization.Encoding.DER)


def device_csr(private_key: PrivateKey, host: str) -> bytes:
    """The usual CSR: ``host`` as CN and as the one DNS name."""
    return csr(private_key, cn=host, sans=[host])


def base64_lines(der: bytes, width: int | None = 64, newline: bytes = b"\n", *, last: bool = True) -> bytes:
    """Base64 in lines of ``width`` columns, or on one line for None; ``last`` ends it with a newline."""
    text = base64.b64encode(der)
    if width is None:
        return text + (newline if last else b"")
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    return newline.join(lines) + (newline if last else b"")


def pem(label: str, der: bytes) -> bytes:
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (
        label.encode(),
        base64_lines(der),
        label.encode(),
    )
