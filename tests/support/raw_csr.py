"""PKCS#10 requests part by part, for what a builder refuses to make (RFC 2986).

Written by a few DER lines of this file, so that the gateway's own writer is never its judge.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from tests.support import keys

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
# AlgorithmIdentifiers by (kind, hash), whole DER: RFC 5758, RFC 4055, RFC 3279
_ALGORITHMS = {
    ("ec", "sha1"): "300906072a8648ce3d0401",
    ("ec", "sha256"): "300a06082a8648ce3d040302",
    ("ec", "sha384"): "300a06082a8648ce3d040303",
    ("ec", "sha512"): "300a06082a8648ce3d040304",
    ("rsa", "md5"): "300d06092a864886f70d0101040500",
    ("rsa", "sha1"): "300d06092a864886f70d0101050500",
    ("rsa", "sha256"): "300d06092a864886f70d01010b0500",
}
CHANGE_SUBJECT_NAME = "1.3.6.1.5.5.7.7.36"
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"


def tlv(tag: int, *parts: bytes) -> bytes:
    """One DER element (X.690 section 8.1)."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER as DER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        out += bytes(reversed(groups))
    return tlv(0x06, bytes(out))


def attribute(dotted: str, *values: bytes) -> bytes:
    """A PKCS#10 Attribute: type and SET OF values (each DER)."""
    return tlv(0x30, oid(dotted), tlv(0x31, *values))


def extension_request(*extensions: tuple[x509.ExtensionType, bool]) -> bytes:
    """The extensionRequest attribute (RFC 2985 section 5.4.2)."""
    rows = []
    for extension, critical in extensions:
        flag = tlv(0x01, b"\xff") if critical else b""
        rows.append(tlv(0x30, oid(extension.oid.dotted_string), flag, tlv(0x04, extension.public_bytes())))
    return attribute(EXTENSION_REQUEST, tlv(0x30, *rows))


def printable_name(cn: str) -> bytes:
    """A name with its CN as PrintableString, as strongSwan writes it (DER)."""
    return tlv(0x30, tlv(0x31, tlv(0x30, oid("2.5.4.3"), tlv(0x13, cn.encode("ascii")))))


def build(
    private_key: keys.PrivateKey,
    *,
    subject_der: bytes | None = None,
    attributes: Sequence[bytes] = (),
    version: int = 0,
    hash_name: str = "sha256",
    spki: bytes | None = None,
) -> bytes:
    """A PKCS#10 with exactly these parts, signed with this key. ``attributes`` keep their order."""
    info = tlv(
        0x30,
        tlv(0x02, bytes([version])),
        subject_der if subject_der is not None else keys.name().public_bytes(),
        spki if spki is not None else keys.spki_der(private_key),
        tlv(0xA0, *attributes),
    )
    return signed(private_key, info, hash_name)


def signed(private_key: keys.PrivateKey, info_der: bytes, hash_name: str = "sha256") -> bytes:
    """Sign a CertificationRequestInfo or TBS by EC or RSA with any hash, weak ones too."""
    chosen = _HASHES[hash_name]()
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        kind, signature = "ec", private_key.sign(info_der, ec.ECDSA(chosen))
    else:
        kind, signature = "rsa", private_key.sign(info_der, padding.PKCS1v15(), chosen)
    algorithm = bytes.fromhex(_ALGORITHMS[kind, hash_name])
    return tlv(0x30, info_der, algorithm, tlv(0x03, b"\x00", signature))


def unsorted_csr(private_key: keys.PrivateKey, *, cn: str, challenge: str, sans: Sequence[str]) -> bytes:
    """A CSR whose attributes are not in DER's SET OF order, as strongSwan 5.9 makes them."""
    names = x509.SubjectAlternativeName([keys.general_name(text) for text in sans])
    # In order the shorter challengePassword would come first.
    return build(
        private_key,
        subject_der=printable_name(cn),
        attributes=(
            extension_request((names, False)),
            attribute(keys.CHALLENGE_PASSWORD, tlv(0x13, challenge.encode("ascii"))),
        ),
    )


def broken_signature(csr_der: bytes) -> bytes:
    """The same CSR signed by somebody else's key: right shape, no proof of possession."""
    request = x509.load_der_x509_csr(csr_der)
    return signed(keys.key(), request.tbs_certrequest_bytes)


def change_subject_name(new_subject: x509.Name, sans: Sequence[str] = ()) -> bytes:
    """The ChangeSubjectName attribute: subject, then subjectAlt as GeneralNames (RFC 6402 section 2.8)."""
    parts = [new_subject.public_bytes()]
    if sans:
        general_names = x509.SubjectAlternativeName([keys.general_name(text) for text in sans]).public_bytes()
        parts.append(general_names)
    return attribute(CHANGE_SUBJECT_NAME, tlv(0x30, *parts))
