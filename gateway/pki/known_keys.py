"""Public keys whose private half is known to everybody, and the names under which lists have them."""

from __future__ import annotations

import hashlib

# SHA-256 of the SubjectPublicKeyInfo of keys that stand in RFCs with their private half.
PUBLISHED_KEYS = frozenset(
    {
        "8fb6bad671cfe698393c453357da61b56d757ab8c0f3fb9c87f2849e63131878",  # RFC 9500: testRSA2048
        "b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e",  # RFC 9500: testECCP256
        "c4c10105a0be0ed4dd3354428dc38a9bfee64da141ce16e75c94eda272f9dd3a",  # RFC 9500: testECCP384
        "acb1b8327fef995e2458fdf5e3c33b2dc0749feabd6a894cb9bda9d70ac06c24",  # RFC 9500: testECCP521
        "a1e9156054e04fac899ae9f275132cdc07a5dbc4ea2c2ad3a1ffc6e0d253681f",  # RFC 8410 section 10.3
        "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9",  # RFC 8032 section 7.1, TEST 1
    }
)


def debian_fingerprint(modulus: int) -> str:
    """How Debian's lists of its weak keys (CVE-2008-0166, package openssl-blacklist) name an RSA modulus.

    The last 20 hexadecimal digits of the SHA-1 of what ``openssl rsa -modulus`` prints, with its line end.
    """
    printed = f"Modulus={modulus:X}\n".encode()
    return hashlib.sha1(printed, usedforsecurity=False).hexdigest()[20:]
