"""CSR attributes of every kind: damaged, deep, and whatever policy may want."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import MalformedMessage
from gateway.est.csrattrs import csr_attributes, encode_csrattrs
from gateway.est.csrattrs_decode import decode_csrattrs, request_template
from gateway.model.keys import KeyType
from gateway.model.wanted import Wanted, WantedKey
from gateway.pki.oids import CHALLENGE_PASSWORD
from tests.support import pki
from tests.unit.est.test_est_csrattrs import FULL, foreign_elements, foreign_template, our_elements


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_attributes_raise_nothing_but_malformed_message(data: st.DataObject) -> None:
    whole = encode_csrattrs(csr_attributes(FULL, template=True))
    octets = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(octets) - 1))
        octets[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(octets))))
    with contextlib.suppress(MalformedMessage):
        request_template(decode_csrattrs(bytes(octets[:cut])))


def test_attributes_nested_very_deep_are_refused() -> None:
    nested = b""
    for _ in range(5000):
        nested = pki.tlv(0x30, nested)
    with pytest.raises(MalformedMessage, match="deeper"):
        decode_csrattrs(nested)


_KEYS = st.lists(
    st.one_of(
        st.builds(WantedKey, st.just(KeyType.RSA), st.one_of(st.none(), st.integers(1024, 8192))),
        st.builds(WantedKey, st.just(KeyType.EC), st.none(), st.sampled_from([None, "P-256", "P-521"])),
        st.builds(WantedKey, st.sampled_from([t for t in KeyType if t not in (KeyType.RSA, KeyType.EC)])),
    ),
    max_size=3,
).map(tuple)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        Wanted,
        keys=_KEYS,
        signature_hashes=st.lists(st.sampled_from(["sha256", "sha384", "sha512", "sha3-256"])).map(tuple),
        subject_attributes=st.lists(st.sampled_from(["2.5.4.3", "2.5.4.5", "2.5.4.10"]), unique=True).map(
            tuple
        ),
        san_required=st.booleans(),
        key_usage=st.lists(st.sampled_from(["digitalSignature", "keyAgreement", "decipherOnly"])).map(tuple),
        extended_key_usage=st.lists(st.sampled_from(["1.3.6.1.5.5.7.3.1"]), unique=True).map(tuple),
        linking_required=st.booleans(),
    ),
    st.booleans(),
)
def test_everything_derived_is_read_by_asn1crypto_and_read_back_the_same(
    wanted: Wanted, template: bool
) -> None:
    attributes = csr_attributes(wanted, template=template)
    encoded = encode_csrattrs(attributes)
    assert our_elements(attributes) == foreign_elements(encoded)
    assert decode_csrattrs(encoded) == attributes
    if template and attributes:
        foreign = foreign_template(attributes)
        ours = request_template(attributes)
        assert ours is not None
        assert [a["type"].dotted for a in foreign["attributes"]].count(CHALLENGE_PASSWORD) == len(
            ours.attributes
        )
        assert sum(len(rdn) for rdn in foreign["subject"] or ()) == len(wanted.subject_attributes)
