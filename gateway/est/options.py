"""Options of an EST endpoint (RFC 7030), as an Endpoint document of the policy bundle holds them."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Wrap = Literal["auto", "none", 64, 76]

CACERTS, SIMPLE_ENROLL, SIMPLE_REENROLL, CSRATTRS = "cacerts", "simpleenroll", "simplereenroll", "csrattrs"
FULL_CMC, SERVER_KEYGEN = "fullcmc", "serverkeygen"
NOT_OFFERED = frozenset({FULL_CMC, SERVER_KEYGEN})  # optional operations (RFC 7030 sections 4.3 and 4.4)

# RFC 7030 section 3.2.2: a label must not read like an operation path.
RESERVED_ENDPOINT_NAMES = frozenset({CACERTS, SIMPLE_ENROLL, SIMPLE_REENROLL, CSRATTRS, *NOT_OFFERED})


class ChallengeUse(StrEnum):
    """What a CSR's challengePassword (RFC 2985 section 5.4.1) is taken for."""

    BINDING = "binding"
    SECRET = "secret"  # noqa: S105  the word of the option


class EstOptions(BaseModel):
    """How one EST endpoint speaks on the wire. What it issues is the policies' business."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hands_out: ClassVar[str] = "cacerts"

    wrap: Wrap = Field(
        default="auto",
        description="Line breaks in base64 answers: 64 or 76 columns with LF, none, or auto (by client "
        "family: none where a request has neither User-Agent nor Accept, as strongSwan 5.9 needs; else 64).",
    )
    lenient_body: bool = Field(
        default=False,
        description="Accept CSRs as PEM or as bare DER and under any media type; each use is noted in the "
        "request's log record.",
    )
    max_body_bytes: int = Field(
        default=65536,
        ge=1024,
        le=16 * 1024 * 1024,
        description="Largest request body in bytes; more gets 413. ML-DSA requests need about 8000.",
    )
    realm: str = Field(
        default="est",
        pattern=r"^[ !#-\[\]-~]{1,64}$",
        description="Realm of the Basic challenge (RFC 7617): printable ASCII, no quotes or backslashes.",
    )
    include_chain: bool = Field(
        default=False,
        description="Put the issuer chain behind the issued certificate. RFC 7030 section 4.2.3 wants the "
        "certificate only; some appliances cannot install it without its issuer.",
    )
    cacerts: Literal["chain", "roots"] = Field(
        default="chain",
        description="What /cacerts holds: chain (every CA certificate needed for path building, as RFC 7030 "
        "section 4.1.3 demands) or roots (self-issued ones only, for clients that trust all they get).",
    )
    csrattrs_empty_status: Literal[204, 404] = Field(
        default=204,
        description="Status of /csrattrs where policy asks for nothing special (RFC 7030 section 4.5.2).",
    )
    csrattrs_template: bool = Field(
        default=True,
        description="Add the template of RFC 9908 to /csrattrs, next to the older list of attributes.",
    )
    tls13_linking: Literal["exporter", "ignore"] = Field(
        default="exporter",
        description="What a challengePassword over TLS 1.3 is compared with: exporter (tls-exporter, RFC "
        "9266; a mismatch is refused) or ignore (as if absent; a policy that requires linking refuses then).",
    )
    challenge_password: ChallengeUse = Field(
        default=ChallengeUse.BINDING,
        description="What the CSR's challengePassword is: binding (the channel binding of RFC 7030 section "
        "3.5) or secret (at simpleenroll the secret of the credential whose user name is the CSR's CN, for "
        "older devices that cannot do HTTP authentication; linking is then not possible, and such a CSR is "
        "not stored).",
    )
    content_transfer_encoding: bool = Field(
        default=True,
        description="Send `Content-Transfer-Encoding: base64`: void since RFC 8951, but old clients want it.",
    )
