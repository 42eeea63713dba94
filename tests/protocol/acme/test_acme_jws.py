"""The JWS envelope (acme.md C12-C28; RFC 8555 section 6.2, RFC 7515)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support import acme_signing, pki
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_signing import b64u
from tests.support.keys import shared_key

ALGORITHMS = {"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"}


def _new_order(client: AcmeClient, body: bytes | Mapping[str, object], **more: Any) -> AcmeAnswer:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post_body(client.directory["newOrder"], octets, **more)
    assert answer.header("Replay-Nonce"), "every answer to a POST has a nonce"
    return answer


def _signed(client: AcmeClient, payload: object = b"{}", **changes: object) -> dict[str, str]:
    url = client.directory["newOrder"]
    header = acme_signing.protected_header(client.key, url, client.take_nonce(), client.kid, changes)
    return acme_signing.signed(client.key, header, payload)


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("P-256", "ES256"),
        ("P-384", "ES384"),
        ("P-521", "ES512"),
        ("RSA-2048", "RS256"),
        ("RSA-2048", "PS256"),
        ("Ed25519", "EdDSA"),
    ],
)
def test_account_of_each_key_type_orders(lab: Lab, kind: str, algorithm: str) -> None:
    """acme.md B12, C18: what the refusal of others lists is really taken."""
    client = lab.client(key=pki.key(kind))
    url = client.directory["newAccount"]
    header = acme_signing.protected_header(client.key, url, client.new_nonce(), None, {"alg": algorithm})
    body = acme_signing.signed(client.key, header, {"termsOfServiceAgreed": True}, algorithm)
    client.kid = client.post_body(url, json.dumps(body).encode()).location
    assert client.new_order([new_name()]).status == 201


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/json", "application/jose", "application/jose+json; charset=utf-8", "text/plain"],
)
def test_other_content_types_are_refused(account: AcmeClient, content_type: str | None) -> None:
    """acme.md C12"""
    _new_order(account, _signed(account), content_type=content_type).refused(415, "malformed")


@pytest.mark.parametrize(
    "body", [b"", b" ", b"null", b"[]", b"7", b'"text"', b"{", b"{}", b"\xff\xfe{}", b"NaN", b"{'a':1}"]
)
def test_body_that_is_no_jws_is_malformed(account: AcmeClient, body: bytes) -> None:
    """acme.md C13"""
    _new_order(account, body).refused(400, "malformed")


def test_body_over_the_limit_is_refused(lab: Lab) -> None:
    """acme.md C14"""
    client = lab.account("small")
    names = [f"{'a' * 60}.{place}.test" for place in range(60)]
    answer = client.new_order(names)
    answer.refused(413, "malformed")
    assert client.new_order([new_name()]).status == 201


def test_body_over_the_limit_is_not_read_to_its_end(lab: Lab) -> None:
    """acme.md C14: the answer comes by Content-Length, before the body."""
    client = lab.account()
    url = client.directory["newOrder"]
    headers = {"Content-Length": "10000000", "Content-Type": "application/jose+json"}
    answer = client.send("POST", url, b"{", headers)
    answer.refused(413, "malformed")
    client.close()


def test_other_serialisations_are_malformed(account: AcmeClient) -> None:
    """acme.md C15"""
    good = _signed(account)
    one = {"protected": good["protected"], "signature": good["signature"]}
    compact = f"{good['protected']}.{good['payload']}.{good['signature']}"
    others: tuple[Any, ...] = (
        compact.encode(),
        json.dumps(compact).encode(),
        {"payload": good["payload"], "signatures": [one]},
        {"payload": good["payload"], "signatures": [one, one]},
        good | {"signatures": [one]},
        good | {"header": {"kid": "https://elsewhere.test/"}},
        good | {"header": {}},
    )
    for body in others:
        _new_order(account, body).refused(400, "malformed")
    assert _new_order(account, good).problem == "malformed", "the good one reaches the payload"


@pytest.mark.parametrize("part", ["protected", "payload", "signature"])
def test_sloppy_base64url_is_malformed(account: AcmeClient, part: str) -> None:
    """acme.md C16: padding, the other alphabet, white space, left-over bits, wrong lengths, other types."""
    good = _signed(account)
    text = good[part]
    octets = acme_signing.from_b64u(text)
    padded = base64.urlsafe_b64encode(octets + b"\x00" * (1 - len(octets) % 3)).decode()
    for bad in (padded, text + "=", text + "\n", " " + text, "+/" + text, text + "é", text + "A" * 5):
        if bad != text:
            _new_order(account, good | {part: bad}).refused(400, "malformed")
    others: tuple[object, ...] = (None, 7, [], {}, True)
    for other in others:
        _new_order(account, {**good, part: other}).refused(400, "malformed")
    _new_order(account, {name: value for name, value in good.items() if name != part}).refused(
        400, "malformed"
    )


def test_protected_header_that_is_no_plain_object_is_malformed(account: AcmeClient) -> None:
    """acme.md C17"""
    url, key = account.directory["newOrder"], account.key
    good = json.dumps(acme_signing.protected_header(key, url, account.new_nonce(), account.kid))
    for head in (
        b"",
        b"[]",
        b"null",
        b"7",
        b"{",
        b"\xff",
        good.encode() + b"x",
        b"[" * 2000,
        good.encode("utf-16"),
    ):
        _new_order(account, acme_signing.signed(key, head, {}, "ES256")).refused(400, "malformed")
    twice = good.replace('"alg"', '"alg": "ES256", "alg"', 1).encode()
    _new_order(account, acme_signing.signed(key, twice, {}, "ES256")).refused(400, "malformed")


def test_repeated_member_of_the_envelope_is_malformed(account: AcmeClient) -> None:
    """acme.md C17"""
    good = _signed(account)
    body = json.dumps(good)
    twice = body[:-1] + f', "payload": "{good["payload"]}"}}'
    _new_order(account, twice.encode()).refused(400, "malformed")


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "HS512", "RS1", "RS384", "ES256K", "", "es256"]
)
def test_unlisted_algorithm_is_refused_with_the_list(account: AcmeClient, algorithm: str) -> None:
    """acme.md C18 (RFC 8555 section 6.2)"""
    found = _new_order(account, _signed(account, alg=algorithm)).refused(400, "badSignatureAlgorithm")
    assert set(found["algorithms"]) == ALGORITHMS


def test_hmac_with_the_public_key_as_secret_is_refused(lab: Lab) -> None:
    """acme.md C18, E8: JWS confusion."""
    client = lab.client(key=shared_key("RSA-2048"))
    url = client.directory["newAccount"]
    secret = b64u(pki.spki_der(client.key))
    jwk = acme_signing.jwk_of(client.key)
    changes = {"kid": None, "jwk": jwk, "nonce": client.new_nonce()}
    body = acme_signing.external_binding("x", secret, client.key, url, changes=changes)
    client.post_body(url, json.dumps(body).encode()).refused(400, "badSignatureAlgorithm")


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("P-256", "RS256"), ("P-256", "ES384"), ("P-384", "ES256"), ("P-256", "EdDSA"), ("RSA-2048", "ES256")],
)
def test_algorithm_that_does_not_fit_the_key_is_refused(lab: Lab, kind: str, algorithm: str) -> None:
    """acme.md C19"""
    client = lab.client(key=shared_key(kind))
    answer = client.call("newAccount", {"onlyReturnExisting": True}, changes={"alg": algorithm})
    assert answer.status == 400
    assert answer.problem in ("badSignatureAlgorithm", "malformed")


def test_jwk_that_names_another_algorithm_is_malformed(lab: Lab) -> None:
    """acme.md C20"""
    client = lab.client()
    for contradiction in ({"alg": "ES384"}, {"use": "enc"}, {"key_ops": ["sign"]}, {"alg": 7}):
        jwk = acme_signing.jwk_of(client.key) | contradiction
        answer = client.call("newAccount", {"termsOfServiceAgreed": True}, changes={"jwk": jwk})
        assert (answer.status, answer.problem) in ((400, "malformed"), (400, "badPublicKey")), contradiction


def test_both_or_none_of_jwk_and_kid_is_malformed(account: AcmeClient) -> None:
    """acme.md C21, C22"""
    both = _signed(account, jwk=acme_signing.jwk_of(account.key))
    _new_order(account, both).refused(400, "malformed")
    _new_order(account, _signed(account, kid=None)).refused(400, "malformed")


def test_kid_where_a_key_is_wanted_and_the_reverse_is_malformed(account: AcmeClient) -> None:
    """acme.md C23"""
    account.call("newAccount", {"onlyReturnExisting": True}, by_key=False).refused(400, "malformed")
    for url in (account.directory["newOrder"], account.directory["keyChange"], account.kid or ""):
        account.post(url, {}, by_key=True).refused(400, "malformed")


def test_jwk_with_private_or_symmetric_parts_is_refused(lab: Lab) -> None:
    """acme.md C24"""
    client = lab.client()
    public = acme_signing.jwk_of(client.key)
    for jwk in (
        public | {"d": b64u(b"\x01" * 32)},
        {"kty": "oct", "k": b64u(b"k" * 32)},
        public | {"k": "AAAA"},
    ):
        answer = client.call("newAccount", {"termsOfServiceAgreed": True}, changes={"jwk": jwk})
        assert answer.status == 400
        assert answer.problem in ("badPublicKey", "malformed", "badSignatureAlgorithm"), jwk


@pytest.mark.parametrize("kind", ["RSA-1024", "P-192"])
def test_weak_account_key_is_refused(lab: Lab, kind: str) -> None:
    """acme.md C25"""
    client = lab.client(key=shared_key(kind))
    answer = client.new_account()
    assert answer.status == 400
    assert answer.problem in ("badPublicKey", "badSignatureAlgorithm")


def test_key_that_is_no_point_or_no_modulus_is_refused(lab: Lab) -> None:
    """acme.md C25"""
    client = lab.client()
    point = acme_signing.jwk_of(client.key)
    modulus = acme_signing.jwk_of(shared_key("RSA-2048"))
    for jwk, algorithm in (
        (point | {"y": point["x"]}, "ES256"),
        (point | {"x": point["x"][:-2]}, "ES256"),
        (point | {"x": b64u(b"\x00" * 32), "y": b64u(b"\x00" * 32)}, "ES256"),
        (modulus | {"e": "AQ"}, "RS256"),
        (modulus | {"e": "Ag"}, "RS256"),
        (modulus | {"n": b64u(b"\x80" + b"\x00" * 255)}, "RS256"),
        (modulus | {"n": b64u(b"\xff" * 1100)}, "RS256"),
    ):
        answer = client.call("newAccount", {}, by_key=True, changes={"jwk": jwk, "alg": algorithm})
        assert answer.status == 400, jwk
        assert answer.problem in ("badPublicKey", "malformed"), jwk


def test_ecdsa_signature_in_der_or_short_is_malformed(account: AcmeClient) -> None:
    """acme.md C26"""
    good = _signed(account)
    octets = acme_signing.from_b64u(good["signature"])
    der = account.key.sign(f"{good['protected']}.{good['payload']}".encode(), ec.ECDSA(SHA256()))
    for signature in (der, octets[:-1], octets[1:], b"\x00" + octets, octets + b"\x00", b"", b"\x00" * 64):
        _new_order(account, good | {"signature": b64u(signature)}).refused(400, "malformed")


@pytest.mark.parametrize("kind", ["P-256", "RSA-2048", "Ed25519"])
def test_signature_by_another_key_is_refused(lab: Lab, kind: str) -> None:
    """acme.md C27: an embedded key vouches for nothing but itself."""
    client = lab.client(key=pki.key(kind))
    url = client.directory["newAccount"]
    header = acme_signing.protected_header(client.key, url, client.new_nonce(), None)
    body = acme_signing.signed(pki.key(kind), header, {"termsOfServiceAgreed": True})
    client.post_body(url, json.dumps(body).encode()).refused(400, "malformed")
    client.new_account(onlyReturnExisting=True).refused(400, "accountDoesNotExist")


def test_changed_payload_is_refused(account: AcmeClient) -> None:
    """acme.md C27"""
    good = _signed(account, {"identifiers": [{"type": "dns", "value": "mine.test"}]})
    changed = b64u(json.dumps({"identifiers": [{"type": "dns", "value": "yours.test"}]}).encode())
    _new_order(account, good | {"payload": changed}).refused(400, "malformed")


@pytest.mark.parametrize("changes", [{"crit": ["x"]}, {"crit": []}, {"b64": False}, {"b64": True}])
def test_critical_and_unencoded_headers_are_malformed(
    account: AcmeClient, changes: dict[str, object]
) -> None:
    """acme.md C28"""
    _new_order(account, _signed(account, **changes)).refused(400, "malformed")
