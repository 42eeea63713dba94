"""CertReqMessages (RFC 4211) for both sides: requests for certificates within CMP.

Names, keys and extensions stay DER; ``gateway.pki.crmf_request`` reads them and checks possession. Strict DER
only. ``cert_req_der`` is what was received, since signatures are over it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

MAX_REQUESTS = 50
MAX_CONTROLS = 20
_SERIAL_OCTETS = 64  # RFC 5280 4.1.2.2 allows 20; foreign certificates in revocation requests have more

_ID_REG_CTRL = "1.3.6.1.5.5.7.5.1"
REG_TOKEN = f"{_ID_REG_CTRL}.1"
AUTHENTICATOR = f"{_ID_REG_CTRL}.2"
PKI_PUBLICATION_INFO = f"{_ID_REG_CTRL}.3"
PKI_ARCHIVE_OPTIONS = f"{_ID_REG_CTRL}.4"
OLD_CERT_ID = f"{_ID_REG_CTRL}.5"
PROTOCOL_ENCR_KEY = f"{_ID_REG_CTRL}.6"
ALT_CERT_TEMPLATE = f"{_ID_REG_CTRL}.7"
ALG_ID = f"{_ID_REG_CTRL}.11"
RSA_KEY_LEN = f"{_ID_REG_CTRL}.12"

_VERSION, _SERIAL, _SIGNING_ALG, _ISSUER, _VALIDITY = 0x80, 0x81, 0xA2, 0xA3, 0xA4
_SUBJECT, _PUBLIC_KEY, _ISSUER_UID, _SUBJECT_UID, _EXTENSIONS = 0xA5, 0xA6, 0x87, 0x88, 0xA9
_TEMPLATE_TAGS = (
    _VERSION,
    _SERIAL,
    _SIGNING_ALG,
    _ISSUER,
    _VALIDITY,
    _SUBJECT,
    _PUBLIC_KEY,
    _ISSUER_UID,
    _SUBJECT_UID,
    _EXTENSIONS,
)
_RA_VERIFIED, _SIGNATURE, _KEY_ENCIPHERMENT, _KEY_AGREEMENT = 0x80, 0xA1, 0xA2, 0xA3


@dataclass(frozen=True, slots=True)
class CertTemplate:
    """The wanted certificate (RFC 4211 section 5); None where a field is absent.

    ``issuer_der`` and ``subject_der`` are Names, ``public_key_der`` is a SubjectPublicKeyInfo,
    ``extensions_der`` Extensions, each whole and not looked into. Times are aware UTC.
    """

    version: int | None = None
    serial_number: int | None = None
    signing_alg_der: bytes | None = None
    issuer_der: bytes | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    subject_der: bytes | None = None
    public_key_der: bytes | None = None
    issuer_uid: bytes | None = None  # content of the BIT STRING, unused bits first
    subject_uid: bytes | None = None
    extensions_der: bytes | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """AttributeTypeAndValue of controls and regInfo (RFC 4211 sections 6 and 7)."""

    oid: str
    value_der: bytes


@dataclass(frozen=True, slots=True)
class CertId:
    """A certificate by its issuer (a whole GeneralName) and serial number (RFC 4211 section 6.5)."""

    issuer_der: bytes
    serial_number: int


@dataclass(frozen=True, slots=True)
class RaVerified:
    """A registration authority says that it checked possession (RFC 4211 section 4)."""


@dataclass(frozen=True, slots=True)
class PkMacValue:
    """PKMACValue (RFC 4211 section 4.1): a whole AlgorithmIdentifier and the octets of the MAC."""

    algorithm_der: bytes
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKeyInput:
    """POPOSigningKeyInput (RFC 4211 section 4.1).

    ``authenticator`` is the sender as a whole GeneralName, or a MAC over the public key. ``signed_der`` is
    what the signature is over.
    """

    authenticator: bytes | PkMacValue
    public_key_der: bytes
    signed_der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKeyPop:
    """POPOSigningKey: a signature by the key that is to be certified (RFC 4211 section 4.1)."""

    algorithm_der: bytes
    signature: bytes = field(repr=False)
    input: SigningKeyInput | None = None


class KeyUse(StrEnum):
    """What a key that cannot sign is for."""

    KEY_ENCIPHERMENT = "keyEncipherment"
    KEY_AGREEMENT = "keyAgreement"


@dataclass(frozen=True, slots=True)
class PrivateKeyPop:
    """POPOPrivKey (RFC 4211 sections 4.2 and 4.3), recognised and not looked into.

    ``method`` is spelled as in the RFC: ``thisMessage``, ``encrCert``, ``challengeResp``, ``dhMAC``,
    ``agreeMAC`` or ``encryptedKey``.
    """

    use: KeyUse
    method: str
    value_der: bytes = field(repr=False)


ProofOfPossession = RaVerified | SigningKeyPop | PrivateKeyPop


@dataclass(frozen=True, slots=True)
class CertReqMsg:
    """One request for one certificate; ``pop`` is None where no proof is given."""

    cert_req_id: int
    template: CertTemplate
    cert_req_der: bytes = field(repr=False)
    controls: tuple[Control, ...] = ()
    pop: ProofOfPossession | None = None
    reg_info: tuple[Control, ...] = ()

    def control(self, oid: str) -> Control | None:
        """The control of this type, if there is one."""
        return next((control for control in self.controls if control.oid == oid), None)
