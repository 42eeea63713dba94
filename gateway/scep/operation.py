"""PKIOperation (RFC 8894 section 4.3 and on): one pkiMessage in, one CertRep out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar, assert_never

from gateway.errors import GatewayError, RetryLater
from gateway.frontend import BadMessage
from gateway.http.message import HttpResponse
from gateway.model.outcome import Issued, Outcome, Refused, Unavailable
from gateway.model.outcome import Pending as Waiting
from gateway.model.reasons import ReasonCode
from gateway.pki.cms import certs_only
from gateway.scep import errors
from gateway.scep.enrol import enrol
from gateway.scep.exchange import Exchange, message_name, printable_transaction
from gateway.scep.message import (
    MessageRules,
    MessageType,
    ScepRequest,
    SignedMessage,
    addressed_identity,
    open_pki_message,
    read_pki_message,
)
from gateway.scep.options import SCEP
from gateway.scep.poll import poll
from gateway.scep.reply import Failure, Pending, Success, can_be_answered, write_reply
from gateway.scep.retrieval import Retrieved, get_cert, get_crl

PKI_MESSAGE = "application/x-pki-message"
# Section 4.1: caches in between take a GET for something that they may answer themselves.
_NOT_CACHED = (("Cache-Control", "no-store"),)
T = TypeVar("T")


async def pki_operation(exchange: Exchange, octets: bytes) -> HttpResponse:
    """The CertRep, with HTTP 200 also where it is a FAILURE; or 503 where the request should come again.

    Raises GatewayError for what no CertRep can answer.
    """
    message = read_pki_message(octets)
    exchange.request.log.update(
        message=message_name(message.message_type), transaction=printable_transaction(message)[:64]
    )
    identities = await exchange.services.ca_information.identities(SCEP, exchange.endpoint)
    rules = MessageRules(exchange.options.digests, exchange.options.ciphers)
    slow = any(identity.signer.slow for identity in identities)
    try:
        check = partial(_check_type, exchange, message)
        request = await _run(lambda: open_pki_message(message, identities, rules, check), slow=slow)
        outcome = await _performed(exchange, request, rules)
        identity, cipher = request.identity, request.cipher
    except RetryLater:
        raise
    except GatewayError as fault:
        if fault.code is ReasonCode.SERVER_FAULT:
            raise
        outcome = await _recorded(exchange, message, fault)
        identity, cipher = addressed_identity(message, identities), ""
    log = exchange.request.log
    log["outcome"] = type(outcome).__name__.lower()
    content = _content(exchange, outcome, cipher)
    if isinstance(content, HttpResponse):
        return content
    empty = exchange.options.empty_content
    body = await _run(lambda: write_reply(message, identity, content, rules, empty_content=empty), slow=slow)
    return HttpResponse(200, body, PKI_MESSAGE, _NOT_CACHED)


async def _run(work: Callable[[], T], *, slow: bool) -> T:
    """RSA-2048 on the spot, larger keys in a thread: they would hold up everybody else."""
    return await asyncio.to_thread(work) if slow else work()


def _check_type(exchange: Exchange, message: SignedMessage, message_type: MessageType) -> None:
    """Raises GatewayError for what is refused whatever the message holds, before it is decrypted."""
    options = exchange.options
    switched_on = {
        MessageType.UPDATE_REQ: options.update_request,
        MessageType.GET_CERT: options.retrieval,
        MessageType.GET_CRL: options.retrieval,
    }
    if not switched_on.get(message_type, True):
        raise GatewayError(
            f"{message_name(message_type)} is switched off at this endpoint",
            code=ReasonCode.MESSAGE_UNSUPPORTED,
        )
    # RFC 8894 3.1 would encrypt to the challengePassword, which no client in the field can read; so it is
    # said before anything is issued.
    if not can_be_answered(message):
        raise GatewayError(
            "answers are encrypted to the key that signs the request, and only an RSA key can be encrypted "
            "to; sign with an RSA key, or enrol this key by EST or CMP",
            code=ReasonCode.MESSAGE_ALGORITHM,
        )


async def _performed(exchange: Exchange, request: ScepRequest, rules: MessageRules) -> Outcome | Retrieved:
    match request.message_type:
        case MessageType.CERT_POLL:
            return await poll(exchange, request)
        case MessageType.GET_CERT:
            return await get_cert(exchange, request)
        case MessageType.GET_CRL:
            return await get_crl(exchange, request)
        case _:
            return await enrol(exchange, request, rules)


async def _recorded(exchange: Exchange, message: SignedMessage, fault: GatewayError) -> Refused:
    """Record a message that never became a request."""
    name = message_name(message.message_type)
    if fault.detail:
        exchange.request.log["detail"] = fault.detail
    return await exchange.services.enrolments.record_bad_message(
        BadMessage(
            protocol=SCEP,
            endpoint=exchange.endpoint,
            operation=name,
            reason=fault.reason,
            remote=exchange.request.remote(name),
        )
    )


def _content(
    exchange: Exchange, outcome: Outcome | Retrieved, cipher: str
) -> Success | Failure | Pending | HttpResponse:
    log = exchange.request.log
    if isinstance(outcome, Retrieved):
        return Success(outcome.content_der, cipher)
    if outcome.request_id is not None:
        log["enrolment"] = outcome.request_id
    match outcome:
        case Issued():
            return Success(certs_only((outcome.certificate_der, *_chain(exchange, outcome))), cipher)
        case Waiting():
            return Pending()
        case Refused():
            log["code"] = ",".join(reason.code for reason in outcome.reasons[:5])
            text = errors.fail_info_text(outcome.reasons, outcome.request_id)
            return Failure(errors.fail_info(outcome.reasons), text)
        case Unavailable():
            log["code"] = str(outcome.reason.code)
            return errors.unavailable(outcome.reason, outcome.retry_after_s, outcome.request_id)
        case _:
            assert_never(outcome)


def _chain(exchange: Exchange, issued: Issued) -> tuple[bytes, ...]:
    match exchange.options.include_chain:
        case "none":
            return ()
        case "issuer":
            return issued.chain_der[:1]
        case "chain":
            return issued.chain_der
