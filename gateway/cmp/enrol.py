"""ir, cr, kur and p10cr (RFC 9810 sections 5.3.1 to 5.3.6) as requests of the enrolment model.

A message may hold several requests; each has its own decision and its own response.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.asn1.cmp import BodyType
from gateway.asn1.cmp_status import PkiFailureInfo
from gateway.asn1.crmf import (
    MAX_REQUESTS,
    OLD_CERT_ID,
    PKI_PUBLICATION_INFO,
    check_publication_info,
    decode_cert_req_messages,
)
from gateway.cmp.answers import Answer
from gateway.cmp.errors import CmpRefusal
from gateway.cmp.options import CMP
from gateway.cmp.received import P10CR_ID, Received
from gateway.cmp.responses import Failed, Response, failed, response_answer
from gateway.cmp.sender import MacSender, SigningSender, directory_name, presented
from gateway.cmp.template import Asked
from gateway.errors import GatewayError, MalformedMessage, RetryLater
from gateway.model.enrolment import (
    Correlation,
    Differing,
    EnrolmentRequest,
    Operation,
    RequestedIdentity,
)
from gateway.model.evidence import RENEWAL_CERT, SIGNATURE, SharedSecret
from gateway.model.keys import ClientKey
from gateway.model.reasons import ReasonCode
from gateway.pki import csr
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.crmf_request import CrmfRequest, read_request, verify_possession
from gateway.pki.names import decode_name, names_match

_GRACE_S = 600  # beyond the time for the certConf


@dataclass(frozen=True, slots=True)
class _Wish:
    """One request as read. ``csr_der`` is what may be stored of a p10cr."""

    cert_req_id: int
    identity: RequestedIdentity
    key: ClientKey
    asked: Asked
    profile: str | None
    csr_der: bytes | None = None


async def enrol(received: Received) -> Answer:
    """Submit what the message asks for. Raises GatewayError for what concerns the whole message, Overloaded
    and StoreUnavailable."""
    renewed = _renewed(received)
    wishes = (
        [_p10cr_wish(received)]
        if received.message.body_type is BodyType.P10CR
        else await _crmf_wishes(received, renewed)
    )
    requests = [_request(received, wish, renewed) for wish in wishes if isinstance(wish, _Wish)]
    submitted = iter(await received.exchange.services.enrolments.submit(requests)) if requests else iter(())
    responses: list[Response | Failed] = []
    for wish in wishes:
        if isinstance(wish, _Wish):
            responses.append(Response(wish.cert_req_id, next(submitted), wish.asked, wish.key.pop))
        else:
            cert_req_id, fault = wish
            responses.append(await failed(received, cert_req_id, fault))
    return response_answer(received, responses, implicit_confirm=_implicit(received))


def _renewed(received: Received) -> ParsedCertificate | None:
    """The certificate that a kur renews: the one that protects it (RFC 9483 section 4.1.3)."""
    if received.message.body_type is not BodyType.KUR:
        return None
    if isinstance(received.sender, MacSender):
        raise CmpRefusal(
            PkiFailureInfo.WRONG_INTEGRITY,
            "a kur must be signed with the key of the certificate that it renews, not protected by a secret",
            code=ReasonCode.AUTH_KIND,
            path="protection",
        )
    return received.sender.certificate


def _p10cr_wish(received: Received) -> _Wish | tuple[int, GatewayError]:
    _check_profile_count(received, 1)
    try:
        profile = _profile(received, 0)
        parsed = csr.parse_csr(received.message.body_der)
        key = csr.verify_possession(parsed)
        if parsed.change_subject_name is not None:
            # Passing it over would issue other names than those that were meant.
            raise CmpRefusal(
                PkiFailureInfo.BAD_CERT_TEMPLATE,
                "the ChangeSubjectName attribute (RFC 6402) means nothing in CMP; put the names into the CSR "
                "itself",
            )
    except RetryLater:
        raise
    except GatewayError as fault:
        return P10CR_ID, fault
    # A CSR that holds a secret in clear must not come into the record.
    stored = parsed.csr_der if parsed.challenge_password is None else None
    return _Wish(P10CR_ID, parsed.identity, key, Asked(parsed.identity), profile, stored)


async def _crmf_wishes(
    received: Received, renewed: ParsedCertificate | None
) -> list[_Wish | tuple[int, GatewayError]]:
    messages = decode_cert_req_messages(received.message.body_der)
    identifiers = [message.cert_req_id for message in messages]
    if len(set(identifiers)) < len(identifiers) or not all(0 <= one < MAX_REQUESTS for one in identifiers):
        # RFC 9483 4.1.1: certReqId is 0; of several each has its own
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST,
            f"certReqId must count from 0 and be another one for each request, not {identifiers[:5]}",
            path="certReqId",
        )
    _check_profile_count(received, len(messages))
    wishes: list[_Wish | tuple[int, GatewayError]] = []
    for index, message in enumerate(messages):
        try:
            profile = _profile(received, index)
            request = read_request(message)
            _check_template(request)
            _check_controls(request, renewed)
            key = await _possession(received, request)
            identity, asked = _identity(request, renewed), Asked.of_template(request)
        except RetryLater:
            raise
        except GatewayError as fault:
            wishes.append((message.cert_req_id, fault))
        else:
            wishes.append(_Wish(message.cert_req_id, identity, key, asked, profile))
    return wishes


def _check_template(request: CrmfRequest) -> None:
    if request.misplaced:
        # RFC 4211 section 5: version is 2 if at all; the others are the CA's to fill
        names = ", ".join(request.misplaced)
        raise _bad_template(f"the certTemplate must leave out {names} (version may be 2)", "certTemplate")
    if request.public_key is None:
        raise _bad_template(
            "the certTemplate has no public key; keys are not made here, bring one", "publicKey"
        )


def _check_controls(request: CrmfRequest, renewed: ParsedCertificate | None) -> None:
    for control in request.message.controls:
        if control.oid == PKI_PUBLICATION_INFO:
            # It asks for something that we do not do, and may be passed over (RFC 4211 section 6.3)
            check_publication_info(control.value_der)
            continue
        if control.oid == OLD_CERT_ID and renewed is not None:
            continue
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST,
            f"the control {control.oid} is not supported here; leave it out",
            path="controls",
        )
    old = request.old_cert_id
    if old is not None and renewed is not None:
        issuer_der = directory_name(old.issuer_der)
        same_issuer = issuer_der == renewed.issuer_der or (
            issuer_der is not None and names_match(decode_name(issuer_der), renewed.issuer)
        )
        if not same_issuer or old.serial_number != renewed.serial:
            raise CmpRefusal(
                PkiFailureInfo.BAD_CERT_ID,
                "oldCertId is not the certificate that protects the message",
                code=ReasonCode.RENEWAL_NOT_OURS,
                path="controls",
            )


async def _possession(received: Received, request: CrmfRequest) -> ClientKey:
    secret: SharedSecret | None = None
    sender_der: bytes | None = None
    match received.sender:
        case MacSender():
            secret = received.sender.secret
        case SigningSender():
            sender_der = received.header.sender_der
    return await verify_possession(
        request,
        sender_der=sender_der,
        secret=secret.secret if secret is not None else None,
        keys=received.exchange.keys,
        limits=received.exchange.options.mac.limits,
    )


def _identity(request: CrmfRequest, renewed: ParsedCertificate | None) -> RequestedIdentity:
    """The names that are asked for; a kur without any means those of the old certificate."""
    identity = request.identity
    if request.subject_given:
        if not identity.subject and not identity.sans:
            raise _bad_template("the certTemplate has neither a subject nor a subjectAltName", "subject")
        return identity
    if renewed is None:
        raise _bad_template("the certTemplate has no subject", "subject", ReasonCode.NAME_MISSING)
    return RequestedIdentity(renewed.subject, identity.sans or renewed.sans, identity.extensions)


def _request(received: Received, wish: _Wish, renewed: ParsedCertificate | None) -> EnrolmentRequest:
    options = received.exchange.options
    if renewed is None:
        operation, kind = Operation.ENROLL, SIGNATURE
    else:
        same_key = wish.key.public_key.spki_sha256 == renewed.spki_sha256
        operation, kind = Operation.RENEW if same_key else Operation.REKEY, RENEWAL_CERT
    return EnrolmentRequest(
        protocol=CMP,
        endpoint=received.exchange.endpoint,
        operation=operation,
        correlation=Correlation(
            received.parts(wish.cert_req_id),
            with_identity=False,
            grace_s=options.confirm_within_s + _GRACE_S,
            content_sha256=received.content_sha256,
            differing=Differing.REFUSE,
        ),
        identity=wish.identity,
        key=wish.key,
        remote=received.remote,
        presented=presented(received.sender, kind),
        profile=wish.profile,
        csr_der=wish.csr_der,
        renews_der=renewed.certificate_der if renewed is not None else None,
        not_before=wish.asked.not_before,
        not_after=wish.asked.not_after,
        confirm_within_s=None if _implicit(received) else options.confirm_within_s,
        transaction_id=(received.header.transaction_id or b"").hex(),
    )


def _implicit(received: Received) -> bool:
    """RFC 9810 section 5.1.1.1: granted only to who asks for it."""
    return received.facts.implicit_confirm and received.exchange.options.implicit_confirm


def _profile(received: Received, index: int) -> str | None:
    """The profile of this request (RFC 9810 section 5.1.1.4). Raises GatewayError with profile.unknown."""
    profiles = received.facts.profiles
    name = profiles[index] if index < len(profiles) else ""
    if not name:
        return None
    exchange = received.exchange
    known = exchange.services.enrolments.profiles(CMP, exchange.endpoint)
    if name not in known:
        offered = ", ".join(sorted(known)) or "none"
        raise GatewayError(
            f"there is no certificate profile {name[:64]!r} here; offered: {offered}",
            code=ReasonCode.PROFILE_UNKNOWN,
            path="generalInfo",
        )
    return name


def _check_profile_count(received: Received, request_count: int) -> None:
    # RFC 9810 5.1.1.4: no more names than requests
    if len(received.facts.profiles) > request_count:
        raise MalformedMessage("certProfile has more names than there are requests", path="generalInfo")


def _bad_template(text: str, path: str, code: ReasonCode = ReasonCode.MESSAGE_UNSUPPORTED) -> CmpRefusal:
    return CmpRefusal(PkiFailureInfo.BAD_CERT_TEMPLATE, text, code=code, path=path)
