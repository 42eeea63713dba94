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
from gateway.policy.complaints import Misfit
from gateway.policy.name_documents import NamesRules, StrictModel
from gateway.policy.rule_documents import (
    ApprovalRules,
    ExtensionsRules,
    IssueRule,
    KeyRules,
    RenewalRules,
    ValidityRules,
)
from gateway.policy.rules import NewKey
from gateway.policy.terms import Duration, Networks, ObjectName, Words, as_list, refuse_planned

ApiVersion = Literal["pkigate/v1"]
OperationName = Literal["enroll", "renew", "rekey"]
CredentialName = Literal[
    "basic",
    "mtls",
    "renewal-cert",
    "acme-account",
    "challenge-static",
    "challenge-dynamic",
    "mac",
    "signature",
]

PLANNED_KINDS = frozenset({"Guardrail", "List", "NotificationRoute"})
_PLANNED_OPERATIONS = frozenset({"keygen"})
_PLANNED_CREDENTIALS = frozenset({"api-token"})


def _operations(value: object) -> object:
    words = refuse_planned(as_list(value), _PLANNED_OPERATIONS)
    if isinstance(words, list) and "revoke" in words:
        raise Misfit("revoke stands alone; write a policy of its own with operation: revoke for it")
    return words


def _credentials(value: object) -> object:
    return refuse_planned(as_list(value), _PLANNED_CREDENTIALS)


class Metadata(StrictModel):
    """Who and what a document is."""

    name: ObjectName = Field(description="Lower-case letters, digits and hyphens, at most 40")
    owner: str = Field("", max_length=200, description="Who answers for it")
    description: str = Field("", max_length=2000, description="What it is for")


class Endpoint(StrictModel):
    """An address under which one protocol is served."""

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815  as it is written
    kind: Literal["Endpoint"] = Field(description="Endpoint")
    metadata: Metadata = Field(description="Its name stands in the URL; `default` needs none")
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


class AnyMatch(StrictModel):
    """Which requests a policy is for; everything that is said must fit."""

    planned: ClassVar[frozenset[str]] = frozenset({"any", "not", "labels"})

    protocol: str = Field(description="The protocol: est, acme, scep, cmp, or what a plug-in brings")
    endpoint: Annotated[
        tuple[ObjectName, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field((), description="Endpoints of that protocol; without this key, all of them")
    auth: Annotated[
        tuple[CredentialName, ...],
        BeforeValidator(_credentials, json_schema_input_type=CredentialName | list[CredentialName]),
    ] = Field(
        (),
        description="Kinds of credential: the policy is chosen if one of them is presented. "
        "Without this key, every kind under `authenticate`",
    )
    source_ip: Networks = Field((), description="Networks that the request must come from")


class Match(AnyMatch):
    """Which requests for certificates a policy is for; everything that is said must fit."""

    operation: Annotated[
        tuple[OperationName, ...],
        BeforeValidator(_operations, json_schema_input_type=OperationName | list[OperationName]),
    ] = Field(min_length=1, description="enroll: a first certificate. renew: again, same key. rekey: new key")
    profile: Words = Field(
        (), description="Profiles that a client may ask for; without this key, any or none"
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
    for index, kind in enumerate(match.auth):
        if kind not in authenticate.kinds:
            raise Misfit(
                f"{kind!r} is not under authenticate; add it there or remove it here",
                ("match", "auth", index),
            )


def _mode(value: object) -> object:
    if value == "shadow":
        raise Misfit("'shadow' is not available in this version; write active")
    return value


class Policy(StrictModel):
    """Who may have which certificate, and who issues it."""

    planned: ClassVar[frozenset[str]] = frozenset(
        {"extends", "limits", "checks", "lint", "hooks", "notify", "tests", "revocation"}
    )

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815
    kind: Literal["Policy"] = Field(description="Policy")
    metadata: Metadata = Field(description="Its name stands in the trace and in the record")
    priority: int = Field(
        ge=0, le=1_000_000, description="The lowest number that fits is used. Equal ones must not overlap"
    )
    mode: Annotated[Literal["active"], BeforeValidator(_mode)] = Field("active", description="active")
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
    approval: ApprovalRules | None = Field(None, description="People who must approve first")
    issue: Annotated[
        tuple[IssueRule, ...],
        BeforeValidator(
            lambda value: [value] if isinstance(value, dict) else value,
            json_schema_input_type=IssueRule | list[IssueRule],
        ),
    ] = Field(min_length=1, description="The backend that issues")

    @model_validator(mode="after")
    def _parts_fit(self) -> Policy:
        _auth_is_verified(self.match, self.authenticate)
        if self.names.subject == "keep-from-previous" and "enroll" in self.match.operation:
            raise Misfit(
                "a first enrolment has no previous certificate; write rules by attribute, or match "
                "operation: [renew, rekey] only",
                ("names", "subject"),
            )
        if self.authenticate.renewal_cert is not None and "enroll" in self.match.operation:
            raise Misfit(
                "a first enrolment renews no certificate; match operation: [renew, rekey] only, or use mtls",
                ("authenticate", "renewal-cert"),
            )
        if self.authenticate.acme_account is not None:
            _no_name_is_left_out(self.names)
        if "rekey" in self.match.operation and self.renewal.new_key is NewKey.FORBIDDEN:
            raise Misfit(
                "a rekey always brings a new key; match operation: renew only", ("renewal", "new_key")
            )
        if len(self.issue) > 1:
            raise Misfit("a second backend is not available in this version; keep one", ("issue", 1))
        return self


_ISSUES_NOTHING = "says what may be issued, and a revocation issues nothing; remove it"


class RevocationMatch(AnyMatch):
    """Which revocations a policy is for; everything that is said must fit."""

    elsewhere: ClassVar[Mapping[str, str]] = {"profile": _ISSUES_NOTHING}

    operation: Annotated[
        tuple[Literal["revoke"], ...],
        BeforeValidator(as_list, json_schema_input_type=Literal["revoke"] | list[Literal["revoke"]]),
    ] = Field(min_length=1, max_length=1, description="revoke")


class RevocationPolicy(StrictModel):
    """Who may ask for a revocation in a message of the protocol (CMP). Whose certificates they may revoke,
    the protocol says: those of the key that signs, or any for a registration authority."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("keys", "names", "extensions", "validity", "renewal", "approval", "issue"), _ISSUES_NOTHING
    )

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815
    kind: Literal["Policy"] = Field(description="Policy")
    metadata: Metadata = Field(description="Its name stands in the trace and in the record")
    priority: int = Field(
        ge=0, le=1_000_000, description="The lowest number that fits is used. Equal ones must not overlap"
    )
    mode: Annotated[Literal["active"], BeforeValidator(_mode)] = Field("active", description="active")
    match: RevocationMatch = Field(description="Which requests this is for")
    authenticate: Authenticate = Field(description="Which credentials are verified")

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
                raise Misfit(f"'names' {_ISSUES_NOTHING}", ("authenticate", key, "names"))
        return self


def policy_model(value: object) -> type[Policy] | type[RevocationPolicy]:
    """Which of the two forms a Policy document has, by the operation that it matches."""
    match = value.get("match") if isinstance(value, dict) else None
    operation = match.get("operation") if isinstance(match, dict) else None
    return RevocationPolicy if operation in ("revoke", ["revoke"]) else Policy


AnyDocument = Endpoint | Backend | TrustStore | Compat | Policy | RevocationPolicy

DOCUMENT_KINDS: dict[str, tuple[type[AnyDocument], ...]] = {
    "Endpoint": (Endpoint,),
    "Backend": (Backend,),
    "TrustStore": (TrustStore,),
    "Compat": (Compat,),
    "Policy": (Policy, RevocationPolicy),
}
