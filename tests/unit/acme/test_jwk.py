"""Account keys (acme.md C20, C24, C25; RFC 7638)."""

from __future__ import annotations

import hashlib
import json
import time

import pytest

from gateway.acme.errors import AcmeError
from gateway.acme.jwk import account_key, import_jwk, spki_thumbprint
from tests.support import acme_signing, bad_keys, pki
from tests.support.acme_signing import b64u, jwk_of

GOOD = ("P-256", "P-384", "P-521", "RSA-2048", "Ed25519")
# RFC 7638 section 3.1
RFC_7638_KEY = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXj"
    "BZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d"
    "0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-cs"
    "FCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
# RFC 8037 appendix A
RFC_8037_KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@pytest.mark.parametrize(
    ("jwk", "thumbprint"),
    [
        (RFC_7638_KEY, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (RFC_8037_KEY, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ],
    ids=["rfc7638", "rfc8037"],
)
def test_thumbprints_of_the_rfcs_come_out(jwk: dict[str, object], thumbprint: str) -> None:
    """RFC 7638 section 3.1, RFC 8037 appendix A.3"""
    assert import_jwk(jwk).thumbprint == thumbprint


@pytest.mark.parametrize("kind", GOOD)
def test_key_is_the_same_from_jwk_from_store_and_from_certificate(kind: str) -> None:
    """acme.md C54, E10: thumbprints are compared, not bytes."""
    private_key = pki.shared_key(kind)
    imported = import_jwk({"use": "sig", "key_ops": ["verify"], "kid": "x", **jwk_of(private_key)})
    stored = account_key(imported.jwk)
    assert stored == account_key(imported.jwk)
    assert (stored.jwk, stored.thumbprint, stored.spki_sha256) == (
        imported.jwk,
        imported.thumbprint,
        imported.spki_sha256,
    )
    assert imported.thumbprint == acme_signing.thumbprint(private_key)
    assert imported.thumbprint == spki_thumbprint(pki.spki_der(private_key))
    assert imported.spki_sha256 == hashlib.sha256(pki.spki_der(private_key)).hexdigest()
    assert json.loads(imported.jwk) == jwk_of(private_key)


@pytest.mark.parametrize("kind", ["ML-DSA-44", "Ed448", "P-192"])
def test_key_that_no_account_can_have_has_no_thumbprint(kind: str) -> None:
    assert spki_thumbprint(pki.spki_der(pki.key(kind))) is None


def test_bytes_that_are_no_key_have_no_thumbprint() -> None:
    assert spki_thumbprint(b"\x30\x00") is None


def test_key_of_an_account_is_made_once() -> None:
    """Issue 3: account key objects are cached."""
    text = import_jwk(jwk_of(pki.key())).jwk
    assert account_key(text) is account_key(text)


@pytest.mark.parametrize("bad", list(bad_keys.bad_keys()), ids=lambda bad: bad.name)
def test_bad_key_is_refused(bad: bad_keys.BadKey) -> None:
    """acme.md C24, C25"""
    with pytest.raises(AcmeError) as refused:
        import_jwk(bad.jwk)
    assert (refused.value.status, refused.value.type) == (400, bad.problem)


def test_private_key_that_was_sent_is_not_repeated_in_the_answer() -> None:
    """acme.md C24"""
    secret = b64u(b"very secret octets of a private k")
    with pytest.raises(AcmeError) as refused:
        import_jwk(jwk_of(pki.key()) | {"d": secret})
    assert secret not in str(refused.value) + refused.value.detail


def test_huge_numbers_cost_nothing() -> None:
    """acme.md E8: big exponents and moduli are refused before they are computed with."""
    huge = b64u(b"\xff" * 30_000)
    good = jwk_of(pki.shared_key("RSA-2048"))
    started = time.process_time()
    for jwk in ({"n": huge}, {"e": huge}, {"n": huge, "e": huge}):
        with pytest.raises(AcmeError):
            import_jwk(good | jwk)
    assert time.process_time() - started < 5  # computed with, they take minutes
