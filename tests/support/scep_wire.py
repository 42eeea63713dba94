"""pkiMessages of SCEP part by part (RFC 8894 section 3.2), good and bad.

Written with the few DER lines of ``tests.support.raw_csr``, so that the gateway's own writer is never the
judge of its reader.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import keys
from tests.support.authority import Identity
from tests.support.raw_csr import attribute, oid, tlv

TRANSACTION_ID, MESSAGE_TYPE = "2.16.840.1.113733.1.9.7", "2.16.840.1.113733.1.9.2"
SENDER_NONCE, RECIPIENT_NONCE = "2.16.840.1.113733.1.9.5", "2.16.840.1.113733.1.9.6"
PKI_STATUS, FAIL_INFO = "2.16.840.1.113733.1.9.3", "2.16.840.1.113733.1.9.4"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"
DATA, SIGNED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2"
ENVELOPED_DATA = "1.2.840.113549.1.7.3"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
RSA_ENCRYPTION, RSA_PSS = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"
NULL = b"\x05\x00"
CIPHERS = {  # name: OID, octets of the key, of the block
    "aes-128-cbc": ("2.16.840.1.101.3.4.1.2", 16, 16),
    "aes-192-cbc": ("2.16.840.1.101.3.4.1.22", 24, 16),
    "aes-256-cbc": ("2.16.840.1.101.3.4.1.42", 32, 16),
    "des-ede3-cbc": ("1.2.840.113549.3.7", 24, 8),
    "des-cbc": ("1.3.14.3.2.7", 8, 8),
    "rc2-cbc": ("1.2.840.113549.3.2", 16, 8),
}
DIGESTS: dict[str, tuple[str, type[hashes.HashAlgorithm]]] = {
    "md5": ("1.2.840.113549.2.5", hashes.MD5),
    "sha1": ("1.3.14.3.2.26", hashes.SHA1),
    "sha256": ("2.16.840.1.101.3.4.2.1", hashes.SHA256),
    "sha384": ("2.16.840.1.101.3.4.2.2", hashes.SHA384),
    "sha512": ("2.16.840.1.101.3.4.2.3", hashes.SHA512),
}
_RSA_WITH = {"sha1": 5, "md5": 4, "sha256": 11, "sha384": 12, "sha512": 13}
_ECDSA_WITH = {"sha1": "1", "sha256": "3.2", "sha384": "3.3", "sha512": "3.4"}


def self_signed(private_key: keys.PrivateKey, cn: str = "device-1", *, subject_id: bool = True) -> Identity:
    """What a client signs its first request with (section 2.3)."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(keys.name(cn, O="Example"))
        .issuer_name(keys.name(cn, O="Example"))
        .serial_number(x509.random_serial_number())
        .public_key(private_key.public_key())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
    )
    if subject_id:
        key_id = x509.SubjectKeyIdentifier.from_public_key(private_key.public_key())
        builder = builder.add_extension(key_id, critical=False)
    return Identity(builder.sign(private_key, hashes.SHA256()), private_key)


def algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    return tlv(0x30, oid(dotted), parameters)


def certificate_id(certificate: x509.Certificate, *, by_key: bool = False) -> bytes:
    """issuerAndSerialNumber, or subjectKeyIdentifier under [0]."""
    if by_key:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return tlv(0x80, found.digest)
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return tlv(0x30, certificate.issuer.public_bytes(), tlv(0x02, octets))


def content_info(content_type: str, *fields: bytes) -> bytes:
    return tlv(0x30, oid(content_type), tlv(0xA0, tlv(0x30, *fields)))


def encrypted(name: str, key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """The plaintext padded and encrypted."""
    block = CIPHERS[name][2]
    padder = PKCS7(8 * block).padder()
    padded = padder.update(plaintext) + padder.finalize()
    return raw_encrypted(name, key, iv, padded)


def raw_encrypted(name: str, key: bytes, iv: bytes, padded: bytes) -> bytes:
    cipher: Any = algorithms.AES(key) if CIPHERS[name][2] == 16 else TripleDES((key * 3)[:24])
    encryptor = Cipher(cipher, modes.CBC(iv)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def envelope(
    payload: bytes,
    recipients: Sequence[x509.Certificate],
    *,
    cipher: str = "aes-128-cbc",
    by_key: bool = False,
    key: bytes | None = None,
    encrypted_key: bytes | None = None,
    ciphertext: bytes | None = None,
    iv: bytes | None = None,
    key_transport: bytes | None = None,
) -> bytes:
    """An EnvelopedData with a KeyTransRecipientInfo for each recipient; its parts can be replaced."""
    dotted, key_octets, block = CIPHERS[cipher]
    key = secrets.token_bytes(key_octets) if key is None else key
    iv = secrets.token_bytes(block) if iv is None else iv
    rows = []
    for certificate in recipients:
        public_key = certificate.public_key()
        assert isinstance(public_key, rsa.RSAPublicKey)
        transport = algorithm(RSA_ENCRYPTION, NULL) if key_transport is None else key_transport
        wrapped = public_key.encrypt(key, padding.PKCS1v15()) if encrypted_key is None else encrypted_key
        rows.append(
            tlv(
                0x30,
                tlv(0x02, b"\2" if by_key else b"\0"),
                certificate_id(certificate, by_key=by_key),
                transport,
                tlv(0x04, wrapped),
            )
        )
    octets = encrypted(cipher, key, iv, payload) if ciphertext is None else ciphertext
    return content_info(
        ENVELOPED_DATA,
        tlv(0x02, b"\2" if by_key else b"\0"),
        tlv(0x31, *rows),
        tlv(0x30, oid(DATA), algorithm(dotted, tlv(0x04, iv)), tlv(0x80, octets)),
    )


def text(dotted: str, value: str, tag: int = 0x13) -> bytes:
    return attribute(dotted, tlv(tag, value.encode()))


@dataclass(slots=True)
class PkiMessage:
    """One message; every part may be set to something wrong before ``build``.

    An attribute is left out where its value is None. ``padding`` is "pkcs1" with rsaEncryption, "combined"
    with sha256WithRSAEncryption and its like, or "pss".
    """

    signer: Identity
    content: bytes | None
    message_type: str | None = "19"
    transaction_id: str | None = "4f2c-1"
    transaction_id_tag: int = 0x13
    sender_nonce: bytes | None = field(default_factory=lambda: secrets.token_bytes(16))
    digest: str = "sha256"
    padding: str = "pkcs1"
    by_key: bool = False
    more_attributes: tuple[bytes, ...] = ()
    attributes: list[bytes] | None = None  # in place of all
    in_order: bool = True  # as DER wants
    certificates: Sequence[bytes] | None = None
    content_type: str = DATA
    stated_digest: bytes | None = None
    signature: bytes | None = None
    signer_infos: int = 1
    with_attributes: bool = True

    def build(self) -> bytes:
        certificates = [self.signer.certificate_der] if self.certificates is None else self.certificates
        data = b"" if self.content is None else tlv(0xA0, tlv(0x04, self.content))
        return content_info(
            SIGNED_DATA,
            tlv(0x02, b"\1"),
            tlv(0x31, self._digest_algorithm()),
            tlv(0x30, oid(self.content_type), data),
            tlv(0xA0, *certificates),
            tlv(0x31, *([self._signer_info()] * self.signer_infos)),
        )

    def _digest_algorithm(self) -> bytes:
        return algorithm(DIGESTS[self.digest][0], NULL)

    def _attributes(self) -> list[bytes]:
        if self.attributes is not None:
            return self.attributes
        hashed = hashlib.new(self.digest, self.content or b"", usedforsecurity=False).digest()
        found = [
            attribute(CONTENT_TYPE, oid(self.content_type)),
            attribute(
                MESSAGE_DIGEST, tlv(0x04, hashed if self.stated_digest is None else self.stated_digest)
            ),
        ]
        if self.transaction_id is not None:
            found.append(text(TRANSACTION_ID, self.transaction_id, self.transaction_id_tag))
        if self.message_type is not None:
            found.append(text(MESSAGE_TYPE, self.message_type))
        if self.sender_nonce is not None:
            found.append(attribute(SENDER_NONCE, tlv(0x04, self.sender_nonce)))
        found += self.more_attributes
        return sorted(found, reverse=not self.in_order)

    def _signer_info(self) -> bytes:
        attributes = b"".join(self._attributes())
        signed = tlv(0x31, attributes) if self.with_attributes else self.content or b""
        signature_algorithm, signature = self._sign(signed)
        return tlv(
            0x30,
            tlv(0x02, b"\3" if self.by_key else b"\1"),
            certificate_id(self.signer.certificate, by_key=self.by_key),
            self._digest_algorithm(),
            tlv(0xA0, attributes) if self.with_attributes else b"",
            signature_algorithm,
            tlv(0x04, signature if self.signature is None else self.signature),
        )

    def _sign(self, signed: bytes) -> tuple[bytes, bytes]:
        dotted, kind = DIGESTS[self.digest]
        private_key = self.signer.private_key
        if isinstance(private_key, ec.EllipticCurvePrivateKey):
            ecdsa = algorithm("1.2.840.10045.4." + _ECDSA_WITH[self.digest])
            return ecdsa, private_key.sign(signed, ec.ECDSA(kind()))
        if self.padding == "pss":
            size = kind().digest_size
            hashed = algorithm(dotted, NULL)
            parameters = tlv(
                0x30,
                tlv(0xA0, hashed),
                tlv(0xA1, algorithm("1.2.840.113549.1.1.8", hashed)),
                tlv(0xA2, tlv(0x02, bytes((size,)))),
            )
            pss = padding.PSS(padding.MGF1(kind()), size)
            return algorithm(RSA_PSS, parameters), private_key.sign(signed, pss, kind())
        combined = f"1.2.840.113549.1.1.{_RSA_WITH[self.digest]}"
        name = combined if self.padding == "combined" else RSA_ENCRYPTION
        return algorithm(name, NULL), private_key.sign(signed, padding.PKCS1v15(), kind())


def certificate_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
