"""``gateway.http.proxy``: certificates and addresses in header fields of trusted proxies."""

from __future__ import annotations

from contextlib import suppress

from gateway.errors import MalformedMessage
from gateway.http.listener import CertificateHeader
from gateway.http.proxy import TrustedProxies, proxied_peer

_FIELDS = (
    b"client-cert",
    b"client-cert-chain",
    b"x-ssl-cert",
    b"x-ssl-client-der",
    b"x-forwarded-client-cert",
)


def one_input(octets: bytes) -> None:
    """Lines are header fields of these names in turn."""
    headers = list(zip(_FIELDS, octets.split(b"\n"), strict=False))
    everywhere = [(name, octets) for name in _FIELDS if name != b"client-cert-chain"]
    for kind in CertificateHeader:
        for fields in (headers, everywhere):
            with suppress(MalformedMessage):
                proxied_peer(fields, kind)
    TrustedProxies().client_address("192.0.2.1", octets.split(b"\n"))
