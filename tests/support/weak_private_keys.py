"""RSA key pairs with the faults that ``keys.reject`` looks for, whole, so that CSRs can be signed with them.

How each is made:

- ROCA (CVE-2017-15361; Nemec et al., 2017, section 2): both primes are ``k * M + (65537^a mod M)`` with M the
  product of the first primes (126 of them for a modulus of 2048 bits).
- Close primes (CVE-2022-26320): the second prime is the next one after the first, so that ``(p + q) / 2`` is
  within a few steps of the root of ``p * q``.
- Small divisor: ``n = 751 * p * q``. Instead of two primes the key holds ``751 * p`` and q, which works as
  long as the exponents are inverses modulo ``lcm(750, p - 1)`` and ``q - 1``.
"""

from __future__ import annotations

import functools
import itertools
import math
import secrets

from cryptography.hazmat.primitives.asymmetric import rsa

_E = 65537
SMALL_DIVISOR = 751


@functools.cache
def roca_key() -> rsa.RSAPrivateKey:
    """A key of 2048 bits as the faulty chip cards made them."""
    while True:
        p, q = _roca_prime(), _roca_prime()
        if math.gcd(_E, (p - 1) * (q - 1)) == 1:
            return _key(p, p - 1, q)


@functools.cache
def close_primes_key() -> rsa.RSAPrivateKey:
    """A key of 2048 bits of two primes that follow each other."""
    while True:
        p = rsa.generate_private_key(_E, 2048).private_numbers().p
        q = next(number for number in itertools.count(p + 2, 2) if probably_prime(number))
        if math.gcd(_E, q - 1) == 1:
            return _key(p, p - 1, q)


@functools.cache
def small_divisor_key() -> rsa.RSAPrivateKey:
    """A key of 2058 bits or so whose modulus 751 divides."""
    numbers = rsa.generate_private_key(_E, 2048).private_numbers()
    return _key(SMALL_DIVISOR * numbers.p, math.lcm(SMALL_DIVISOR - 1, numbers.p - 1), numbers.q)


def modulus(key: rsa.RSAPrivateKey) -> int:
    return key.public_key().public_numbers().n


def probably_prime(number: int) -> bool:
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5))


def _roca_prime() -> int:
    primes = [number for number in range(2, 702) if all(number % d for d in range(2, math.isqrt(number) + 1))]
    product = math.prod(primes)
    while True:
        k = secrets.randbits(1024 - product.bit_length() - 1) | 1 << 1024 - product.bit_length() - 2
        found = (k << 1 | 1) * product + pow(_E, secrets.randbits(200), product)
        if found.bit_length() == 1024 and found >> 1022 == 3 and probably_prime(found):
            return found


def _key(p: int, order_of_p: int, q: int) -> rsa.RSAPrivateKey:
    """``order_of_p``: a multiple of the order of every number modulo p, p - 1 where p is a prime."""
    d = pow(_E, -1, math.lcm(order_of_p, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % order_of_p,
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(_E, p * q),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)
