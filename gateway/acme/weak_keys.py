"""Public keys that are known to be weak by their numbers alone, found with a few divisions.

Lists of compromised keys (Debian's of 2008) are not looked into: they are data, and large.
"""

from __future__ import annotations

import math
from functools import cache

_SMALL_PRIMES_BELOW = 752  # as many as Boulder's check (CA/Browser Forum ballot 73 speaks of 752)
# Primes whose product the generator of CVE-2017-15361 (ROCA) builds its primes on, for every key size
_ROCA_PRIMES_BELOW = 168
_ROCA_GENERATOR = 65537
_FERMAT_ROUNDS = 20
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


def weakness_of_rsa(modulus: int) -> str | None:
    """What is wrong with an RSA modulus, None if nothing is known."""
    if math.gcd(modulus, _product_of_small_primes()) != 1:
        return "the RSA modulus has a small divisor"
    if _made_by_roca(modulus):
        return "the RSA key was made by hardware whose keys can be factored (CVE-2017-15361, ROCA)"
    if _has_close_primes(modulus):
        return "the two primes of the RSA key are too close to each other (CVE-2022-26320)"
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
    return all(residues >> modulus % prime & 1 for prime, residues in _roca_residues())


def _has_close_primes(modulus: int) -> bool:
    """A few rounds of Fermat's factorization: p * q = a^2 - b^2."""
    a = math.isqrt(modulus - 1) + 1
    for _ in range(_FERMAT_ROUNDS):
        square = a * a - modulus
        # Squares end in few bit patterns only, which saves nearly every root.
        if square & 0xF in {0, 1, 4, 9} and math.isqrt(square) ** 2 == square:
            return True
        a += 1
    return False


@cache
def _product_of_small_primes() -> int:
    return math.prod(_primes_below(_SMALL_PRIMES_BELOW))


@cache
def _roca_residues() -> tuple[tuple[int, int], ...]:
    """Odd primes, each with a bit for every power of 65537 modulo it."""
    found = []
    for prime in _primes_below(_ROCA_PRIMES_BELOW)[1:]:
        bits, power = 0, 1
        while not bits >> power & 1:
            bits |= 1 << power
            power = power * _ROCA_GENERATOR % prime
        found.append((prime, bits))
    return tuple(found)


def _primes_below(limit: int) -> list[int]:
    return [number for number in range(2, limit) if all(number % d for d in range(2, math.isqrt(number) + 1))]
