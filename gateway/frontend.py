"""PUBLIC plug-in interface of a protocol front end. Entry-point group ``pkigate.frontends``.

A front end translates between its wire and the enrolment model. It sees neither policy nor CA backend. One
that keeps rows of its own (ACME's accounts and orders) reads and commits them through ``Records``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel

from gateway.clock import Clock
from gateway.http.message import HttpRequest, PathRoute
from gateway.message_identity import IdentityFiles, IdentityKind, MessageIdentity, OwnIdentity
from gateway.model.certificate import CertificateRecord, RevocationReason
from gateway.model.enrolment import BadMessage, EnrolmentRequest, Operation
from gateway.model.evidence import (
    CredentialKind,
    Evidence,
    ExternalAccount,
    RemoteInfo,
    SecretBytes,
    SharedSecret,
)
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.outcome import Confirmation, Outcome, Refused, Unavailable
from gateway.model.preview import Preview
from gateway.model.reasons import Reason
from gateway.model.renewal_advice import RenewalAdvice
from gateway.model.wanted import Wanted
from gateway.outbound.network import Network
from gateway.store.unit import Unit

__all__ = [
    "API_VERSION",
    "BadMessage",
    "BaseUrls",
    "CaInformation",
    "Certificates",
    "Compatibility",
    "EndpointView",
    "Enrolments",
    "ExternalAccount",
    "ExternalAccounts",
    "FrontEnd",
    "IdentityFiles",
    "IdentityKind",
    "JobHandler",
    "JobQueue",
    "MessageIdentity",
    "Mounted",
    "OnceOnly",
    "OwnIdentity",
    "Recheck",
    "Records",
    "Services",
    "SharedSecrets",
    "Unit",
]

API_VERSION = 3
T = TypeVar("T")

# Does one job with its arguments: None when it is done, else the time to run it again. May run twice: at once
# after its worker was killed, when what that one asked of others may still be under way.
JobHandler = Callable[[Mapping[str, object]], Awaitable[datetime | None]]
# Asked by endpoint and transaction before a request that waited (for approval) is sent to the CA: reasons
# why it must not be any more. Empty: go on.
Recheck = Callable[[EndpointName, str], Awaitable[tuple[Reason, ...]]]

# Gives for a SubjectPublicKeyInfo a query, as ``Records.read`` takes it, whether one of the front end's
# accounts has this key; None: it can be no account's.
AccountKeys = Callable[[bytes], Callable[[Any], bool] | None]


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint as its front end sees it; ``options`` is an instance of the front end's options model."""

    name: EndpointName
    options: Any


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Habits of one family of products, from a Compat document: which requests it is about, and what is
    different for them. ``settings`` is an instance of the front end's compatibility model."""

    name: str
    settings: Any


class Enrolments(Protocol):
    """The use cases."""

    async def submit(self, requests: Sequence[EnrolmentRequest]) -> tuple[Outcome, ...]:
        """Decide, issue and record; one outcome per request, in order. What it returns is durable.

        Raises Overloaded and StoreUnavailable; every other trouble is in the outcome.
        """

    async def preview(self, request: EnrolmentRequest) -> Preview:
        """What policy would say now, without key and without recording; presented accounts are checked.

        Raises StoreUnavailable and BackendUnavailable.
        """

    async def outcome_of(
        self, protocol: ProtocolName, endpoint: EndpointName, parts: tuple[bytes, ...]
    ) -> Outcome | None:
        """What became of the request with this correlation (one without identity); None: there is none.

        However long ago it was closed, and also if its certificate was revoked. Raises StoreUnavailable.
        """

    async def outcomes_of(
        self, protocol: ProtocolName, endpoint: EndpointName, many: Sequence[tuple[bytes, ...]]
    ) -> tuple[Outcome | None, ...]:
        """As ``outcome_of`` for many, in their order and in one read."""

    async def authorize(self, request: EnrolmentRequest) -> Evidence | Refused | Unavailable:
        """Who asks for something else than a certificate (``operation`` REVOKE), as policy verifies it.

        The policy selected for this operation says whose credentials count; nothing else is decided here. A
        refusal is recorded. Raises StoreUnavailable.
        """

    async def confirm(
        self,
        protocol: ProtocolName,
        endpoint: EndpointName,
        parts: tuple[bytes, ...],
        *,
        accepted: bool,
        content_sha256: str,
    ) -> Confirmation:
        """Confirm, or decline and so withdraw, the certificate of the request with this correlation.

        ``content_sha256`` names the confirming message, so that its repeat is told from another one. Durable
        on return. Raises Overloaded and StoreUnavailable.
        """

    async def record_bad_message(self, bad: BadMessage) -> Refused:
        """Record a malformed or misdirected message as refused; bounded per source address."""

    def accepted_credentials(
        self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation
    ) -> tuple[CredentialKind, ...]:
        """Credential kinds that some policy of this endpoint looks at for this operation."""

    def wanted(self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation) -> Wanted | None:
        """What policy expects here, or None where no policy could ever be selected."""

    def profiles(self, protocol: ProtocolName, endpoint: EndpointName) -> Mapping[str, str]:
        """Profiles that some policy of this endpoint is for, with what its owner says of each."""

    def renewal_advice(self, record: CertificateRecord) -> RenewalAdvice:
        """When the policy of this certificate, as it is now, wants it renewed."""


class CaInformation(Protocol):
    """What relying parties need of the CAs behind an endpoint."""

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        """All certificates for path building (RFC 7030 section 4.1.3): issuing CA first, root last, as DER.

        Raises BackendUnavailable.
        """

    async def crl(self, protocol: ProtocolName, endpoint: EndpointName) -> bytes:
        """The current CRL of the endpoint's issuing CA, as DER. Raises BackendUnavailable."""

    def alternate_chains(self, chain_der: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
        """Further chains, each up to below another root, for a certificate that came with ``chain_der``."""

    async def identities(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[MessageIdentity, ...]:
        """The message identities of this endpoint: the one in use first, then those that it replaced and
        that still open what was sent to them. Raises BackendUnavailable where there is none."""


class Certificates(Protocol):
    """Issued certificates. All raise StoreUnavailable."""

    async def by_sha256(self, sha256: str) -> CertificateRecord | None:
        """The certificate with this SHA-256 of its DER, in lower-case hex."""

    async def by_serial(self, serial_hex: str) -> tuple[CertificateRecord, ...]:
        """Certificates of any of our issuers with this serial number (lower-case hex, no leading zeros)."""

    async def key_compromised(self, spki_sha256: str) -> bool:
        """Whether a certificate of this key was revoked for keyCompromise."""

    async def key_certified(self, spki_sha256: str) -> bool:
        """Whether a certificate of ours with this key is neither expired nor revoked; on hold counts too."""

    async def revoke(self, record: CertificateRecord, reason: RevocationReason, actor: str) -> None:
        """Revoke; durable on return, and on the next CRL that anybody gets. Raises Conflict if revoked."""


class ExternalAccounts(Protocol):
    """MAC keys that people were given outside the protocol (``pkigate credential add acme-eab``)."""

    async def verify(
        self,
        protocol: ProtocolName,
        endpoint: EndpointName,
        key_identifier: str,
        algorithm: str,
        signed: bytes,
        mac: bytes,
        remote: RemoteInfo,
    ) -> ExternalAccount:
        """Check an HMAC ("HS256", "HS384", "HS512") over ``signed``.

        Raises GatewayError with auth.failed (unknown, revoked or wrong: not told apart) or
        auth.credential-scope (not for this endpoint, expired, used up), RetryLater with auth.throttled.
        """

    def take(self, unit: Unit, account: ExternalAccount, now: datetime) -> None:
        """Take one use off a counted one in the unit that binds it; commit raises Conflict if it has none."""


class SharedSecrets(Protocol):
    """References with secrets that protect messages (``pkigate credential add cmp-secret``)."""

    async def verify(
        self,
        protocol: ProtocolName,
        endpoint: EndpointName,
        reference: str,
        check: Callable[[SecretBytes], Awaitable[bool]],
        remote: RemoteInfo,
    ) -> SharedSecret:
        """Find the secret that this reference names, by which ``check`` is content with the message.

        An unknown reference costs the same work, with a secret that nobody has. Raises GatewayError with
        auth.failed (unknown, revoked or wrong: not told apart) or auth.credential-scope (not for this
        endpoint), RetryLater with auth.throttled, StoreUnavailable. That it has expired or is used up is no
        matter here: who repeats or polls gets an answer; a new request is refused by policy.
        """


class Records(Protocol):
    """Rows of the front end's own tables, read and written as the house does it."""

    async def read(self, query: Callable[[Any], T]) -> T:
        """Run ``query(connection)``. Raises StoreUnavailable."""

    async def commit(self, unit: Unit) -> None:
        """Write a unit whole or not at all; durable on return.

        Raises Conflict, Overloaded, StoreUnavailable.
        """


class JobQueue(Protocol):
    """Durable work. A job's kind begins with the protocol's name and a hyphen."""

    def enqueue(self, unit: Unit, kind: str, key: str, args: Mapping[str, object], run_at: datetime) -> None:
        """Add a job in this unit, unless one of this kind and key waits or runs already."""

    def withdraw(self, unit: Unit, kind: str, key: str) -> None:
        """Take a job that nobody has begun out of the queue, since its work is done in this unit."""

    def hasten(self, unit: Unit, kind: str, key: str, run_at: datetime) -> None:
        """Let a job that nobody has begun run at this time already."""

    async def waiting(self, kind: str) -> Mapping[str, Mapping[str, object]]:
        """Arguments, by key, of the jobs that nobody has begun. Raises StoreUnavailable."""


class OnceOnly(Protocol):
    """Remembers what was redeemed, for all processes that share the database."""

    @property
    def since(self) -> datetime:
        """What was given out before this moment can no longer be judged and must be refused."""

    async def redeem(self, token: bytes, until: datetime) -> bool:
        """True the first time, False ever after. ``until``: from then on the caller refuses it by itself.

        Raises StoreUnavailable.
        """


class BaseUrls(Protocol):
    """The external base URLs (scheme and authority, no slash at the end) that clients come by."""

    def of(self, request: HttpRequest) -> str:
        """The one that this request came by; links in its answer begin with it."""

    @property
    def known(self) -> frozenset[str]:
        """All of them: an object's URL may have been made with any."""


class Services(Protocol):
    """What the gateway gives to a front end."""

    @property
    def enrolments(self) -> Enrolments: ...

    @property
    def ca_information(self) -> CaInformation: ...

    @property
    def certificates(self) -> Certificates: ...

    @property
    def external_accounts(self) -> ExternalAccounts: ...

    @property
    def shared_secrets(self) -> SharedSecrets: ...

    @property
    def records(self) -> Records: ...

    @property
    def jobs(self) -> JobQueue: ...

    @property
    def once_only(self) -> OnceOnly: ...

    @property
    def base_urls(self) -> BaseUrls: ...

    @property
    def network(self) -> Network: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def worker(self) -> str:
        """Names this worker among all on the database; the one that takes its place is named so too."""

    def shared_key(self, purpose: str) -> bytes:
        """32 bytes derived from the server key for this purpose, the same in every process and replica."""

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        """The endpoint of this name in the active bundle."""

    def compatibility(self, protocol: ProtocolName) -> tuple[Compatibility, ...]:
        """The Compat documents of this protocol in the active bundle, in order of their priority."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a front end puts into the house. ``housekeeping`` runs now and then, in one worker at a time;
    ``start`` once in each worker, when it begins to serve. ``account_keys`` is for protocols whose accounts
    are keys: such a key is not certified."""

    routes: tuple[PathRoute, ...]
    jobs: Mapping[str, JobHandler] = field(default_factory=dict)
    recheck: Recheck | None = None
    account_keys: AccountKeys | None = None
    housekeeping: Callable[[], Awaitable[None]] | None = None
    start: Callable[[], Awaitable[None]] | None = None
    aclose: Callable[[], Awaitable[None]] | None = None


class FrontEnd(Protocol):
    """What the entry point names: a class with these attributes, made without arguments.

    An options model may have a property ``binds_accounts: bool``: whether every account at such an endpoint
    was bound to an external one. Policies that ask for no challenge are loaded for such endpoints only. It
    may have ``hands_out: ClassVar[str]``, the messages that give clients the certificates of the endpoint's
    CA: then `pkigate policy validate` warns of policies that issue by another one.

    A front end that has ``compat_model: type[BaseModel]`` takes Compat documents; their ``settings`` have
    that form. One that has ``message_identity: ClassVar[IdentityKind]`` gets an identity of that kind for
    each of its endpoints (``CaInformation.identities``); its options model may have
    ``identity: OwnIdentity | None``, by which an administrator brings his own.

    One that has a static method ``refusal_words(reasons, *, accepts, names_only)`` says what a refusal is on
    its wire (``{"http": "403"}``), for the tests that stand in policies (``policy.registry.RefusalWords``).
    """

    name: ClassVar[ProtocolName]
    options_model: ClassVar[type[BaseModel]]
    reserved_endpoint_names: ClassVar[frozenset[str]]

    def mount(self, services: Services) -> Mounted: ...
