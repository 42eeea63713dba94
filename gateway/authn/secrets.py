"""Secrets of enrolment credentials: how they are made, stored and checked (decisions: "Cryptography").

Machine secrets have 192 random bits and are stored as an HMAC-SHA-256 under a key derived from the server
key; people's passwords are stored as argon2id (RFC 9106). Neither can be read back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MACHINE_PREFIX = "hmac-sha256:"
API_TOKEN_PREFIX = "pkigate_"  # noqa: S105  # no secret: what all of them begin with
MAX_SECRET_BYTES = 1024
_DUMMY_VERIFIER = MACHINE_PREFIX + "0" * 64


def new_machine_secret() -> str:
    """Make a secret of 192 random bits as 32 characters of base64url."""
    return secrets.token_urlsafe(24)


def new_challenge() -> str:
    """Make a challenge password of 128 random bits as 32 hex digits: every ASN.1 string type can hold them,
    and every device's form."""
    return secrets.token_hex(16)


def new_api_token() -> str:
    """Make a bearer token (RFC 6750) of 256 random bits, which programs that look for leaked secrets know by
    how it begins."""
    return API_TOKEN_PREFIX + secrets.token_urlsafe(32)


def machine_verifier(server_key: bytes, secret: str) -> str:
    """Give the stored form of a high-entropy secret: ``hmac-sha256:`` and 64 hex digits."""
    return MACHINE_PREFIX + _machine_mac(server_key, secret.encode())


def challenge_verifier(server_key: bytes, secret: bytes) -> str:
    """Give the stored form by which a presented challenge password is found."""
    # One byte more than any stored secret has: what is longer is found nowhere, and costs no more.
    return MACHINE_PREFIX + _machine_mac(server_key, secret[: MAX_SECRET_BYTES + 1])


def human_verifier(password: str) -> str:
    """Give the stored form of a person's password: an argon2id string (RFC 9106). Takes about 50 ms."""
    return PasswordHasher().hash(password)


def is_machine_verifier(verifier: str) -> bool:
    return verifier.startswith(MACHINE_PREFIX)


def machine_secret_matches(server_key: bytes, verifier: str | None, secret: bytes) -> bool:
    """Compare in constant time; the work is the same for an unknown user (``verifier`` None)."""
    expected = verifier if verifier is not None and is_machine_verifier(verifier) else _DUMMY_VERIFIER
    given = MACHINE_PREFIX + _machine_mac(server_key, secret[:MAX_SECRET_BYTES])
    same = hmac.compare_digest(expected, given)
    return same and verifier is not None and len(secret) <= MAX_SECRET_BYTES


def _machine_mac(server_key: bytes, secret: bytes) -> str:
    return hmac.digest(_machine_key(server_key), secret, "sha256").hex()


@lru_cache(maxsize=4)
def _machine_key(server_key: bytes) -> bytes:
    return hmac.digest(server_key, b"pkigate machine secret v1", "sha256")


class PasswordMemory:
    """Remembers for some minutes that a password was verified, so that argon2id runs once per session.

    Only an HMAC under a key of this process is kept. A changed verifier is another entry.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        lifetime_s: float = 300,
        size: int = 1000,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._key = secrets.token_bytes(32)
        self._monotonic = monotonic
        self._lifetime_s = lifetime_s
        self._size = size
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._hasher = hasher or PasswordHasher()

    def remembers(self, verifier: str, password: bytes) -> bool:
        entry = self.entry(verifier, password)
        until = self._until.get(entry)
        if until is None:
            return False
        if until < self._monotonic():
            del self._until[entry]
            return False
        return True

    def verify(self, verifier: str, password: bytes) -> bool:
        """Run argon2id; slow, so callers use a thread."""
        if len(password) > MAX_SECRET_BYTES:
            return False
        try:
            self._hasher.verify(verifier, password)
        except (VerificationError, InvalidHashError):
            return False
        return True

    def remember(self, verifier: str, password: bytes) -> None:
        self._until[self.entry(verifier, password)] = self._monotonic() + self._lifetime_s
        while len(self._until) > self._size:
            self._until.popitem(last=False)

    def entry(self, verifier: str, password: bytes) -> bytes:
        """Names this password for this verifier, and says nothing of it."""
        stored = hashlib.sha256(verifier.encode()).digest()
        return hmac.digest(self._key, stored + password[: MAX_SECRET_BYTES + 1], "sha256")
