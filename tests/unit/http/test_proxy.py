"""Clients behind a proxy that speaks mutual TLS to us: the proxy's certificate and session are not theirs."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.est.linking import linking_of
from gateway.http.listener import CertificateHeader, ClientCertificateMode
from gateway.http.message import TlsPeer
from gateway.model.evidence import Linking
from tests.unit.http.conftest import Pki, client_context, exchange, running
from tests.unit.http.test_edge import KINDS, LOOPBACK, certificate_header, get

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


async def peer_seen(
    pki: Pki,
    kind: CertificateHeader,
    *headers: str,
    version: ssl.TLSVersion | None = None,
    trusted: bool = True,
    mode: ClientCertificateMode = ClientCertificateMode.REQUIRE,
) -> TlsPeer | None:
    """What a route sees of a client whose proxy (with the certificate "client") sends these headers."""
    changes: dict[str, Any] = {"trusted_proxies": LOOPBACK} if trusted else {}
    spec = {"client_certificate_header": kind}
    async with running(pki, mode=mode, spec_changes=spec, edge_changes=changes) as up:
        context = client_context(pki, "client", version)
        answer = await exchange(up.port, get("/echo", *headers), context=context)
        assert answer.startswith(b"HTTP/1.1 200 ")
        return up.requests[0].tls


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", list(CertificateHeader))
async def test_client_without_certificate_behind_a_mutual_tls_proxy_has_no_credential_and_no_session(
    pki: Pki, kind: CertificateHeader, version: ssl.TLSVersion
) -> None:
    peer = await peer_seen(pki, kind, version=version)
    assert peer is not None
    assert (peer.source, peer.chain_der) == ("proxy", ())
    assert peer.binding("tls-unique") is None
    assert peer.binding("tls-exporter") is None
    assert linking_of(b"anything", peer) is Linking.UNAVAILABLE


@pytest.mark.parametrize("kind", KINDS)
async def test_certificate_of_the_header_replaces_that_of_the_proxy(
    pki: Pki, kind: CertificateHeader
) -> None:
    peer = await peer_seen(pki, kind, *certificate_header(pki, kind))
    assert peer is not None
    assert (peer.source, peer.chain_der[0]) == ("proxy", pki.client.certificate.public_bytes(Encoding.DER))
    assert peer.binding("tls-exporter") is None


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        (CertificateHeader.NGINX, "X-SSL-Cert:"),
        (CertificateHeader.HAPROXY, "X-SSL-Client-DER:"),
        (CertificateHeader.ENVOY, "X-Forwarded-Client-Cert:"),
    ],
)
async def test_empty_certificate_header_means_no_client_certificate(
    pki: Pki, kind: CertificateHeader, header: str
) -> None:
    peer = await peer_seen(pki, kind, header)
    assert peer is not None
    assert (peer.source, peer.chain_der) == ("proxy", ())


@pytest.mark.parametrize("version", VERSIONS)
async def test_client_that_is_no_trusted_proxy_keeps_its_certificate_and_session(
    pki: Pki, version: ssl.TLSVersion
) -> None:
    peer = await peer_seen(pki, CertificateHeader.RFC9440, version=version, trusted=False)
    assert peer is not None
    assert peer.source == "tls"
    assert peer.chain_der[0] == pki.client.certificate.public_bytes(Encoding.DER)


async def test_plain_listener_behind_a_proxy_sees_no_certificate_without_the_header() -> None:
    spec = {"client_certificate_header": CertificateHeader.RFC9440}
    async with running(spec_changes=spec, edge_changes={"trusted_proxies": LOOPBACK}) as up:
        await exchange(up.port, get("/echo"))
    peer = up.requests[0].tls
    assert peer is not None
    assert (peer.source, peer.chain_der) == ("proxy", ())
