"""Our senderNonces (RFC 9810 section 5.1.1), checked without memory.

A nonce of ours is one AES block over eight random octets, four that name the transaction and four that name
the client's nonce which it answered. So a follow-up message shows by its recipNonce that it belongs to this
transaction, and by its senderNonce that it is not the former message's.
"""

from __future__ import annotations

import hashlib
import os
from enum import Enum, auto

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

NONCE_OCTETS = 16
_RANDOM_OCTETS, _NAME_OCTETS = 8, 4


class FollowUp(Enum):
    """What the nonces of a message that goes on with a transaction say."""

    RIGHT = auto()
    FOREIGN = auto()  # recipNonce is none that we gave in this transaction: badRecipientNonce
    REUSED = auto()  # senderNonce is that of the message before: badSenderNonce


class Nonces:
    """Makes and checks nonces; all processes with the same key (32 octets) know each other's."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES256(key), modes.ECB())  # noqa: S305  one single block, a permutation

    def make(self, transaction_id: bytes, client_nonce: bytes | None) -> bytes:
        """A senderNonce of 16 octets for the answer to a message with this senderNonce."""
        block = os.urandom(_RANDOM_OCTETS) + _name(transaction_id) + _name(client_nonce or b"")
        return self._cipher.encryptor().update(block)

    def check(self, transaction_id: bytes, recip_nonce: bytes | None, sender_nonce: bytes | None) -> FollowUp:
        """Judge a follow-up message by the nonces in its header.

        A nonce of another transaction passes once in four thousand million times.
        """
        if recip_nonce is None or len(recip_nonce) != NONCE_OCTETS:
            return FollowUp.FOREIGN
        block = self._cipher.decryptor().update(recip_nonce)
        if block[_RANDOM_OCTETS : _RANDOM_OCTETS + _NAME_OCTETS] != _name(transaction_id):
            return FollowUp.FOREIGN
        if block[_RANDOM_OCTETS + _NAME_OCTETS :] == _name(sender_nonce or b""):
            return FollowUp.REUSED
        return FollowUp.RIGHT


def _name(octets: bytes) -> bytes:
    return hashlib.blake2s(octets, digest_size=_NAME_OCTETS).digest()
