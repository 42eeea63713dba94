"""The JWS codec on hostile bytes: it answers or raises AcmeError, nothing else (acme.md C13-C17, E8)."""

from __future__ import annotations

import functools
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.acme import base64url
from gateway.acme.errors import AcmeError
from gateway.acme.jwk import import_jwk
from gateway.acme.jws import parse_inner_jws, parse_jws, parse_mac_jws, verify_jws
from gateway.acme.strict_json import read_object
from tests.support import acme_signing, pki
from tests.support.acme_signing import jwk_of

KINDS = ("P-256", "RSA-2048", "Ed25519")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@functools.cache
def requests() -> tuple[tuple[bytes, Any], ...]:
    """Good ones, each with its key."""
    made = []
    for kind in KINDS:
        key = pki.shared_key(kind)
        for kid in (None, "https://acme.test/acme/account/1"):
            body = acme_signing.request_body(key, {"a": 1}, url="https://acme.test/x", nonce="AAAA", kid=kid)
            made.append((body, key))
    return tuple(made)


def outcome(body: bytes, key: Any) -> str:
    """``good``, or the type of the problem."""
    try:
        parsed = parse_jws(body)
        verify_jws(parsed, parsed.jwk or import_jwk(jwk_of(key)))
    except AcmeError as refused:
        return refused.type if refused.status == 400 else f"{refused.status}"
    return "good"


@given(index=st.integers(0, 5), data=st.data())
def test_truncated_request_is_refused(index: int, data: st.DataObject) -> None:
    body, key = requests()[index]
    assert outcome(body[: data.draw(st.integers(0, len(body) - 1))], key) != "good"


@given(index=st.integers(0, 5), data=st.data())
def test_request_with_a_flipped_bit_is_refused(index: int, data: st.DataObject) -> None:
    """Every bit of the body is either signed or form; a changed space between members is none of both."""
    body, key = requests()[index]
    place, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
    flipped = body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :]
    assert outcome(flipped, key) != "good" or json.loads(flipped) == json.loads(body)


@given(octets=st.binary(max_size=200))
def test_random_bytes_are_refused(octets: bytes) -> None:
    assert outcome(octets, pki.shared_key("P-256")) == "malformed"


@given(members=st.dictionaries(st.sampled_from(["protected", "payload", "signature", "x"]), VALUES))
def test_random_members_are_refused(members: dict[str, object]) -> None:
    for parse in (parse_inner_jws, parse_mac_jws):
        with pytest.raises(AcmeError):
            parse(members)


@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "jwk", "nonce", "url", "crit", "x"]),
        VALUES | st.sampled_from(["ES256", "RS256", "EdDSA", "HS256", "AAAA"]),
    )
)
def test_random_protected_header_never_verifies(header: dict[str, object]) -> None:
    message = acme_signing.flattened(header, b"{}", b"\x01" * 64)
    assert outcome(json.dumps(message).encode(), pki.shared_key("P-256")) != "good"


@given(
    jwk=st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "alg", "use", "key_ops"]),
        VALUES | st.sampled_from(["EC", "RSA", "OKP", "oct", "P-256", "Ed25519", "AQAB", "A" * 43]),
    )
)
def test_random_jwk_is_a_key_or_a_problem(jwk: dict[str, object]) -> None:
    with suppress(AcmeError):
        key = import_jwk(jwk)
        assert import_jwk(json.loads(key.jwk)) == key


@given(octets=st.binary(max_size=100))
def test_base64url_reads_back_what_it_wrote(octets: bytes) -> None:
    assert base64url.decode(base64url.encode(octets)) == octets


@given(text=st.text(max_size=12))
def test_each_octet_string_has_one_spelling_in_base64url(text: str) -> None:
    """acme.md C16"""
    try:
        octets = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(octets) == text


@given(members=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), VALUES, max_size=4))
def test_json_object_is_read_as_another_reader_does(members: dict[str, object]) -> None:
    """acme.md C17: agreement with the plain decoder on whatever is taken."""
    text = json.dumps(members).encode()
    try:
        found = read_object(text, "it")
    except AcmeError:
        spoiled = any(word in text for word in (b"NaN", b"Infinity", b"\\ud"))
        assert spoiled or text.count(b"[") + text.count(b"{") > 16
    else:
        assert found == members


@pytest.mark.parametrize(
    "text",
    [b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b'[{"a":1}]', b'{"a":1e400}', b'{"a":"\\ud83d"}', b"\xff{}"],
)
def test_json_that_readers_differ_on_is_refused(text: bytes) -> None:
    """acme.md C17"""
    with pytest.raises(AcmeError):
        read_object(text, "it")


@pytest.mark.parametrize(("depth", "taken"), [(16, True), (17, False)])
def test_json_is_read_to_a_depth_of_sixteen(depth: int, taken: bool) -> None:
    text = b'{"a":' * (depth - 1) + b'{"b":1}' + b"}" * (depth - 1)
    if taken:
        assert "a" in read_object(text, "it")
    else:
        with pytest.raises(AcmeError):
            read_object(text, "it")


def test_surrogates_in_pairs_are_text() -> None:
    assert read_object(b'{"a":"\\ud83d\\ude00"}', "it") == {"a": "\U0001f600"}
