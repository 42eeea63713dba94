"""Every decoder of ``gateway.pki`` on hostile bytes: it answers or raises its own error, nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import MalformedMessage
from gateway.pki.certificate import parse_certificate
from gateway.pki.chain import TrustAnchors, UntrustedCertificate, verify_client_chain
from gateway.pki.cms import certs_only, read_certs_only
from gateway.pki.csr import parse_csr, verify_possession
from gateway.pki.keys import load, public_key
from gateway.pki.names import decode_general_names, decode_name
from tests.support import pki
from tests.support.mutations import mutated

KINDS = ("P-256", "RSA-2048", "Ed25519", "ML-DSA-44")
SANS = ("a.test", "ip:192.0.2.1", "ip:2001:db8::1", "email:a@b.test", "uri:https://a.test/")


def possession(csr_der: bytes) -> None:
    verify_possession(parse_csr(csr_der))


@functools.cache
def csrs() -> tuple[bytes, ...]:
    usual = tuple(
        pki.csr(
            pki.shared_key(kind),
            subject=pki.name("device-1", C="DE", O="Örg"),
            sans=SANS,
            challenge=b"sesame",
            extensions=((pki.key_usage("digital_signature"), True),),
        )
        for kind in KINDS
    )
    change = pki.change_subject_name(pki.name("new"), ["new.test"])
    return (*usual, pki.raw_csr(pki.shared_key("P-256"), attributes=(change,)))


@functools.cache
def issuing() -> pki.Authority:
    return pki.Authority(cn="Root", private_key=pki.shared_key("P-256")).sub("Issuing")


def root_der() -> bytes:
    issuer = issuing().issuer
    assert issuer is not None
    return issuer.certificate.public_bytes(Encoding.DER)


@functools.cache
def certificates() -> tuple[bytes, ...]:
    leaves = (issuing().issue(sans=SANS, private_key=pki.shared_key(kind)) for kind in KINDS)
    return (*(leaf.certificate_der for leaf in leaves), issuing().certificate.public_bytes(Encoding.DER))


@functools.cache
def general_names() -> tuple[bytes, ...]:
    directory = pki.tlv(0xA4, pki.name("dir").public_bytes())
    other = pki.tlv(0xA0, pki.oid("1.3.6.1.4.1.311.20.2.3"), pki.tlv(0xA0, b"\x0c\x01a"))
    return (
        pki.tlv(0x30, directory, other, b"\x88\x02\x2a\x03", b"\x82\x06a.test", b"\x87\x04\xc0\0\2\1"),
        pki.tlv(0x30, b"\x81\x08a@b.test", b"\x86\x07urn:x:1", b"\xa3\x02\x30\x00", b"\xa5\x02\x81\x00"),
    )


DECODERS: dict[str, tuple[Callable[[bytes], Any], Callable[[], tuple[bytes, ...]]]] = {
    "parse_csr": (parse_csr, csrs),
    "verify_possession": (possession, csrs),
    "parse_certificate": (parse_certificate, certificates),
    "decode_name": (decode_name, lambda: (pki.name("device-1", C="DE", O="Örg").public_bytes(),)),
    "decode_general_names": (decode_general_names, general_names),
    "public_key": (public_key, lambda: tuple(pki.spki_der(pki.shared_key(kind)) for kind in KINDS)),
    "load": (load, lambda: tuple(pki.spki_der(pki.shared_key(kind)) for kind in KINDS)),
    "read_certs_only": (read_certs_only, lambda: (certs_only(certificates()),)),
}
decoders = pytest.mark.parametrize("name", DECODERS)


@decoders
@settings(deadline=None, max_examples=200)
@given(choices=st.data())
def test_mutated_input_raises_only_malformed_message(name: str, choices: st.DataObject) -> None:
    decode, samples = DECODERS[name]
    sample = choices.draw(st.sampled_from(samples()))
    with suppress(MalformedMessage):
        decode(choices.draw(mutated(sample)))


@decoders
@settings(deadline=None, max_examples=100)
@given(octets=st.binary(max_size=300))
def test_random_input_raises_only_malformed_message(name: str, octets: bytes) -> None:
    with suppress(MalformedMessage):
        DECODERS[name][0](octets)


@decoders
def test_every_truncation_is_refused(name: str) -> None:
    decode, samples = DECODERS[name]
    for sample in samples():
        step = max(1, len(sample) // 300)
        for length in range(0, len(sample), step):
            with pytest.raises(MalformedMessage):
                decode(sample[:length])


@decoders
@pytest.mark.parametrize("tag", [0x30, 0x31, 0xA0, 0xA4, 0x24])
def test_input_nested_ten_thousand_deep_is_refused(name: str, tag: int) -> None:
    nested = b""
    for _ in range(10_000):
        nested = pki.tlv(tag, nested) if len(nested) < 60_000 else nested
    with pytest.raises(MalformedMessage):
        DECODERS[name][0](nested)


@decoders
def test_huge_claimed_length_is_refused(name: str) -> None:
    for octets in (b"\x30\x84\xff\xff\xff\xff", b"\x30\x88" + b"\xff" * 8, b"\x30\xff"):
        with pytest.raises(MalformedMessage):
            DECODERS[name][0](octets)


@settings(deadline=None, max_examples=200)
@given(choices=st.data())
def test_mutated_chain_is_proven_or_untrusted_and_nothing_else(choices: st.DataObject) -> None:
    root = TrustAnchors([root_der()])
    sent = [choices.draw(st.sampled_from(certificates()[:-1])), certificates()[-1]]
    which = choices.draw(st.integers(0, 1))
    original = sent[which]
    sent[which] = choices.draw(mutated(original))
    try:
        proven = verify_client_chain(tuple(sent), root, datetime.now(UTC))
    except UntrustedCertificate:
        return
    assert proven.path_der[which] == original == sent[which]
