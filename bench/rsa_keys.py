"""Many RSA-2048 keys in little time: each pair out of a few primes makes another modulus.

A prime takes some 35 ms, a pair of known ones 0.2 ms. Whoever holds two such keys can factor both, so they
are good for load and for nothing else.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from itertools import count as counted

from cryptography.hazmat.primitives.asymmetric import rsa

_EXPONENT = 65537


class RsaKeys:
    """Different keys, by number from 0: ``count`` are at hand, later ones cost a moment now and then.

    Holds primes only, so it can be pickled.
    """

    def __init__(self, count: int) -> None:
        wanted = next(n for n in counted(2) if n * (n - 1) // 2 >= count)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(_two_primes, range((wanted + 1) // 2))
            self._primes = [prime for pair in found for prime in pair]
        self._pairs = [(left, right) for right in range(len(self._primes)) for left in range(right)]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, number: int) -> rsa.RSAPrivateKey:
        while number >= len(self._pairs):
            self._add_primes()
        left, right = self._pairs[number]
        p, q = self._primes[left], self._primes[right]
        exponent = pow(_EXPONENT, -1, (p - 1) * (q - 1))
        numbers = rsa.RSAPrivateNumbers(
            p=p,
            q=q,
            d=exponent,
            dmp1=rsa.rsa_crt_dmp1(exponent, p),
            dmq1=rsa.rsa_crt_dmq1(exponent, q),
            iqmp=rsa.rsa_crt_iqmp(p, q),
            public_numbers=rsa.RSAPublicNumbers(_EXPONENT, p * q),
        )
        # The check would take longer than to make the key anew, and the primes are OpenSSL's own.
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)

    def _add_primes(self) -> None:
        for prime in _two_primes(0):
            right = len(self._primes)
            self._primes.append(prime)
            self._pairs.extend((left, right) for left in range(right))


def _two_primes(_number: int) -> tuple[int, int]:
    """Both with their two highest bits set, so that every product of two has 2048 bits."""
    numbers = rsa.generate_private_key(_EXPONENT, 2048).private_numbers()
    return numbers.p, numbers.q
