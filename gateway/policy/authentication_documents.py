"""The ``authenticate`` part of a Policy document: which credentials are verified."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.policy.complaints import Misfit
from gateway.policy.name_documents import StrictModel
from gateway.policy.rules import PopLinking, Require
from gateway.policy.terms import Duration, ExtendedKeyUsage, ObjectName, as_list, refuse_planned

ChallengeType = Literal["http-01", "dns-01", "tls-alpn-01"]

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

    planned: ClassVar[frozenset[str]] = frozenset(
        {
            *("allow_list", "challenge", "confirm", "eab_groups", "mac"),
            *("message_time_skew", "signature", "unconfirmed_after"),
        }
    )

    require: Require = Field(Require.ANY, description="any: one of the credentials is enough. all: every one")
    basic: BasicAuthentication | None = Field(None, description="User name and secret")
    mtls: ClientCertificateAuthentication | None = Field(None, description="A TLS client certificate")
    renewal_cert: CertificateAuthentication | None = Field(
        None, alias="renewal-cert", description="The certificate that is being renewed"
    )
    acme_account: AcmeAccountAuthentication | None = Field(
        None, alias="acme-account", description="An ACME account that has proven every name"
    )
    pop_linking: PopLinking = Field(
        PopLinking.IF_PRESENT,
        description="Whether the CSR must carry the binding of the TLS session (RFC 7030, 3.5). if-present: "
        "checked where sent. ignore: for clients that use the challengePassword otherwise",
    )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of credential that are looked at."""
        rules = {
            "basic": self.basic,
            "mtls": self.mtls,
            "renewal-cert": self.renewal_cert,
            "acme-account": self.acme_account,
        }
        return tuple(kind for kind, rule in rules.items() if rule is not None)

    @model_validator(mode="after")
    def _looks_at_something(self) -> Authenticate:
        if not self.kinds:
            raise Misfit(
                "no credential is asked for; add basic: {}, mtls: {...}, renewal-cert: {...} or "
                "acme-account: {...}"
            )
        return self
