"""Credentials as presented, and what stood up to verification."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

CredentialKind = NewType("CredentialKind", str)  # open: a plug-in may bring its own kind

BASIC = CredentialKind("basic")
MTLS = CredentialKind("mtls")
RENEWAL_CERT = CredentialKind("renewal-cert")
CHALLENGE_STATIC = CredentialKind("challenge-static")
CHALLENGE_DYNAMIC = CredentialKind("challenge-dynamic")
MAC = CredentialKind("mac")
SIGNATURE = CredentialKind("signature")
ACME_ACCOUNT = CredentialKind("acme-account")
API_TOKEN = CredentialKind("api-token")


class SecretBytes:
    """A secret that never prints. ``reveal()`` is the only way to its bytes."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def reveal(self) -> bytes:
        return self._secret

    def __repr__(self) -> str:
        return "SecretBytes(...)"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is never pickled")


@dataclass(frozen=True, slots=True)
class PresentedPassword:
    """A user name with a secret (RFC 7617), not yet checked. ``kind`` is ``basic``."""

    user: str
    secret: SecretBytes
    kind: CredentialKind = BASIC


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """A certificate whose key possession the transport or the message proved; trust is not yet checked.

    ``chain_der`` is leaf first, as sent. ``kind`` is ``mtls`` for an enrolment, ``renewal-cert`` where the
    message says that it renews this very certificate (RFC 7030 section 4.2.2).
    """

    chain_der: tuple[bytes, ...]
    kind: CredentialKind = MTLS


PresentedCredential = PresentedPassword | PresentedCertificate


@dataclass(frozen=True, slots=True)
class VerifiedCredential:
    """A credential that stood up to verification. Made only in ``gateway.authn``.

    ``identity`` is canonical: ``basic:ID-OF-THE-CREDENTIAL`` or ``cert:SHA256-OF-SPKI/SUBJECT``.
    ``names`` bounds what this credential may ask for: DNS suffixes, or ``None`` for no bound of its own.
    """

    kind: CredentialKind
    identity: str
    label: str  # for people: user name or subject
    certificate_der: bytes | None = None
    credential_id: str | None = None
    names: tuple[str, ...] | None = None
    counted: bool = False  # each accepted request takes one use off it
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All verified credentials of one request, the deciding one first."""

    credentials: tuple[VerifiedCredential, ...] = ()

    @property
    def identity(self) -> str:
        return "+".join(credential.identity for credential in self.credentials) or "anonymous"

    @property
    def label(self) -> str:
        return "+".join(credential.label for credential in self.credentials) or "anonymous"


class Linking(StrEnum):
    """What came of linking the proof of possession to the TLS session (RFC 7030 section 3.5)."""

    ABSENT = "absent"
    TLS_UNIQUE = "tls-unique"
    TLS_EXPORTER = "tls-exporter"
    MISMATCH = "mismatch"
    UNAVAILABLE = "unavailable"  # a value was sent, but this transport has nothing to compare it with


@dataclass(frozen=True, slots=True)
class RemoteInfo:
    """Where a request came from, for policy and for the record."""

    address: str
    listener: str = ""
    tls_version: str = ""
    cipher: str = ""
    via_proxy: bool = False
    user_agent: str = ""
    message: str = ""  # the protocol's own name of the message: "simpleenroll", "PKCSReq", "ir"
    transport_id: str = field(default="")  # request id of the HTTP exchange
