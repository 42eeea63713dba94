"""CertReqMessages (RFC 4211) for both sides: requests for certificates within CMP.

Names, keys and extensions stay DER; ``gateway.pki.crmf_request`` reads them and checks possession. Strict DER
only. ``cert_req_der`` is what was received, since signatures are over it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gateway.asn1 import der, typed
from gateway.asn1.cmp import decode_time
from gateway.asn1.typed import Part
from gateway.errors import MalformedMessage

MAX_REQUESTS = 50
MAX_CONTROLS = 20
MAX_REQUEST_OCTETS = 1 << 16  # the longest keys with their signatures have 50,000
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

_DONT_PUBLISH, _PLEASE_PUBLISH = 0, 1
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
_PRIVATE_KEY_METHODS = {0x80: "thisMessage", 0x82: "dhMAC", 0xA3: "agreeMAC", 0xA4: "encryptedKey"}


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


def decode_cert_req_messages(body_der: bytes) -> tuple[CertReqMsg, ...]:
    """Read the body of an ir, cr, kur, krr or ccr (RFC 4211 section 3). Raises MalformedMessage."""
    requests = typed.elements(body_der, MAX_REQUESTS, "list of certificate requests", least=1)
    return tuple(decode_cert_req_msg(request) for request in requests)


def decode_cert_req_msg(request_der: bytes) -> CertReqMsg:
    """Read one CertReqMsg. Raises MalformedMessage."""
    if len(request_der) > MAX_REQUEST_OCTETS:
        raise _malformed(
            f"a certificate request of {len(request_der)} octets; at most {MAX_REQUEST_OCTETS} are read"
        )
    parts = typed.fields_of(request_der, "certificate request")
    tags = [part[0] for part in parts]
    has_pop = len(tags) > 1 and tags[1] in (_RA_VERIFIED, _SIGNATURE, _KEY_ENCIPHERMENT, _KEY_AGREEMENT)
    if tags[:1] != [der.SEQUENCE] or tags[2 if has_pop else 1 :] not in ([], [der.SEQUENCE]):
        raise _malformed("a CertReqMsg must hold certReq, and maybe popo and regInfo")
    cert_req_der = typed.element(request_der, parts[0])
    fields = typed.fields_of(cert_req_der, "certReq")
    if [field[0] for field in fields] not in (
        [der.INTEGER, der.SEQUENCE],
        [der.INTEGER, der.SEQUENCE, der.SEQUENCE],
    ):
        raise _malformed("a certReq must hold certReqId, certTemplate, and maybe controls", "certReq")
    return CertReqMsg(
        cert_req_id=typed.integer(typed.content(cert_req_der, fields[0]), "certReqId"),
        template=decode_template(typed.element(cert_req_der, fields[1])),
        cert_req_der=cert_req_der,
        controls=read_controls(typed.element(cert_req_der, fields[2]), "controls") if fields[2:] else (),
        pop=_read_pop(request_der, parts[1]) if has_pop else None,
        reg_info=read_controls(typed.element(request_der, parts[-1]), "regInfo")
        if tags[-1] == der.SEQUENCE and len(tags) > 1
        else (),
    )


def decode_template(template_der: bytes) -> CertTemplate:
    """Read one CertTemplate (RFC 4211 section 5), also of a revocation request. Raises MalformedMessage."""
    fields: dict[int, bytes] = {}
    last = -1
    if len(template_der) > MAX_REQUEST_OCTETS:
        raise _malformed(
            f"a certTemplate of {len(template_der)} octets; at most {MAX_REQUEST_OCTETS} are read"
        )
    for part in typed.fields_of(template_der, "certTemplate"):
        position = _TEMPLATE_TAGS.index(part[0]) if part[0] in _TEMPLATE_TAGS else -1
        if position <= last:
            raise _malformed(f"the certTemplate has a field {part[0]:02x} out of place", "certTemplate")
        last = position
        fields[part[0]] = typed.content(template_der, part)
    not_before, not_after = _read_validity(fields.get(_VALIDITY))
    version, serial = fields.get(_VERSION), fields.get(_SERIAL)
    return CertTemplate(
        version=None if version is None else typed.integer(version, "version"),
        serial_number=None
        if serial is None
        else typed.integer(serial, "serialNumber", most_octets=_SERIAL_OCTETS),
        signing_alg_der=_retagged(fields.get(_SIGNING_ALG)),
        issuer_der=_read_name(fields.get(_ISSUER), "issuer"),
        not_before=not_before,
        not_after=not_after,
        subject_der=_read_name(fields.get(_SUBJECT), "subject"),
        public_key_der=_retagged(fields.get(_PUBLIC_KEY)),
        issuer_uid=fields.get(_ISSUER_UID),
        subject_uid=fields.get(_SUBJECT_UID),
        extensions_der=_retagged(fields.get(_EXTENSIONS)),
    )


def decode_cert_id(cert_id_der: bytes) -> CertId:
    """Read one CertId. Raises MalformedMessage."""
    parts = typed.fields_of(cert_id_der, "certificate identifier")
    if len(parts) != 2 or parts[0][0] & 0xC0 != 0x80 or parts[1][0] != der.INTEGER:
        raise _malformed("a CertId must be issuer and serialNumber")
    serial = typed.integer(typed.content(cert_id_der, parts[1]), "serialNumber", most_octets=_SERIAL_OCTETS)
    return CertId(typed.element(cert_id_der, parts[0]), serial)


def read_controls(controls_der: bytes, what: str) -> tuple[Control, ...]:
    """Read Controls or regInfo. Raises MalformedMessage."""
    controls = []
    for element in typed.elements(controls_der, MAX_CONTROLS, what):
        parts = typed.fields_of(element, what)
        if len(parts) != 2 or parts[0][0] != der.OID:
            raise _malformed(f"an element of {what} must be an identifier and a value", what)
        controls.append(
            Control(der.oid_text(typed.content(element, parts[0])), typed.element(element, parts[1]))
        )
    return tuple(controls)


def check_publication_info(value_der: bytes) -> None:
    """Check a PKIPublicationInfo (RFC 4211 section 6.3), whose locations nobody reads. Raises
    MalformedMessage, also for locations where nothing is to be published."""
    parts = typed.fields_of(value_der, "pkiPublicationInfo")
    if [part[0] for part in parts] not in ([der.INTEGER], [der.INTEGER, der.SEQUENCE]):
        raise _malformed("a pkiPublicationInfo must hold an action, and maybe pubInfos", "controls")
    action = typed.integer(typed.content(value_der, parts[0]), "action")
    if action not in (_DONT_PUBLISH, _PLEASE_PUBLISH):
        raise _malformed(f"the action {action} of a pkiPublicationInfo is not known", "controls")
    if action == _DONT_PUBLISH and parts[1:]:
        raise _malformed("a pkiPublicationInfo with dontPublish must not have pubInfos", "controls")


def _read_validity(content: bytes | None) -> tuple[datetime | None, datetime | None]:
    if content is None:
        return None, None
    times: dict[int, datetime] = {}
    last = 0
    for tag, _, start, end in typed.parts(content, 0, len(content), "validity"):
        if tag not in (0xA0, 0xA1) or tag <= last:
            raise _malformed("the validity must hold notBefore or notAfter or both", "validity")
        last = tag
        times[tag] = decode_time(content[start:end])
    return times.get(0xA0), times.get(0xA1)


def _read_name(content: bytes | None, what: str) -> bytes | None:
    """A Name is a CHOICE, so its tag is explicit."""
    if content is None:
        return None
    tag, _, end = der.read_tlv(content)
    if tag != der.SEQUENCE or end != len(content):
        raise _malformed(f"the {what} must be one Name", what)
    return content


def _read_pop(source: bytes, part: Part) -> ProofOfPossession:
    tag, _, start, end = part
    if tag == _RA_VERIFIED:
        if start != end:
            raise _malformed("raVerified must be NULL", "popo")
        return RaVerified()
    if tag == _SIGNATURE:
        return _read_signing_key_pop(source, start, end)
    use = KeyUse.KEY_ENCIPHERMENT if tag == _KEY_ENCIPHERMENT else KeyUse.KEY_AGREEMENT
    method_tag, method_start, method_end = der.read_tlv(source, start, end)
    method = _PRIVATE_KEY_METHODS.get(method_tag)
    if method_tag == 0x81:
        # SubsequentMessage ::= INTEGER { encrCert (0), challengeResp (1) }
        method = {b"\x00": "encrCert", b"\x01": "challengeResp"}.get(source[method_start:method_end])
    if method is None or method_end != end:
        raise _malformed(f"the popo {use} has none of the forms of RFC 4211 section 4.2", "popo")
    return PrivateKeyPop(use, method, source[start:end])


def _read_signing_key_pop(source: bytes, start: int, end: int) -> SigningKeyPop:
    parts = typed.parts(source, start, end, "popo")
    tags = [part[0] for part in parts]
    if tags not in ([der.SEQUENCE, der.BIT_STRING], [0xA0, der.SEQUENCE, der.BIT_STRING]):
        raise _malformed("a POPOSigningKey must hold an algorithm and a signature", "popo")
    signature = typed.bit_string(source, parts[-1][2], parts[-1][3], "signature of the popo")
    key_input = _read_signing_key_input(typed.content(source, parts[0])) if len(parts) == 3 else None
    return SigningKeyPop(typed.element(source, parts[-2]), signature, key_input)


def _read_signing_key_input(content: bytes) -> SigningKeyInput:
    parts = typed.parts(content, 0, len(content), "poposkInput")
    if [part[0] for part in parts] not in ([0xA0, der.SEQUENCE], [der.SEQUENCE, der.SEQUENCE]):
        raise _malformed("a poposkInput must hold sender or publicKeyMAC, and a public key", "poposkInput")
    first = parts[0]
    authenticator: bytes | PkMacValue = typed.content(content, first)
    if first[0] == der.SEQUENCE:
        authenticator = _read_pk_mac(content, first)
    elif der.read_tlv(content, first[2], first[3])[2] != first[3]:
        raise _malformed("the sender of a poposkInput must be one GeneralName", "poposkInput")
    # The signature is over the structure with its own tag, not with the implicit [0] (RFC 4211 section 4.1)
    return SigningKeyInput(authenticator, typed.element(content, parts[1]), der.tlv(der.SEQUENCE, content))


def _read_pk_mac(source: bytes, part: Part) -> PkMacValue:
    parts = typed.parts(source, part[2], part[3], "publicKeyMAC")
    if [inner[0] for inner in parts] != [der.SEQUENCE, der.BIT_STRING]:
        raise _malformed("a publicKeyMAC must hold an algorithm and a value", "poposkInput")
    return PkMacValue(
        typed.element(source, parts[0]), typed.bit_string(source, parts[1][2], parts[1][3], "publicKeyMAC")
    )


def _retagged(content: bytes | None) -> bytes | None:
    """A SEQUENCE under an implicit tag, with its own tag again."""
    return None if content is None else der.tlv(der.SEQUENCE, content)


def _malformed(message: str, path: str = "") -> MalformedMessage:
    return MalformedMessage(message, path=path)
