"""The documents of a bundle (``apiVersion: pkigate/v1``): Endpoint, Backend, TrustStore, Compat, Policy.

The JSON Schema for editors and the reference in docs/ are made from these models. Every key that is accepted
here is enforced; keys of the language that are not built yet are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from gateway.policy.authentication_documents import Authenticate
from gateway.policy.check_documents import Checks, check_ids
from gateway.policy.complaints import Misfit, Path
from gateway.policy.content_rules import NewKey
from gateway.policy.guardrail_documents import Guardrail
from gateway.policy.limit_documents import Limits, check_limits
from gateway.policy.list_documents import List
from gateway.policy.match_documents import (
    ISSUES_NOTHING,
    AnyMatch,
    Match,
    RevocationMatch,
)
from gateway.policy.metadata import ApiVersion, EndpointMetadata, Metadata
from gateway.policy.name_documents import NamesRules, StrictModel
from gateway.policy.policy_template import PolicyTemplate
from gateway.policy.routing_documents import IssueRules, check_reach
from gateway.policy.rule_documents import (
    ApprovalRules,
    ExtensionsRules,
    KeyRules,
    RenewalRules,
    ValidityRules,
)
from gateway.policy.sample_documents import MAX_TESTS, EmbeddedTest
from gateway.policy.terms import Duration, ObjectName, Words, as_list

PLANNED_KINDS = frozenset({"NotificationRoute"})


class Endpoint(StrictModel):
    """An address under which one protocol is served."""

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815  as it is written
    kind: Literal["Endpoint"] = Field(description="Endpoint")
    metadata: EndpointMetadata = Field(description="Its name stands in the URL; `default` needs none")
    protocol: str = Field(description="The protocol: est, acme, scep, cmp, or what a plug-in brings")
    backend: ObjectName = Field(description="The backend whose CA certificates are handed out here")
    ca: ObjectName | None = Field(
        None,
        description="The CA of that backend whose certificates and CRL are handed out here, by the profile "
        "that routes to it (embedded: its name); default: the backend's default CA",
    )
    grace: Duration = Field(
        timedelta(minutes=10), description="How long a finished request answers when it is sent again"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the protocol")


class Backend(StrictModel):
    """A CA that issues."""

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815
    kind: Literal["Backend"] = Field(description="Backend")
    metadata: Metadata = Field(description="Policies and endpoints name it")
    type: str = Field(description="The kind of CA: embedded, or what a plug-in brings")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of this kind of CA")


class TrustStore(StrictModel):
    """CA certificates by which client certificates are verified."""

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815
    kind: Literal["TrustStore"] = Field(description="TrustStore")
    metadata: Metadata = Field(description="Policies name it")
    certificates: Words = Field((), description="CA certificates as PEM text")
    files: Words = Field((), description="PEM files, by their path relative to this file")
    backends: Annotated[
        tuple[ObjectName, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field((), description="Backends whose CA certificates are trusted, whatever they are at the time")
    protocols: Words = Field(
        (),
        description="Of the certificates that this gateway issued, those of these protocols count; without "
        "it all. Leave out acme: a name that was proven once would be certified again without proof",
    )
    revocation: Literal["own", "none"] = Field(
        "own", description="own: certificates that this gateway issued are looked up in its database"
    )

    @model_validator(mode="after")
    def _trusts_something(self) -> TrustStore:
        if not (self.certificates or self.files or self.backends):
            raise Misfit("the trust store is empty; name certificates, files or backends")
        return self


class Compat(StrictModel):
    """Habits of one family of products. What else stands in it has the form that the protocol asks for."""

    model_config = ConfigDict(extra="allow")

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815
    kind: Literal["Compat"] = Field(description="Compat")
    metadata: Metadata = Field(description="Its name says which products it is about")
    protocol: str = Field(description="The protocol: scep, or what a plug-in brings")
    priority: int = Field(
        ge=0, le=1_000_000, description="Of several that fit a request, the lowest number counts"
    )


def _no_name_is_left_out(names: NamesRules) -> None:
    """RFC 8555 section 7.4: the certificate of an order has the order's names, all of them."""
    for path, on_extra in (
        (("names", "on_extra"), names.on_extra),
        (("names", "dns", "on_extra"), names.dns and names.dns.on_extra),
        (("names", "ip", "on_extra"), names.ip and names.ip.on_extra),
    ):
        if on_extra == "drop":
            raise Misfit("no name of an ACME order may be left out of its certificate; write deny", path)


def _auth_is_verified(match: AnyMatch, authenticate: Authenticate) -> None:
    asked: list[tuple[Path, tuple[str, ...]]] = [(("match", "auth"), match.auth)]
    for place, one in enumerate(match.alternatives if isinstance(match, Match) else ()):
        asked.append((("match", "any", place, "auth"), one.auth))
    for path, kinds in asked:
        for index, kind in enumerate(kinds):
            if kind not in authenticate.kinds:
                text = f"{kind!r} is not under authenticate; add it there or remove it here"
                raise Misfit(text, (*path, index))


def _enrolling_renews_nothing(match: Match) -> None:
    """Where a certificate that is renewed is asked for, no first enrolment can be meant."""
    for index, one in match.merged:
        if "enroll" in one.operation and (not one.auth or "renewal-cert" in one.auth):
            if index is None and not match.auth:
                path: Path = ("authenticate", "renewal-cert")
            else:
                path = ("match", "auth") if index is None or match.auth else ("match", "any", index)
            raise Misfit(
                "a first enrolment renews no certificate; match operation: [renew, rekey] only, or use mtls",
                path,
            )


def _mode(value: object) -> object:
    if value in ("shadow", "template"):
        raise Misfit(f"a policy for revocations is never in the mode {value!r}; write active")
    return value


Tests = Annotated[
    tuple[EmbeddedTest, ...],
    Field(max_length=MAX_TESTS),
]


class Policy(StrictModel):
    """Who may have which certificate, and who issues it."""

    planned: ClassVar[frozenset[str]] = frozenset({"lint", "hooks", "notify", "revocation"})

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815
    kind: Literal["Policy"] = Field(description="Policy")
    metadata: Metadata = Field(description="Its name stands in the trace and in the record")
    priority: int = Field(
        ge=0, le=1_000_000, description="The lowest number that fits is used. Equal ones must not overlap"
    )
    mode: Literal["active", "shadow"] = Field(
        "active",
        description="active: it decides. shadow: what it would say is recorded, and another policy decides. "
        "template: never selected, there to be extended",
    )
    extends: ObjectName | None = Field(
        None,
        description="A policy whose keys count where this one says nothing: mappings are merged, lists and "
        "single values replace. priority, match, mode, metadata and tests are never inherited",
    )
    match: Match = Field(description="Which requests this is for")
    authenticate: Authenticate = Field(description="Which credentials are verified")
    keys: KeyRules = Field(description="Which keys are allowed")
    names: NamesRules = Field(description="Which names are allowed")
    extensions: ExtensionsRules = Field(
        default_factory=lambda: ExtensionsRules.model_validate({}), description="What else is set"
    )
    validity: ValidityRules = Field(description="How long the certificate lives")
    renewal: RenewalRules = Field(
        default_factory=lambda: RenewalRules.model_validate({}), description="What a renewal may change"
    )
    limits: Limits = Field((), description="How many certificates, by whom and for what")
    checks: Checks = Field((), description="What must be true of the certificate, as expressions of CEL")
    approval: ApprovalRules | None = Field(None, description="People who must approve first")
    issue: IssueRules = Field(description="The backend that issues; of several, the first that counts")
    tests: Tests = Field((), description="Requests and what must come of them, tried at every load")

    @model_validator(mode="after")
    def _parts_fit(self) -> Policy:
        _auth_is_verified(self.match, self.authenticate)
        if self.names.subject == "keep-from-previous" and "enroll" in self.match.operations:
            raise Misfit(
                "a first enrolment has no previous certificate; write rules by attribute, or match "
                "operation: [renew, rekey] only",
                ("names", "subject"),
            )
        if self.authenticate.renewal_cert is not None:
            _enrolling_renews_nothing(self.match)
        if self.authenticate.acme_account is not None:
            _no_name_is_left_out(self.names)
        check_limits(self.limits, accounts=self.authenticate.acme_account is not None)
        if "rekey" in self.match.operations and self.renewal.new_key is NewKey.FORBIDDEN:
            raise Misfit(
                "a rekey always brings a new key; match operation: renew only", ("renewal", "new_key")
            )
        check_ids(self.checks)
        check_reach(self.issue)
        return self


class RevocationPolicy(StrictModel):
    """Who may ask for a revocation in a message of the protocol (CMP). Whose certificates they may revoke,
    the protocol says: those of the key that signs, or any for a registration authority."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("keys", "names", "extensions", "validity", "renewal", "limits", "checks", "approval", "issue"),
            ISSUES_NOTHING,
        ),
        "extends": "is for policies for certificates; write everything out here",
    }

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815
    kind: Literal["Policy"] = Field(description="Policy")
    metadata: Metadata = Field(description="Its name stands in the trace and in the record")
    priority: int = Field(
        ge=0, le=1_000_000, description="The lowest number that fits is used. Equal ones must not overlap"
    )
    mode: Annotated[Literal["active"], BeforeValidator(_mode)] = Field("active", description="active")
    match: RevocationMatch = Field(description="Which requests this is for")
    authenticate: Authenticate = Field(description="Which credentials are verified")
    tests: Tests = Field((), description="Requests and what must come of them, tried at every load")

    @model_validator(mode="after")
    def _parts_fit(self) -> RevocationPolicy:
        _auth_is_verified(self.match, self.authenticate)
        for key, rule, text in (
            ("renewal-cert", self.authenticate.renewal_cert, "a revocation renews nothing; use signature"),
            ("challenge", self.authenticate.challenge, "a challengePassword revokes nothing; use signature"),
            (
                "acme-account",
                self.authenticate.acme_account,
                "who may revoke by ACME is said by RFC 8555 section 7.6; no policy is needed for it",
            ),
        ):
            if rule is not None:
                raise Misfit(text, ("authenticate", key))
        for key, certificate in self.authenticate.trusts.items():
            if "names" in certificate.model_fields_set:
                raise Misfit(f"'names' {ISSUES_NOTHING}", ("authenticate", key, "names"))
        return self


def policy_model(value: object) -> type[Policy] | type[RevocationPolicy] | type[PolicyTemplate]:
    """Which of the forms a Policy document has, by its mode and the operation that it matches."""
    if isinstance(value, dict) and value.get("mode") == "template":
        return PolicyTemplate
    match = value.get("match") if isinstance(value, dict) else None
    operation = match.get("operation") if isinstance(match, dict) else None
    return RevocationPolicy if operation in ("revoke", ["revoke"]) else Policy


AnyPolicy = Policy | RevocationPolicy | PolicyTemplate
AnyDocument = Endpoint | Backend | TrustStore | List | Compat | Guardrail | AnyPolicy

DOCUMENT_KINDS: dict[str, tuple[type[AnyDocument], ...]] = {
    "Endpoint": (Endpoint,),
    "Backend": (Backend,),
    "TrustStore": (TrustStore,),
    "List": (List,),
    "Compat": (Compat,),
    "Guardrail": (Guardrail,),
    "Policy": (Policy, RevocationPolicy, PolicyTemplate),
}
