"""ACME on the wire (RFC 8555 section 6): paths, methods, headers of every answer, errors as problems."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import lru_cache

from gateway.acme.authentication import Authentication
from gateway.acme.challenges import Challenges
from gateway.acme.errors import AcmeError, Context, malformed, problem_of
from gateway.acme.exchange import ACME, Exchange
from gateway.acme.nonces import Nonces
from gateway.acme.options import RESERVED_ENDPOINT_NAMES, AcmeOptions
from gateway.acme.paths import DEFAULT_ENDPOINT, PREFIX, Links, endpoint_path
from gateway.acme.problems import problem
from gateway.acme.resources import Resource, resource_table
from gateway.acme.tables.events import actor_of
from gateway.errors import ClientGone, Conflict, GatewayError, Overloaded, RetryLater
from gateway.frontend import BadMessage, Services
from gateway.http.message import HttpRequest, HttpResponse
from gateway.model.ids import EndpointName
from gateway.model.reasons import Reason, ReasonCode

LOG = logging.getLogger(__name__)

_MAX_SHOWN = 64
_MAX_NAMES = 20  # of a refused order, in its record
# What no path of a resource holds. A path with dots, empty segments or escaped separators comes as received.
_NO_PATH = re.compile(r"//|/\.\.?(?:/|$)|%|\\").search
_NO_STORE = (("Cache-Control", "no-store"),)
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Link, Location, Replay-Nonce, Retry-After"),
)
_PREFLIGHT = (
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "86400"),
)
_WITHOUT_INDEX = "directory"  # RFC 8555 7.1: all resources but this one link to it
_NO_OPTIONS = AcmeOptions()


class AcmeRoutes:
    """Answers every request below the prefix."""

    def __init__(self, services: Services, challenges: Challenges) -> None:
        self._services = services
        self._nonces = Nonces(services)
        self._authentication = Authentication(self._nonces)
        self._resources = resource_table(challenges)

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer one request; whatever happens, the answer to a POST has a nonce."""
        endpoint, word, parts = parsed_path(request.path)
        request.log.update(protocol=ACME, endpoint=endpoint[:_MAX_SHOWN], message=word[:_MAX_SHOWN])
        view = self._services.endpoint(ACME, endpoint)
        resource, word = _resource(self._resources, word, parts)
        if _NO_PATH(request.path):
            resource = None
        exchange = Exchange(
            self._services,
            request,
            EndpointName(endpoint),
            _NO_OPTIONS if view is None else view.options,
            _links(self._services.base_urls.of(request), endpoint if view is not None else DEFAULT_ENDPOINT),
            word,
        )
        try:
            response = await self._answered(exchange, None if view is None else resource, parts)
        except ClientGone:
            raise
        except GatewayError as fault:
            response = await self._refused(exchange, fault)
        except Exception:  # the client needs a nonce and a problem, which the edge does not know of
            LOG.exception("acme.fault: request %s, resource %s", request.request_id, exchange.resource)
            response = _fault(exchange)
        return self._dressed(exchange, response)

    async def _answered(
        self, exchange: Exchange, resource: Resource | None, parts: tuple[str, ...]
    ) -> HttpResponse:
        request = exchange.request
        if request.scheme != "https":
            # RFC 8555 6.1: HTTPS MUST be used; a redirect would have the message sent in clear again
            raise malformed("ACME is served over https only", status=403, code=ReasonCode.HTTP_PLAIN)
        if resource is None:
            raise _unknown(exchange)
        method = request.method
        if method not in resource.methods:
            if method == "OPTIONS":
                allowed = ", ".join((*resource.methods, "OPTIONS"))
                return HttpResponse(
                    204, headers=(("Allow", allowed), ("Access-Control-Allow-Methods", allowed), *_PREFLIGHT)
                )
            raise _wrong_method(resource)
        if method == "POST":
            assert resource.answer is not None
            signed, found = await self._authentication.authenticate(exchange, resource, parts)
            return await resource.answer(signed, found, parts)
        assert resource.answer_open is not None
        return await resource.answer_open(exchange, parts)

    async def _refused(self, exchange: Exchange, fault: GatewayError) -> HttpResponse:
        log = exchange.request.log
        log["outcome"], log["code"] = "refused", fault.code.value
        if isinstance(fault, Conflict):
            # Several messages moved one object, and this one lost each time: nothing is wrong with it.
            LOG.warning(
                "acme.conflict: request %s, resource %s", exchange.request.request_id, exchange.resource
            )
            fault = Overloaded("several requests changed the same object at once", retry_after_s=1)
        if isinstance(fault, RetryLater):
            log["outcome"] = "unavailable"
            return _retry_later(fault)
        if not isinstance(fault, AcmeError):
            if fault.code is ReasonCode.SERVER_FAULT:
                request_id = exchange.request.request_id
                LOG.error(
                    "acme.fault: request %s, resource %s", request_id, exchange.resource, exc_info=fault
                )
                return _fault(exchange)
            fault = _translated(exchange, fault)
        log["problem"] = fault.type
        if fault.detail:
            log["detail"] = fault.detail
        if fault.recorded:
            try:
                refused = await exchange.services.enrolments.record_bad_message(_bad_message(exchange, fault))
            except RetryLater as later:
                return _retry_later(later)
            fault.request_id = refused.request_id
        if fault.request_id is not None:
            log["enrolment"] = fault.request_id
        return problem(fault)

    def _dressed(self, exchange: Exchange, response: HttpResponse) -> HttpResponse:
        """The answer with the headers that every one has."""
        request, headers = exchange.request, list(response.headers)
        signed = request.method == "POST"
        if signed or exchange.resource == "new-nonce":
            # RFC 8555 6.5: every answer to a POST, errors too
            headers.append(("Replay-Nonce", self._nonces.make()))
        if exchange.resource != _WITHOUT_INDEX:
            headers.append(_index(exchange.links.root))
        if signed or not any(name == "Cache-Control" for name, _ in headers):
            headers.extend(_NO_STORE)
        headers.extend(_CORS)
        return HttpResponse(
            response.status, response.body, response.content_type, tuple(headers), response.close
        )


def parsed_path(path: str) -> tuple[str, str, tuple[str, ...]]:
    """Endpoint, word of the resource, and the further parts; the word "" stands for a path without one."""
    first, *rest = path.removeprefix(PREFIX).removeprefix("/").split("/")
    if first in RESERVED_ENDPOINT_NAMES or not rest:
        return DEFAULT_ENDPOINT, first, tuple(rest)
    word, *parts = rest
    return first, word, tuple(parts)


def _resource(
    resources: Mapping[tuple[str, int | str], Resource], word: str, parts: tuple[str, ...]
) -> tuple[Resource | None, str]:
    """The resource of a path and its name; None where there is none."""
    if len(parts) == 2 and (named := resources.get((word, parts[1]))) is not None:
        return named, parts[1]
    return resources.get((word, len(parts))), word


@lru_cache(maxsize=1024)
def _links(base_url: str, endpoint: str) -> Links:
    return Links(f"{base_url}{endpoint_path(endpoint)}")


@lru_cache(maxsize=1024)
def _index(root: str) -> tuple[str, str]:
    return "Link", f'<{root}/directory>;rel="index"'


def _unknown(exchange: Exchange) -> AcmeError:
    # The client's text tells nothing of which endpoints exist; the record does.
    return AcmeError(
        "malformed",
        "no ACME resource has this path; begin at /acme/directory or /acme/ENDPOINT/directory",
        status=404,
        code=ReasonCode.HTTP_NOT_FOUND,
        log_detail=f"nothing is at {exchange.request.path[:200]!r}; Endpoint documents of protocol acme name "
        "the endpoints",
    )


def _wrong_method(resource: Resource) -> AcmeError:
    allowed = resource.methods
    return AcmeError(
        "malformed",
        f"this resource takes {' or '.join(allowed)}",
        status=405,
        code=ReasonCode.HTTP_METHOD,
        headers=(("Allow", ", ".join(allowed)),),
    )


def _translated(exchange: Exchange, fault: GatewayError) -> AcmeError:
    """An error of a codec or of the house in ACME's words."""
    context = Context.FINALIZE if exchange.resource == "finalize" else Context.ORDER
    type_, status = problem_of(fault.code, context)
    return AcmeError(type_, str(fault), status=status, code=fault.code, log_detail=fault.detail)


def _retry_later(fault: RetryLater) -> HttpResponse:
    """503, or 429 for one who is too fast, with Retry-After in whole seconds (RFC 8555 section 6.6)."""
    type_, status = problem_of(fault.code)
    if status != 429:
        type_, status = "serverInternal", 503
    headers = (("Retry-After", str(max(1, fault.retry_after_s))),)
    return problem(AcmeError(type_, str(fault), status=status, code=fault.code, headers=headers))


def _fault(exchange: Exchange) -> HttpResponse:
    """A fault of ours: the operator has the traceback, the client no word of it."""
    request = exchange.request
    request.log["outcome"], request.log["code"] = "fault", ReasonCode.SERVER_FAULT.value
    text = f"the server failed; the operator finds the fault as request {request.request_id}"
    return problem(AcmeError("serverInternal", text, status=500, code=ReasonCode.SERVER_FAULT))


def _bad_message(exchange: Exchange, fault: AcmeError) -> BadMessage:
    message = f"{fault} [{fault.detail}]" if fault.detail else str(fault)
    return BadMessage(
        protocol=ACME,
        endpoint=exchange.endpoint[:_MAX_SHOWN],
        operation=exchange.resource[:_MAX_SHOWN],
        reason=Reason(fault.code, message, fault.path),
        remote=exchange.remote,
        identity=actor_of(str(account)) if (account := exchange.request.log.get("account")) else "anonymous",
        names=tuple([f"{one.kind}:{one.value}" for one in fault.subproblems[:_MAX_NAMES]]),
    )
