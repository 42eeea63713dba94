"""Keys with certificates by which the gateway signs and opens messages: what a front end needs of them, and
what an administrator may bring. How they are made and kept: ``gateway.composition.message_identities``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gateway.pki.keyfile import KeyKind
from gateway.pki.signer import Signer

_Reference = Annotated[str, Field(pattern=r"^(file|env|cred):.+$")]


@dataclass(frozen=True, slots=True)
class MessageIdentity:
    """A key with its certificate by which the gateway signs and opens messages of one protocol: SCEP's RA
    (RFC 8894 section 2.1.2), CMP's protection certificate (RFC 9810 section 5.1.3.3).

    ``chain_der`` is issuer first, root last, without the certificate itself.
    """

    certificate_der: bytes
    chain_der: tuple[bytes, ...]
    signer: Signer


@dataclass(frozen=True, slots=True)
class IdentityKind:
    """What a front end needs of its message identities: the gateway makes them so, renews them in time, and
    holds an administrator's own against it.

    ``label`` stands in the subject ("SCEP RA"), ``key`` is the kind of key that is made. The certificate has
    the bits of ``key_usage`` (names of RFC 5280) and the ``extended_key_usage`` (OIDs).
    """

    label: str
    key: KeyKind
    key_usage: tuple[str, ...]
    extended_key_usage: tuple[str, ...] = ()


class IdentityFiles(BaseModel):
    """Certificate and key of a message identity that an administrator brings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: _Reference = Field(
        description="`file:PATH`, `env:NAME` or `cred:NAME` of the certificate in PEM, its issuers behind "
        "it. Relative paths count from the data directory."
    )
    key: _Reference = Field(description="Its private key in PEM, readable by the gateway's user only.")
    passphrase: _Reference | None = Field(default=None, description="Opens the key.")


class OwnIdentity(IdentityFiles):
    """The option ``identity`` of an endpoint whose front end has a ``message_identity``."""

    previous: tuple[IdentityFiles, ...] = Field(
        default=(),
        max_length=4,
        description="Identities that this one replaced: what clients encrypted to them is still opened.",
    )
