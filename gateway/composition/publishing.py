"""CRLs and CA certificates over plain HTTP (RFC 5280 sections 4.2.1.13 and 4.2.2.1, RFC 2585)."""

from __future__ import annotations

import hashlib
from datetime import datetime

from gateway.clock import Clock
from gateway.enrolment.crl import CrlPublisher
from gateway.errors import NotFound
from gateway.http.message import HttpRequest, HttpResponse, PathRoute

CRL_PREFIX, CA_PREFIX = "/crl/", "/ca/"
MAX_AGE_S = 60  # a cache must not hide a revocation for longer


class Publisher:
    """Serves ``/crl/NAME.crl`` and ``/ca/NAME.cer``."""

    def __init__(self, crls: CrlPublisher, clock: Clock) -> None:
        self._crls = crls
        self._clock = clock

    def routes(self) -> tuple[PathRoute, ...]:
        return (PathRoute(CRL_PREFIX, "crl", self._crl), PathRoute(CA_PREFIX, "ca", self._certificate))

    async def _crl(self, request: HttpRequest) -> HttpResponse:
        name = _name(request, CRL_PREFIX, ".crl")
        if (refused := _wrong_method(request)) is not None:
            return refused
        crl = await self._crls.crl(name)
        left_s = max(0, int((crl.next_update - self._clock.now()).total_seconds()))
        headers = (
            ("ETag", f'"{crl.number}"'),
            ("Last-Modified", _http_date(crl.this_update)),
            ("Cache-Control", f"max-age={min(MAX_AGE_S, left_s)}"),
        )
        return _conditional(request, crl.crl_der, "application/pkix-crl", headers)

    async def _certificate(self, request: HttpRequest) -> HttpResponse:
        name = _name(request, CA_PREFIX, ".cer")
        if (refused := _wrong_method(request)) is not None:
            return refused
        certificate_der = self._crls.authority(name).certificate_der
        tag = hashlib.sha256(certificate_der).hexdigest()[:32]
        headers = (("ETag", f'"{tag}"'), ("Cache-Control", "max-age=3600"))
        return _conditional(request, certificate_der, "application/pkix-cert", headers)


def _name(request: HttpRequest, prefix: str, suffix: str) -> str:
    if not request.path.endswith(suffix):
        raise NotFound(f"write {prefix}NAME{suffix}")
    return request.path[len(prefix) : -len(suffix)]


def _wrong_method(request: HttpRequest) -> HttpResponse | None:
    if request.method in {"GET", "HEAD"}:
        return None
    text = f"{request.method} is not possible here; use GET"
    return HttpResponse(405, text.encode(), "text/plain; charset=utf-8", (("Allow", "GET, HEAD"),))


def _conditional(
    request: HttpRequest, body: bytes, content_type: str, headers: tuple[tuple[str, str], ...]
) -> HttpResponse:
    if request.header(b"if-none-match") == headers[0][1]:
        return HttpResponse(304, headers=headers)
    return HttpResponse(200, body, content_type, headers)


def _http_date(moment: datetime) -> str:
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
