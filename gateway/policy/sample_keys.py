"""Public keys of every kind, made from nothing but their name, for requests that nobody has sent.

The same name always gives the same key. An RSA modulus is a number without small factors, not a product that
anybody knows: no prime is looked for, so that a bundle with many tests loads at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cache
from math import gcd, prod

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.model.keys import PublicKey
from gateway.pki import der
from gateway.pki.keys import public_key
from gateway.policy.complaints import Misfit, did_you_mean

_RSA = re.compile(r"rsa-([0-9]{4})")
_SMALLEST, _LARGEST = 1024, 8192  # what gateway.pki.keys takes for a key at all
_STEP = 128  # each size is made once, which takes some 10 ms: there must not be too many
_CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "ec-p256": ec.SECP256R1,
    "ec-p384": ec.SECP384R1,
    "ec-p521": ec.SECP521R1,
}
# OID and octets of the key: RFC 9881 section 4. Every string of that length is a key.
_ML_DSA: Mapping[str, tuple[str, int]] = {
    "ml-dsa-44": ("2.16.840.1.101.3.4.3.17", 1312),
    "ml-dsa-65": ("2.16.840.1.101.3.4.3.18", 1952),
    "ml-dsa-87": ("2.16.840.1.101.3.4.3.19", 2592),
}
KEY_WORDS = ("rsa-2048", "rsa-3072", "rsa-4096", *_CURVES, "ed25519", "ed448", *_ML_DSA)


def read_key_word(value: object) -> str:
    """``rsa-2048``, ``ec-p256``, ``ed25519``, ``ml-dsa-65`` and so on. Raises Misfit."""
    word = str(value)
    found = _RSA.fullmatch(word)
    if found is not None:
        if _SMALLEST <= int(found[1]) <= _LARGEST and int(found[1]) % _STEP == 0:
            return word
        text = f"write one from rsa-{_SMALLEST} to rsa-{_LARGEST}, in steps of {_STEP}"
        raise Misfit(f"{word!r} is no key for a test; {text}")
    if word not in KEY_WORDS:
        raise Misfit(f"{word!r} is no kind of key; {did_you_mean(word, KEY_WORDS)}")
    return word


@cache
def sample_key(word: str, which: str = "") -> PublicKey:
    """The key of this name (``read_key_word``); another ``which`` is another key of the same kind."""
    seed = hashlib.shake_256(f"{word}/{which}".encode())
    if word in _ML_DSA:
        oid, octets = _ML_DSA[word]
        algorithm = der.tlv(der.SEQUENCE, der.oid(oid))
        return public_key(
            der.tlv(der.SEQUENCE, algorithm + der.tlv(der.BIT_STRING, b"\x00" + seed.digest(octets)))
        )
    return public_key(_SIGNING.get(word.partition("-")[0], _rsa)(word, seed.digest))


def _rsa(word: str, digest: Callable[[int], bytes]) -> bytes:
    bits = int(word.partition("-")[2])
    modulus = int.from_bytes(digest((bits + 7) // 8)) >> (-bits % 8)
    modulus |= 1 | 1 << (bits - 1)
    while gcd(modulus, _small_primes()) != 1:
        modulus += 2
    return _spki(RSAPublicNumbers(65537, modulus).public_key())


def _ec(word: str, digest: Callable[[int], bytes]) -> bytes:
    return _spki(ec.derive_private_key(int.from_bytes(digest(24)), _CURVES[word]()).public_key())


def _ed25519(_: str, digest: Callable[[int], bytes]) -> bytes:
    return _spki(ed25519.Ed25519PrivateKey.from_private_bytes(digest(32)).public_key())


def _ed448(_: str, digest: Callable[[int], bytes]) -> bytes:
    return _spki(ed448.Ed448PrivateKey.from_private_bytes(digest(57)).public_key())


_SIGNING: Mapping[str, Callable[[str, Callable[[int], bytes]], bytes]] = {
    "ec": _ec,
    "ed25519": _ed25519,
    "ed448": _ed448,
}


def _spki(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


@cache
def _small_primes() -> int:
    """The product of all primes below 2**16: what any check for small factors could look for."""
    sieve = bytearray([1]) * (1 << 16)
    for number in range(2, 256):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, 1 << 16, number)))
    return prod(number for number in range(2, 1 << 16) if sieve[number])
