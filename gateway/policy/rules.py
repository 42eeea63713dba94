"""Compiled policies: what the engine reads at request time. Made by ``gateway.policy.compile`` at load.

Everything is frozen, looked up by sets, tuples and parsed networks; no YAML and no pydantic in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from gateway.model.decision import ApprovalRule, Route, TraceStep
from gateway.model.enrolment import Extension, Operation
from gateway.model.evidence import CredentialKind
from gateway.model.keys import KeyType
from gateway.model.names import NameKind
from gateway.policy.name_rules import KindRule, NameGroup, ValueRule

Network = IPv4Network | IPv6Network


class Require(StrEnum):
    """Whether one of the named credentials is enough."""

    ANY = "any"
    ALL = "all"


class PopLinking(StrEnum):
    """What is asked of the link between proof of possession and TLS session (RFC 7030 section 3.5)."""

    REQUIRED = "required"
    IF_PRESENT = "if-present"
    IGNORE = "ignore"


class NewKey(StrEnum):
    """Whether a renewal must, may or must not bring a new key."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    FORBIDDEN = "forbidden"


class MustStaple(StrEnum):
    """When the TLS feature extension is set (RFC 7633)."""

    NEVER = "never"
    IF_REQUESTED = "if-requested"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class BasicRule:
    """User name and secret (RFC 7617) are looked at."""


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """A client certificate is looked at.

    ``trust`` names a trust store of the bundle, ``extended_key_usage`` holds OIDs of which the certificate
    must carry one if it carries any, ``allow_expired_s`` is the grace after notAfter. ``own_names_only``: the
    request may name nothing that the certificate does not bear itself. ``ra``: who holds it is a registration
    authority; then it must carry one of ``extended_key_usage`` in any case, if any are named.
    """

    trust: str
    extended_key_usage: frozenset[str]
    allow_expired_s: int = 0
    own_names_only: bool = False
    ra: bool = False


@dataclass(frozen=True, slots=True)
class ChallengeRule:
    """A challengePassword (RFC 8894 section 7.3) is looked at. ``accept`` holds CHALLENGE_STATIC,
    CHALLENGE_DYNAMIC or both: the kinds that the stored credential may turn out to be."""

    accept: frozenset[CredentialKind]


@dataclass(frozen=True, slots=True)
class MacRule:
    """A message that a stored secret protects (RFC 9810 section 5.1.3.1) is looked at."""


@dataclass(frozen=True, slots=True)
class AcmeAccountRule:
    """An ACME account is looked at, and its proof of every name (RFC 8555 section 8).

    ``challenges`` in the order in which they are offered; empty: the external account that the account is
    bound to stands in for every proof. ``reuse_s``: how old a proof may be to count for another order.
    """

    challenges: tuple[str, ...]
    reuse_s: int = 0


@dataclass(frozen=True, slots=True)
class AuthenticationRule:
    """Which credentials a policy verifies. ``alternatives`` has one entry for each rule that is set: the
    kinds of verified credential that satisfy it."""

    require: Require
    basic: BasicRule | None = None
    mtls: CertificateRule | None = None
    renewal: CertificateRule | None = None
    acme: AcmeAccountRule | None = None
    challenge: ChallengeRule | None = None
    mac: MacRule | None = None
    signature: CertificateRule | None = None
    pop_linking: PopLinking = PopLinking.IF_PRESENT
    alternatives: tuple[frozenset[CredentialKind], ...] = ()
    where: str = ""

    @property
    def kinds(self) -> frozenset[CredentialKind]:
        """Every kind of credential that is looked at."""
        return frozenset().union(*self.alternatives)


@dataclass(frozen=True, slots=True)
class KeyRule:
    """Admissible keys; the sizes are modulus bits."""

    types: frozenset[KeyType]
    rsa_min: int
    rsa_max: int
    rsa_sizes: frozenset[int]  # empty: any size from rsa_min to rsa_max
    rsa_min_exponent: int
    curves: frozenset[str]
    signature_hashes: frozenset[str]
    refuse_known_key: bool
    allowed_text: str
    where: str = ""


class SubjectForm(StrEnum):
    """How the subject of the plan is made."""

    RULES = "rules"
    FIRST_DNS = "first-dns"
    KEEP_FROM_PREVIOUS = "keep-from-previous"


class AttributeSource(StrEnum):
    """Where a subject attribute's value comes from."""

    CSR = "csr"
    FIXED = "fixed"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """What becomes of one type of subject attribute; ``allow`` is None where the SANs bound the value."""

    oid: str
    label: str
    source: AttributeSource
    required: bool
    value: str
    tag: int
    allow: ValueRule | None
    where: str = ""


@dataclass(frozen=True, slots=True)
class NamesRule:
    """Which names may stand in the certificate. All SANs of a request must fit one of ``groups``."""

    subject: SubjectForm
    attributes: Mapping[str, AttributeRule]
    fixed: tuple[AttributeRule, ...]
    required: tuple[AttributeRule, ...]
    groups: tuple[NameGroup, ...]
    kinds: Mapping[NameKind, KindRule]
    total_max: int
    cn_in_san: bool
    drop_extra: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class ExtensionsRule:
    """What is set beside names. ``key_usage`` is by key type: bits that a type cannot do are left out."""

    key_usage: Mapping[KeyType, tuple[str, ...]]
    key_usage_all: tuple[str, ...]
    extended_key_usage: tuple[str, ...]
    extensions: tuple[Extension, ...]
    must_staple: MustStaple
    deny_other: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class ValidityRule:
    default: timedelta
    max: timedelta
    client_may_request: bool
    backdate: timedelta
    where: str = ""


@dataclass(frozen=True, slots=True)
class RenewalRule:
    """``window`` is the time before notAfter from which on renewal is allowed; None: at any time."""

    window: timedelta | None
    deny_name_change: bool
    new_key: NewKey
    copy_missing_san: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """Which requests a policy is for, and whose credentials count. Alone it is a policy for revocations."""

    name: str
    where: str
    priority: int
    protocol: str
    endpoints: frozenset[str]  # never empty: all endpoints of the protocol where none is named
    operations: frozenset[Operation]
    auth: frozenset[CredentialKind]
    profiles: frozenset[str]  # empty: any, also none
    source_networks: tuple[Network, ...]  # empty: any
    authenticate: AuthenticationRule
    chosen_step: TraceStep

    @property
    def needs_key_history(self) -> bool:
        """Whether ``Facts.key_known_to_others`` is read, so that the caller may spare the look-up."""
        return False


@dataclass(frozen=True, slots=True)
class CompiledPolicy(AdmissionPolicy):
    """A policy for certificates, ready to be applied."""

    keys: KeyRule
    names: NamesRule
    extensions: ExtensionsRule
    validity: ValidityRule
    renewal: RenewalRule
    approval: ApprovalRule | None
    route: Route
    closing_steps: tuple[TraceStep, ...]  # approval and route, the same for every request
    description: str = ""

    @property
    def needs_key_history(self) -> bool:
        return self.keys.refuse_known_key


@dataclass(frozen=True, slots=True)
class CompiledEndpoint:
    """One endpoint. It hands out certificates and CRL of the CA that signs orders of the profile ``ca`` of
    ``backend``; None: the backend's default."""

    name: str
    protocol: str
    backend: str
    options: Any  # an instance of the front end's options model
    grace_s: int
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class CompiledCompat:
    """Habits of one family of products, for one protocol."""

    name: str
    protocol: str
    priority: int
    settings: Any  # an instance of the front end's compatibility model
    where: str = ""


@dataclass(frozen=True, slots=True)
class CompiledBackend:
    """One CA backend with validated options of its plug-in's model."""

    name: str
    type: str
    options: Any


@dataclass(frozen=True, slots=True)
class CompiledTrustStore:
    """Certificates to trust: given ones, and the chains of ``backends``. ``revocation``: "own" or "none".

    ``protocols``: by which those must have been issued that this gateway issued; empty: by any.
    """

    name: str
    certificates_der: tuple[bytes, ...]
    backends: tuple[str, ...]
    revocation: str
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """All documents, checked against each other and compiled. ``sha256`` names it for ever.

    ``index`` holds the policies for certificates, ``revocation`` those for revocations by protocol and
    endpoint, ``compatibility`` the Compat documents by protocol: each in ascending order of priority.
    """

    sha256: str
    endpoints: Mapping[tuple[str, str], CompiledEndpoint]
    backends: Mapping[str, CompiledBackend]
    trust_stores: Mapping[str, CompiledTrustStore]
    policies: tuple[AdmissionPolicy, ...]
    documents_json: str
    index: Mapping[tuple[str, str, Operation], tuple[CompiledPolicy, ...]] = field(
        default_factory=dict, repr=False
    )
    revocation: Mapping[tuple[str, str], tuple[AdmissionPolicy, ...]] = field(
        default_factory=dict, repr=False
    )
    compatibility: Mapping[str, tuple[CompiledCompat, ...]] = field(default_factory=dict)

    def candidates(self, protocol: str, endpoint: str, operation: Operation) -> tuple[AdmissionPolicy, ...]:
        """The policies for this operation, in ascending order of priority."""
        if operation is Operation.REVOKE:
            return self.revocation.get((protocol, endpoint), ())
        return self.index.get((protocol, endpoint, operation), ())
