"""Opening and making EnvelopedData for RSA recipients (RFC 5652 section 6, RFC 3370 section 4.2.1).

CBC has no authentication: whoever may send changed ciphertexts must not learn from the answers what became of
the plaintext. So everything that goes wrong once the private key is used is the same fault in the same words,
and what reads the plaintext must use those words too (``cannot_be_opened``).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from gateway.asn1 import cms_encode, der
from gateway.asn1.cms import (
    DATA,
    AlgorithmIdentifier,
    EnvelopedData,
    IssuerAndSerial,
    KeyTransRecipient,
)
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.cms_signed import is_named
from gateway.pki.keys import RSA_ENCRYPTION, read_key
from gateway.pki.signer import Signer


@dataclass(frozen=True, slots=True)
class ContentCipher:
    """A cipher in CBC mode; sizes in octets."""

    oid: str
    key_octets: int
    block_octets: int

    def over(self, key: bytes, iv: bytes) -> Cipher[modes.CBC]:
        if self.block_octets == 16:
            return Cipher(algorithms.AES(key), modes.CBC(iv))
        # Single DES is triple DES with one key; there is no other way to it
        return Cipher(TripleDES(key if self.key_octets == 24 else key * 3), modes.CBC(iv))


# RFC 3565 section 2.1, RFC 3370 section 5.1; DES: OIW, by the older drafts of SCEP
CIPHERS = {
    "aes-128-cbc": ContentCipher("2.16.840.1.101.3.4.1.2", 16, 16),
    "aes-192-cbc": ContentCipher("2.16.840.1.101.3.4.1.22", 24, 16),
    "aes-256-cbc": ContentCipher("2.16.840.1.101.3.4.1.42", 32, 16),
    "des-ede3-cbc": ContentCipher("1.2.840.113549.3.7", 24, 8),
    "des-cbc": ContentCipher("1.3.14.3.2.7", 8, 8),
}
_CIPHER_NAMES = {cipher.oid: name for name, cipher in CIPHERS.items()}


def cannot_be_opened(detail: str = "") -> MalformedMessage:
    """The one fault of everything that goes wrong behind the private key. ``detail`` is for the log only."""
    return MalformedMessage(
        "the encrypted part of the message cannot be decrypted with the key that it is addressed to, or holds"
        " nothing that this type of message may hold",
        detail=detail,
    )


def cipher_name(algorithm: AlgorithmIdentifier) -> str:
    """ "aes-128-cbc" and so on; the dotted OID of a cipher that we do not know."""
    return _CIPHER_NAMES.get(algorithm.oid, algorithm.oid)


def find_recipient(
    enveloped: EnvelopedData, certificates_der: Sequence[bytes]
) -> tuple[int, KeyTransRecipient] | None:
    """Which of the certificates the message is encrypted to: its index, the first one that fits."""
    for index, certificate_der in enumerate(certificates_der):
        for recipient in enveloped.recipients:
            if is_named(certificate_der, recipient.rid):
                return index, recipient
    return None


def check_algorithms(enveloped: EnvelopedData, recipient: KeyTransRecipient, ciphers: Collection[str]) -> str:
    """The name of the content cipher. Looks at what everybody can see, before any key is used.

    Raises MalformedMessage: message.algorithm.
    """
    if recipient.algorithm.oid != RSA_ENCRYPTION:
        raise _refused(
            f"the key transport {recipient.algorithm.oid} is not supported; use RSA with PKCS #1 v1.5"
        )
    name = cipher_name(enveloped.algorithm)
    if name not in ciphers or name not in CIPHERS:
        raise _refused(f"the message is encrypted with {name}; {', '.join(ciphers)} can be used here")
    return name


def _refused(message: str) -> MalformedMessage:
    return MalformedMessage(message, code=ReasonCode.MESSAGE_ALGORITHM)


def decrypt(enveloped: EnvelopedData, recipient: KeyTransRecipient, signer: Signer) -> bytes:
    """The plaintext, by one RSA operation. ``check_algorithms`` comes before.

    A wrong padding of the key gives a random key and so a garbage plaintext (implicit rejection, RFC 3218);
    a key of the wrong length is replaced by a random one, so that the work is the same. Raises
    MalformedMessage: ``cannot_be_opened``, nothing else.
    """
    cipher = CIPHERS[cipher_name(enveloped.algorithm)]
    iv = _read_iv(enveloped.algorithm.parameters_der, cipher.block_octets)
    ciphertext = enveloped.encrypted_content
    if not ciphertext or len(ciphertext) % cipher.block_octets:
        raise cannot_be_opened("the ciphertext is not made of whole blocks")
    try:
        key = signer.decrypt(recipient.encrypted_key)
    except MalformedMessage as error:
        raise cannot_be_opened(str(error)) from error
    fits, another = len(key) == cipher.key_octets, secrets.token_bytes(cipher.key_octets)
    decryptor = cipher.over(key if fits else another, iv).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    unpadder = PKCS7(8 * cipher.block_octets).unpadder()
    try:
        plaintext = unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise cannot_be_opened("the padding is wrong") from error
    if not fits:
        raise cannot_be_opened("the content key has the wrong length")
    return plaintext


def _read_iv(parameters_der: bytes, octets: int) -> bytes:
    # RFC 3565 2.1, RFC 3370 5.1: the parameter is the initialisation vector
    if parameters_der[:2] != bytes((der.OCTET_STRING, octets)) or len(parameters_der) != 2 + octets:
        raise cannot_be_opened("the initialisation vector has another length than a block")
    return parameters_der[2:]


def is_rsa(certificate: ParsedCertificate) -> bool:
    """Whether something can be enveloped to this certificate: False too for a key that cannot be read."""
    try:
        return isinstance(read_key(certificate.spki_der)[1], RSAPublicKey)
    except MalformedMessage:
        return False


def rsa_octets(certificate: ParsedCertificate) -> int:
    """The length of the certificate's modulus. Raises ValueError if the key is none of RSA."""
    _, key = read_key(certificate.spki_der)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the key is none of RSA")
    return key.key_size // 8


def envelop(payload: bytes, certificate: ParsedCertificate, cipher: str) -> bytes:
    """A ContentInfo with the payload, readable by the holder of the certificate's RSA key only.

    A new content key each time. Raises ValueError if the key is none of RSA.
    """
    _, key = read_key(certificate.spki_der)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("only an RSA key can be enveloped to")
    chosen = CIPHERS[cipher]
    content_key, iv = secrets.token_bytes(chosen.key_octets), secrets.token_bytes(chosen.block_octets)
    padder = PKCS7(8 * chosen.block_octets).padder()
    encryptor = chosen.over(content_key, iv).encryptor()
    ciphertext = encryptor.update(padder.update(payload) + padder.finalize()) + encryptor.finalize()
    return cms_encode.enveloped_data_der(
        EnvelopedData(
            recipients=(
                KeyTransRecipient(
                    IssuerAndSerial(certificate.issuer_der, certificate.serial),
                    AlgorithmIdentifier(RSA_ENCRYPTION, b"\x05\x00"),
                    key.encrypt(content_key, PKCS1v15()),
                ),
            ),
            others=0,
            content_type=DATA,
            algorithm=AlgorithmIdentifier(chosen.oid, der.tlv(der.OCTET_STRING, iv)),
            encrypted_content=ciphertext,
        )
    )
