"""The one way by which our private keys are used: a file now, a signer process or PKCS#11 later."""

from __future__ import annotations

from typing import Protocol

from gateway.model.keys import PublicKey


class Signer(Protocol):
    """A private key that never shows itself.

    ``algorithm_der`` is the DER of the AlgorithmIdentifier that ``sign`` makes signatures for (RFC 5280
    section 4.1.1.2); ``slow`` says that one signature takes longer than RSA-2048 does, some 0.5 ms, so that
    callers use a thread.
    """

    public_key: PublicKey
    algorithm_der: bytes
    slow: bool

    def sign(self, message: bytes) -> bytes:
        """Sign the message (not a digest), in the form that X.509 signatureValue holds."""

    def sign_with_hash(self, message: bytes, hash_name: str) -> bytes:
        """Sign by RSA PKCS#1 v1.5 or ECDSA with this hash ("sha1", "sha256", "sha384", "sha512"), for peers
        that know no other. Raises ConfigurationError for a key whose algorithm has no such choice."""

    def decrypt(self, ciphertext: bytes) -> bytes:
        """RSA PKCS#1 v1.5 decryption with implicit rejection (RFC 8017 section 7.2.2). For RSA keys only."""
