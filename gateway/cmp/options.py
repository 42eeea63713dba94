"""Options of a CMP endpoint (RFC 9810, 9811), as an Endpoint document of the policy bundle holds them."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.frontend import OwnIdentity
from gateway.model.ids import ProtocolName
from gateway.pki.message_mac import MacLimits

CMP = ProtocolName("cmp")

OneWayFunction = Literal["sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"]
Reason = Literal[
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]

# Names of operations (RFC 9811 section 3.4, RFC 9483 section 6.1), which no endpoint can have, nor that of
# the segment before an endpoint's name.
OPERATIONS = frozenset(
    {
        "initialization",
        "certification",
        "keyupdate",
        "pkcs10",
        "revocation",
        "getcacerts",
        "getrootupdate",
        "getcertreqtemplate",
        "getcrls",
        "nested",
        "p",
    }
)
RESERVED_ENDPOINT_NAMES = OPERATIONS


class MacOptions(BaseModel):
    """What a sender may choose for a password-based MAC. Looked at before any key is derived."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_iterations: int = Field(
        default=100,
        ge=100,
        le=100_000,
        description="Fewest iterations (RFC 9045 section 4.3: at least 100). OpenSSL's client sends 500.",
    )
    max_iterations: int = Field(
        default=100_000,
        ge=500,
        le=1_000_000,
        description="Most iterations. 100,000 of PBM take about 30 ms of a core.",
    )
    min_salt_octets: int = Field(
        default=8, ge=8, le=64, description="Shortest salt (RFC 4211 section 4.4: at least 8 octets)."
    )
    one_way_functions: tuple[OneWayFunction, ...] = Field(
        default=("sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"),
        min_length=1,
        description="Hash functions that keys are derived with: owf of PBM, prf of PBMAC1.",
    )
    hmac_sha1: bool = Field(
        default=True,
        description="HMAC-SHA1 as the MAC itself: the default of OpenSSL's client (`-mac`).",
    )

    @model_validator(mode="after")
    def _ordered(self) -> MacOptions:
        if self.min_iterations > self.max_iterations:
            raise ValueError("min_iterations is greater than max_iterations")
        return self

    @cached_property
    def limits(self) -> MacLimits:
        """The same for the codec."""
        return MacLimits(
            min_iterations=self.min_iterations,
            max_iterations=self.max_iterations,
            min_salt_octets=self.min_salt_octets,
            one_way_functions=frozenset(self.one_way_functions),
            hmac_sha1=self.hmac_sha1,
        )


class CmpOptions(BaseModel):
    """How one CMP endpoint speaks on the wire. What it issues is the policies' business."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hands_out: ClassVar[str] = "caCerts, currentCRL, the signer of its answers"

    mac: MacOptions = Field(
        default_factory=MacOptions, description="What is taken of messages protected by a secret."
    )
    strictness: Literal["lenient", "strict"] = Field(
        default="lenient",
        description="strict asks for all that RFC 9483 section 3.1 asks for in a header: messageTime, a "
        "senderKID, a sender that repeats it (MAC), a recipient that names this CA. lenient does without: "
        "OpenSSL's client sends a reference with another sender.",
    )
    message_time_skew_s: int = Field(
        default=3600,
        ge=0,
        le=366 * 86_400,
        description="How far messageTime may be from our clock, in seconds; 0 leaves it unchecked, for "
        "devices without a clock.",
    )
    short_identifiers: bool = Field(
        default=False,
        description="Accept a transactionID or senderNonce of fewer than 16 octets (RFC 9810 section 5.1.1 "
        "asks for 128 bits).",
    )
    implicit_confirm: bool = Field(
        default=True,
        description="Grant implicitConfirm to who asks for it: then no certConf is needed.",
    )
    confirm_within_s: int = Field(
        default=300,
        ge=10,
        le=30 * 86_400,
        description="How long a certificate may stay without its certConf, in seconds; then it is withdrawn "
        "and revoked.",
    )
    unprotected_errors: bool = Field(
        default=False,
        description="Leave errors unprotected where the sender could not be verified, instead of signing "
        "them.",
    )
    revocation_reasons: tuple[Reason, ...] = Field(
        default=(
            "unspecified",
            "keyCompromise",
            "affiliationChanged",
            "superseded",
            "cessationOfOperation",
            "privilegeWithdrawn",
        ),
        min_length=1,
        description="Reasons that a revocation request may give; unspecified stands for none.",
    )
    max_revocations: int = Field(
        default=10, ge=1, le=50, description="Most certificates that one revocation request may name."
    )
    max_body_bytes: int = Field(
        default=262_144,
        ge=4096,
        le=1_048_576,
        description="Largest message in bytes; more gets 413.",
    )
    identity: OwnIdentity | None = Field(
        default=None,
        description="A protection certificate with its key (digitalSignature, id-kp-cmcRA) in place of the "
        "one that the gateway makes.",
    )
