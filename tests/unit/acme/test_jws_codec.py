"""The JWS codec (acme.md C12-C40, E8): good messages pass, every mutant has its problem."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from gateway.acme.errors import AcmeError
from gateway.acme.jwk import account_key, import_jwk
from gateway.acme.jws import (
    ALGORITHMS,
    VerifiedJws,
    parse_inner_jws,
    parse_jws,
    parse_mac_jws,
    verify_jws,
)
from tests.support import acme_signing, pki
from tests.support.acme_signing import b64u, jwk_of
from tests.support.jws_mutants import Mutant, Target, good, mutants
from tests.support.jws_mutants_keys import KINDS

URL = "https://acme.test/acme/new-order"
NEW_ACCOUNT = "https://acme.test/acme/new-account"
NONCE = b64u(bytes(range(34)))
CODEC = [mutant for mutant in mutants() if mutant.place == "codec"]


@pytest.fixture(scope="module")
def target() -> Target:
    return Target(pki.key(), "https://acme.test/acme/account/1", URL, NEW_ACCOUNT)


def read(body: bytes, key: Any) -> VerifiedJws:
    """As ``routes`` does: the message's own key, else that of the account."""
    parsed = parse_jws(body)
    return verify_jws(parsed, parsed.jwk or import_jwk(jwk_of(key)))


def test_mutants_are_at_least_two_hundred_with_names_of_their_own() -> None:
    """Issue 3: at least 200 JWS mutants."""
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)
    assert len(CODEC) >= 200


@pytest.mark.parametrize("mutant", CODEC, ids=lambda mutant: mutant.name)
def test_mutant_is_refused_with_its_problem(target: Target, mutant: Mutant) -> None:
    """acme.md C13, C15-C22, C24-C30, C32, E8"""
    with pytest.raises(AcmeError) as refused:
        read(mutant.body(target, NONCE), target.key)
    assert (refused.value.status, refused.value.type) in mutant.answers, str(refused.value)
    assert str(refused.value).isascii()


def test_good_request_of_an_account_is_read_whole(target: Target) -> None:
    """acme.md C21"""
    body = good(target, NONCE)
    jws = read(body, target.key)
    assert (jws.alg, jws.kid, jws.url, jws.nonce) == ("ES256", target.kid, URL, NONCE)
    assert jws.payload == target.payload
    assert jws.digest == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_is_taken_with_its_key(algorithm: str) -> None:
    """acme.md C18, B12"""
    key = pki.shared_key(KINDS[algorithm])
    header = acme_signing.protected_header(key, NEW_ACCOUNT, NONCE, None, {"alg": algorithm})
    body = json.dumps(acme_signing.signed(key, header, {"a": 1}, algorithm)).encode()
    jws = read(body, None)
    assert jws.key.thumbprint == acme_signing.thumbprint(key)
    assert (jws.alg, jws.kid, jws.payload) == (algorithm, None, b'{"a": 1}')


def test_members_that_nobody_knows_are_ignored(target: Target) -> None:
    """RFC 7515 sections 4 and 7.2.2: neither x5u nor jku is fetched or believed."""
    unknown = {"x5u": "http://127.0.0.1:9/", "jku": "http://127.0.0.1:9/", "x5c": ["AAAA"], "typ": "x"}
    message = target.flattened(NONCE, **unknown) | {"comment": "hello"}
    assert read(json.dumps(message).encode(), target.key).payload == target.payload


def test_empty_payload_is_kept_apart_from_an_object(target: Target) -> None:
    """acme.md C40: POST-as-GET."""
    message = acme_signing.signed(target.key, target.header(NONCE), None)
    assert read(json.dumps(message).encode(), target.key).payload == b""


def test_refused_algorithm_comes_with_the_list(target: Target) -> None:
    """acme.md C18 (RFC 8555 section 6.2)"""
    message = acme_signing.signed(target.key, target.header(NONCE, alg="RS512"), {}, "ES256")
    with pytest.raises(AcmeError) as refused:
        parse_jws(json.dumps(message).encode())
    assert refused.value.members == {"algorithms": list(ALGORITHMS)}


def test_missing_nonce_is_not_worth_a_record(target: Target) -> None:
    """acme.md C29"""
    message = target.flattened(NONCE, nonce=None)
    with pytest.raises(AcmeError) as refused:
        parse_jws(json.dumps(message).encode())
    assert (refused.value.type, refused.value.recorded) == ("badNonce", False)


def test_inner_message_of_a_key_change_is_read() -> None:
    """acme.md C55"""
    old, new = pki.key(), pki.key("Ed25519")
    inner = acme_signing.key_change_payload(old, new, "https://acme.test/acme/account/1", URL)
    parsed = parse_inner_jws(inner)
    assert parsed.jwk is not None
    jws = verify_jws(parsed, parsed.jwk)
    assert (jws.url, jws.nonce) == (URL, "")
    assert json.loads(jws.payload)["oldKey"] == jwk_of(old)


@pytest.mark.parametrize(
    "changes", [{"nonce": NONCE}, {"jwk": None, "kid": "https://acme.test/a"}, {"jwk": None}, {"url": None}]
)
def test_inner_message_with_nonce_or_without_key_or_url_is_malformed(changes: dict[str, object]) -> None:
    """acme.md C55 (RFC 8555 section 7.3.5)"""
    inner = acme_signing.key_change_payload(pki.key(), pki.key(), "https://a.test/1", URL, changes=changes)
    with pytest.raises(AcmeError) as refused:
        parse_inner_jws(inner)
    assert refused.value.type == "malformed"


def test_inner_message_signed_by_another_key_is_malformed() -> None:
    """acme.md C55"""
    inner = acme_signing.key_change_payload(pki.key(), pki.key(), "https://a.test/1", URL, signer=pki.key())
    parsed = parse_inner_jws(inner)
    assert parsed.jwk is not None
    with pytest.raises(AcmeError) as refused:
        verify_jws(parsed, parsed.jwk)
    assert refused.value.type == "malformed"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_external_binding_is_read_with_what_its_mac_covers(algorithm: str) -> None:
    """acme.md C54"""
    key = pki.key()
    binding = acme_signing.external_binding("kid-1", b64u(b"k" * 32), key, URL, changes={"alg": algorithm})
    parsed = parse_mac_jws(binding)
    assert (parsed.alg, parsed.kid, parsed.url) == (algorithm, "kid-1", URL)
    assert json.loads(parsed.payload) == jwk_of(key)
    assert parsed.signing_input == f"{binding['protected']}.{binding['payload']}".encode()
    assert b64u(parsed.mac) == binding["signature"]


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "none"},
        {"alg": "ES256"},
        {"alg": None},
        {"alg": ["HS256"]},
        {"kid": None},
        {"kid": 7},
        {"url": None},
        {"nonce": NONCE},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"crit": ["exp"]},
    ],
    ids=str,
)
def test_external_binding_of_another_form_is_malformed(changes: dict[str, object]) -> None:
    """acme.md C54 (RFC 8555 section 7.3.4)"""
    binding = acme_signing.external_binding("kid-1", b64u(b"k" * 32), pki.key(), URL, changes=changes)
    with pytest.raises(AcmeError) as refused:
        parse_mac_jws(binding)
    assert refused.value.type == "malformed"


def test_stored_key_verifies_what_the_sent_one_does(target: Target) -> None:
    """The key of a kid comes from the canonical text of the account's row."""
    stored = account_key(import_jwk(jwk_of(target.key)).jwk)
    assert verify_jws(parse_jws(good(target, NONCE)), stored).key is stored
