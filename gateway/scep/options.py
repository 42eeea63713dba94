"""Options of a SCEP endpoint (RFC 8894), as an Endpoint document of the policy bundle holds them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.frontend import OwnIdentity
from gateway.model.ids import ProtocolName

SCEP = ProtocolName("scep")

DigestName = Literal["sha256", "sha384", "sha512", "sha1"]
CipherName = Literal["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des-ede3-cbc", "des-cbc"]

# Known suffixes of older clients: no endpoint can be called so.
PKICLIENT, MSCEP, CGI_BIN = "pkiclient.exe", "mscep.dll", "cgi-bin"
RESERVED_ENDPOINT_NAMES = frozenset({"pkiclient", "mscep", CGI_BIN, "certsrv"})


class ScepSettings(BaseModel):
    """What a Compat document may change for its clients; the same words as at an endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_certificates: Literal["chain", "ra", "ca"] = Field(
        default="chain",
        description="What GetCACert gives: chain (RA, issuing CA and root, in this order), ra (RA and "
        "issuing CA) or ca (the issuing CA alone).",
    )
    include_chain: Literal["none", "issuer", "chain"] = Field(
        default="none",
        description="What stands behind the issued certificate in the answer. Juniper takes none, older "
        "Cisco clients want the issuer.",
    )
    empty_content: Literal["empty", "omit"] = Field(
        default="empty",
        description="The content of PENDING and FAILURE answers: an empty OCTET STRING, which certmonger "
        "needs and everybody takes, or none at all, as RFC 8894 section 3.3.2 has it.",
    )
    extra_capabilities: tuple[str, ...] = Field(
        default=("SHA-384",),
        description="Keywords that GetCACaps lists besides those that follow from the other options. "
        "strongSwan 5.9 uses AES only where it reads SHA-384.",
    )
    hidden_capabilities: tuple[str, ...] = Field(
        default=(), description="Keywords that GetCACaps leaves out although they would be true."
    )


class ScepOptions(ScepSettings):
    """How one SCEP endpoint speaks on the wire. What it issues is the policies' business."""

    hands_out: ClassVar[str] = "GetCACert, GetCRL"

    digests: tuple[DigestName, ...] = Field(
        default=("sha256", "sha384", "sha512"),
        min_length=1,
        description="Digests taken in signatures of messages and CSRs; answers use the request's own, else "
        "the first of the list. sha1 only for devices that know nothing better; MD5 is never taken.",
    )
    ciphers: tuple[CipherName, ...] = Field(
        default=("aes-128-cbc", "aes-192-cbc", "aes-256-cbc"),
        min_length=1,
        description="Content ciphers taken; answers use the request's own. des-ede3-cbc and des-cbc only for "
        "devices that know nothing better.",
    )
    max_body_bytes: int = Field(
        default=262_144,
        ge=4096,
        le=1_048_576,
        description="Largest message in bytes, also of one in a URL (after decoding); more gets 413.",
    )
    renewal_by_pkcsreq: bool = Field(
        default=True,
        description="A PKCSReq that is signed with a certificate of ours is a renewal, as Apple and Cisco "
        "devices send it (RFC 8894 section 2.5 has RenewalReq).",
    )
    update_request: bool = Field(
        default=False,
        description="Message type 18 of older drafts (UpdateReq) is a renewal; without it badRequest.",
    )
    retrieval: bool = Field(
        default=True,
        description="GetCert and GetCRL are answered (RFC 8894 sections 3.3.4 and 3.3.5), to senders that "
        "sign with a certificate of ours.",
    )

    identity: OwnIdentity | None = Field(
        default=None,
        description="An RA certificate with its RSA key (digitalSignature, keyEncipherment) in place of the "
        "one that the gateway makes.",
    )
