"""The ``authenticate`` part of a Policy document: which credentials are verified."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from gateway.model.evidence import GROUP_PATTERN
from gateway.model.names import ATTRIBUTE_NAMES
from gateway.policy.authentication_rules import (
    PopLinking,
    Require,
)
from gateway.policy.certificate_documents import (
    CertificateAuthentication,
    ClientCertificateAuthentication,
    SignatureAuthentication,
)
from gateway.policy.complaints import Misfit
from gateway.policy.extraction import read_attribute
from gateway.policy.name_documents import StrictModel
from gateway.policy.template import Form, compile_template
from gateway.policy.terms import Duration, ObjectName, as_list, refuse_planned

__all__ = [
    "AcmeAccountAuthentication",
    "Authenticate",
    "BasicAuthentication",
    "CertificateAuthentication",
    "ChallengeAuthentication",
    "MacAuthentication",
    "SignatureAuthentication",
]

ChallengeKind = Literal["static", "dynamic"]
ChallengeType = Literal["http-01", "dns-01", "tls-alpn-01"]

_ENDPOINT_OPTION = (
    "is said once for all requests of an endpoint; write it under `options` of the CMP Endpoint"
)
_ACCOUNT_OPTION = "is said of accounts; write it under acme-account"
_PLANNED_CHALLENGES = frozenset({"dns-account-01", "dns-persist-01", "device-attest-01", "email-reply-00"})


def _challenges(value: object) -> object:
    return refuse_planned(as_list(value), _PLANNED_CHALLENGES)


def _bound(text: str) -> str:
    part, dot, name = text.partition(".")
    if part != "subject" or not dot:
        raise Misfit(f"{text!r} is no attribute of the subject; write one like subject.serialNumber")
    oid = read_attribute(name)
    if oid not in ATTRIBUTE_NAMES:
        raise Misfit(f"no label can be called {oid}; write an attribute that has a name, like subject.CN")
    return ATTRIBUTE_NAMES[oid]


def _as_list_name(value: object) -> object:
    return {"list": value} if isinstance(value, str) else value


def _fact(text: str) -> str:
    return compile_template("${" + text + "}", Form.TEXT).source[2:-1]


Groups = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=f"^{GROUP_PATTERN}$")], ...],
    BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    Field(min_length=1, max_length=64),
]


class BasicAuthentication(StrictModel):
    """User name and secret (HTTP Basic)."""

    planned: ClassVar[frozenset[str]] = frozenset({"realm"})

    groups: Groups | None = Field(None, description="The credential must be in one of these groups")


class ChallengeAuthentication(StrictModel):
    """A challengePassword (SCEP) that was given out before."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "source": "is spelled accept; write accept: [dynamic] for challenges that are made one by one",
        "single_use": "is spelled accept; write accept: [dynamic], challenges that count their uses",
    }

    accept: Annotated[
        tuple[ChallengeKind, ...],
        BeforeValidator(as_list, json_schema_input_type=ChallengeKind | list[ChallengeKind]),
    ] = Field(
        ("static", "dynamic"),
        min_length=1,
        description="static: good any number of times. dynamic: good once, or as often as it was given for",
    )
    groups: Groups | None = Field(None, description="The challenge must be in one of these groups")
    ttl: Duration | None = Field(
        None, description="Challenges that were made longer ago are refused, whatever their own end is"
    )
    bind: Annotated[
        tuple[Annotated[str, AfterValidator(_bound)], ...],
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    ] = Field(
        (),
        description="Attributes of the requested subject, like subject.serialNumber: each must equal the "
        "challenge's label of that name (serialNumber)",
    )

    @model_validator(mode="after")
    def _binds_what_is_made_for_one(self) -> ChallengeAuthentication:
        if self.bind and "static" in self.accept:
            text = "a static challenge is for many devices, not bound to one; write accept: [dynamic]"
            raise Misfit(text, ("bind",))
        if self.ttl is not None and self.ttl < timedelta(seconds=1):
            raise Misfit("this is no time at all; write at least 1s", ("ttl",))
        return self


class MacAuthentication(StrictModel):
    """A stored secret that protects the message (CMP)."""

    groups: Groups | None = Field(None, description="The secret must be in one of these groups")


class AcmeAccountAuthentication(StrictModel):
    """An ACME account and its proof of every name (RFC 8555 section 8)."""

    elsewhere: ClassVar[Mapping[str, str]] = {"eab_groups": "is spelled groups; write that"}

    challenges: Annotated[
        tuple[ChallengeType, ...],
        BeforeValidator(_challenges, json_schema_input_type=ChallengeType | list[ChallengeType]),
    ] = Field(
        ("http-01", "dns-01", "tls-alpn-01"),
        description="Ways to prove a name, in the order in which they are offered. Wildcards are proven by "
        "dns-01 only, addresses by http-01 and tls-alpn-01. []: none, the external account that each account "
        "here is bound to stands in for the proof; only for endpoints with options.eab",
    )
    reuse_authorization: Duration = Field(
        timedelta(hours=1),
        description="A name that this account has proven so recently needs no new proof; 0s: it always does",
    )
    eab: Literal["optional", "required"] = Field(
        "optional",
        description="required: the account must be bound to an external account (RFC 8555, 7.3.4). Whether "
        "one can be opened without is said by options.eab of the Endpoint",
    )
    groups: Groups | None = Field(
        None, description="The external account that it is bound to must be in one of these groups"
    )


class AllowList(StrictModel):
    """A List in which a word of the request must stand."""

    list_name: ObjectName = Field(alias="list", description="A List of this bundle")
    fact: Annotated[str, AfterValidator(_fact)] = Field(
        "client.serial",
        description="The word whose value must be in it: client.NAME of extract, account.name, "
        "csr.subject.serialNumber, ...",
    )


class Authenticate(StrictModel):
    """Which credentials are verified before anything is granted."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "confirm": _ENDPOINT_OPTION,
        "challenges": _ACCOUNT_OPTION,
        "reuse_authorization": _ACCOUNT_OPTION,
        "eab": _ACCOUNT_OPTION,
        "eab_groups": "is spelled groups; write acme-account: {groups: [...]}",
        "require_pop_linking": "is spelled pop_linking; write pop_linking: required",
        "message_time_skew": _ENDPOINT_OPTION,
        "unconfirmed_after": _ENDPOINT_OPTION,
    }

    require: Require = Field(Require.ANY, description="any: one of the credentials is enough. all: every one")
    basic: BasicAuthentication | None = Field(None, description="User name and secret")
    mtls: ClientCertificateAuthentication | None = Field(None, description="A TLS client certificate")
    renewal_cert: CertificateAuthentication | None = Field(
        None, alias="renewal-cert", description="The certificate that is being renewed"
    )
    acme_account: AcmeAccountAuthentication | None = Field(
        None, alias="acme-account", description="An ACME account that has proven every name"
    )
    challenge: ChallengeAuthentication | None = Field(
        None, description="A challengePassword (SCEP); {} for static and one-time ones"
    )
    mac: MacAuthentication | None = Field(None, description="A secret that protects the message (CMP)")
    signature: SignatureAuthentication | None = Field(
        None, description="A certificate whose key signed the message, other than the one that is renewed"
    )
    allow_list: (
        Annotated[AllowList, BeforeValidator(_as_list_name, json_schema_input_type=str | AllowList)] | None
    ) = Field(
        None,
        description="A List in which client.serial must stand, or {list: NAME, fact: WORD} for another word",
    )
    pop_linking: PopLinking = Field(
        PopLinking.IF_PRESENT,
        description="Whether the CSR must carry the binding of the TLS session (RFC 7030, 3.5). if-present: "
        "checked where sent. ignore: for clients that use the challengePassword otherwise",
    )

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """For each credential that is asked for, the kinds that it may be of."""
        challenges = self.challenge.accept if self.challenge is not None else ()
        rules: tuple[tuple[object, tuple[str, ...]], ...] = (
            (self.basic, ("basic",)),
            (self.mtls, ("mtls",)),
            (self.renewal_cert, ("renewal-cert",)),
            (self.acme_account, ("acme-account",)),
            (self.challenge, tuple(f"challenge-{word}" for word in challenges)),
            (self.mac, ("mac",)),
            (self.signature, ("signature",)),
        )
        return tuple(kinds for rule, kinds in rules if rule is not None)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of credential that are looked at."""
        return tuple(kind for kinds in self.alternatives for kind in kinds)

    @property
    def trusts(self) -> dict[str, CertificateAuthentication]:
        """What names a trust store, by its key."""
        rules = {"mtls": self.mtls, "renewal-cert": self.renewal_cert, "signature": self.signature}
        return {key: rule for key, rule in rules.items() if rule is not None}

    @model_validator(mode="after")
    def _looks_at_something(self) -> Authenticate:
        if not self.kinds:
            raise Misfit(
                "no credential is asked for; add basic: {}, mtls: {...}, renewal-cert: {...}, "
                "acme-account: {...}, challenge: {}, mac: {} or signature: {...}"
            )
        return self
