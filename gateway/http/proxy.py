"""What a trusted proxy in front of us says: the client's address and the client certificate it saw.

RFC 9440 (Client-Cert, Client-Cert-Chain) and the habits of nginx, HAProxy and Envoy. Only the real TCP peer
decides who is a proxy; whether the certificate is trusted is not judged here.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import unquote_to_bytes

from gateway.errors import MalformedMessage
from gateway.http.listener import CertificateHeader
from gateway.http.message import TlsPeer
from gateway.model.reasons import ReasonCode

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
HeaderList = Sequence[tuple[bytes, bytes]]

# Every header by which some proxy hands on a client certificate or its verdict on it. From anyone but a
# trusted proxy, and under any name but the configured one, they are forgeries.
CERTIFICATE_HEADERS = frozenset(
    (
        b"client-cert",
        b"client-cert-chain",
        b"x-ssl-cert",
        b"x-ssl-client-cert",
        b"ssl-client-cert",
        b"x-client-cert",
        b"x-ssl-client-der",
        b"x-forwarded-client-cert",
        b"x-forwarded-tls-client-cert",
        b"x-ssl-client-verify",
        b"x-ssl-client-s-dn",
    )
)
_NAMES: dict[CertificateHeader, tuple[bytes, ...]] = {
    CertificateHeader.NONE: (),
    CertificateHeader.RFC9440: (b"client-cert", b"client-cert-chain"),
    CertificateHeader.NGINX: (b"x-ssl-cert",),
    CertificateHeader.HAPROXY: (b"x-ssl-client-der",),
    CertificateHeader.ENVOY: (b"x-forwarded-client-cert",),
}
MAX_CHAIN = 10
# A client behind a proxy of whom nothing is known: no certificate, and no session to link to.
PROXIED = TlsPeer(version="", cipher="", source="proxy")
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_QUOTE, _BACKSLASH = b'"\\'
_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/=]*):")
_REMEMBERED_PEERS = 4096


class TrustedProxies:
    """The proxies whose word about the client counts."""

    def __init__(self, networks: Sequence[IpNetwork] = ()) -> None:
        self._networks = tuple(networks)
        self._verdicts: dict[str, bool] = {}

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        verdict = self._verdicts.get(address)
        if verdict is None:
            if len(self._verdicts) >= _REMEMBERED_PEERS:
                self._verdicts.clear()
            verdict = self._verdicts[address] = self._judge(address)
        return verdict

    def _judge(self, address: str) -> bool:
        parsed = _address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_address(self, peer: str, forwarded_for: Sequence[bytes]) -> str:
        """The right-most address of X-Forwarded-For that is no trusted proxy; the peer if there is none."""
        client = peer
        for entry in reversed(b",".join(forwarded_for).split(b",")):
            address = _address(entry.strip().decode("latin-1"))
            if address is None:
                break  # what stands to the left of rubbish was not written by our proxies
            client = str(address)
            if client not in self:
                break
        return client


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def proxied_peer(headers: HeaderList, kind: CertificateHeader) -> TlsPeer:
    """The TLS peer as the proxy describes it; its chain is empty if the proxy hands on no certificate.

    Raises MalformedMessage (code http.proxy-header) for a repeated or unreadable header.
    """
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _NAMES[kind]:
            if name in values:
                raise _refusal(name, "stands twice")
            values[name] = value.strip()
    chain: tuple[bytes, ...] = ()
    for name in _NAMES[kind]:
        if name in values:
            chain += _read(name, values[name], kind)
    if len(chain) > MAX_CHAIN:
        raise _refusal(_NAMES[kind][0], f"holds more than {MAX_CHAIN} certificates")
    if kind is CertificateHeader.RFC9440 and b"client-cert" not in values and chain:
        raise _refusal(b"client-cert-chain", "stands without Client-Cert")  # RFC 9440 section 2.3
    return replace(PROXIED, chain_der=chain) if chain else PROXIED


def _read(name: bytes, value: bytes, kind: CertificateHeader) -> tuple[bytes, ...]:
    match kind:
        case CertificateHeader.RFC9440:
            found = _byte_sequences(name, value)
            if name == b"client-cert" and len(found) != 1:
                raise _refusal(name, "is no single byte sequence :base64:")
            return found
        case CertificateHeader.HAPROXY:
            return (_base64(name, value),) if value else ()
        case CertificateHeader.NGINX:
            return _pem(name, unquote_to_bytes(value)) if value else ()  # a plus sign stays a plus sign
        case _:
            return _envoy(name, value) if value else ()


def _byte_sequences(name: bytes, value: bytes) -> tuple[bytes, ...]:
    """A structured-field item or list of byte sequences (RFC 8941 sections 3.1 and 3.3.5)."""
    found = []
    for item in value.split(b","):
        match = _BYTE_SEQUENCE.fullmatch(item.strip())
        if match is None:
            raise _refusal(name, "is no byte sequence :base64:")
        found.append(_base64(name, match[1]))
    return tuple(found)


def _envoy(name: bytes, value: bytes) -> tuple[bytes, ...]:
    """X-Forwarded-Client-Cert: the last element is the one that our proxy wrote; Chain holds the leaf too.

    Envoy may be told to append its element to what the client sent, so that only quotes which are all closed
    show where that element begins.
    """
    element = _split_quoted(name, value, b",")[-1]
    fields: dict[bytes, bytes] = {}
    for pair in _split_quoted(name, element, b";"):
        key, _, text = pair.strip().partition(b"=")
        fields[key.strip().lower()] = text.strip().strip(b'"')
    chosen = fields.get(b"chain") or fields.get(b"cert")
    return _pem(name, unquote_to_bytes(chosen)) if chosen else ()


def _split_quoted(name: bytes, value: bytes, separator: bytes) -> list[bytes]:
    """Split at separators outside of quotes; a backslash escapes within quotes only."""
    parts, start, quoted, escaped = [], 0, False, False
    for place, octet in enumerate(value):
        if escaped:
            escaped = False
        elif octet == _QUOTE:
            quoted = not quoted
        elif quoted:
            escaped = octet == _BACKSLASH
        elif octet == separator[0]:
            parts.append(value[start:place])
            start = place + 1
    if quoted:
        raise _refusal(name, "has a quote that is not closed")
    return [*parts, value[start:]]


def _pem(name: bytes, text: bytes) -> tuple[bytes, ...]:
    found: list[bytes] = []
    start = text.find(_BEGIN)
    while start >= 0:
        end = text.find(_END, start)
        if end < 0 or len(found) == MAX_CHAIN:
            raise _refusal(name, f"holds half a PEM certificate, or more than {MAX_CHAIN}")
        found.append(_base64(name, b"".join(text[start + len(_BEGIN) : end].split())))
        start = text.find(_BEGIN, end)
    if not found:
        raise _refusal(name, "holds no PEM certificate")
    return tuple(found)


def _base64(name: bytes, text: bytes) -> bytes:
    try:
        der = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _refusal(name, "is no valid base64") from exc
    if not der.startswith(b"\x30"):
        raise _refusal(name, "holds no DER certificate")
    return der


def _refusal(name: bytes, what: str) -> MalformedMessage:
    return MalformedMessage(
        f"the header {name.decode('latin-1')} {what}; the proxy in front of this gateway is set up wrongly",
        code=ReasonCode.HTTP_PROXY_HEADER,
    )
