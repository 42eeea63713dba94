"""Bodies of PKIMessages in enrolment (RFC 9810 section 5.3) but the requests, which ``crmf`` has.

For both sides of CMP. Certificates stay DER and are not looked into. Strict DER; every list is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.asn1 import cmp, der, typed
from gateway.asn1.cmp_status import PkiStatusInfo, decode_status_info, encode_status_info
from gateway.asn1.typed import Part
from gateway.errors import MalformedMessage

MAX_RESPONSES = 50
MAX_CA_PUBS = 50
_MAX_HASH_OCTETS = 128


@dataclass(frozen=True, slots=True)
class CertResponse:
    """What became of one request (RFC 9810 section 5.3.4).

    ``certificate_der`` is a certificate in clear. ``encrypted_cert_der`` and ``private_key_der`` are whole
    EncryptedKeys, not looked into. ``cert_req_id`` is -1 in the answer to a p10cr.
    """

    cert_req_id: int
    status: PkiStatusInfo
    certificate_der: bytes | None = field(default=None, repr=False)
    encrypted_cert_der: bytes | None = field(default=None, repr=False)
    private_key_der: bytes | None = field(default=None, repr=False)
    rsp_info: bytes | None = None


@dataclass(frozen=True, slots=True)
class CertRepMessage:
    """The body of an ip, cp, kup or ccp."""

    responses: tuple[CertResponse, ...]
    ca_pubs: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class CertStatus:
    """One certificate confirmed or declined (RFC 9810 section 5.3.18). ``status`` None means accepted."""

    cert_hash: bytes
    cert_req_id: int
    status: PkiStatusInfo | None = None
    hash_alg_der: bytes | None = None


@dataclass(frozen=True, slots=True)
class PollAnswer:
    """When to ask again, in seconds (RFC 9810 section 5.3.22)."""

    cert_req_id: int
    check_after_s: int
    reason: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorMsgContent:
    """The body of an error (RFC 9810 section 5.3.21)."""

    status: PkiStatusInfo
    error_code: int | None = None
    error_details: tuple[str, ...] = ()


PKI_CONFIRM_DER = b"\x05\x00"  # PKIConfirmContent ::= NULL


def decode_pki_confirm(body_der: bytes) -> None:
    """Check that the body of a pkiconf is NULL. Raises MalformedMessage."""
    if body_der != PKI_CONFIRM_DER:
        raise _malformed("the body of a pkiconf must be NULL")


def decode_cert_rep(body_der: bytes) -> CertRepMessage:
    """Read the body of an ip, cp, kup or ccp. Raises MalformedMessage."""
    parts = typed.fields_of(body_der, "CertRepMessage")
    if [part[0] for part in parts] not in ([der.SEQUENCE], [0xA1, der.SEQUENCE]):
        raise _malformed("a CertRepMessage must hold maybe caPubs, and responses")
    ca_pubs: Sequence[bytes] = ()
    if len(parts) == 2:
        ca_pubs = typed.elements(typed.content(body_der, parts[0]), MAX_CA_PUBS, "field caPubs")
    responses = typed.elements(typed.element(body_der, parts[-1]), MAX_RESPONSES, "list of responses")
    return CertRepMessage(tuple(map(_read_response, responses)), tuple(ca_pubs))


def encode_cert_rep(message: CertRepMessage) -> bytes:
    """Write the body of an ip, cp, kup or ccp."""
    ca_pubs = der.tlv(0xA1, der.sequence(*message.ca_pubs)) if message.ca_pubs else b""
    return der.sequence(ca_pubs, der.sequence(*map(_encode_response, message.responses)))


def decode_cert_confirm(body_der: bytes) -> tuple[CertStatus, ...]:
    """Read the body of a certConf; none at all declines everything. Raises MalformedMessage."""
    statuses = typed.elements(body_der, MAX_RESPONSES, "body certConf")
    return tuple(map(_read_cert_status, statuses))


def encode_cert_confirm(statuses: Iterable[CertStatus]) -> bytes:
    """Write the body of a certConf."""
    return der.sequence(
        *(
            der.sequence(
                der.tlv(der.OCTET_STRING, status.cert_hash),
                der.integer(status.cert_req_id),
                b"" if status.status is None else encode_status_info(status.status),
                b"" if status.hash_alg_der is None else der.tlv(0xA0, status.hash_alg_der),
            )
            for status in statuses
        )
    )


def decode_poll_req(body_der: bytes) -> tuple[int, ...]:
    """The certReqIds of a pollReq. Raises MalformedMessage."""
    identifiers = []
    for element in typed.elements(body_der, MAX_RESPONSES, "body pollReq", least=1):
        parts = typed.fields_of(element, "element of a pollReq")
        if [part[0] for part in parts] != [der.INTEGER]:
            raise _malformed("an element of a pollReq must hold one certReqId")
        identifiers.append(_integer(element, parts[0], "certReqId"))
    return tuple(identifiers)


def encode_poll_req(cert_req_ids: Iterable[int]) -> bytes:
    """Write the body of a pollReq."""
    return der.sequence(*(der.sequence(der.integer(identifier)) for identifier in cert_req_ids))


def decode_poll_rep(body_der: bytes) -> tuple[PollAnswer, ...]:
    """Read the body of a pollRep. Raises MalformedMessage."""
    answers = []
    for element in typed.elements(body_der, MAX_RESPONSES, "body pollRep", least=1):
        parts = typed.fields_of(element, "element of a pollRep")
        if [part[0] for part in parts] not in (
            [der.INTEGER, der.INTEGER],
            [der.INTEGER, der.INTEGER, der.SEQUENCE],
        ):
            raise _malformed("an element of a pollRep must hold certReqId, checkAfter, and maybe a reason")
        reason = cmp.decode_free_text(typed.element(element, parts[2]), "reason") if len(parts) == 3 else ()
        answers.append(
            PollAnswer(
                _integer(element, parts[0], "certReqId"), _integer(element, parts[1], "checkAfter"), reason
            )
        )
    return tuple(answers)


def encode_poll_rep(answers: Iterable[PollAnswer]) -> bytes:
    """Write the body of a pollRep."""
    return der.sequence(
        *(
            der.sequence(
                der.integer(answer.cert_req_id),
                der.integer(answer.check_after_s),
                cmp.encode_free_text(answer.reason) if answer.reason else b"",
            )
            for answer in answers
        )
    )


def decode_error(body_der: bytes) -> ErrorMsgContent:
    """Read the body of an error. Raises MalformedMessage."""
    parts = typed.fields_of(body_der, "body error")
    tags = [part[0] for part in parts]
    if tags[:1] != [der.SEQUENCE] or tags[1:] not in (
        [],
        [der.INTEGER],
        [der.SEQUENCE],
        [der.INTEGER, der.SEQUENCE],
    ):
        raise _malformed("an error must hold pKIStatusInfo, and maybe errorCode and errorDetails")
    code: int | None = None
    details: tuple[str, ...] = ()
    for part in parts[1:]:
        if part[0] == der.INTEGER:
            code = _integer(body_der, part, "errorCode")
        else:
            details = cmp.decode_free_text(typed.element(body_der, part), "errorDetails")
    return ErrorMsgContent(decode_status_info(typed.element(body_der, parts[0])), code, details)


def encode_error(content: ErrorMsgContent) -> bytes:
    """Write the body of an error."""
    return der.sequence(
        encode_status_info(content.status),
        b"" if content.error_code is None else der.integer(content.error_code),
        cmp.encode_free_text(content.error_details) if content.error_details else b"",
    )


def _read_response(response_der: bytes) -> CertResponse:
    parts = typed.fields_of(response_der, "CertResponse")
    tags = [part[0] for part in parts]
    if tags[:2] != [der.INTEGER, der.SEQUENCE] or tags[2:] not in (
        [],
        [der.SEQUENCE],
        [der.OCTET_STRING],
        [der.SEQUENCE, der.OCTET_STRING],
    ):
        raise _malformed("a CertResponse must hold certReqId, status, and maybe a certificate and rspInfo")
    pair: dict[str, bytes] = {}
    rsp_info: bytes | None = None
    for part in parts[2:]:
        if part[0] == der.SEQUENCE:
            pair = _read_key_pair(typed.element(response_der, part))
        else:
            rsp_info = typed.content(response_der, part)
    return CertResponse(
        cert_req_id=_integer(response_der, parts[0], "certReqId"),
        status=decode_status_info(typed.element(response_der, parts[1])),
        certificate_der=pair.get("certificate"),
        encrypted_cert_der=pair.get("encryptedCert"),
        private_key_der=pair.get("privateKey"),
        rsp_info=rsp_info,
    )


def _read_key_pair(pair_der: bytes) -> dict[str, bytes]:
    parts = typed.fields_of(pair_der, "certifiedKeyPair")
    tags = [part[0] for part in parts]
    # CertOrEncCert, privateKey [0] and publicationInfo [1], which nobody uses (RFC 9810 section 5.3.4)
    if tags[:1] not in ([0xA0], [0xA1]) or tags[1:] not in ([], [0xA0], [0xA1], [0xA0, 0xA1]):
        raise _malformed("a certifiedKeyPair must hold a certificate, and maybe a private key")
    first = typed.content(pair_der, parts[0])
    if der.read_tlv(first)[2] != len(first):
        raise _malformed("a certOrEncCert must hold one certificate")
    found = {"certificate" if tags[0] == 0xA0 else "encryptedCert": first}
    if 0xA0 in tags[1:]:
        found["privateKey"] = typed.content(pair_der, parts[1])
    return found


def _encode_response(response: CertResponse) -> bytes:
    pair = b""
    if response.certificate_der is not None:
        pair = der.tlv(0xA0, response.certificate_der)
    elif response.encrypted_cert_der is not None:
        pair = der.tlv(0xA1, response.encrypted_cert_der)
    if pair and response.private_key_der is not None:
        pair += der.tlv(0xA0, response.private_key_der)
    return der.sequence(
        der.integer(response.cert_req_id),
        encode_status_info(response.status),
        der.sequence(pair) if pair else b"",
        b"" if response.rsp_info is None else der.tlv(der.OCTET_STRING, response.rsp_info),
    )


def _read_cert_status(status_der: bytes) -> CertStatus:
    parts = typed.fields_of(status_der, "CertStatus")
    tags = [part[0] for part in parts]
    if tags[:2] != [der.OCTET_STRING, der.INTEGER] or tags[2:] not in (
        [],
        [der.SEQUENCE],
        [0xA0],
        [der.SEQUENCE, 0xA0],
    ):
        raise _malformed("a CertStatus must hold certHash, certReqId, and maybe statusInfo and hashAlg")
    cert_hash = typed.content(status_der, parts[0])
    if len(cert_hash) > _MAX_HASH_OCTETS:
        raise _malformed(f"a certHash of {len(cert_hash)} octets; at most {_MAX_HASH_OCTETS} are read")
    status: PkiStatusInfo | None = None
    hash_alg_der: bytes | None = None
    for part in parts[2:]:
        if part[0] == der.SEQUENCE:
            status = decode_status_info(typed.element(status_der, part))
        else:
            hash_alg_der = typed.content(status_der, part)
    return CertStatus(cert_hash, _integer(status_der, parts[1], "certReqId"), status, hash_alg_der)


def _integer(source: bytes, part: Part, what: str) -> int:
    return typed.integer(typed.content(source, part), what)


def _malformed(message: str) -> MalformedMessage:
    return MalformedMessage(message, path="body")
