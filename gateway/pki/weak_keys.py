"""Public keys that are known to be weak by their numbers alone, found without looking anything up.

What is known by lists only (Debian's keys of 2008, stolen ones) is not looked into here.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import cache


class KeyWeakness(StrEnum):
    """A fault in the making of an RSA key, in the words of the policy language."""

    SMALL_PRIMES = "small-primes"
    ROCA = "roca"
    FERMAT = "fermat"


WEAKNESS_TEXTS = {
    KeyWeakness.SMALL_PRIMES: "the RSA modulus has a small divisor",
    KeyWeakness.ROCA: "the RSA key was made by hardware whose keys can be factored (CVE-2017-15361, ROCA)",
    KeyWeakness.FERMAT: "the two primes of the RSA key are too close to each other (CVE-2022-26320)",
}
ALL_WEAKNESSES = frozenset(KeyWeakness)

_SMALL_PRIMES_BELOW = 752  # CA/Browser Forum ballot 73 speaks of 752
# Primes whose product M the generator of CVE-2017-15361 builds its primes on, as k * M + (65537^a mod M)
# (Nemec et al., "The Return of Coppersmith's Attack", 2017, section 2). Larger keys have a larger M, of which
# these are the first primes: what holds for them holds for keys of every size.
_ROCA_PRIMES_BELOW = 168
_ROCA_GENERATOR = 65537
_FERMAT_ROUNDS = 100  # as public CAs make at least (CA/Browser Forum, Baseline Requirements 6.1.1.3)
_P25519 = 2**255 - 19
# y of the points of order 1, 2, 4 and 8 (RFC 7748 section 7 speaks of them): with such a key a signature
# can be made without knowing any private key.
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _P25519 - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
# A square is one modulo each of these too, which is so for one other number in 170.
_SIEVE = (16, 9, 5, 7, 11, 13, 17)
_SIEVE_PRODUCT = math.prod(_SIEVE)


def weakness_of_rsa(modulus: int, among: frozenset[KeyWeakness] = ALL_WEAKNESSES) -> KeyWeakness | None:
    """The first weakness of an RSA modulus of those looked for, None if it has none of them."""
    if KeyWeakness.SMALL_PRIMES in among and math.gcd(modulus, _product_of_small_primes()) != 1:
        return KeyWeakness.SMALL_PRIMES
    if KeyWeakness.ROCA in among and _made_by_roca(modulus):
        return KeyWeakness.ROCA
    if KeyWeakness.FERMAT in among and _has_close_primes(modulus):
        return KeyWeakness.FERMAT
    return None


def weakness_of_ed25519(octets: bytes) -> str | None:
    """What is wrong with 32 octets of an Ed25519 public key, None if nothing is known."""
    y = int.from_bytes(octets, "little") & (1 << 255) - 1  # the top bit is the sign of x (RFC 8032 5.1.2)
    if y >= _P25519:
        return "the Ed25519 key is not encoded as RFC 8032 says"
    if y in _SMALL_ORDER_Y:
        return "the Ed25519 key is a point of small order"
    return None


def _made_by_roca(modulus: int) -> bool:
    """Whether the modulus is a power of 65537 modulo each of the primes: true for every such key, and by
    chance for one other in a hundred million."""
    # One division of the large number, the others of its remainder.
    rest = modulus % _roca_product()
    return all(residues >> rest % prime & 1 for prime, residues in _roca_residues())


def _has_close_primes(modulus: int) -> bool:
    """Some rounds of Fermat's factorization: p * q = a^2 - b^2 with a the mean of p and q.

    In which rounds a^2 - p * q can be a square at all is found by small numbers first.
    """
    a = math.isqrt(modulus - 1) + 1
    small_a, small_n = a % _SIEVE_PRODUCT, modulus % _SIEVE_PRODUCT
    rounds = (1 << _FERMAT_ROUNDS) - 1
    for divisor in _SIEVE:
        rounds &= _rounds_left(divisor, small_a % divisor, small_n % divisor)
    while rounds:
        mean = a + (rounds & -rounds).bit_length() - 1
        square = mean * mean - modulus
        if math.isqrt(square) ** 2 == square:
            return True
        rounds &= rounds - 1
    return False


@cache  # of at most 990 entries
def _rounds_left(divisor: int, a: int, modulus: int) -> int:
    """A bit for every round whose difference is a square modulo ``divisor``."""
    squares = {root * root % divisor for root in range(divisor)}
    left = (step for step in range(_FERMAT_ROUNDS) if ((a + step) ** 2 - modulus) % divisor in squares)
    return sum(1 << step for step in left)


@cache
def _product_of_small_primes() -> int:
    return math.prod(_primes_below(_SMALL_PRIMES_BELOW))


@cache
def _roca_product() -> int:
    return math.prod(prime for prime, _ in _roca_residues())


@cache
def _roca_residues() -> tuple[tuple[int, int], ...]:
    """Odd primes, each with a bit for every power of 65537 modulo it. Those of which every number is such a
    power are left out: they say nothing."""
    found = []
    for prime in _primes_below(_ROCA_PRIMES_BELOW)[1:]:
        bits, power = 0, 1
        while not bits >> power & 1:
            bits |= 1 << power
            power = power * _ROCA_GENERATOR % prime
        if bits.bit_count() < prime - 1:
            found.append((prime, bits))
    return tuple(found)


def _primes_below(limit: int) -> list[int]:
    return [number for number in range(2, limit) if all(number % d for d in range(2, math.isqrt(number) + 1))]
