"""SCEP on the wire: paths, operations, and what HTTP says (RFC 8894 sections 3.5 and 4)."""

from __future__ import annotations

from dataclasses import replace

from gateway.errors import GatewayError, NotFound, RetryLater
from gateway.frontend import BadMessage, Services
from gateway.http.message import HttpRequest, HttpResponse
from gateway.model.ids import EndpointName
from gateway.model.reasons import ReasonCode
from gateway.scep import errors
from gateway.scep.ca_certificates import ca_certificates, certificates_body
from gateway.scep.capabilities import capabilities, capabilities_body
from gateway.scep.compat import options_for
from gateway.scep.exchange import Exchange
from gateway.scep.get_message import decoded_message, decoded_text, query_values
from gateway.scep.operation import pki_operation
from gateway.scep.options import SCEP, ScepOptions
from gateway.scep.paths import endpoint_of

GET_CA_CAPS, GET_CA_CERT, GET_NEXT_CA_CERT = "GetCACaps", "GetCACert", "GetNextCACert"
PKI_OPERATION = "PKIOperation"
# Values are compared without letter case: devices write what they like.
_OPERATIONS = {name.casefold(): name for name in (GET_CA_CAPS, GET_CA_CERT, GET_NEXT_CA_CERT, PKI_OPERATION)}
_READ, _WRITE = ("GET", "HEAD", "POST"), ("GET", "POST")
_MAX_SHOWN = 64


class ScepRoutes:
    """Answers every request below the paths of ``paths.prefixes``."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer one request. Faults other than GatewayError go on to the edge."""
        values = query_values(request.query)
        asked = decoded_text(values.get("operation", b""))
        operation = _OPERATIONS.get(asked.casefold(), "")
        exchange, missing = self._exchange(request)
        request.log.update(protocol=SCEP, endpoint=exchange.endpoint, message=operation or asked[:_MAX_SHOWN])
        try:
            if missing is not None:
                raise missing
            _check_request(request, operation, asked)
            return await _performed(exchange, operation, values)
        except RetryLater as fault:
            request.log.update(outcome="unavailable", code=str(fault.code))
            return errors.unavailable(fault.reason, fault.retry_after_s, None)
        except GatewayError as fault:
            if fault.code is ReasonCode.SERVER_FAULT:
                raise
            return await _refused(exchange, operation or asked[:_MAX_SHOWN], fault)

    def _exchange(self, request: HttpRequest) -> tuple[Exchange, NotFound | None]:
        """The exchange, and why it cannot go on if the path names no endpoint."""
        services, name = self._services, endpoint_of(request.path)
        view = services.endpoint(SCEP, name)
        if view is None:
            shown = (name or request.path)[:_MAX_SHOWN]
            missing = NotFound(
                "there is no SCEP endpoint at this path; it is /scep/ENDPOINT, or /scep for the default one",
                detail=f"there is no Endpoint document of protocol scep with the name {shown!r}; add one to "
                "the policies, or correct the client's URL",
            )
            return Exchange(services, request, EndpointName(shown), ScepOptions()), missing
        options, document = options_for(
            view.options, services.compatibility(SCEP), request.header(b"user-agent"), request.path
        )
        if document:
            request.log["compat"] = document
        return Exchange(services, request, view.name, options), None


def _check_request(request: HttpRequest, operation: str, asked: str) -> None:
    if request.method not in _methods(operation):
        raise GatewayError(
            f"SCEP uses GET and POST, not {request.method[:_MAX_SHOWN]}", code=ReasonCode.HTTP_METHOD
        )
    if not operation:
        what = f"the operation {asked[:_MAX_SHOWN]!r} is unknown" if asked else "the operation is missing"
        raise GatewayError(
            f"{what}; add ?operation= with one of GetCACaps, GetCACert and PKIOperation",
            code=ReasonCode.MESSAGE_UNSUPPORTED,
        )


def _methods(operation: str) -> tuple[str, ...]:
    return _WRITE if operation == PKI_OPERATION else _READ


async def _performed(exchange: Exchange, operation: str, values: dict[str, bytes]) -> HttpResponse:
    match operation:
        case "GetCACaps":
            # Without charset: RFC 8894 section 3.5.2 says text/plain, and clients compare.
            body = capabilities_body(capabilities(exchange.options))
            return HttpResponse(200, body, "text/plain")
        case "GetCACert":
            found = await ca_certificates(exchange.services, exchange.endpoint, exchange.options)
            content_type, body = certificates_body(found)
            return HttpResponse(200, body, content_type)
        case "GetNextCACert":
            # Section 4.7; GetCACaps does not offer it, since no next CA can be prepared yet.
            raise NotFound("no next CA certificate has been prepared; see GetCACaps")
        case _:
            return await pki_operation(exchange, await _message(exchange, values))


async def _message(exchange: Exchange, values: dict[str, bytes]) -> bytes:
    """The pkiMessage: the body of a POST whatever its Content-Type, else what stands in the URL."""
    request, max_bytes = exchange.request, exchange.options.max_body_bytes
    if request.method == "POST":
        return await request.body(max_bytes)
    return decoded_message(values.get("message", b""), max_bytes)


async def _refused(exchange: Exchange, operation: str, fault: GatewayError) -> HttpResponse:
    """Record what no CertRep can answer, and word it in plain text."""
    request, reason = exchange.request, fault.reason
    request.log.update(outcome="refused", code=str(reason.code))
    told_apart = reason.code is ReasonCode.HTTP_NOT_FOUND and fault.detail
    bad = BadMessage(
        protocol=SCEP,
        endpoint=exchange.endpoint,
        operation=operation,
        # The client's text tells nothing of which endpoints exist; the record does.
        reason=replace(reason, message=fault.detail) if told_apart else reason,
        remote=request.remote(operation),
    )
    try:
        refused = await exchange.services.enrolments.record_bad_message(bad)
    except RetryLater as late:
        return errors.unavailable(late.reason, late.retry_after_s, None)
    if refused.request_id is not None:
        request.log["enrolment"] = refused.request_id
    headers = (("Allow", ", ".join(_methods(operation))),) if reason.code is ReasonCode.HTTP_METHOD else ()
    return errors.plain(reason, refused.request_id, headers=headers)
