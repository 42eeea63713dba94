"""rr (RFC 9810 section 5.3.9): certificates are revoked by their own key, or by a registration authority."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.asn1 import der
from gateway.asn1.cmp import BodyType
from gateway.asn1.cmp_revocation import RevDetails, RevRepContent, decode_rev_req, encode_rev_rep
from gateway.asn1.cmp_status import PkiFailureInfo, PkiStatus, PkiStatusInfo
from gateway.asn1.crmf import CertId, CertTemplate
from gateway.cmp.answers import Answer, error_answer
from gateway.cmp.errors import CmpRefusal, failure_info, failure_of, retry_strings, status_strings
from gateway.cmp.options import CMP
from gateway.cmp.received import Received
from gateway.cmp.record import recorded
from gateway.cmp.sender import DIRECTORY_NAME, MacSender, SigningSender, presented
from gateway.errors import Conflict, GatewayError, MalformedMessage, RetryLater
from gateway.model.certificate import (
    REASON_BY_NUMBER,
    CertificateRecord,
    CertificateStatus,
    RevocationReason,
)
from gateway.model.enrolment import Correlation, EnrolmentRequest, Operation, RequestedIdentity
from gateway.model.evidence import SIGNATURE, Evidence
from gateway.model.keys import KeyToCome
from gateway.model.names import DistinguishedName
from gateway.model.outcome import Refused
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.extensions import read_extensions
from gateway.pki.names import decode_name, names_match

_REASON_CODE = "2.5.29.21"  # id-ce-cRLReasons (RFC 5280 section 5.3.1)
_INVALIDITY_DATE = "2.5.29.24"
_REMOVE_FROM_CRL = 8
_VERSION_3 = 2
_SHOWN = 100  # characters of a name in the record


@dataclass(frozen=True, slots=True)
class _Revoker:
    """Whom policy let through: ``evidence`` says whether for others too."""

    sender: SigningSender
    evidence: Evidence


async def revoke(received: Received) -> Answer:
    """The rp, with one status for each certificate (section 5.3.10).

    Raises CmpRefusal, MalformedMessage, RetryLater.
    """
    sender = received.sender
    if isinstance(sender, MacSender):
        # RFC 9483 4.2: signed, with the certificate's own key or an RA's
        raise CmpRefusal(
            PkiFailureInfo.WRONG_INTEGRITY,
            "an rr must be signed, with the certificate that is to be revoked or by a registration authority",
            code=ReasonCode.AUTH_KIND,
            path="protection",
        )
    details = decode_rev_req(received.message.body_der)
    most = received.exchange.options.max_revocations
    if len(details) > most:
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST,
            f"the rr names {len(details)} certificates; at most {most}",
            path="body",
        )
    answer = await _authorize(received, sender, details)
    if isinstance(answer, Answer):
        return answer
    statuses = [await _status(received, _Revoker(sender, answer), one) for one in details]
    issued = [one.template for one in details]
    # Section 5.3.10: revCerts, where it is present, names each certificate in the same order
    named = tuple(filter(None, map(_cert_id, issued)))
    content = RevRepContent(tuple(statuses), named if len(named) == len(details) else ())
    return Answer(BodyType.RP, encode_rev_rep(content), received.begun_by)


async def _authorize(
    received: Received, sender: SigningSender, details: tuple[RevDetails, ...]
) -> Evidence | Answer:
    exchange = received.exchange
    wanted = details[0].template
    subject = (
        decode_name(wanted.subject_der) if wanted.subject_der is not None else sender.certificate.subject
    )
    found = await exchange.services.enrolments.authorize(
        EnrolmentRequest(
            protocol=CMP,
            endpoint=exchange.endpoint,
            operation=Operation.REVOKE,
            correlation=Correlation(received.parts(0), with_identity=False),
            identity=RequestedIdentity(subject),
            key=KeyToCome(),
            remote=received.remote,
            presented=presented(sender, SIGNATURE),
            transaction_id=(received.header.transaction_id or b"").hex(),
        )
    )
    if isinstance(found, Evidence):
        return found
    log = exchange.request.log
    log["outcome"] = type(found).__name__.lower()
    if found.request_id is not None:
        log["enrolment"] = found.request_id
    if isinstance(found, Refused):
        log["code"] = ",".join(reason.code for reason in found.reasons[:5])
        texts = status_strings(found.reasons, found.request_id)
        return error_answer(failure_info(found.reasons), texts, received.begun_by)
    log["code"] = str(found.reason.code)
    texts = retry_strings(found.reason, found.retry_after_s, found.request_id)
    again_s = found.retry_after_s
    return error_answer(PkiFailureInfo.SYSTEM_UNAVAIL, texts, received.begun_by, retry_after_s=again_s)


async def _status(received: Received, revoker: _Revoker, details: RevDetails) -> PkiStatusInfo:
    try:
        reason = _reason(received, details.extensions_der)
        record = await _record(received, revoker, details.template)
        if record.status is CertificateStatus.REVOKED:
            raise _revoked()
        try:
            certificates = received.exchange.services.certificates
            await certificates.revoke(record, reason, revoker.evidence.identity)
        except Conflict as exc:
            raise _revoked() from exc
    except RetryLater as fault:
        texts = retry_strings(fault.reason, fault.retry_after_s)
        return PkiStatusInfo(PkiStatus.REJECTION, texts, PkiFailureInfo.SYSTEM_UNAVAIL)
    except GatewayError as fault:
        texts = await recorded(received.exchange, "rr", received.sender, fault)
        return PkiStatusInfo(PkiStatus.REJECTION, texts, failure_of(fault))
    received.exchange.request.log["outcome"] = "revoked"
    return PkiStatusInfo(PkiStatus.ACCEPTED)


async def _record(received: Received, revoker: _Revoker, template: CertTemplate) -> CertificateRecord:
    """The certificate that the template names, if this one may revoke it. Raises CmpRefusal."""
    if template.version not in (None, _VERSION_3):
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST, "the version in certDetails must be 2", path="certDetails"
        )
    if template.issuer_der is None or template.serial_number is None:
        raise CmpRefusal(
            PkiFailureInfo.ADD_INFO_NOT_AVAILABLE,
            "certDetails must have the issuer and the serialNumber of the certificate",
            path="certDetails",
        )
    issuer = decode_name(template.issuer_der)
    exchange = received.exchange
    serial_hex = f"{template.serial_number:x}" if template.serial_number >= 0 else ""
    for record in await exchange.services.certificates.by_serial(serial_hex):
        certificate = parse_certificate(record.certificate_der)
        if not names_match(issuer, certificate.issuer) or not _fits(template, certificate):
            continue
        own = certificate.sha256 == revoker.sender.certificate.sha256
        here = (record.protocol, record.endpoint) == (CMP, exchange.endpoint)
        if own or (here and revoker.evidence.ra):
            return record
        if here:
            raise CmpRefusal(
                PkiFailureInfo.NOT_AUTHORIZED,
                "only the holder of this certificate, or a registration authority, may revoke it",
                code=ReasonCode.AUTH_KIND,
                detail=_asked(revoker, template.serial_number, issuer),
            )
    raise CmpRefusal(
        PkiFailureInfo.BAD_CERT_ID,
        "no certificate of this endpoint is the one that certDetails describes",
        code=ReasonCode.CERTIFICATE_UNKNOWN,
        detail=_asked(revoker, template.serial_number, issuer),
        path="certDetails",
    )


def _asked(revoker: _Revoker, serial_number: int, issuer: DistinguishedName) -> str:
    """For the record: which certificate, and who wanted it revoked."""
    sender, of = str(revoker.sender.certificate.subject)[:_SHOWN], str(issuer)[:_SHOWN]
    return f"{sender} asked for the serial number {f'{serial_number:x}'[:_SHOWN]} of {of}"


def _fits(template: CertTemplate, certificate: ParsedCertificate) -> bool:
    """Whether what else the template says is true of the certificate (RFC 9483 section 4.2)."""
    if template.subject_der is not None and not names_match(
        decode_name(template.subject_der), certificate.subject
    ):
        return False
    if template.public_key_der not in (None, certificate.spki_der):
        return False
    if template.extensions_der is None:
        return True
    _, start, end = der.read_tlv(template.extensions_der)
    there = {one.oid: one.value_der for one in certificate.extensions}
    named = read_extensions(template.extensions_der, start, end)
    return all(there.get(one.oid) == one.value_der for one in named)


def _reason(received: Received, extensions_der: bytes | None) -> RevocationReason:
    """The reason in crlEntryDetails. Raises CmpRefusal, MalformedMessage."""
    found = RevocationReason.UNSPECIFIED
    if extensions_der is None:
        return found
    _, start, end = der.read_tlv(extensions_der)
    for extension in read_extensions(extensions_der, start, end):
        if extension.oid == _REASON_CODE:
            found = _read_reason(extension.value_der)
        elif extension.oid != _INVALIDITY_DATE or extension.critical:
            raise CmpRefusal(
                PkiFailureInfo.BAD_REQUEST,
                f"crlEntryDetails has the extension {extension.oid}; only a reasonCode means something here",
                path="crlEntryDetails",
            )
    if found.value not in received.exchange.options.revocation_reasons:
        allowed = ", ".join(received.exchange.options.revocation_reasons)
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST,
            f"the reason {found} is not taken here; give none or one of: {allowed}",
            code=ReasonCode.REVOCATION,
            path="crlEntryDetails",
        )
    return found


def _read_reason(value_der: bytes) -> RevocationReason:
    # CRLReason ::= ENUMERATED
    number = value_der[2] if len(value_der) == 3 and value_der[:2] == b"\x0a\x01" else -1
    if number == _REMOVE_FROM_CRL:
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST,
            "certificates are not taken back from hold by CMP here (removeFromCRL)",
            code=ReasonCode.REVOCATION,
            path="crlEntryDetails",
        )
    if number not in REASON_BY_NUMBER:
        raise MalformedMessage("the reasonCode is none of RFC 5280 section 5.3.1", path="crlEntryDetails")
    return REASON_BY_NUMBER[number]


def _cert_id(template: CertTemplate) -> CertId | None:
    if template.issuer_der is None or template.serial_number is None:
        return None
    return CertId(der.tlv(DIRECTORY_NAME, template.issuer_der), template.serial_number)


def _revoked() -> CmpRefusal:
    return CmpRefusal(
        PkiFailureInfo.CERT_REVOKED, "the certificate is revoked already", code=ReasonCode.REVOCATION
    )
