"""PKIMessages octet by octet (RFC 9810): any header, any body, any protection, good or bad.

Written by a few DER lines of the tests' own, so that the gateway's codec is never its judge. A header is a
mapping from the RFC's field names to the DER of their values; None leaves a field out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.support import pki
from tests.support.pki import oid, tlv

NULL = b"\x05\x00"
NULL_DN = tlv(0xA4, b"\x30\x00")
IMPLICIT_CONFIRM = "1.3.6.1.5.5.7.4.13"
CONFIRM_WAIT_TIME = "1.3.6.1.5.5.7.4.14"
CERT_PROFILE = "1.3.6.1.5.5.7.4.21"

Header = Mapping[str, bytes | None]
_TAGS = {
    "messageTime": 0xA0,
    "protectionAlg": 0xA1,
    "senderKID": 0xA2,
    "recipKID": 0xA3,
    "transactionID": 0xA4,
    "senderNonce": 0xA5,
    "recipNonce": 0xA6,
    "freeText": 0xA7,
    "generalInfo": 0xA8,
}
_PBM, _PBMAC1, _PBKDF2 = "1.2.840.113533.7.66.13", "1.2.840.113549.1.5.14", "1.2.840.113549.1.5.12"
_HASH_OIDS = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_HMAC_OIDS = {
    "sha1": "1.3.6.1.5.5.8.1.2",  # as OpenSSL names it
    "sha256": "1.2.840.113549.2.9",
    "sha512": "1.2.840.113549.2.11",
}
HASHES = {oid(dotted): name for name, dotted in _HASH_OIDS.items()}
HMACS = {oid(dotted): name for name, dotted in _HMAC_OIDS.items()}
_SIGNATURES = {
    ("ec", "sha1"): tlv(0x30, oid("1.2.840.10045.4.1")),
    ("ec", "sha256"): tlv(0x30, oid("1.2.840.10045.4.3.2")),
    ("ec", "sha384"): tlv(0x30, oid("1.2.840.10045.4.3.3")),
    ("rsa", "sha1"): tlv(0x30, oid("1.2.840.113549.1.1.5"), NULL),
    ("rsa", "sha256"): tlv(0x30, oid("1.2.840.113549.1.1.11"), NULL),
}
_ED25519 = tlv(0x30, oid("1.3.101.112"))
_SIGNING_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
}


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes) -> bytes:
    return tlv(0x04, value)


def bits(value: bytes) -> bytes:
    return tlv(0x03, b"\x00", value)


def utf8(text: str) -> bytes:
    return tlv(0x0C, text.encode())


def generalized_time(at: datetime) -> bytes:
    return tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").encode())


def directory_name(name: x509.Name | str) -> bytes:
    """A GeneralName; text stands for a name of one CN."""
    return tlv(0xA4, (pki.name(name) if isinstance(name, str) else name).public_bytes())


def info(dotted: str, value: bytes | None = None) -> bytes:
    """One InfoTypeAndValue."""
    return tlv(0x30, oid(dotted), value or b"")


def infos(*each: bytes) -> bytes:
    """The generalInfo of a header."""
    return tlv(0x30, *each)


def encode_header(fields: Header) -> bytes:
    """A PKIHeader with exactly these fields, in the RFC's order."""
    first = (fields.get(name) or b"" for name in ("pvno", "sender", "recipient"))
    rest = (tlv(tag, value) for name, tag in _TAGS.items() if (value := fields.get(name)) is not None)
    return tlv(0x30, *first, *rest)


def encode_message(header: bytes, body: bytes, protection: bytes | None, certs: Sequence[bytes]) -> bytes:
    """A PKIMessage; ``body`` with its tag, ``protection`` the bits."""
    return tlv(
        0x30,
        header,
        body,
        b"" if protection is None else tlv(0xA0, bits(protection)),
        tlv(0xA1, tlv(0x30, *certs)) if certs else b"",
    )


def body(tag: int, content: bytes) -> bytes:
    """A PKIBody with the alternative of this number (0 to 26)."""
    return tlv(0xA0 | tag, content) if tag < 31 else tlv(0xBF, bytes([tag]), content)


class Protection(Protocol):
    """What protects messages: header fields of its own, the bits, and certificates that go along."""

    @property
    def header(self) -> Header: ...

    @property
    def certs(self) -> Sequence[bytes]: ...

    def protect(self, protected_part: bytes) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Unprotected:
    """No protection at all; the sender may still say who it is."""

    sender: bytes = NULL_DN
    certs: Sequence[bytes] = ()

    @property
    def header(self) -> Header:
        return {"sender": self.sender}

    def protect(self, protected_part: bytes) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Pbm:
    """PasswordBasedMac (RFC 4211 section 4.4). ``computed`` False sends a MAC of zeros, at no cost."""

    reference: str
    secret: bytes
    iterations: int = 500
    owf: str = "sha256"
    mac: str = "sha1"
    salt: bytes = field(default_factory=lambda: os.urandom(16))
    computed: bool = True
    certs: Sequence[bytes] = ()

    @property
    def header(self) -> Header:
        parameters = tlv(
            0x30,
            octets(self.salt),
            tlv(0x30, oid(_HASH_OIDS[self.owf])),
            integer(self.iterations),
            tlv(0x30, oid(_HMAC_OIDS[self.mac])),
        )
        return _mac_header(self.reference, tlv(0x30, oid(_PBM), parameters))

    def protect(self, protected_part: bytes) -> bytes:
        if not self.computed:
            return bytes(20)
        one_way = getattr(hashlib, self.owf)
        made = self.secret + self.salt
        for _ in range(self.iterations):
            made = one_way(made).digest()
        return hmac.digest(made, protected_part, self.mac)


@dataclass(frozen=True, slots=True)
class Pbmac1:
    """PBMAC1 (RFC 8018 section 7.1) with PBKDF2."""

    reference: str
    secret: bytes
    iterations: int = 1000
    prf: str = "sha256"
    mac: str = "sha256"
    key_octets: int = 32
    salt: bytes = field(default_factory=lambda: os.urandom(16))
    computed: bool = True
    certs: Sequence[bytes] = ()

    @property
    def header(self) -> Header:
        key_length = integer(self.key_octets)
        prf = tlv(0x30, oid(_HMAC_OIDS[self.prf]), NULL)
        derivation = tlv(0x30, octets(self.salt), integer(self.iterations), key_length, prf)
        mac = tlv(0x30, oid(_HMAC_OIDS[self.mac]), NULL)
        parameters = tlv(0x30, tlv(0x30, oid(_PBKDF2), derivation), mac)
        return _mac_header(self.reference, tlv(0x30, oid(_PBMAC1), parameters))

    def protect(self, protected_part: bytes) -> bytes:
        if not self.computed:
            return bytes(32)
        made = hashlib.pbkdf2_hmac(self.prf, self.secret, self.salt, self.iterations, self.key_octets)
        return hmac.digest(made, protected_part, self.mac)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature with this identity's key; its certificate and chain go along."""

    identity: pki.Identity
    hash: str = "sha256"
    with_certs: bool = True

    @property
    def certs(self) -> Sequence[bytes]:
        if not self.with_certs:
            return ()
        return [
            one.public_bytes(serialization.Encoding.DER)
            for one in (self.identity.certificate, *self.identity.chain)
        ]

    @property
    def header(self) -> Header:
        certificate = self.identity.certificate
        fields: dict[str, bytes | None] = {
            "sender": directory_name(certificate.subject),
            "protectionAlg": signature_algorithm(self.identity.private_key, self.hash),
        }
        try:
            identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return fields
        return {**fields, "senderKID": octets(identifier.digest)}

    def protect(self, protected_part: bytes) -> bytes:
        return sign(self.identity.private_key, protected_part, self.hash)


@dataclass(frozen=True, slots=True)
class Broken:
    """Another protection with its last bit turned over."""

    whole: Protection

    @property
    def header(self) -> Header:
        return self.whole.header

    @property
    def certs(self) -> Sequence[bytes]:
        return self.whole.certs

    def protect(self, protected_part: bytes) -> bytes:
        made = self.whole.protect(protected_part)
        assert made is not None
        return made[:-1] + bytes([made[-1] ^ 1])


def _mac_header(reference: str, algorithm: bytes) -> Header:
    # RFC 9483 section 3.1: the sender's CN is what senderKID says
    return {
        "sender": directory_name(reference),
        "senderKID": octets(reference.encode()),
        "protectionAlg": algorithm,
    }


def signature_algorithm(private_key: pki.PrivateKey, hash_name: str = "sha256") -> bytes:
    """The AlgorithmIdentifier of signatures by this key."""
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        return _SIGNATURES["ec", hash_name]
    return _SIGNATURES["rsa", hash_name] if isinstance(private_key, rsa.RSAPrivateKey) else _ED25519


def sign(private_key: pki.PrivateKey, message: bytes, hash_name: str = "sha256") -> bytes:
    """A signature by an EC, RSA or Ed25519 key."""
    made: bytes
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        made = private_key.sign(message, ec.ECDSA(_SIGNING_HASHES[hash_name]))
    elif isinstance(private_key, rsa.RSAPrivateKey):
        made = private_key.sign(message, padding.PKCS1v15(), _SIGNING_HASHES[hash_name])
    else:
        made = private_key.sign(message)
    return made


def usual_header(recipient: bytes = NULL_DN) -> dict[str, bytes | None]:
    """What a well-behaved client sends first (RFC 9483 section 3.1), but for its protection."""
    return {
        "pvno": integer(2),
        "sender": NULL_DN,
        "recipient": recipient,
        "messageTime": generalized_time(datetime.now(UTC)),
        "transactionID": octets(os.urandom(16)),
        "senderNonce": octets(os.urandom(16)),
    }


def build(fields: Header, body_der: bytes, protection: Protection) -> bytes:
    """A whole message. ``fields`` overrule those that the protection brings."""
    header = encode_header(fields)
    bits_made = protection.protect(tlv(0x30, header, body_der))
    return encode_message(header, body_der, bits_made, protection.certs)
