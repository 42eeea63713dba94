"""Bodies of PKIMessages for revocation (RFC 9810 sections 5.3.9 and 5.3.10), for both sides of CMP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.asn1 import der, typed
from gateway.asn1.cmp_status import PkiStatusInfo, decode_status_info, encode_status_info
from gateway.asn1.crmf import CertId, CertTemplate, decode_cert_id, decode_template
from gateway.asn1.crmf_encode import encode_cert_id, encode_template
from gateway.errors import MalformedMessage

MAX_REVOCATIONS = 50


@dataclass(frozen=True, slots=True)
class RevDetails:
    """A certificate to be revoked (RFC 9810 section 5.3.9); ``extensions_der`` are whole Extensions."""

    template: CertTemplate
    extensions_der: bytes | None = None


@dataclass(frozen=True, slots=True)
class RevRepContent:
    """What became of revocations (RFC 9810 section 5.3.10), in the order of the request."""

    status: tuple[PkiStatusInfo, ...]
    rev_certs: tuple[CertId, ...] = ()
    crls: tuple[bytes, ...] = field(default=(), repr=False)


def decode_rev_req(body_der: bytes) -> tuple[RevDetails, ...]:
    """Read the body of an rr. Raises MalformedMessage."""
    details = []
    for element in typed.elements(body_der, MAX_REVOCATIONS, "body rr", least=1):
        parts = typed.fields_of(element, "element of an rr")
        if [part[0] for part in parts] not in ([der.SEQUENCE], [der.SEQUENCE, der.SEQUENCE]):
            raise _malformed("an element of an rr must hold certDetails, and maybe crlEntryDetails")
        extensions = typed.element(element, parts[1]) if len(parts) == 2 else None
        details.append(RevDetails(decode_template(typed.element(element, parts[0])), extensions))
    return tuple(details)


def encode_rev_req(details: Iterable[RevDetails]) -> bytes:
    """Write the body of an rr."""
    return der.sequence(
        *(der.sequence(encode_template(one.template), one.extensions_der or b"") for one in details)
    )


def decode_rev_rep(body_der: bytes) -> RevRepContent:
    """Read the body of an rp. Raises MalformedMessage."""
    parts = typed.fields_of(body_der, "body rp")
    tags = [part[0] for part in parts]
    if tags not in ([der.SEQUENCE], [der.SEQUENCE, 0xA0], [der.SEQUENCE, 0xA1], [der.SEQUENCE, 0xA0, 0xA1]):
        raise _malformed("an rp must hold status, and maybe revCerts and crls")
    optional = {
        part[0]: typed.elements(typed.content(body_der, part), MAX_REVOCATIONS, "body rp")
        for part in parts[1:]
    }
    statuses = typed.elements(typed.element(body_der, parts[0]), MAX_REVOCATIONS, "status of an rp", least=1)
    return RevRepContent(
        tuple(map(decode_status_info, statuses)),
        tuple(map(decode_cert_id, optional.get(0xA0, ()))),
        tuple(optional.get(0xA1, ())),
    )


def encode_rev_rep(content: RevRepContent) -> bytes:
    """Write the body of an rp."""
    certs = der.sequence(*map(encode_cert_id, content.rev_certs))
    return der.sequence(
        der.sequence(*map(encode_status_info, content.status)),
        der.tlv(0xA0, certs) if content.rev_certs else b"",
        der.tlv(0xA1, der.sequence(*content.crls)) if content.crls else b"",
    )


def _malformed(message: str) -> MalformedMessage:
    return MalformedMessage(message, path="body")
