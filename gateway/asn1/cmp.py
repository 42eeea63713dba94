"""PKIMessage with its header (RFC 9810 sections 5.1 and 5.1.1), for both sides of CMP.

The body stays DER here; ``cmp_bodies`` and ``crmf`` read it. Strict DER only. The protected bytes are those
that were received, nothing is encoded anew. Whether a value is allowed here is the front end's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated

from cryptography.hazmat import asn1

from gateway.asn1 import der, typed
from gateway.asn1.typed import Part
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode

MAX_MESSAGE_OCTETS = 1 << 20  # a front end takes less; CRLs in answers need it
MAX_HEADER_OCTETS = 1 << 17
MAX_EXTRA_CERTS = 20
MAX_FREE_TEXTS = 20
MAX_GENERAL_INFO = 50
MAX_NESTED_MESSAGES = 20
# Octets of one free text and of the identifiers and nonces of a header: far more than anybody uses.
MAX_FREE_TEXT_OCTETS = 4096
MAX_IDENTIFIER_OCTETS = 512

_PROTECTION, _EXTRA_CERTS = 0xA0, 0xA1


class BodyType(IntEnum):
    """The alternatives of PKIBody; the value is the tag number (RFC 9810 section 5.1.2)."""

    IR = 0
    IP = 1
    CR = 2
    CP = 3
    P10CR = 4
    POPDECC = 5
    POPDECR = 6
    KUR = 7
    KUP = 8
    KRR = 9
    KRP = 10
    RR = 11
    RP = 12
    CCR = 13
    CCP = 14
    CKUANN = 15
    CANN = 16
    RANN = 17
    CRLANN = 18
    PKICONF = 19
    NESTED = 20
    GENM = 21
    GENP = 22
    ERROR = 23
    CERTCONF = 24
    POLLREQ = 25
    POLLREP = 26

    @property
    def rfc_name(self) -> str:
        """The name as the RFC spells it: ``ir``, ``certConf``."""
        return _RFC_NAMES.get(self, self.name.lower())


_RFC_NAMES = {BodyType.CERTCONF: "certConf", BodyType.POLLREQ: "pollReq", BodyType.POLLREP: "pollRep"}
_BODY_TYPES = {0xA0 | body_type: body_type for body_type in BodyType}


@dataclass(frozen=True, slots=True)
class InfoTypeAndValue:
    """One piece of general information: its type as dotted OID, its value as DER or None where absent."""

    oid: str
    value_der: bytes | None = None


@dataclass(frozen=True, slots=True)
class PkiHeader:
    """PKIHeader (RFC 9810 section 5.1.1).

    ``sender_der`` and ``recipient_der`` are GeneralNames with their own tag, ``protection_alg_der`` is a
    whole AlgorithmIdentifier. ``message_time`` is aware UTC.
    """

    pvno: int
    sender_der: bytes
    recipient_der: bytes
    message_time: datetime | None = None
    protection_alg_der: bytes | None = None
    sender_kid: bytes | None = None
    recip_kid: bytes | None = None
    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None
    recip_nonce: bytes | None = None
    free_text: tuple[str, ...] = ()
    general_info: tuple[InfoTypeAndValue, ...] = ()


@dataclass(frozen=True, slots=True)
class PkiMessage:
    """A PKIMessage as received.

    ``body_der`` is the content of the body's explicit tag: one whole element of the body's own type.
    ``protected_der`` is the ProtectedPart (section 5.1.3) with header and body as received; ``protection``
    holds the octets of the BIT STRING, None where there is none. ``extra_certs`` are as sent and not looked
    into.
    """

    header: PkiHeader
    body_type: BodyType
    body_der: bytes = field(repr=False)
    protected_der: bytes = field(repr=False)
    protection: bytes | None = field(default=None, repr=False)
    extra_certs: tuple[bytes, ...] = field(default=(), repr=False)


@asn1.sequence
class _Header:
    pvno: int
    sender: asn1.TLV
    recipient: asn1.TLV
    message_time: Annotated[asn1.GeneralizedTime | None, asn1.Explicit(0)]
    protection_alg: Annotated[list[asn1.TLV] | None, asn1.Explicit(1)]
    sender_kid: Annotated[bytes | None, asn1.Explicit(2)]
    recip_kid: Annotated[bytes | None, asn1.Explicit(3)]
    transaction_id: Annotated[bytes | None, asn1.Explicit(4)]
    sender_nonce: Annotated[bytes | None, asn1.Explicit(5)]
    recip_nonce: Annotated[bytes | None, asn1.Explicit(6)]
    free_text: Annotated[list[str] | None, asn1.Explicit(7)]
    general_info: Annotated[list[list[asn1.TLV]] | None, asn1.Explicit(8)]


_HEADER_FIELDS = {
    0xA0 | number: name
    for number, name in enumerate(
        (
            "messageTime",
            "protectionAlg",
            "senderKID",
            "recipKID",
            "transactionID",
            "senderNonce",
            "recipNonce",
            "freeText",
            "generalInfo",
        )
    )
}


def decode_message(octets: bytes) -> PkiMessage:
    """Read one PKIMessage (RFC 9810 section 5.1); the body's content is only delimited.

    Raises MalformedMessage (``message.asn1``, ``message.empty``), nothing else.
    """
    if not octets:
        raise MalformedMessage("the message is empty", code=ReasonCode.MESSAGE_EMPTY)
    if len(octets) > MAX_MESSAGE_OCTETS:
        raise MalformedMessage(f"a message of {len(octets)} octets; at most {MAX_MESSAGE_OCTETS} are read")
    if octets[0] != der.SEQUENCE:
        raise MalformedMessage(f"a PKIMessage starts with a SEQUENCE (30), not with {octets[0]:02x}")
    _, start, end = der.read_tlv(octets)
    if end != len(octets):
        raise MalformedMessage(f"{len(octets) - end} bytes follow the PKIMessage")
    parts = typed.parts(octets, start, end, "PKIMessage", 4)
    tags = [part[0] for part in parts]
    if tags[2:] not in ([], [_PROTECTION], [_EXTRA_CERTS], [_PROTECTION, _EXTRA_CERTS]) or len(tags) < 2:
        raise MalformedMessage("a PKIMessage must hold header, body, and maybe protection and extraCerts")
    header, body = parts[:2]
    body_type = _BODY_TYPES.get(body[0])
    if header[0] != der.SEQUENCE or body_type is None:
        raise MalformedMessage(f"a PKIMessage has no body with the tag {body[0]:02x}", path="body")
    _check_single(octets, body, f"body {body_type.rfc_name}", "body")
    protection: bytes | None = None
    extra_certs: tuple[bytes, ...] = ()
    for part in parts[2:]:
        if part[0] == _PROTECTION:
            protection = _read_protection(octets, part)
        else:
            extra_certs = _read_extra_certs(octets[part[2] : part[3]])
    return PkiMessage(
        header=decode_header(octets[header[1] : header[3]]),
        body_type=body_type,
        body_der=octets[body[2] : body[3]],
        protected_der=der.sequence(octets[header[1] : body[3]]),
        protection=protection,
        extra_certs=extra_certs,
    )


def decode_header(header_der: bytes) -> PkiHeader:
    """Read one PKIHeader. Raises MalformedMessage; ``path`` names the field."""
    if len(header_der) > MAX_HEADER_OCTETS:
        raise MalformedMessage(f"a header of {len(header_der)} octets; at most {MAX_HEADER_OCTETS} are read")
    header = typed.decode(_Header, header_der, "header of the PKIMessage", _HEADER_FIELDS, mandatory=3)
    time, algorithm = header.message_time, header.protection_alg
    for name, octets in (
        ("senderKID", header.sender_kid),
        ("recipKID", header.recip_kid),
        ("transactionID", header.transaction_id),
        ("senderNonce", header.sender_nonce),
        ("recipNonce", header.recip_nonce),
    ):
        if octets is not None and len(octets) > MAX_IDENTIFIER_OCTETS:
            raise MalformedMessage(
                f"the {name} has {len(octets)} octets; at most {MAX_IDENTIFIER_OCTETS} are read", path=name
            )
    return PkiHeader(
        pvno=typed.bounded(header.pvno, "pvno"),
        sender_der=_general_name(header.sender, "sender"),
        recipient_der=_general_name(header.recipient, "recipient"),
        message_time=None if time is None else time.as_datetime(),
        protection_alg_der=None if algorithm is None else der.sequence(*map(typed.whole, algorithm)),
        sender_kid=header.sender_kid,
        recip_kid=header.recip_kid,
        transaction_id=header.transaction_id,
        sender_nonce=header.sender_nonce,
        recip_nonce=header.recip_nonce,
        free_text=read_free_text(header.free_text, "freeText"),
        general_info=_general_info(header.general_info),
    )


def encode_header(header: PkiHeader) -> bytes:
    """Write one PKIHeader; the time in whole seconds of UTC (RFC 9810 section 5.2.9)."""
    optional: tuple[bytes | None, ...] = (
        None if header.message_time is None else generalized_time(header.message_time),
        header.protection_alg_der,
        *(
            None if octets is None else der.tlv(der.OCTET_STRING, octets)
            for octets in (
                header.sender_kid,
                header.recip_kid,
                header.transaction_id,
                header.sender_nonce,
                header.recip_nonce,
            )
        ),
        encode_free_text(header.free_text) if header.free_text else None,
        encode_general_info(header.general_info) if header.general_info else None,
    )
    return der.sequence(
        der.integer(header.pvno),
        header.sender_der,
        header.recipient_der,
        *(der.tlv(0xA0 | tag, part) for tag, part in enumerate(optional) if part is not None),
    )


def protected_part(header: PkiHeader, body_type: BodyType, body_der: bytes) -> bytes:
    """The DER of ProtectedPart, over which a MAC or signature is made (RFC 9810 section 5.1.3)."""
    return der.sequence(encode_header(header), der.tlv(0xA0 | body_type, body_der))


def encode_message(
    protected_der: bytes, protection: bytes | None = None, extra_certs: Sequence[bytes] = ()
) -> bytes:
    """Write a PKIMessage around a protected part as ``protected_part`` gives it."""
    _, start, _ = der.read_tlv(protected_der)
    parts = [protected_der[start:]]
    if protection is not None:
        parts.append(der.tlv(_PROTECTION, bit_string(protection)))
    if extra_certs:
        parts.append(der.tlv(_EXTRA_CERTS, der.sequence(*extra_certs)))
    return der.sequence(*parts)


def decode_nested(body_der: bytes) -> tuple[bytes, ...]:
    """The messages within a nested body (RFC 9810 section 5.1.3.5), each whole and not looked into.

    How deep messages may be nested is for the caller to say. Raises MalformedMessage.
    """
    return tuple(typed.elements(body_der, MAX_NESTED_MESSAGES, "nested body", least=1))


def encode_general_info(infos: Iterable[InfoTypeAndValue]) -> bytes:
    """Write a SEQUENCE OF InfoTypeAndValue."""
    return der.sequence(
        *(der.sequence(der.oid(info.oid), info.value_der or b"") for info in infos),
    )


def encode_free_text(texts: Iterable[str]) -> bytes:
    """Write a PKIFreeText."""
    return der.sequence(*(der.tlv(der.UTF8_STRING, text.encode()) for text in texts))


def generalized_time(moment: datetime) -> bytes:
    """A GeneralizedTime in UTC without fractions of a second (RFC 5280 section 4.1.2.5.2)."""
    utc = moment.astimezone(UTC)
    # strftime writes years before 1000 in fewer than four digits
    return der.tlv(der.GENERALIZED_TIME, f"{utc.year:04}{utc:%m%d%H%M%S}Z".encode())


def time(moment: datetime) -> bytes:
    """A Time: UTCTime through 2049 (RFC 5280 section 4.1.2.5)."""
    encoded = generalized_time(moment)
    return der.tlv(der.UTC_TIME, encoded[4:]) if 1950 <= moment.year < 2050 else encoded


def decode_time(time_der: bytes) -> datetime:
    """Read a Time; aware UTC. Raises MalformedMessage."""
    if time_der[:1] == bytes((der.UTC_TIME,)):
        return typed.decode(asn1.UTCTime, time_der, "time").as_datetime()
    return typed.decode(asn1.GeneralizedTime, time_der, "time").as_datetime()


def bit_string(octets: bytes) -> bytes:
    """A BIT STRING without unused bits."""
    return der.tlv(der.BIT_STRING, b"\x00" + octets)


def decode_free_text(texts_der: bytes, what: str) -> tuple[str, ...]:
    """Read a PKIFreeText. Raises MalformedMessage."""
    texts = []
    for element in typed.elements(texts_der, MAX_FREE_TEXTS, what):
        tag, start, _ = der.read_tlv(element)
        if tag != der.UTF8_STRING:
            raise MalformedMessage(f"the {what} must hold UTF8Strings", path=what)
        try:
            texts.append(element[start:].decode())
        except UnicodeDecodeError as exc:
            raise MalformedMessage(f"the {what} holds no UTF-8", path=what) from exc
    return read_free_text(texts, what)


def read_free_text(texts: list[str] | None, what: str) -> tuple[str, ...]:
    """Bound a PKIFreeText that the typed reader gave. Raises MalformedMessage."""
    if not texts:
        return ()
    if len(texts) > MAX_FREE_TEXTS or max(map(len, texts)) > MAX_FREE_TEXT_OCTETS:
        raise MalformedMessage(
            f"the {what} is too long; at most {MAX_FREE_TEXTS} texts of {MAX_FREE_TEXT_OCTETS} characters",
            path=what,
        )
    return tuple(texts)


def read_info(elements: Sequence[asn1.TLV], what: str) -> InfoTypeAndValue:
    """An InfoTypeAndValue from the elements of its SEQUENCE. Raises MalformedMessage."""
    if not 1 <= len(elements) <= 2 or elements[0].tag_bytes != b"\x06":
        raise MalformedMessage(f"an element of the {what} must be an identifier and maybe a value", path=what)
    oid = der.oid_text(bytes(elements[0].data))
    return InfoTypeAndValue(oid, typed.whole(elements[1]) if len(elements) == 2 else None)


def _general_info(infos: list[list[asn1.TLV]] | None) -> tuple[InfoTypeAndValue, ...]:
    if not infos:
        return ()
    if len(infos) > MAX_GENERAL_INFO:
        raise MalformedMessage(
            f"the generalInfo has {len(infos)} elements; at most {MAX_GENERAL_INFO} are read",
            path="generalInfo",
        )
    return tuple(read_info(elements, "generalInfo") for elements in infos)


def _general_name(element: asn1.TLV, what: str) -> bytes:
    if element.tag_bytes[0] & 0xC0 != 0x80 or element.tag_bytes[0] & 0x1F > 8:
        raise MalformedMessage(f"the {what} must be a GeneralName", path=what)
    return typed.whole(element)


def _check_single(octets: bytes, part: Part, what: str, path: str) -> None:
    """An explicit tag holds one element."""
    _, _, end = der.read_tlv(octets, part[2], part[3])
    if end != part[3]:
        raise MalformedMessage(f"the {what} must hold one element", path=path)


def _read_protection(octets: bytes, part: Part) -> bytes:
    tag, start, end = der.read_tlv(octets, part[2], part[3])
    if tag != der.BIT_STRING or end != part[3] or start == end or octets[start] != 0:
        raise MalformedMessage("the protection must be a BIT STRING without unused bits", path="protection")
    return octets[start + 1 : end]


def _read_extra_certs(octets: bytes) -> tuple[bytes, ...]:
    certificates = typed.elements(octets, MAX_EXTRA_CERTS, "field extraCerts")
    if any(certificate[0] != der.SEQUENCE for certificate in certificates):
        raise MalformedMessage("the field extraCerts must hold X.509 certificates", path="extraCerts")
    return tuple(certificates)
