"""PUBLIC port between the gateway and a CA. Entry-point group ``pkigate.ca_backends``.

A backend never reads the gateway's database. "Refused" is a value, "unavailable" and "in doubt" are
exceptions (``gateway.errors``): BackendUnavailable where the CA is known not to have acted (or the call may
be repeated with the same ``order_id``), BackendInDoubt where it may have acted. With ``not_acted`` a
BackendUnavailable of ``issue`` promises that this order was not and will not be carried out: policy may then
have another CA issue (``issue: [{fallback: ...}]``). A plug-in that cannot know leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from gateway.clock import Clock
from gateway.model.certificate import RevocationReason, RevokedEntry
from gateway.model.enrolment import CertificatePlan

API_VERSION = 1


class RetryClass(StrEnum):
    """What a CA promises when the same order is sent twice (decisions: "Enrolment")."""

    IDEMPOTENT = "idempotent"  # same order_id, same certificate
    FINDABLE = "findable"  # ``find`` tells whether the order was carried out
    NEITHER = "neither"  # a lost answer leaves the order in doubt


@dataclass(frozen=True, slots=True)
class IssuanceOrder:
    """What is to be signed. ``order_id`` is the idempotency key, a UUIDv7 text.

    ``csr_der`` is the client's PKCS#10, where there is one; a backend with ``needs_csr`` gets no order
    without.
    """

    order_id: str
    plan: CertificatePlan
    csr_der: bytes | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class CaIssued:
    """``chain_der``: issuer first, root last, without the leaf."""

    certificate_der: bytes
    chain_der: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CaPending:
    """The CA will decide later; ``handle`` is what ``poll`` needs, as text."""

    handle: str
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class CaRefused:
    """The CA says no and will say so again. ``message`` may be shown to an operator, not to the client."""

    code: str
    message: str


CaAnswer = CaIssued | CaPending | CaRefused


@runtime_checkable
class CaBackend(Protocol):
    """What every backend can do."""

    name: str
    retry: RetryClass
    needs_csr: bool
    signs_in_process: bool

    async def issue(self, order: IssuanceOrder) -> CaAnswer: ...

    async def chain(self) -> tuple[bytes, ...]:
        """The certificates that path building needs, issuing CA first, root last, as DER."""

    async def aclose(self) -> None: ...


@runtime_checkable
class CanPoll(Protocol):
    async def poll(self, handle: str) -> CaAnswer: ...


@runtime_checkable
class CanFind(Protocol):
    async def find(self, order_id: str, spki_der: bytes) -> CaAnswer | None:
        """The answer to an earlier order, or None if the CA never carried it out."""


@runtime_checkable
class CanRevoke(Protocol):
    async def revoke(self, serial: int, reason: RevocationReason) -> None:
        """Tell the CA. Repeating it is no error."""


@dataclass(frozen=True, slots=True)
class CrlRequest:
    """What an embedded CA needs to sign a CRL (RFC 5280 section 5).

    ``ca_name`` is a ``CertificateAuthority.name`` of the backend; empty means its default issuing CA.
    ``entries`` is read once, in another thread.
    """

    number: int
    this_update: datetime
    next_update: datetime
    entries: Iterable[RevokedEntry]
    ca_name: str = ""


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A CA that signs in this process and whose certificate and CRL the gateway publishes.

    ``name`` is the one that was given to ``BackendContext.urls``, unique in the gateway;
    ``issuer_key_sha256`` finds the entries of its CRL in the store; ``profile`` is that of the
    orders which it signs, None for a CA that signs no orders.
    """

    name: str
    certificate_der: bytes
    issuer_key_sha256: str
    profile: str | None = None


@runtime_checkable
class CanSignCrl(Protocol):
    """CAs in this process: the gateway gives number, times and entries."""

    def authorities(self) -> tuple[CertificateAuthority, ...]:
        """Default issuing CA first, root last."""

    async def sign_crl(self, request: CrlRequest) -> bytes:
        """The CertificateList as DER."""


@runtime_checkable
class CanCrossChain(Protocol):
    """CAs that other roots have certified too."""

    def alternate_chains(self, chain_der: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
        """Further chains for a certificate that was issued with ``chain_der``, without it.

        Each is issuer first and ends below another root. Empty for a chain of another CA.
        """


@runtime_checkable
class CanHealth(Protocol):
    async def health(self) -> Mapping[str, str]:
        """Component name to "ok" or a plain word of what is wrong."""


@dataclass(frozen=True, slots=True)
class PublishedUrls:
    """Where this gateway publishes for the issuer ``ca_name``; written into every certificate."""

    crl: str
    ca_issuers: str
    ocsp: str


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend is given when it is opened.

    ``data_directory`` is the gateway's data directory; ``secret(reference)`` resolves ``file:``, ``env:`` and
    ``cred:`` references to bytes; ``urls(ca_name)`` gives the addresses to write into certificates;
    ``passphrase`` is the reference of the passphrase that keys in the data directory are encrypted with.
    """

    name: str
    data_directory: Path
    clock: Clock
    secret: Any  # Callable[[str], bytes]
    urls: Any  # Callable[[str], PublishedUrls]
    passphrase: str = "file:keys/passphrase"  # noqa: S105  # where it is, not what it is


class BackendPlugin(Protocol):
    """What the entry point names: a class with these attributes.

    An options model may have a property ``known_profiles: frozenset[str]``: all profiles that there are. Then
    policies and endpoints that name another one are refused when they are loaded. Where each profile is a CA
    of its own, ``default_profile: str`` is that of orders without one; then `pkigate policy validate` warns
    of policies that issue by another CA than their endpoint hands out.
    """

    type_name: ClassVar[str]
    options_model: ClassVar[type[BaseModel]]

    def initialise(self, options: Any, context: BackendContext) -> None:
        """Create what must exist before the first start (keys, certificates). Repeatable, keeps what is."""

    def open(self, options: Any, context: BackendContext) -> CaBackend:
        """Open the backend in a worker process, after the fork."""
