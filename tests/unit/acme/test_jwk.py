"""Account keys (acme.md C20, C24, C25; RFC 7638)."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.acme.errors import AcmeError
from gateway.acme.jwk import account_key, import_jwk, spki_thumbprint
from gateway.acme.weak_keys import weakness_of_ed25519, weakness_of_rsa
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


@pytest.mark.parametrize("size_bits", [2048, 2056, 3072])
def test_honest_rsa_keys_are_not_taken_for_weak(size_bits: int) -> None:
    """acme.md C25: the checks refuse nobody who made his key well."""
    for _ in range(3):
        numbers = rsa.generate_private_key(65537, size_bits).public_key().public_numbers()
        assert weakness_of_rsa(numbers.n) is None


def test_weakness_is_told_by_its_cause() -> None:
    """acme.md C25"""
    assert "ROCA" in (weakness_of_rsa(bad_keys.roca_modulus()) or "")
    assert "close" in (weakness_of_rsa(bad_keys.close_primes_modulus()) or "")
    assert "divisor" in (weakness_of_rsa(3 * ((1 << 2046) + 1)) or "")


def test_points_of_small_order_are_those_of_the_curve() -> None:
    """acme.md C25: eight times such a point is the neutral one; every such y is refused, no other is."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def y_of_double(y: int) -> int:
        # x^2 from the curve's equation, then y(2P) = (y^2 + x^2) / (1 - d x^2 y^2)
        x_squared = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        return (y * y + x_squared) * pow(1 - d * x_squared * y * y, -1, p) % p

    small = {0, 1, p - 1, *bad_keys.SMALL_ORDER}
    for y in small:
        assert y_of_double(y_of_double(y_of_double(y))) == 1
        assert weakness_of_ed25519(y.to_bytes(32, "little")) is not None
    assert len(small) == 5
    honest = pki.key("Ed25519").public_key().public_bytes_raw()
    assert weakness_of_ed25519(honest) is None


def test_huge_numbers_cost_nothing() -> None:
    """acme.md E8: big exponents and moduli are refused before they are computed with."""
    huge = b64u(b"\xff" * 30_000)
    good = jwk_of(pki.shared_key("RSA-2048"))
    started = time.process_time()
    for jwk in ({"n": huge}, {"e": huge}, {"n": huge, "e": huge}):
        with pytest.raises(AcmeError):
            import_jwk(good | jwk)
    assert time.process_time() - started < 5  # computed with, they take minutes
