"""Keys that are weak by their numbers: those made so are found, honest ones are not."""

from __future__ import annotations

import math

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.pki.weak_keys import ALL_WEAKNESSES, KeyWeakness, weakness_of_ed25519, weakness_of_rsa
from tests.support import bad_keys, pki, weak_private_keys

MADE = {
    KeyWeakness.ROCA: weak_private_keys.roca_key,
    KeyWeakness.FERMAT: weak_private_keys.close_primes_key,
    KeyWeakness.SMALL_PRIMES: weak_private_keys.small_divisor_key,
}


@pytest.mark.parametrize("size_bits", [2048, 2056, 3072])
def test_honest_rsa_keys_are_not_taken_for_weak(size_bits: int) -> None:
    """acme.md C25: the checks refuse nobody who made his key well."""
    for _ in range(3):
        numbers = rsa.generate_private_key(65537, size_bits).public_key().public_numbers()
        assert weakness_of_rsa(numbers.n) is None


@pytest.mark.parametrize("weakness", MADE)
def test_weakness_is_found_where_it_is_looked_for(weakness: KeyWeakness) -> None:
    """acme.md C25"""
    modulus = weak_private_keys.modulus(MADE[weakness]())
    assert weakness_of_rsa(modulus) is weakness
    assert weakness_of_rsa(modulus, frozenset({weakness})) is weakness


@pytest.mark.parametrize("weakness", MADE)
def test_weakness_that_is_not_looked_for_is_not_found(weakness: KeyWeakness) -> None:
    modulus = weak_private_keys.modulus(MADE[weakness]())
    assert weakness_of_rsa(modulus, ALL_WEAKNESSES - {weakness}) is None


@pytest.mark.parametrize("steps", [0, 1, 99])
def test_primes_as_far_apart_as_a_hundred_steps_are_found(steps: int) -> None:
    """For p and q = p + 2 d the mean lies d^2 / 2 p above the root: with d^2 = 2 p s it takes s steps."""
    p = (1 << 1023) + (1 << 511) + 1
    # No primes, but the factorization does not ask.
    modulus = p * (p + 2 * math.isqrt(2 * p * steps))
    assert weakness_of_rsa(modulus, frozenset({KeyWeakness.FERMAT})) is KeyWeakness.FERMAT


def test_primes_farther_apart_than_a_hundred_steps_are_not_found() -> None:
    p = (1 << 1023) + (1 << 511) + 1
    modulus = p * (p + 2 * math.isqrt(2 * p * 300))
    assert weakness_of_rsa(modulus, frozenset({KeyWeakness.FERMAT})) is None


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
