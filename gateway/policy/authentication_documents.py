"""The ``authenticate`` part of a Policy document: which credentials are verified."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.policy.complaints import Misfit
from gateway.policy.name_documents import StrictModel
from gateway.policy.rules import PopLinking, Require
from gateway.policy.terms import Duration, ExtendedKeyUsage, ObjectName, as_list, refuse_planned

ChallengeKind = Literal["static", "dynamic"]
ChallengeType = Literal["http-01", "dns-01", "tls-alpn-01"]

_ENDPOINT_OPTION = (
    "is said once for all requests of an endpoint; write it under `options` of the CMP Endpoint"
)
_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
_PLANNED_CHALLENGES = frozenset({"dns-account-01", "dns-persist-01", "device-attest-01", "email-reply-00"})


def _challenges(value: object) -> object:
    return refuse_planned(as_list(value), _PLANNED_CHALLENGES)


class BasicAuthentication(StrictModel):
    """User name and secret (HTTP Basic)."""

    planned: ClassVar[frozenset[str]] = frozenset({"groups", "realm"})


class CertificateAuthentication(StrictModel):
    """The certificate that is being renewed."""

    planned: ClassVar[frozenset[str]] = frozenset({"ignore_not_after", "require", "extract"})

    trust: ObjectName = Field(description="The trust store that the certificate must chain to")
    extended_key_usage: Annotated[
        tuple[ExtendedKeyUsage, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field(
        (_CLIENT_AUTH,),
        description="If the certificate has extended key usages, one of these must be there; [] = any",
    )
    allow_expired: Duration = Field(timedelta(0), description="Accepted so long after its end; default 0s")


class ClientCertificateAuthentication(CertificateAuthentication):
    """A TLS client certificate."""

    names: Literal["any", "own"] = Field(
        "any",
        description="own: the request may name only what this certificate bears. any: as the rules say",
    )


class SignatureAuthentication(ClientCertificateAuthentication):
    """A certificate whose key signed the message for somebody or something else (CMP)."""

    extended_key_usage: Annotated[
        tuple[ExtendedKeyUsage, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field(
        (), description="If the certificate has extended key usages, one of these must be there; [] = any"
    )
    ra: bool = Field(
        False,
        description="true: who signs is a registration authority, which vouches for its clients' keys and "
        "revokes for them. The certificate must carry one of extended_key_usage, if any are named",
    )

    @model_validator(mode="after")
    def _ra_asks_for_others(self) -> SignatureAuthentication:
        if self.ra and self.names == "own":
            text = "a registration authority asks for its clients' names; write names: any, or ra: false"
            raise Misfit(text, ("names",))
        return self


class ChallengeAuthentication(StrictModel):
    """A challengePassword (SCEP) that was given out before."""

    accept: Annotated[
        tuple[ChallengeKind, ...],
        BeforeValidator(as_list, json_schema_input_type=ChallengeKind | list[ChallengeKind]),
    ] = Field(
        ("static", "dynamic"),
        min_length=1,
        description="static: good any number of times. dynamic: good once, or as often as it was given for",
    )


class MacAuthentication(StrictModel):
    """A stored secret that protects the message (CMP)."""


class AcmeAccountAuthentication(StrictModel):
    """An ACME account and its proof of every name (RFC 8555 section 8)."""

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


class Authenticate(StrictModel):
    """Which credentials are verified before anything is granted."""

    planned: ClassVar[frozenset[str]] = frozenset({"allow_list", "eab_groups"})
    elsewhere: ClassVar[Mapping[str, str]] = {
        "confirm": _ENDPOINT_OPTION,
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
