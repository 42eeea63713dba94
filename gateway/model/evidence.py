"""Credentials as presented, and what stood up to verification."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from gateway.model.names import NameKind

CredentialKind = NewType("CredentialKind", str)  # open: a plug-in may bring its own kind

BASIC = CredentialKind("basic")
MTLS = CredentialKind("mtls")
RENEWAL_CERT = CredentialKind("renewal-cert")
CHALLENGE_STATIC = CredentialKind("challenge-static")
CHALLENGE_DYNAMIC = CredentialKind("challenge-dynamic")
MAC = CredentialKind("mac")
SIGNATURE = CredentialKind("signature")
ACME_ACCOUNT = CredentialKind("acme-account")
ACME_EAB = CredentialKind("acme-eab")  # a stored MAC key that accounts are bound with (RFC 8555 7.3.4)
SCEP_CHALLENGE = CredentialKind("scep-challenge")  # a stored challengePassword, static or counted
CMP_SECRET = CredentialKind("cmp-secret")  # a stored reference with its secret (RFC 9810 section 5.1.3.1)
API_TOKEN = CredentialKind("api-token")
GROUP_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"  # the name of a group of credentials


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
    message says that it renews this very certificate (RFC 7030 section 4.2.2), ``signature`` where it signed
    the message for somebody or something else (RFC 9810 section 5.1.3.3).
    """

    chain_der: tuple[bytes, ...]
    kind: CredentialKind = MTLS


@dataclass(frozen=True, slots=True)
class ProvenName:
    """A name that the requester was found to control (RFC 8555 section 8).

    ``value`` is written as in ``GeneralName.value``, with ``*.`` for a wildcard. ``method`` is the challenge
    type (``http-01``), or ``prevalidated`` where the external account stands in for it.
    """

    kind: NameKind
    value: str
    method: str
    at: datetime


PREVALIDATED = "prevalidated"


@dataclass(frozen=True, slots=True)
class PresentedAccount:
    """An ACME account whose key signed the message and which its front end found valid (RFC 8555 6.2, 7.1.2).

    ``credential_id`` names the external account credential that it is bound to; whether that one still counts
    is not yet checked. ``thumbprint`` is that of RFC 7638 in base64url.
    """

    account_id: str
    thumbprint: str
    label: str  # for people: the first contact, else the id
    proven: tuple[ProvenName, ...] = ()
    credential_id: str | None = None
    kind: CredentialKind = ACME_ACCOUNT


@dataclass(frozen=True, slots=True)
class PresentedChallenge:
    """A challengePassword (RFC 8894 section 7.3), not yet checked: whoever has it may enrol.

    Whether it is a static or a one-time one is known only once it is found, so it counts as both in the
    selection of a policy. ``secret`` is its text in UTF-8, whatever string type it came in; empty where the
    message that must bring one brought none, so that absent, empty and wrong are answered alike.
    """

    secret: SecretBytes
    kind: CredentialKind = CHALLENGE_DYNAMIC


@dataclass(frozen=True, slots=True)
class PresentedMac:
    """A stored secret that protected the message, and that ``frontend.SharedSecrets`` found right."""

    credential_id: str
    name: str  # the reference, for people
    kind: CredentialKind = MAC


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A stored secret by which a message was found right (RFC 9810 section 5.1.3.1); answers are protected
    with it too."""

    credential_id: str
    name: str
    secret: SecretBytes


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """An external account (RFC 8555 section 7.3.4) whose MAC was right. ``name`` is its key identifier."""

    credential_id: str
    name: str
    counted: bool = False


PresentedCredential = (
    PresentedPassword | PresentedCertificate | PresentedAccount | PresentedChallenge | PresentedMac
)


@dataclass(frozen=True, slots=True)
class VerifiedCredential:
    """A credential that stood up to verification. Made only in ``gateway.authn``.

    ``identity`` is canonical: ``basic:``, ``challenge:`` or ``mac:`` with the credential's id,
    ``cert:SHA256-OF-SPKI/SUBJECT`` or ``acme:ACCOUNT-ID``. ``names`` and ``profiles`` bound what this
    credential may ask for (DNS suffixes, profile names); ``None`` is no bound of its own. ``proven``: names
    that the requester controls, None where the kind of credential proves none. ``prevalidated``: DNS suffixes
    whose names need no challenge.
    ``groups``, ``labels`` and ``facts`` are for the rules to speak of.
    """

    kind: CredentialKind
    identity: str
    label: str  # for people: user name or subject
    certificate_der: bytes | None = None
    credential_id: str | None = None
    names: tuple[str, ...] | None = None
    counted: bool = False  # each accepted request takes one use off it
    profiles: tuple[str, ...] | None = None
    proven: tuple[ProvenName, ...] | None = None
    prevalidated: tuple[str, ...] = ()
    ra: bool = False  # a registration authority: may vouch for others' proofs of possession and revoke
    detail: tuple[tuple[str, str], ...] = ()
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()  # what the administrator wrote beside it: name and value
    facts: tuple[tuple[str, str], ...] = ()  # what the policy's `extract` read in its certificate


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

    @property
    def ra(self) -> bool:
        """Whether a registration authority stands behind the request."""
        return any(credential.ra for credential in self.credentials)


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
