"""JWKs that must not become an account's key (acme.md C20, C24, C25), each with the right problem type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.support import weak_private_keys
from tests.support.acme_signing import b64u, jwk_of
from tests.support.keys import shared_key

BAD_KEY, MALFORMED = "badPublicKey", "malformed"
_P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
_P25519 = 2**255 - 19
SMALL_ORDER = (  # of 1, 2, 4, 8, 8 (computed from the curve's equation by test_jwk)
    1,
    _P25519 - 1,
    0,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
)


@dataclass(frozen=True, slots=True)
class BadKey:
    """``alg`` is what the header of its message says."""

    name: str
    jwk: Mapping[str, object]
    problem: str
    alg: str = "ES256"


def bad_keys() -> Iterator[BadKey]:
    """All of them. Making the large ones takes about a second, once."""
    yield from _shapes()
    yield from _ec()
    yield from _rsa()
    yield from _okp()


def _shapes() -> Iterator[BadKey]:
    point = jwk_of(shared_key("P-256"))
    yield BadKey("empty", {}, MALFORMED)
    yield BadKey("without-kty", {"crv": "P-256", "x": point["x"], "y": point["y"]}, MALFORMED)
    others: tuple[object, ...] = (7, None, ["EC"], True)
    for other in others:
        yield BadKey(f"kty-{other!r}", {**point, "kty": other}, MALFORMED)
    for kty in ("ec", "EC ", "DSA", "", "AKP"):
        yield BadKey(f"kty-{kty!r}", point | {"kty": kty}, BAD_KEY)
    yield BadKey("symmetric", {"kty": "oct", "k": b64u(b"k" * 32)}, BAD_KEY)
    yield BadKey("symmetric-without-key", {"kty": "oct"}, BAD_KEY)
    for name in ("d", "k", "p"):
        yield BadKey(f"ec-with-{name}", point | {name: b64u(b"\x01" * 32)}, BAD_KEY)


def _ec() -> Iterator[BadKey]:
    point = jwk_of(shared_key("P-256"))
    for crv in ("P-192", "P-224", "secp256k1", "p-256", "BP-256", "", "Ed25519"):
        yield BadKey(f"crv-{crv!r}", point | {"crv": crv}, BAD_KEY)
    yield BadKey("crv-number", point | {"crv": 256}, MALFORMED)
    yield BadKey("crv-of-another-size", point | {"crv": "P-384"}, MALFORMED)
    old = jwk_of(shared_key("P-192"))
    yield BadKey("p-192", old, BAD_KEY)
    for name in ("crv", "x", "y"):
        yield BadKey(f"ec-without-{name}", {k: v for k, v in point.items() if k != name}, MALFORMED)
    for name in ("x", "y"):
        for fault, value in {
            "empty": "",
            "number": 7,
            "list": [point[name]],
            "padded": point[name] + "=",
            "other-alphabet": "+" + point[name][1:],
            "short": b64u(b"\x01" * 31),
            "long": b64u(b"\x00" + b"\x01" * 32),
            "huge": b64u(b"\x01" * 5000),
        }.items():
            yield BadKey(f"{name}-{fault}", point | {name: value}, MALFORMED)
        yield BadKey(f"{name}-of-another-point", point | {name: b64u(b"\x01" * 32)}, BAD_KEY)
        yield BadKey(f"{name}-over-the-prime", point | {name: b64u(b"\xff" * 32)}, BAD_KEY)
    yield BadKey("swapped-coordinates", point | {"x": point["y"], "y": point["x"]}, BAD_KEY)
    yield BadKey("zero-point", point | {"x": b64u(bytes(32)), "y": b64u(bytes(32))}, BAD_KEY)
    yield BadKey("prime-as-x", point | {"x": b64u(_P256_PRIME.to_bytes(32, "big"))}, BAD_KEY)


def _rsa() -> Iterator[BadKey]:
    good = jwk_of(shared_key("RSA-2048"))
    modulus = shared_key("RSA-2048").public_key().public_numbers().n

    def bad(name: str, changes: Mapping[str, object], problem: str = BAD_KEY) -> BadKey:
        return BadKey(f"rsa-{name}", {**good, **changes}, problem, "RS256")

    for name in ("n", "e"):
        yield BadKey(f"rsa-without-{name}", {k: v for k, v in good.items() if k != name}, MALFORMED, "RS256")
        yield bad(f"{name}-empty", {name: ""}, MALFORMED)
        yield bad(f"{name}-number", {name: 65537}, MALFORMED)
        yield bad(f"{name}-zero", {name: "AA"}, MALFORMED)
        yield bad(f"{name}-padded", {name: good[name] + "="}, MALFORMED)
    yield bad("n-with-zero-in-front", {"n": b64u(b"\x00" + modulus.to_bytes(256, "big"))}, MALFORMED)
    yield bad("e-with-zero-in-front", {"e": b64u(b"\x00\x01\x00\x01")}, MALFORMED)
    for place, exponent in enumerate((1, 2, 4, 65536, 2**32 + 1, 2**64 - 1, 2**256 + 1, modulus - 2)):
        yield bad(f"e-unsafe-{place}", {"e": _number(exponent)})
    for bits in (512, 1024, 2047, 8193, 8200, 16384, 100_000):
        yield bad(f"{bits}-bits", {"n": _number(1 << bits - 1 | 1)})
    yield bad("even-modulus", {"n": _number(modulus + 1)})
    yield bad("small-divisor", {"n": _number(751 * ((1 << 2047) // 751 + 2))})
    yield bad("all-ones", {"n": _number((1 << 2048) - 1)})
    yield bad("roca", {"n": _number(weak_private_keys.modulus(weak_private_keys.roca_key()))})
    yield bad("close-primes", {"n": _number(weak_private_keys.modulus(weak_private_keys.close_primes_key()))})
    for name in ("d", "p", "q", "dp", "dq", "qi", "oth"):
        yield bad(f"with-{name}", {name: "AQ"})


def _okp() -> Iterator[BadKey]:
    good = jwk_of(shared_key("Ed25519"))

    def bad(name: str, changes: Mapping[str, object], problem: str = BAD_KEY) -> BadKey:
        return BadKey(f"okp-{name}", {**good, **changes}, problem, "EdDSA")

    for crv in ("Ed448", "X25519", "X448", "ed25519", "P-256", ""):
        yield bad(f"crv-{crv!r}", {"crv": crv})
    yield bad("short", {"x": b64u(b"\x01" * 31)}, MALFORMED)
    yield bad("long", {"x": b64u(b"\x01" * 33)}, MALFORMED)
    yield bad("x-number", {"x": 1}, MALFORMED)
    yield bad("with-d", {"d": b64u(b"\x01" * 32)})
    for place, y in enumerate(SMALL_ORDER):
        yield bad(f"small-order-{place}", {"x": b64u(y.to_bytes(32, "little"))})
        yield bad(f"small-order-{place}-negative", {"x": b64u((y | 1 << 255).to_bytes(32, "little"))})
    for y in (_P25519, _P25519 + 1, 2**255 - 1):
        yield bad(f"over-the-prime-{y - _P25519}", {"x": b64u(y.to_bytes(32, "little"))})


def _number(number: int) -> str:
    return b64u(number.to_bytes((number.bit_length() + 7) // 8, "big"))
