"""BER and CMS on random forms and hostile bytes: the same meaning, or MalformedMessage and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from asn1crypto import cms as asn1_cms
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.asn1 import cms
from gateway.asn1.ber import BerReader, to_der
from gateway.errors import MalformedMessage
from gateway.frontend import MessageIdentity
from gateway.pki.certificate import parse_certificate
from gateway.pki.cms import certs_only, crls_only
from gateway.pki.cms_enveloped import CIPHERS, envelop
from gateway.pki.keyfile import FileSigner
from gateway.scep.message import MessageRules, open_pki_message, read_csr, read_pki_message
from tests.support import ber, pki
from tests.support.scep_wire import PkiMessage, envelope, self_signed

RULES = MessageRules(("sha256",), tuple(CIPHERS))
FORMS = st.sampled_from([ber.Form.SHORT, ber.Form.LONG, ber.Form.INDEFINITE])


@functools.cache
def ra() -> pki.Identity:
    return self_signed(pki.shared_key("RSA-2048"), "ra")


@functools.cache
def csr() -> bytes:
    return pki.csr(pki.shared_key("RSA-2048"), sans=["a.test"], challenge=b"sesame")


@functools.cache
def enveloped() -> bytes:
    return envelope(csr(), [ra().certificate])


@functools.cache
def message() -> bytes:
    return PkiMessage(self_signed(pki.shared_key("RSA-2048")), enveloped()).build()


def read_whole(octets: bytes) -> bytes:
    """All steps of the server; gives the CSR."""
    identity = MessageIdentity(ra().certificate_der, (), FileSigner(ra().private_key, "test"))
    request = open_pki_message(read_pki_message(octets), [identity], RULES)
    return read_csr(request, RULES)[0].csr_der


def read_content(octets: bytes) -> Any:
    return cms.read_enveloped_data(octets)


@st.composite
def any_form(draw: st.DrawFn, kept: tuple[tuple[int, ...], ...]) -> ber.Rule:
    """Random forms for all elements but those at and below the kept paths."""
    drawn: dict[tuple[int, ...], ber.Form] = {}

    def rule(path: tuple[int, ...], tag: int) -> ber.Form:
        if path in kept:
            return ber.Form.KEEP
        if path not in drawn:
            is_string = tag in (0x04, 0x80)
            strings = st.sampled_from(
                [ber.Form.SHORT, ber.Form.LONG, ber.Form.PIECES, ber.Form.DEFINITE_PIECES]
            )
            constructed_or_not = FORMS if tag & 0x20 else st.sampled_from([ber.Form.SHORT, ber.Form.LONG])
            drawn[path] = draw(strings if is_string else constructed_or_not)
        return drawn[path]

    return rule


# What is inside a certificate is never anything but DER
@given(rule=any_form(((1, 0, 3, 0),)), piece=st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_message_in_any_form_of_ber_holds_the_same_csr(rule: ber.Rule, piece: int) -> None:
    """scep.md C16."""
    assert read_whole(ber.reencode(message(), rule, piece=piece)) == csr()


@given(rule=any_form(()), piece=st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_envelope_in_any_form_of_ber_reads_the_same(rule: ber.Rule, piece: int) -> None:
    """scep.md C16; names inside are compared in DER."""
    found = cms.read_enveloped_data(ber.reencode(enveloped(), rule, piece=piece))
    plain = cms.read_enveloped_data(enveloped())
    assert (found.encrypted_content, found.algorithm) == (plain.encrypted_content, plain.algorithm)
    (rid,), (plain_rid,) = ([each.rid for each in one.recipients] for one in (found, plain))
    assert isinstance(rid, cms.IssuerAndSerial)
    assert isinstance(plain_rid, cms.IssuerAndSerial)
    assert (to_der(rid.issuer_der), rid.serial) == (plain_rid.issuer_der, plain_rid.serial)


# Whether what stands under an implicit tag is a string cannot be seen
@given(rule=any_form(((1, 0, 2, 2),)), piece=st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_any_form_of_ber_is_brought_into_the_same_der(rule: ber.Rule, piece: int) -> None:
    assert to_der(ber.reencode(enveloped(), rule, piece=piece)) == enveloped()


def whole_tree(octets: bytes) -> int:
    """Go into everything that can be gone into; the number of elements."""
    reader = BerReader(octets)
    stack, seen = [reader.whole()], 0
    while stack:
        element = stack.pop()
        seen += 1
        if element.tag & 0x20:
            stack.extend(reader.children(element))
    return seen


DECODERS: dict[str, tuple[Callable[[bytes], Any], Callable[[], bytes]]] = {
    "to_der": (to_der, enveloped),
    "whole_tree": (whole_tree, enveloped),
    "read_signed_data": (cms.read_signed_data, message),
    "read_enveloped_data": (cms.read_enveloped_data, enveloped),
    "read_whole": (read_whole, message),
}


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_decoder_refuses_every_truncation(name: str, data: st.DataObject) -> None:
    """scep.md C15."""
    decode, good = DECODERS[name]
    decode(good())
    cut = data.draw(st.integers(0, len(good()) - 1))
    with pytest.raises(MalformedMessage):
        decode(good()[:cut])


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_decoder_gives_an_answer_or_its_own_error_on_changed_octets(name: str, data: st.DataObject) -> None:
    """scep.md C15."""
    decode, good = DECODERS[name]
    changed = bytearray(good())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedMessage):
        decode(bytes(changed))


@pytest.mark.parametrize("name", DECODERS)
@given(octets=st.binary(max_size=200))
@settings(deadline=None)
def test_decoder_gives_an_answer_or_its_own_error_on_random_octets(name: str, octets: bytes) -> None:
    with suppress(MalformedMessage):
        DECODERS[name][0](octets)


@given(
    content=st.binary(max_size=300),
    cipher=st.sampled_from(sorted(CIPHERS)),
)
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_strict_der_for_another_reader(content: bytes, cipher: str) -> None:
    octets = envelop(content, parse_certificate(ra().certificate_der), cipher)
    assert to_der(octets) == octets
    info = asn1_cms.ContentInfo.load(octets, strict=True)
    assert info["content"]["encrypted_content_info"]["encrypted_content"].native
    assert info["content"]["version"].native == "v0"


@given(certificates=st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_degenerate_messages_keep_the_order_they_were_given(certificates: list[int]) -> None:
    """scep.md B17, C47; and a CRL alone for GetCRL."""
    made = [pki.tlv(0x30, pki.tlv(0x02, bytes([9 - number]))) for number in certificates]
    signed = cms.read_signed_data(certs_only(made))
    assert signed.certificates_der == tuple(made)
    assert (signed.signers, signed.content, signed.crls_der) == ((), None, ())
    crl = cms.read_signed_data(crls_only(made[0]))
    assert (crl.crls_der, crl.certificates_der) == ((made[0],), ())
