"""EST on the wire: paths, methods, and outcomes as HTTP answers (RFC 7030 sections 3.2 and 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from gateway.errors import GatewayError, NotFound, RetryLater
from gateway.est import codec, errors, flow
from gateway.est.clients import line_columns
from gateway.est.flow import EST, Exchange
from gateway.est.options import CACERTS, CSRATTRS, NOT_OFFERED, SIMPLE_ENROLL, SIMPLE_REENROLL, EstOptions
from gateway.frontend import BadMessage, Services
from gateway.http.message import HttpRequest, HttpResponse
from gateway.model.enrolment import Operation
from gateway.model.ids import EndpointName, reason_id
from gateway.model.outcome import Issued, Outcome, Pending, Refused, Unavailable
from gateway.model.reasons import ReasonCode

PREFIX = "/.well-known/est"
DEFAULT_ENDPOINT = "default"

_READ, _WRITE = ("GET", "HEAD"), ("POST",)
_METHODS = {CACERTS: _READ, CSRATTRS: _READ, SIMPLE_ENROLL: _WRITE, SIMPLE_REENROLL: _WRITE}
_ENROLMENTS = {SIMPLE_ENROLL: flow.simple_enroll, SIMPLE_REENROLL: flow.simple_reenroll}
_MAX_SHOWN = 64


class EstRoutes:
    """Answers every request below the prefix."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer one request. Faults other than GatewayError go on to the edge."""
        endpoint, operation = _parsed_path(request.path)
        request.log.update(protocol=EST, endpoint=endpoint[:_MAX_SHOWN], message=operation[:_MAX_SHOWN])
        view = self._services.endpoint(EST, endpoint)
        options = view.options if view is not None else EstOptions()
        exchange = Exchange(self._services, request, EndpointName(endpoint), options, operation)
        try:
            _check_request(exchange, known=view is not None)
            return await _performed(exchange)
        except RetryLater as fault:
            return _worded(exchange, Unavailable(fault.reason, fault.retry_after_s))
        except GatewayError as fault:
            if fault.code is ReasonCode.SERVER_FAULT:
                raise
            return await _recorded_refusal(exchange, fault)


def _parsed_path(path: str) -> tuple[str, str]:
    """Endpoint and operation; an operation of "" stands for a path of another shape."""
    parts = path.removeprefix(PREFIX).removeprefix("/").split("/")
    match parts:
        case [operation]:
            return DEFAULT_ENDPOINT, operation
        case [endpoint, operation]:
            return endpoint, operation
        case _:
            return parts[0], ""


def _check_request(exchange: Exchange, *, known: bool) -> None:
    request, operation = exchange.request, exchange.operation
    if request.scheme != "https":
        # RFC 7030 section 3.3: HTTPS MUST be used
        raise GatewayError("EST is served over https only", code=ReasonCode.HTTP_PLAIN)
    if operation in NOT_OFFERED:
        # whatever the endpoint, so that the text tells nothing of which ones exist
        raise NotFound(f"{operation} is an optional operation that this version does not offer")
    if not known or operation not in _METHODS:
        # the client's text tells nothing of which endpoints exist; the record does
        name = exchange.endpoint[:_MAX_SHOWN]
        missing = f"there is no Endpoint document of protocol est with the name {name!r}"
        raise NotFound(
            "no EST operation has this path; see /.well-known/est/[ENDPOINT/]cacerts, csrattrs, "
            "simpleenroll and simplereenroll",
            detail="" if known else f"{missing}; add one to the policies, or correct the client's URL",
        )
    if request.method not in _METHODS[operation]:
        allowed = " or ".join(_METHODS[operation])
        raise GatewayError(
            f"{operation} takes {allowed}, not {request.method[:_MAX_SHOWN]}", code=ReasonCode.HTTP_METHOD
        )


async def _performed(exchange: Exchange) -> HttpResponse:
    operation = exchange.operation
    if operation == CACERTS:
        return _certificates(exchange, await flow.ca_certs(exchange))
    if operation == CSRATTRS:
        return _csr_attributes(exchange)
    return _worded(exchange, await _ENROLMENTS[operation](exchange))


def _worded(exchange: Exchange, outcome: Outcome) -> HttpResponse:
    log = exchange.request.log
    log["outcome"] = type(outcome).__name__.lower()
    if outcome.request_id is not None:
        log["enrolment"] = outcome.request_id
    match outcome:
        case Issued():
            chain = outcome.chain_der if exchange.options.include_chain else ()
            return _certificates(exchange, (outcome.certificate_der, *chain))
        case Pending():
            return _pending(outcome)
        case Refused():
            log["code"] = ",".join(reason.code for reason in outcome.reasons[:5])
            return _refusal(exchange, outcome)
        case Unavailable():
            log["code"] = str(outcome.reason.code)
            return errors.unavailable(outcome)
        case _:
            assert_never(outcome)


def _refusal(exchange: Exchange, refused: Refused) -> HttpResponse:
    request = exchange.request
    accepts = refused.accepts
    if exchange.operation == SIMPLE_REENROLL and not (request.tls and request.tls.chain_der):
        # RFC 7030 section 4.2.2: no password can stand in for the certificate that is to be renewed
        accepts = ()
    headers: tuple[tuple[str, str], ...] = ()
    if refused.reasons and refused.reasons[0].code is ReasonCode.HTTP_METHOD:
        headers = (("Allow", ", ".join(_METHODS[exchange.operation])),)
    return errors.refusal(refused, realm=exchange.options.realm, accepts=accepts, headers=headers)


async def _recorded_refusal(exchange: Exchange, fault: GatewayError) -> HttpResponse:
    """Record a message that never became an enrolment request, and word its refusal."""
    enrolments = exchange.services.enrolments
    reason = fault.reason
    told_apart = reason.code is ReasonCode.HTTP_NOT_FOUND and fault.detail
    bad = BadMessage(
        protocol=EST,
        endpoint=exchange.endpoint[:_MAX_SHOWN],
        operation=exchange.operation[:_MAX_SHOWN],
        reason=replace(reason, message=fault.detail) if told_apart else reason,
        remote=exchange.request.remote(exchange.operation[:_MAX_SHOWN]),
    )
    try:
        refused = await enrolments.record_bad_message(bad)
    except RetryLater as fault:
        return _worded(exchange, Unavailable(fault.reason, fault.retry_after_s))
    if told_apart:
        refused = replace(refused, reasons=(reason,))
    if errors.STATUS[reason.code] == 401:
        operation = Operation.RENEW if exchange.operation == SIMPLE_REENROLL else Operation.ENROLL
        accepts = enrolments.accepted_credentials(EST, exchange.endpoint, operation)
        refused = replace(refused, accepts=accepts)
    return _worded(exchange, refused)


def _certificates(exchange: Exchange, certificates: tuple[bytes, ...]) -> HttpResponse:
    columns = line_columns(exchange.options.wrap, exchange.request)
    body = codec.encode_certs_only(certificates, columns)
    return HttpResponse(200, body, codec.CERTS_ONLY, _transfer_encoding(exchange))


def _csr_attributes(exchange: Exchange) -> HttpResponse:
    attributes = flow.csr_attrs(exchange)
    if not attributes:
        # RFC 7030 section 4.5.2: 204 or 404 where no CSR attributes are available
        return HttpResponse(exchange.options.csrattrs_empty_status)
    columns = line_columns(exchange.options.wrap, exchange.request)
    body = codec.encode_csrattrs_body(attributes, columns)
    return HttpResponse(200, body, codec.CSRATTRS_TYPE, _transfer_encoding(exchange))


def _transfer_encoding(exchange: Exchange) -> tuple[tuple[str, str], ...]:
    return (("Content-Transfer-Encoding", "base64"),) if exchange.options.content_transfer_encoding else ()


def _pending(outcome: Pending) -> HttpResponse:
    # RFC 7030 section 4.2.3: 202 needs Retry-After; strongSwan reads whole seconds only
    waits_for = "approval by a person" if outcome.waits_for == "approval" else "the CA"
    text = (
        f"the request waits for {waits_for}; send the same request again after {outcome.retry_after_s} s "
        f"[pending, {reason_id(outcome.request_id)}]\n"
    )
    retry_after = str(max(1, outcome.retry_after_s))
    return HttpResponse(202, text.encode(), errors.TEXT, (("Retry-After", retry_after),))
