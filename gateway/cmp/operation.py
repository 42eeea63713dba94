"""One PKIMessage in, one out: header, protection, body, and errors in CMP's own form (RFC 9483 section 3)."""

from __future__ import annotations

import logging

from gateway.asn1 import cmp, der, typed
from gateway.asn1.cmp import BodyType, PkiHeader, PkiMessage
from gateway.asn1.cmp_bodies import PKI_CONFIRM_DER, decode_error
from gateway.asn1.cmp_status import PkiFailureInfo
from gateway.cmp.answers import NULL_DN, Answer, error_answer, read_certificate, write_answer
from gateway.cmp.confirm import confirm
from gateway.cmp.enrol import enrol
from gateway.cmp.errors import CmpRefusal, failure_of, retry_after, retry_strings, status_strings
from gateway.cmp.exchange import Exchange
from gateway.cmp.general import general
from gateway.cmp.header import check_begins, check_goes_on, check_version, read_header
from gateway.cmp.options import CMP
from gateway.cmp.paths import GOING_ON, OPERATION_BODIES
from gateway.cmp.poll import poll
from gateway.cmp.received import Received
from gateway.cmp.record import recorded
from gateway.cmp.revoke import revoke
from gateway.cmp.sender import Sender, directory_name, proven_sender
from gateway.errors import ClientGone, GatewayError, MalformedMessage, RetryLater
from gateway.http.message import HttpResponse
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.names import decode_name, names_match

LOG = logging.getLogger(__name__)

PKIXCMP = "application/pkixcmp"
NO_STORE = (("Cache-Control", "no-store"),)


async def answer_message(exchange: Exchange, octets: bytes) -> HttpResponse:
    """The PKIMessage that answers ``octets``: HTTP 200 for every well-formed one, 400 for what is none.

    Raises RetryLater where nothing can be protected.
    """
    log = exchange.request.log
    try:
        message = cmp.decode_message(octets)
    except MalformedMessage as fault:
        texts = await recorded(exchange, "", None, fault)
        answer = error_answer(failure_of(fault), texts)
        body = await write_answer(exchange, _salvaged_header(octets), None, answer)
        return HttpResponse(400, body, PKIXCMP, NO_STORE)
    log["message"] = message.body_type.rfc_name
    if message.header.transaction_id is not None:
        log["transaction"] = message.header.transaction_id[:64].hex()
    sender: Sender | None = None
    try:
        check_version(message.header)
        sender = await proven_sender(exchange, message)
        answer = await _performed(await _received(exchange, message, octets, sender))
    except ClientGone:
        raise
    except RetryLater as fault:
        log.update(outcome="unavailable", code=str(fault.code))
        texts = retry_strings(fault.reason, fault.retry_after_s)
        again_s = fault.retry_after_s
        answer = error_answer(failure_of(fault), texts, message.body_type, retry_after_s=again_s)
    except GatewayError as fault:
        answer = await _refused(exchange, message, sender, fault)
    except Exception:  # RFC 9811 3.3 wants a PKIMessage, which the edge cannot write
        LOG.exception("cmp.fault: request %s, body %s", exchange.request.request_id, log["message"])
        answer = _fault(exchange)
    # RFC 9811 3.1 has 5xx as well, but OpenSSL's client reads the message of a 200 only.
    headers = NO_STORE if answer.retry_after_s is None else (*NO_STORE, retry_after(answer.retry_after_s))
    return HttpResponse(200, await write_answer(exchange, message.header, sender, answer), PKIXCMP, headers)


async def _received(exchange: Exchange, message: PkiMessage, octets: bytes, sender: Sender) -> Received:
    header, body_type = message.header, message.body_type
    facts = read_header(header, body_type, exchange.options, exchange.services.clock.now())
    if exchange.options.strictness == "strict":
        await _check_recipient(exchange, header)
    if body_type in (BodyType.CERTCONF, BodyType.POLLREQ):
        begun_by = check_goes_on(exchange.nonces, header, sender.kind)
    else:
        begun_by = body_type
        if body_type is not BodyType.ERROR:
            check_begins(header)
    _check_path(exchange, body_type)
    return Received(exchange, message, octets, sender, facts, begun_by)


async def _check_recipient(exchange: Exchange, header: PkiHeader) -> None:
    """RFC 9483 3.1: the recipient is the CA, its CMP signer, or nobody that is known."""
    if header.recipient_der == NULL_DN:
        return
    information = exchange.services.ca_information
    name_der = directory_name(header.recipient_der)
    if name_der is not None:
        name = decode_name(name_der)
        own = [one.certificate_der for one in await information.identities(CMP, exchange.endpoint)]
        own.extend(await information.ca_certificates(CMP, exchange.endpoint))
        if any(names_match(name, read_certificate(one).subject) for one in own):
            return
    raise CmpRefusal(
        PkiFailureInfo.BAD_REQUEST, "the recipient is not this CA; name its subject", path="recipient"
    )


def _check_path(exchange: Exchange, body_type: BodyType) -> None:
    operation = exchange.operation
    if operation and body_type is not OPERATION_BODIES[operation] and body_type not in GOING_ON:
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST,
            f"{body_type.rfc_name} does not belong to the path of {operation}; leave {operation} out, or "
            f"send {OPERATION_BODIES[operation].rfc_name}",
            path="body",
        )


async def _performed(received: Received) -> Answer:
    match received.message.body_type:
        case BodyType.IR | BodyType.CR | BodyType.KUR | BodyType.P10CR:
            return await enrol(received)
        case BodyType.CERTCONF:
            return await confirm(received)
        case BodyType.POLLREQ:
            return await poll(received)
        case BodyType.RR:
            return await revoke(received)
        case BodyType.GENM:
            return await general(received)
        case BodyType.ERROR:
            return _client_error(received)
        case other:
            raise CmpRefusal(
                PkiFailureInfo.BAD_REQUEST,
                f"{other.rfc_name} is not supported; ir, cr, kur, p10cr, rr, genm, certConf, pollReq and "
                "error are",
                path="body",
            )


def _client_error(received: Received) -> Answer:
    """RFC 9810 section 5.3.21: the server MUST respond with a PKIConfirm. What was issued and stays without
    its certConf is withdrawn when the time is up."""
    content = decode_error(received.message.body_der)
    shown = "; ".join(("; ".join(content.status.texts), *content.error_details))[:200]
    received.exchange.request.log.update(outcome="client-error", detail=shown)
    return Answer(BodyType.PKICONF, PKI_CONFIRM_DER, received.begun_by)


async def _refused(
    exchange: Exchange, message: PkiMessage, sender: Sender | None, fault: GatewayError
) -> Answer:
    if fault.code is ReasonCode.SERVER_FAULT:
        LOG.error("cmp.fault: request %s", exchange.request.request_id, exc_info=fault)
        return _fault(exchange)
    texts = await recorded(exchange, message.body_type.rfc_name, sender, fault)
    return error_answer(failure_of(fault), texts, message.body_type)


def _fault(exchange: Exchange) -> Answer:
    """A fault of ours: the operator has the traceback, the client no word of it."""
    exchange.request.log.update(outcome="fault", code=str(ReasonCode.SERVER_FAULT))
    text = f"the server failed; the operator finds the fault as request {exchange.request.request_id}"
    return error_answer(
        PkiFailureInfo.SYSTEM_FAILURE, status_strings((Reason(ReasonCode.SERVER_FAULT, text),), None)
    )


def _salvaged_header(octets: bytes) -> PkiHeader | None:
    """The header of a message that is none otherwise, so that its sender knows what the error is about."""
    try:
        _, start, end = der.read_tlv(octets)
        return cmp.decode_header(typed.element(octets, typed.parts(octets, start, end, "PKIMessage")[0]))
    except (MalformedMessage, IndexError):
        return None
