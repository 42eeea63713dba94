"""Decoders of ``gateway.http.proxy`` on hostile bytes: they answer or raise MalformedMessage, in time."""

from __future__ import annotations

import base64
import ipaddress
import time
from contextlib import suppress
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import MalformedMessage
from gateway.http.listener import CertificateHeader
from gateway.http.message import TlsPeer
from gateway.http.proxy import MAX_CHAIN, HeaderList, TrustedProxies, proxied_peer

KINDS = [kind for kind in CertificateHeader if kind is not CertificateHeader.NONE]
NAMES = {
    CertificateHeader.RFC9440: b"client-cert",
    CertificateHeader.NGINX: b"x-ssl-cert",
    CertificateHeader.HAPROXY: b"x-ssl-client-der",
    CertificateHeader.ENVOY: b"x-forwarded-client-cert",
}
BEGIN, END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
FRAGMENTS = (
    *(BEGIN, END, quote_from_bytes(BEGIN).encode(), quote_from_bytes(END).encode()),
    *(b":", b",", b";", b"=", b'"', b"\\", b"%", b"%2", b"%00", b" ", b"\t", b"\xff", b"MAA=", b"A"),
    *(b"Cert=", b"Chain=", b'Cert="', b'Subject="CN=\\"', b":MAA=:", b"127.0.0.1", b"::1", b"["),
)
LARGE = 256 * 1024  # eight times what a request's header may have
BOUND_S = 1.0

ders = st.binary(min_size=1, max_size=60).map(lambda octets: b"\x30" + octets)
hostile = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join),
)


def pem(der: bytes) -> str:
    return f"{BEGIN.decode()}\n{base64.encodebytes(der).decode()}{END.decode()}\n"


def header(kind: CertificateHeader, leaf: bytes, above: list[bytes]) -> HeaderList:
    """What a proxy writes for this chain, as far as its header holds it."""
    der = [base64.b64encode(each) for each in (leaf, *above)]
    match kind:
        case CertificateHeader.RFC9440:
            written = [(b"client-cert", b":" + der[0] + b":")]
            if above:
                written.append((b"client-cert-chain", b", ".join(b":" + each + b":" for each in der[1:])))
            return written
        case CertificateHeader.HAPROXY:
            return [(NAMES[kind], der[0])]
        case CertificateHeader.NGINX:
            return [(NAMES[kind], quote(pem(leaf), safe="").encode())]
        case _:
            chain = quote("".join(map(pem, (leaf, *above))), safe="")
            return [(NAMES[kind], f'Hash=00;Subject="CN=a\\",b;c";Chain="{chain}"'.encode())]


def read(kind: CertificateHeader, headers: HeaderList) -> TlsPeer | None:
    """Decode; what is neither a peer nor MalformedMessage fails the test."""
    with suppress(MalformedMessage):
        peer = proxied_peer(headers, kind)
        assert peer.source == "proxy"
        assert len(peer.chain_der) <= MAX_CHAIN
        assert all(der.startswith(b"\x30") for der in peer.chain_der)
        return peer
    return None


@pytest.mark.parametrize("kind", KINDS)
@given(leaf=ders, above=st.lists(ders, max_size=MAX_CHAIN - 1))
def test_what_a_proxy_writes_is_read_as_it_was_meant(
    kind: CertificateHeader, leaf: bytes, above: list[bytes]
) -> None:
    peer = read(kind, header(kind, leaf, above))
    assert peer is not None
    whole = kind in (CertificateHeader.RFC9440, CertificateHeader.ENVOY)
    assert peer.chain_der == ((leaf, *above) if whole else (leaf,))


@pytest.mark.parametrize("kind", KINDS)
@given(value=hostile, chain=hostile)
def test_hostile_value_is_a_peer_or_malformed(kind: CertificateHeader, value: bytes, chain: bytes) -> None:
    read(kind, [(NAMES[kind], value)])
    read(kind, [(NAMES[kind], value), (b"client-cert-chain", chain)])
    read(kind, [(NAMES[kind], value), (NAMES[kind], value)])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200)
@given(leaf=ders, above=st.lists(ders, max_size=2), data=st.data())
def test_truncated_or_flipped_value_is_a_peer_or_malformed(
    kind: CertificateHeader, leaf: bytes, above: list[bytes], data: st.DataObject
) -> None:
    headers = [list(pair) for pair in header(kind, leaf, above)]
    pair = data.draw(st.sampled_from(headers))
    place = data.draw(st.integers(0, len(pair[1]) - 1))
    whole = pair[1]
    pair[1] = whole[:place]
    read(kind, [(name, value) for name, value in headers])
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    pair[1] = bytes(flipped)
    read(kind, [(name, value) for name, value in headers])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_large_value_takes_bounded_time(kind: CertificateHeader, fragment: bytes) -> None:
    value = fragment * (LARGE // len(fragment))
    began = time.process_time()
    read(kind, [(NAMES[kind], value)])
    read(kind, [(NAMES[kind], b'Cert="' + value), (b"client-cert-chain", value)])
    assert time.process_time() - began < BOUND_S


@pytest.mark.parametrize("kind", KINDS)
def test_chain_longer_than_the_bound_is_malformed(kind: CertificateHeader) -> None:
    if kind in (CertificateHeader.RFC9440, CertificateHeader.ENVOY):
        assert read(kind, header(kind, b"\x30\x00", [b"\x30\x00"] * MAX_CHAIN)) is None
    else:
        many = quote(pem(b"\x30\x00") * (MAX_CHAIN + 1), safe="").encode()
        assert read(kind, [(NAMES[kind], many)]) is None


# Envoy appends its element to what the client sent, if it is told to (APPEND_FORWARD).
REAL = quote(pem(b"\x30real"), safe="")
FORGED = quote(pem(b"\x30forged"), safe="")


@given(
    before=st.one_of(
        hostile,
        st.lists(
            st.sampled_from([b"Chain=", b"Cert=", FORGED.encode(), b'"', b"\\", b",", b";", b"a"]),
            max_size=12,
        ).map(b"".join),
    )
)
def test_client_whose_header_is_appended_to_never_chooses_the_certificate(before: bytes) -> None:
    value = before + f',Hash=00;Cert="{REAL}"'.encode()
    peer = read(CertificateHeader.ENVOY, [(b"x-forwarded-client-cert", value)])
    assert peer is None or peer.chain_der == (b"\x30real",)


@pytest.mark.parametrize(
    ("before", "readable"),
    [
        (f'Cert="{FORGED}"', True),
        (f'Chain="{FORGED}', False),  # an open quote swallowed the element of Envoy
        (f"Chain={FORGED};a\\", True),  # an escaped comma did so, too
        (f'Chain="{FORGED}\\', False),
        (f'Chain="{FORGED}\\"', False),
    ],
)
def test_element_of_the_proxy_cannot_be_drawn_into_that_of_the_client(before: str, readable: bool) -> None:
    value = f'{before},Hash=00;Cert="{REAL}"'.encode()
    peer = read(CertificateHeader.ENVOY, [(b"x-forwarded-client-cert", value)])
    assert (peer.chain_der if peer else None) == ((b"\x30real",) if readable else None)


PROXIES = TrustedProxies((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))


@given(values=st.lists(hostile, max_size=3))
def test_client_address_is_an_address_whatever_is_forwarded(values: list[bytes]) -> None:
    ipaddress.ip_address(PROXIES.client_address("127.0.0.1", values))


@given(values=st.lists(hostile, max_size=3), client=st.ip_addresses().filter(lambda a: str(a) not in PROXIES))
def test_what_stands_left_of_the_clients_address_never_counts(
    values: list[bytes], client: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    mapped = client.ipv4_mapped if isinstance(client, ipaddress.IPv6Address) else None
    forwarded = [*values, f"{client}, 127.0.0.9".encode()]
    assert PROXIES.client_address("127.0.0.1", forwarded) == str(mapped or client)


@pytest.mark.parametrize("fragment", [*FRAGMENTS, b"127.0.0.1,", b"::1, "])
def test_large_forwarded_for_takes_bounded_time(fragment: bytes) -> None:
    began = time.process_time()
    PROXIES.client_address("127.0.0.1", [fragment * (LARGE // len(fragment))])
    assert time.process_time() - began < BOUND_S
