"""Compiled policies: what the engine reads at request time. Made by ``gateway.policy.compile`` at load.

Everything is frozen, looked up by sets, tuples and parsed networks; no YAML and no pydantic in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.model.decision import ApprovalRule, Route, TraceStep
from gateway.model.enrolment import Operation
from gateway.model.evidence import CredentialKind
from gateway.model.names import NameKind
from gateway.policy.authentication_rules import AuthenticationRule
from gateway.policy.conditions import Conditions
from gateway.policy.content_rules import ExtensionsRule, KeyRule, RenewalRule, ValidityRule
from gateway.policy.general_names import NameGroup
from gateway.policy.guardrail_rules import CompiledGuardrail
from gateway.policy.limit_rules import LimitRule
from gateway.policy.lists import CompiledList
from gateway.policy.name_rules import AddedName, KindRule, ValueRule
from gateway.policy.selection_table import MatchCase, Network, Row, SelectionTable
from gateway.policy.template import Template


class SubjectForm(StrEnum):
    """How the subject of the plan is made."""

    RULES = "rules"
    FIRST_DNS = "first-dns"
    KEEP_FROM_PREVIOUS = "keep-from-previous"


class AttributeSource(StrEnum):
    """Where a subject attribute's value comes from."""

    CSR = "csr"
    FIXED = "fixed"
    TEMPLATE = "template"
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
    template: Template | None = None


@dataclass(frozen=True, slots=True)
class NamesRule:
    """Which names may stand in the certificate. All SANs of a request must fit one of ``groups``.

    ``fixed`` are the attributes that the policy sets itself, by value or template; ``added`` the alternative
    names that it puts in. ``needs_words``: some template reads the vocabulary. ``same_as_previous``: a
    renewal has the alternative names of the certificate that it renews.
    """

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
    added: tuple[AddedName, ...] = ()
    same_as_previous: bool = False
    needs_words: bool = False


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """Which requests a policy is for, and whose credentials count. Alone it is a policy for revocations."""

    name: str
    where: str
    priority: int
    protocol: str
    endpoints: frozenset[str]  # of all cases; never empty
    operations: frozenset[Operation]  # of all cases
    cases: tuple[MatchCase, ...]  # the policy fits if one of them does
    authenticate: AuthenticationRule
    chosen_step: TraceStep

    @property
    def auth(self) -> frozenset[CredentialKind]:
        """Kinds of credential by which it is chosen, in one case or another."""
        return frozenset().union(*(case.auth for case in self.cases))

    @property
    def profiles(self) -> frozenset[str]:
        """Profiles that its match names, in one case or another."""
        return frozenset().union(*(case.profiles for case in self.cases))

    @property
    def source_networks(self) -> tuple[Network, ...]:
        """Networks that its match names, in one case or another."""
        return tuple(network for case in self.cases for network in case.networks)

    def profiles_at(self, endpoint: str, operation: Operation) -> frozenset[str]:
        """Profiles that its match names for this endpoint and operation."""
        cases = [case for case in self.cases if (endpoint, operation) in case.places]
        return frozenset().union(*(case.profiles for case in cases))

    @property
    def needs_key_history(self) -> bool:
        """Whether ``Facts.key_known_to_others`` is read, so that the caller may spare the look-up."""
        return False

    @property
    def needs_account_keys(self) -> bool:
        """Whether ``Facts.key_of_account`` is read."""
        return False


@dataclass(frozen=True, slots=True)
class CompiledPolicy(AdmissionPolicy):
    """A policy for certificates, ready to be applied."""

    keys: KeyRule
    names: NamesRule
    extensions: ExtensionsRule
    validity: ValidityRule
    renewal: RenewalRule
    conditions: Conditions
    description: str = ""
    shadow: bool = False  # on trial: it decides nothing
    limits: tuple[LimitRule, ...] = ()

    @property
    def approval(self) -> ApprovalRule | None:
        """Who approves, if somebody does; whether for every request, the conditions say."""
        return None if self.conditions.approving is None else self.conditions.approving.approval

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every backend and profile that may come to issue, those that stand in among them."""
        return self.conditions.routing.routes

    @property
    def needs_key_history(self) -> bool:
        return self.keys.refuse_known_key

    @property
    def needs_account_keys(self) -> bool:
        return self.keys.refuse_account_key


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
    labels: Mapping[str, str] = field(default_factory=dict)


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

    ``tables`` holds the policies for certificates, ``shadow_tables`` those of them that are on trial,
    ``revocation`` those for revocations by protocol and endpoint, ``compatibility`` the Compat documents by
    protocol: each in ascending order of priority. ``policies`` are those that decide.
    """

    sha256: str
    endpoints: Mapping[tuple[str, str], CompiledEndpoint]
    backends: Mapping[str, CompiledBackend]
    trust_stores: Mapping[str, CompiledTrustStore]
    policies: tuple[AdmissionPolicy, ...]
    documents_json: str
    tables: Mapping[tuple[str, str, Operation], SelectionTable[CompiledPolicy]] = field(
        default_factory=dict, repr=False
    )
    revocation: Mapping[tuple[str, str], SelectionTable[AdmissionPolicy]] = field(
        default_factory=dict, repr=False
    )
    compatibility: Mapping[str, tuple[CompiledCompat, ...]] = field(default_factory=dict)
    lists: Mapping[str, CompiledList] = field(default_factory=dict)
    shadows: tuple[CompiledPolicy, ...] = ()
    shadow_tables: Mapping[tuple[str, str, Operation], SelectionTable[CompiledPolicy]] = field(
        default_factory=dict, repr=False
    )

    guardrails: tuple[CompiledGuardrail, ...] = ()
    guardrail_places: Mapping[tuple[str, str], tuple[CompiledGuardrail, ...]] = field(
        default_factory=dict, repr=False
    )

    def guardrails_at(self, protocol: str, endpoint: str) -> tuple[CompiledGuardrail, ...]:
        """Those that hold for requests to this endpoint."""
        return self.guardrail_places.get((protocol, endpoint), ())

    def rows(self, protocol: str, endpoint: str, operation: Operation) -> tuple[Row[CompiledPolicy], ...]:
        """The ways to fit policies for certificates here, in ascending order of priority."""
        table = self.tables.get((protocol, endpoint, operation))
        return () if table is None else table.rows
