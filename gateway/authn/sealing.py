"""Secrets that must be readable again, sealed with AES-256-GCM under a key derived from the server key.

What is sealed for one credential opens for no other: its id is the associated data (RFC 5116 section 2.1).
"""

from __future__ import annotations

import hmac
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import SecretUnavailable
from gateway.model.evidence import SecretBytes

_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16


def seal(server_key: bytes, credential_id: str, secret: bytes) -> bytes:
    """Give a version byte, the nonce of 12 bytes and the ciphertext with its tag."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _VERSION + nonce + _cipher(server_key).encrypt(nonce, secret, credential_id.encode())


def unseal(server_key: bytes, credential_id: str, sealed: bytes) -> SecretBytes:
    """Open what ``seal`` made. Raises SecretUnavailable where it was sealed under another server key, for
    another credential, or was changed."""
    nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        if sealed[:1] != _VERSION or len(body) < _TAG_BYTES:
            raise InvalidTag
        return SecretBytes(_cipher(server_key).decrypt(nonce, body, credential_id.encode()))
    except InvalidTag as exc:
        raise SecretUnavailable(
            "a stored secret cannot be opened",
            detail=f"credential {credential_id} was sealed under another server key, or its row was changed",
        ) from exc


@lru_cache(maxsize=4)
def _cipher(server_key: bytes) -> AESGCM:
    return AESGCM(hmac.digest(server_key, b"pkigate sealed secret v1", "sha256"))
