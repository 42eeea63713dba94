"""The edge: routing, request ids, proxies, refusals, records, metrics."""

from __future__ import annotations

import base64
import ipaddress
import json
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import GatewayError, NotFound, Overloaded
from gateway.http.listener import CertificateHeader, HttpLimits, ListenerSpec
from gateway.http.message import HttpRequest, HttpResponse
from gateway.http.metrics import Metrics
from gateway.model.reasons import ReasonCode
from tests.unit.http.conftest import Pki, Running, exchange, running

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: a", *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def text(answer: bytes) -> str:
    return answer.partition(b"\r\n\r\n")[2].decode()


def records(up: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in up.log.getvalue().splitlines()]


@pytest.mark.parametrize(
    "path",
    [
        "/tree/../echo",
        "/tree//x",
        "//echo",
        "/tree/%2e%2e/echo",
        "/tree/a%2Fb",
        "/tree/%5cx",
        "/tree/%00",
        "/tree/.",
        "/tree/../acme/directory",
        "//acme/directory",
        "/acme/tree//x",
    ],
)
async def test_ambiguous_path_is_404(path: str) -> None:
    async with running() as up:
        answer = await exchange(up.port, get(path))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert not up.requests


@pytest.mark.parametrize(
    "path",
    ["/acme//directory", "/acme/./x", "/acme/../echo", "/acme/..%2Fecho", "/acme/%2e%2e/echo", "/acme/%FF"],
)
async def test_ambiguous_path_below_acme_goes_to_its_front_end_as_it_was_received(path: str) -> None:
    """acme.md C10: the front end has a problem document and a nonce for it; no other handler ever sees it."""
    async with running(serves=frozenset(("acme", "test"))) as up:
        answer = await exchange(up.port, get(path))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [request.path for request in up.requests] == [path]


async def test_ambiguous_path_below_acme_is_refused_where_acme_is_not_served() -> None:
    async with running(serves=frozenset(("test",))) as up:
        answer = await exchange(up.port, get("/acme/../echo"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert not up.requests


async def test_escaped_path_is_decoded_and_the_raw_one_kept() -> None:
    async with running() as up:
        await exchange(up.port, get("/tree/a%20b?x=%2F.."))
    assert (up.requests[0].path, up.requests[0].raw_path, up.requests[0].query) == (
        "/tree/a b",
        b"/tree/a%20b",
        b"x=%2F..",
    )


async def test_ocsp_path_may_hold_base64_slashes() -> None:
    async with running(serves=frozenset(("ocsp",))) as up:
        answer = await exchange(up.port, get("/ocsp/ca/MEow//%2Bx%2FE%3D"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert up.requests[0].path == "/ocsp/ca/MEow//+x/E="


async def test_service_of_another_listener_is_403_and_says_where_it_is() -> None:
    tls: Any = object()
    elsewhere = ListenerSpec("secure", "127.0.0.1", 8443, frozenset(("est", "test")), tls=tls)
    changes = {"listeners": (elsewhere,)}
    async with running(serves=frozenset(("crl",)), edge_changes=changes) as up:
        est = await exchange(up.port, get("/.well-known/est/cacerts"))
        await exchange(up.port, get("/echo"))
    assert est.startswith(b"HTTP/1.1 403 ")
    assert 'EST is not served over plain HTTP; use the listener "secure" (https, port 8443)' in text(est)
    assert [record["code"] for record in records(up)] == ["http.plain", "http.plain"]


async def test_est_on_a_plain_listener_is_refused_even_if_listed() -> None:
    async with running() as up:
        answer = await exchange(up.port, get("/.well-known/est/cacerts", "X-Forwarded-Proto: https"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert not up.requests


async def test_est_behind_a_trusted_tls_proxy_is_served() -> None:
    async with running(edge_changes={"trusted_proxies": LOOPBACK}) as up:
        answer = await exchange(up.port, get("/.well-known/est/cacerts", "X-Forwarded-Proto: https"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert (up.requests[0].scheme, up.requests[0].via_proxy) == ("https", True)


async def test_health_is_answered_on_every_listener_and_the_rest_of_the_application_is_not() -> None:
    async with running(serves=frozenset(("crl",))) as up:
        assert (await exchange(up.port, get("/healthz"))).startswith(b"HTTP/1.1 200 ")
        assert (await exchange(up.port, get("/docs"))).startswith(b"HTTP/1.1 404 ")
        assert (await exchange(up.port, get("/api/v1/requests"))).startswith(b"HTTP/1.1 403 ")


async def test_request_id_comes_from_a_trusted_proxy_only() -> None:
    async with running() as up:
        stranger = await exchange(up.port, get("/echo", "X-Request-Id: abc-1"))
    async with running(edge_changes={"trusted_proxies": LOOPBACK}) as up:
        proxy = await exchange(up.port, get("/echo", "X-Request-Id: abc-1"))
        bad = await exchange(up.port, get("/echo", "X-Request-Id: a b"))
    assert b"abc-1" not in stranger
    assert b"X-Request-Id: abc-1\r\n" in proxy
    assert b"a b" not in bad


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (["X-Forwarded-For: 1.2.3.4, 198.51.100.7, 127.0.0.9"], "198.51.100.7"),
        (["X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        (["X-Forwarded-For: 1.2.3.4, rubbish"], "127.0.0.1"),
        (["X-Forwarded-For: ::ffff:198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: "], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
async def test_client_address_is_the_rightmost_untrusted_one(forwarded: list[str], expected: str) -> None:
    async with running(edge_changes={"trusted_proxies": LOOPBACK}) as up:
        await exchange(up.port, get("/echo", *forwarded))
    assert up.requests[0].client_address == expected


async def test_forwarded_address_of_a_stranger_does_not_count() -> None:
    async with running() as up:
        await exchange(up.port, get("/echo", "X-Forwarded-For: 1.2.3.4"))
    assert up.requests[0].client_address == "127.0.0.1"


def certificate_header(pki: Pki, kind: CertificateHeader) -> list[str]:
    leaf = pki.client.certificate
    above = pki.intermediate.certificate
    der = [base64.b64encode(c.public_bytes(Encoding.DER)).decode() for c in (leaf, above)]
    pem = [quote(c.public_bytes(Encoding.PEM).decode(), safe="") for c in (leaf, above)]
    return {
        CertificateHeader.RFC9440: [f"Client-Cert: :{der[0]}:", f"Client-Cert-Chain: :{der[1]}:"],
        CertificateHeader.NGINX: [f"X-SSL-Cert: {pem[0]}"],
        CertificateHeader.HAPROXY: [f"X-SSL-Client-DER: {der[0]}"],
        CertificateHeader.ENVOY: [
            f'X-Forwarded-Client-Cert: Cert="forged",Hash=0;Subject="CN=a;,b";Chain="{pem[0]}{pem[1]}"'
        ],
    }[kind]


KINDS = [kind for kind in CertificateHeader if kind is not CertificateHeader.NONE]


@pytest.mark.parametrize("kind", KINDS)
async def test_certificate_from_a_trusted_proxy_reaches_the_route(pki: Pki, kind: CertificateHeader) -> None:
    changes = {"trusted_proxies": LOOPBACK}
    async with running(spec_changes={"client_certificate_header": kind}, edge_changes=changes) as up:
        answer = await exchange(up.port, get("/echo", *certificate_header(pki, kind)))
    assert answer.startswith(b"HTTP/1.1 200 ")
    peer = up.requests[0].tls
    assert peer is not None
    assert peer.source == "proxy"
    assert peer.chain_der[0] == pki.client.certificate.public_bytes(Encoding.DER)
    assert len(peer.chain_der) == (2 if kind in (CertificateHeader.RFC9440, CertificateHeader.ENVOY) else 1)
    assert peer.binding("tls-exporter") is None


@pytest.mark.parametrize("kind", KINDS)
async def test_certificate_header_of_a_stranger_is_stripped_and_logged(
    pki: Pki, kind: CertificateHeader
) -> None:
    async with running(spec_changes={"client_certificate_header": kind}) as up:
        await exchange(up.port, get("/echo", *certificate_header(pki, kind)))
    assert up.requests[0].tls is None
    assert not [name for name, _ in up.requests[0].headers if b"cert" in name or b"der" in name]
    assert records(up)[0]["stripped"]


async def test_other_kinds_of_header_from_a_trusted_proxy_are_stripped(pki: Pki) -> None:
    headers = certificate_header(pki, CertificateHeader.NGINX)
    changes = {"trusted_proxies": LOOPBACK}
    spec = {"client_certificate_header": CertificateHeader.RFC9440}
    async with running(spec_changes=spec, edge_changes=changes) as up:
        await exchange(up.port, get("/echo", *headers))
    peer = up.requests[0].tls
    assert peer is not None
    assert peer.chain_der == ()
    assert up.requests[0].header(b"x-ssl-cert") is None


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        (CertificateHeader.RFC9440, ["Client-Cert: :MAA=:", "Client-Cert: :MAA=:"]),
        (CertificateHeader.RFC9440, ["Client-Cert: MAA="]),
        (CertificateHeader.RFC9440, ["Client-Cert: :M:"]),
        (CertificateHeader.RFC9440, ["Client-Cert: :MAA=:, :MAA=:"]),
        (CertificateHeader.RFC9440, ["Client-Cert-Chain: :MAA=:"]),
        (CertificateHeader.NGINX, ["X-SSL-Cert: rubbish"]),
        (CertificateHeader.HAPROXY, ["X-SSL-Client-DER: AAAA"]),
        (CertificateHeader.ENVOY, ['X-Forwarded-Client-Cert: Cert="x"']),
    ],
)
async def test_unreadable_or_doubled_certificate_header_is_400(
    kind: CertificateHeader, headers: list[str]
) -> None:
    changes = {"trusted_proxies": LOOPBACK}
    async with running(spec_changes={"client_certificate_header": kind}, edge_changes=changes) as up:
        answer = await exchange(up.port, get("/echo", *headers))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "http.proxy-header" in text(answer)


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (NotFound("no such thing"), 404, b""),
        (Overloaded("too much to do", retry_after_s=7), 503, b"Retry-After: 7\r\n"),
        (GatewayError("hidden", detail="inside"), 500, b""),
        (GatewayError("wrong type", code=ReasonCode.HTTP_MEDIA_TYPE), 415, b""),
        (GatewayError("no DER", code=ReasonCode.MESSAGE_ASN1), 400, b""),
    ],
)
async def test_error_that_escapes_a_handler_is_plain_text(
    error: GatewayError, status: int, header: bytes
) -> None:
    async def refuse(_request: HttpRequest) -> HttpResponse:
        raise error

    async with running(handler=refuse) as up:
        answer = await exchange(up.port, get("/echo"))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert header in answer
    assert b"Content-Type: text/plain; charset=utf-8\r\n" in answer
    assert (str(error) in text(answer)) == (status != 500)
    request_id = records(up)[0]["request_id"]
    assert f"\nrequest id {request_id} stands in the log of the gateway\n" in text(answer)
    assert records(up)[0]["code"] == error.code.value


async def test_response_header_with_a_line_break_becomes_a_500() -> None:
    async def split(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b"", "", (("X-A", "b\r\nSet-Cookie: c"),))

    async with running(handler=split) as up:
        answer = await exchange(up.port, get("/echo"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Set-Cookie" not in answer


async def test_record_of_a_request_escapes_what_the_client_sent() -> None:
    async with running() as up:
        await exchange(up.port, get("/tree/%0a%7b%22event%22:1%7d%1b[31m", "User-Agent: a\x85\u00e9"))
    lines = up.log.getvalue().splitlines()
    assert len(lines) == 1
    assert all(32 <= octet < 127 for octet in lines[0])
    record = json.loads(lines[0])
    assert record["path"] == '/tree/\n{"event":1}\x1b[31m'
    assert record["event"] == "request.done"
    assert {"request_id", "client", "status", "ms", "service", "ts", "received", "sent"} <= set(record)


async def test_application_body_over_the_cap_is_413() -> None:
    async def greedy(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    wire = b"POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" + b"a" * 1_200_000
    async with running(app=greedy) as up:
        answer = await exchange(up.port, wire)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_application_too_slow_body_is_408_whatever_the_framework_says() -> None:
    async def framework(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
            await receive()
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"Internal Server Error"})
            raise

    limits = HttpLimits(body_s=0.4, body_gap_s=0.4)
    async with running(app=framework, limits=limits) as up:
        answer = await exchange(up.port, b"POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_requests_are_counted_by_service_method_and_class() -> None:
    metrics = Metrics()
    async with running(edge_changes={"metrics": metrics}) as up:
        await exchange(up.port, get("/echo"))
        await exchange(up.port, get("/nowhere"))
        await exchange(up.port, b"BREW /echo HTTP/1.1\r\nHost: a\r\n\r\n")
    lines = metrics.exposition().decode()
    assert 'pkigate_requests_total{method="GET",service="test",status="2xx"} 1.0' in lines
    assert 'pkigate_request_seconds_count{service="test"} 1.0' in lines
