"""The outermost ASGI callable: front ends' paths to their handlers, all else to the FastAPI application.

It makes the request id, judges who the client is, refuses ambiguous paths and services that a listener does
not serve, writes responses, and leaves one record and one metric per request. It knows no protocol.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog

from gateway.errors import ClientGone, GatewayError, NotFound, RequestTimeout
from gateway.http.answers import STATUS_CLIENT_GONE, ServiceRefused, error_response, fault_response
from gateway.http.application import ApplicationCall, AsgiApp, BodyReader
from gateway.http.listener import CONNECTION_KEY, CertificateHeader, ConnectionFacts, ListenerSpec
from gateway.http.log import RequestLog
from gateway.http.message import HttpRequest, HttpResponse, PathRoute, PathRoutes
from gateway.http.metrics import METRICS_SERVICE, Metrics
from gateway.http.proxy import CERTIFICATE_HEADERS, PROXIED, IpNetwork, TrustedProxies, proxied_peer
from gateway.model.ids import new_id

log = structlog.get_logger("gateway.http.edge")

APP_SERVICE = "api"
DRAINED_BODY_BYTES = (
    64 * 1024
)  # an unread body up to this is read before the answer, so that the connection stays
DRAIN_BODY_S = 1.0
TLS_ONLY_SERVICES = frozenset(("est",))  # RFC 7030 section 3.3
OPEN_PATHS = frozenset(("/healthz", "/readyz"))  # on every listener
# What certificates point to is fetched under whatever name a relying party reaches it by.
_RELYING_PARTY_SERVICES = frozenset(("crl", "ca", "ocsp", METRICS_SERVICE))
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_UNUSUAL_PATH = re.compile(rb"//|/\.\.?(?:/|$)|%|\\")
_AMBIGUOUS_ESCAPE = re.compile(rb"%(?:2f|5c|00|2e)", re.IGNORECASE)
# OCSP by GET carries base64, with slashes, in its path (RFC 6960 appendix A.1).
_BASE64_TAIL_SERVICES = frozenset(("ocsp",))
# Their front end refuses an ambiguous path itself, in its protocol's words; it gets such a path as received.
_OWN_REFUSAL_SERVICES = frozenset(("acme",))
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_PLAIN_HEADERS = frozenset((b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto"))
_NOTABLE_HEADERS = CERTIFICATE_HEADERS | _PLAIN_HEADERS


class Edge:
    """ASGI callable for all listeners of one worker; ``scope["pkigate.connection"]`` says which one it is.

    ``routes`` hold the front ends' paths; paths below ``app_prefix`` and what no route takes go to ``app``.
    ``hosts``: the names in the Host field that are answered, in lower case; empty for all. ``tls_only``: the
    services that are refused where a request came in clear.
    """

    def __init__(
        self,
        *,
        routes: PathRoutes,
        app: AsgiApp,
        listeners: Sequence[ListenerSpec] = (),
        trusted_proxies: Sequence[IpNetwork] = (),
        metrics: Metrics | None = None,
        request_log: RequestLog | None = None,
        app_prefix: str = "/api/",
        hosts: frozenset[str] = frozenset(),
        tls_only: frozenset[str] = TLS_ONLY_SERVICES,
    ) -> None:
        self._exact = {route.prefix: route for route in routes}
        self._prefixes = tuple(
            (route.prefix, route)
            for route in sorted(routes, key=lambda route: -len(route.prefix))
            if route.prefix.endswith("/")
        )
        self._app = app
        self._app_prefix = app_prefix
        self._hosts = hosts
        self._tls_only = tls_only
        self._listeners = tuple(listeners)
        self._proxies = TrustedProxies(trusted_proxies)
        self._metrics = metrics or Metrics()
        self._request_log = request_log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request = self._request(scope, receive)
        body = request.receive_body
        assert isinstance(body, BodyReader)
        service, status, sent = "none", 500, 0
        try:
            route = self._route(request)
            service = route.service if route is not None else self._app_service(request)
            self._check_served(service, scope[CONNECTION_KEY].listener, request)
            if request.via_proxy:
                self._believe_certificate(request, scope[CONNECTION_KEY].listener)
            if route is None:
                call = ApplicationCall(request, body, send)
                await call.run(self._app, scope)
                status, sent = call.status, call.sent
            else:
                response = await route.handler(request)
                status, sent = await _respond(send, request, response, body)
        except ClientGone:
            status = STATUS_CLIENT_GONE
            request.log["code"] = "client-gone"
        except GatewayError as error:
            request.log["code"] = error.code.value
            if error.detail:
                request.log["detail"] = error.detail
            status, sent = await _respond(send, request, error_response(error, request.request_id), body)
        except Exception:  # the edge is the last place: a fault of ours is a blank 500 and one traceback
            log.exception("request.fault", request_id=request.request_id, path=request.path)
            status, sent = await _respond(send, request, fault_response(request.request_id), body)
        self._finish(request, service, status, sent, body.received, time.perf_counter() - started)

    # The request

    def _request(self, scope: Any, receive: Any) -> HttpRequest:
        facts: ConnectionFacts = scope[CONNECTION_KEY]
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        notable = [pair for pair in headers if pair[0] in _NOTABLE_HEADERS]
        from_proxy = facts.peer_address in self._proxies
        request = HttpRequest(
            method=scope["method"],
            path=scope["path"],
            raw_path=scope["raw_path"],
            query=scope["query_string"],
            http_version=scope["http_version"],
            headers=tuple(headers),
            client_address=facts.peer_address,
            listener=facts.listener.name,
            scheme=scope["scheme"],
            # A proxy's own certificate and session are never its clients' credential or link.
            tls=facts.tls if not from_proxy or facts.tls is None else PROXIED,
            request_id="",
            receive_body=BodyReader(receive),
            via_proxy=from_proxy,
        )
        if from_proxy:
            self._believe_proxy(request, notable)
        if notable:
            self._strip(request, notable, facts.listener)
        request.request_id = request.request_id or new_id()
        return request

    def _strip(
        self, request: HttpRequest, notable: list[tuple[bytes, bytes]], listener: ListenerSpec
    ) -> None:
        if request.via_proxy and listener.client_certificate_header is not CertificateHeader.NONE:
            return  # read, and then removed, once the route is known
        forged = {name for name, _ in notable if name in CERTIFICATE_HEADERS}
        if forged:
            request.headers = tuple(pair for pair in request.headers if pair[0] not in CERTIFICATE_HEADERS)
            request.log["stripped"] = sorted(name.decode("latin-1") for name in forged)

    def _believe_proxy(self, request: HttpRequest, notable: list[tuple[bytes, bytes]]) -> None:
        forwarded = [value for name, value in notable if name == b"x-forwarded-for"]
        request.client_address = self._proxies.client_address(request.client_address, forwarded)
        for name, value in notable:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                request.request_id = value.decode("ascii")
            elif name == b"x-forwarded-proto" and value.strip().lower() in (b"http", b"https"):
                request.scheme = value.strip().lower().decode("ascii")

    def _believe_certificate(self, request: HttpRequest, listener: ListenerSpec) -> None:
        """Take what the proxy's header says; without that header there is no client certificate."""
        kind = listener.client_certificate_header
        if kind is CertificateHeader.NONE:
            return
        request.tls = proxied_peer(request.headers, kind)
        request.headers = tuple(pair for pair in request.headers if pair[0] not in CERTIFICATE_HEADERS)

    # Where it goes

    def _route(self, request: HttpRequest) -> PathRoute | None:
        raw = request.raw_path
        if _UNUSUAL_PATH.search(raw):
            self._decode_path(request)
        path = request.path
        route = self._exact.get(path)
        if route is not None:
            return route
        for prefix, candidate in self._prefixes:
            if path.startswith(prefix):
                return candidate
        return None

    def _decode_path(self, request: HttpRequest) -> None:
        raw = request.raw_path
        text = unquote_to_bytes(raw).decode("utf-8", "replace")
        for prefix, route in self._prefixes:
            if route.service in _BASE64_TAIL_SERVICES and raw.startswith(prefix.encode()):
                request.path = text
                return
        unescaped = raw.replace(b"%", b"")
        if _AMBIGUOUS_ESCAPE.search(raw) or "\ufffd" in text or _UNUSUAL_PATH.search(unescaped):
            if self._refuses_by_itself(raw):
                request.path = raw.decode("latin-1")
                return
            raise NotFound("the path holds '..', '//' or an escaped separator, and no such path exists here")
        request.path = text

    def _refuses_by_itself(self, raw: bytes) -> bool:
        for prefix, route in self._prefixes:  # the longest one that fits decides, as for every path
            if raw.startswith(prefix.encode()):
                return route.service in _OWN_REFUSAL_SERVICES
        return False

    def _app_service(self, request: HttpRequest) -> str:
        if request.path in OPEN_PATHS:
            return "health"
        return APP_SERVICE

    def _check_served(self, service: str, listener: ListenerSpec, request: HttpRequest) -> None:
        if service == "health":
            return
        if self._hosts and service not in _RELYING_PARTY_SERVICES:
            self._check_host(request)
        insecure = service in self._tls_only and request.scheme != "https"
        if service in listener.serves and not insecure:
            return
        known = service != APP_SERVICE or request.path.startswith(self._app_prefix)
        if not known or service == METRICS_SERVICE:
            raise NotFound(f"nothing is served at {request.path[:200]}")
        others = [spec for spec in self._listeners if service in spec.serves]
        raise ServiceRefused.from_listeners(service, listener, others, insecure=insecure)

    def _check_host(self, request: HttpRequest) -> None:
        """RFC 9110 section 7.4: a request for somebody else is not answered in his name."""
        name = host_name(request.header(b"host") or "")
        if name not in self._hosts:
            raise NotFound(f"this gateway does not go by the name {name[:200]!r}; see public_urls")

    # Afterwards

    def _finish(
        self, request: HttpRequest, service: str, status: int, sent: int, received: int, seconds: float
    ) -> None:
        method = request.method if request.method in _METHODS else "OTHER"
        self._metrics.request(service, method, status, seconds)
        if self._request_log is None:
            return
        record: dict[str, Any] = {
            "event": "request.done",
            "request_id": request.request_id,
            "listener": request.listener,
            "client": request.client_address,
            "service": service,
            "method": request.method,
            "path": request.path[:512],
            "status": status,
            "ms": round(seconds * 1000, 2),
            "received": received,
            "sent": sent,
        }
        if request.tls is not None:
            record["tls"] = request.tls.version or request.tls.source
        agent = request.header(b"user-agent")
        if agent:
            record["user_agent"] = agent[:200]
        record.update(request.log)
        self._request_log.record(record)


async def _respond(
    send: Any, request: HttpRequest, response: HttpResponse, body: BodyReader
) -> tuple[int, int]:
    """Write a whole response; gives its status and size."""
    if not body.complete and not response.close:
        await _read_rest(request, body)
    content = response.body
    headers = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in response.headers]
    if response.content_type:
        headers.append((b"Content-Type", response.content_type.encode("latin-1")))
    headers.append((b"X-Request-Id", request.request_id.encode("ascii")))
    if response.status not in (204, 304):
        headers.append((b"Content-Length", b"%d" % len(content)))
    if response.close:
        headers.append((b"Connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
    return response.status, len(content)


async def _read_rest(request: HttpRequest, body: BodyReader) -> None:
    """Read what is left of a small body that its handler did not want, so that the connection can be kept."""
    size = 0
    for name, value in request.headers:
        if name == b"content-length":
            size = int(value) if value.isdigit() else 0
        elif name == b"expect":
            return  # the client may be waiting for our word before it sends anything
    if not 0 < size <= DRAINED_BODY_BYTES:
        return
    try:
        async with asyncio.timeout(DRAIN_BODY_S):
            while await body():
                pass
    except (TimeoutError, ClientGone, RequestTimeout):
        return


def host_name(host: str) -> str:
    """The host of a Host field (RFC 9110 section 7.2), in lower case, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
