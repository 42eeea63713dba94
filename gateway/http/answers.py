"""The edge's own answers: plain text for errors that no front end has mapped to its protocol's words."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import GatewayError, MalformedMessage, RetryLater
from gateway.http.listener import ListenerSpec
from gateway.http.message import HttpResponse
from gateway.model.reasons import ReasonCode

TEXT = "text/plain; charset=utf-8"
STATUS_CLIENT_GONE = 499  # never sent; stands in logs and metrics

_STATUS: dict[ReasonCode, int] = {
    ReasonCode.HTTP_NOT_FOUND: 404,
    ReasonCode.HTTP_METHOD: 405,
    ReasonCode.HTTP_MEDIA_TYPE: 415,
    ReasonCode.HTTP_TOO_LARGE: 413,
    ReasonCode.HTTP_TIMEOUT: 408,
    ReasonCode.HTTP_PLAIN: 403,
    ReasonCode.HTTP_PROXY_HEADER: 400,
    ReasonCode.AUTH_MISSING: 401,
    ReasonCode.AUTH_THROTTLED: 429,
    ReasonCode.SERVER_FAULT: 500,
}
_CLOSING = frozenset((400, 408, 413))


class ServiceRefused(GatewayError):
    """A service asked for on a listener that does not serve it."""

    default_code = ReasonCode.HTTP_PLAIN

    @classmethod
    def from_listeners(
        cls, service: str, here: ListenerSpec, others: Sequence[ListenerSpec], *, insecure: bool
    ) -> ServiceRefused:
        """Say where the service is to be had, ``here`` being where it was asked for."""
        offers = [spec for spec in others if spec.name != here.name and not (insecure and spec.tls is None)]
        where = " or ".join(
            f'the listener "{spec.name}" ({"https" if spec.tls else "http"}, port {spec.port})'
            for spec in offers
        )
        name = service.upper() if len(service) <= 4 else service
        plain = here.tls is None and (insecure or any(spec.tls for spec in offers))
        reason = "over plain HTTP" if plain else f'on the listener "{here.name}"'
        hint = f"; use {where}" if where else "; no listener of this gateway serves it"
        code = ReasonCode.HTTP_PLAIN if plain else ReasonCode.HTTP_NOT_FOUND
        return cls(f"{name} is not served {reason}{hint}", code=code)


def error_status(error: GatewayError) -> int:
    """The HTTP status of an error that no front end mapped."""
    if isinstance(error, ServiceRefused):
        return 403
    if isinstance(error, RetryLater):
        return 503
    status = _STATUS.get(error.code)
    if status is not None:
        return status
    return 400 if isinstance(error, MalformedMessage) or error.code.startswith("message.") else 403


def error_response(error: GatewayError, request_id: str) -> HttpResponse:
    """The public text, the code and the request id; nothing of ``detail``."""
    status = error_status(error)
    if status == 500:
        return fault_response(request_id)
    headers = (("Retry-After", str(error.retry_after_s)),) if isinstance(error, RetryLater) else ()
    text = f"{error}\ncode: {error.code.value}\n{_log_line(request_id)}\n"
    return HttpResponse(status, text.encode(), TEXT, headers, close=status in _CLOSING)


def fault_response(request_id: str) -> HttpResponse:
    """A blank 500 with nothing but the request id."""
    text = "the gateway could not answer this request because of a fault of its own"
    text = f"{text}\n{_log_line(request_id)}\n"
    return HttpResponse(500, text.encode(), TEXT, close=True)


def _log_line(request_id: str) -> str:
    """Where to look: what the edge refuses is no enrolment, and only the log knows of it."""
    return f"request id {request_id} stands in the log of the gateway"
