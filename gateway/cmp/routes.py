"""CMP over HTTP (RFC 9811 section 3): paths, methods, media types, and what HTTP itself refuses."""

from __future__ import annotations

from dataclasses import replace

from gateway.cmp.errors import plain, unavailable
from gateway.cmp.exchange import Exchange
from gateway.cmp.nonces import Nonces
from gateway.cmp.operation import PKIXCMP, answer_message
from gateway.cmp.options import CMP, CmpOptions
from gateway.cmp.paths import read_path
from gateway.errors import GatewayError, NotFound, RetryLater
from gateway.frontend import BadMessage, EndpointView, Services
from gateway.http.message import HttpRequest, HttpResponse
from gateway.model.ids import EndpointName
from gateway.model.reasons import ReasonCode
from gateway.pki.mac_keys import MacKeys

# RFC 9811 section 4: the second was used by earlier versions
_MEDIA_TYPES = frozenset({PKIXCMP, "application/pkixcmp-poll"})
_NONCES = "cmp nonces v1"
_MAX_SHOWN = 64


class CmpRoutes:
    """Answers every request below the prefix."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keys = MacKeys()
        self._nonces = Nonces(services.shared_key(_NONCES))

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer one request. Faults other than GatewayError go on to the edge."""
        path = read_path(request.path)
        name = path.endpoint if path is not None else ""
        view = self._services.endpoint(CMP, name) if path is not None else None
        exchange = Exchange(
            self._services,
            request,
            EndpointName((name or request.path)[:_MAX_SHOWN]),
            view.options if view is not None else CmpOptions(),
            path.operation if path is not None else "",
            self._keys,
            self._nonces,
        )
        request.log.update(protocol=CMP, endpoint=exchange.endpoint, message=exchange.operation)
        try:
            _check_request(exchange, view)
            return await answer_message(exchange, await request.body(exchange.options.max_body_bytes))
        except RetryLater as fault:
            request.log.update(outcome="unavailable", code=str(fault.code))
            return unavailable(fault.reason, fault.retry_after_s)
        except GatewayError as fault:
            if fault.code is ReasonCode.SERVER_FAULT:
                raise
            return await _refused(exchange, fault)


def _check_request(exchange: Exchange, view: EndpointView | None) -> None:
    request = exchange.request
    if view is None:
        # The client's text tells nothing of which endpoints exist; the record does.
        raise NotFound(
            "there is no CMP endpoint at this path; it is /.well-known/cmp for the default one, else "
            "/.well-known/cmp/p/ENDPOINT",
            detail=f"there is no Endpoint document of protocol cmp with the name {exchange.endpoint!r}; add "
            "one to the policies, or correct the client's URL",
        )
    if request.method != "POST":
        raise GatewayError(
            f"CMP uses POST only, not {request.method[:_MAX_SHOWN]}", code=ReasonCode.HTTP_METHOD
        )
    # RFC 9811 section 3.2
    media_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise GatewayError(
            f"the Content-Type must be {PKIXCMP}, not {media_type[:_MAX_SHOWN]!r}",
            code=ReasonCode.HTTP_MEDIA_TYPE,
        )


async def _refused(exchange: Exchange, fault: GatewayError) -> HttpResponse:
    """Record what no PKIMessage can answer, and word it in plain text."""
    request, reason = exchange.request, fault.reason
    request.log.update(outcome="refused", code=str(reason.code))
    bad = BadMessage(
        protocol=CMP,
        endpoint=exchange.endpoint,
        operation=exchange.operation,
        reason=replace(reason, message=fault.detail) if fault.detail else reason,
        remote=request.remote(exchange.operation),
    )
    try:
        refused = await exchange.services.enrolments.record_bad_message(bad)
    except RetryLater as late:
        return unavailable(late.reason, late.retry_after_s)
    if refused.request_id is not None:
        request.log["enrolment"] = refused.request_id
    headers = (("Allow", "POST"),) if reason.code is ReasonCode.HTTP_METHOD else ()
    return plain(reason, refused.request_id, headers=headers)
