"""Public keys and who makes them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class KeyType(StrEnum):
    """Public-key algorithms that the gateway can name in policy."""

    RSA = "rsa"
    EC = "ec"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A subject public key: ``spki_der`` is the whole SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7)."""

    spki_der: bytes
    spki_sha256: str  # lower-case hex, of the usual form: a compressed EC point is no other key
    type: KeyType
    size_bits: int  # modulus for RSA, field for EC, 0 where it says nothing
    curve: str | None = None  # "P-256", "P-384", "P-521" or an OID
    rsa_exponent: int | None = None
    algorithm_oid: str = ""

    def __str__(self) -> str:
        if self.type is KeyType.EC:
            return f"EC {self.curve}"
        return f"RSA-{self.size_bits}" if self.type is KeyType.RSA else str(self.type)


class Pop(StrEnum):
    """How possession of the private key was proven (RFC 4211 section 4, RFC 2986 section 3)."""

    SIGNATURE = "signature"
    RA_VERIFIED = "ra-verified"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ClientKey:
    """The requester holds the private key."""

    public_key: PublicKey
    pop: Pop
    signature_hash: str | None = (
        None  # hash of the CSR's signature, "sha256"; None where the algorithm has none
    )


@dataclass(frozen=True, slots=True)
class KeyToCome:
    """Names are asked for before any key is known (an ACME order before finalize, RFC 8555 section 7.4)."""


@dataclass(frozen=True, slots=True)
class ServerKey:
    """The gateway is asked to make the key pair (RFC 7030 section 4.4, RFC 9810 section 5.3.4)."""

    wanted: PublicKey | None = None
