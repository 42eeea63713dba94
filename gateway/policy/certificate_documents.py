"""What a Policy document says of certificates that authenticate: trust, use, what must stand in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.policy.complaints import Misfit
from gateway.policy.extraction import (
    MAX_FACTS,
    SOURCES,
    check_fact_name,
    read_attribute,
    read_fact_pattern,
    read_source,
)
from gateway.policy.name_documents import StrictModel
from gateway.policy.patterns import compile_regex
from gateway.policy.terms import Duration, ExtendedKeyUsage, ObjectName, as_list, read_oid

_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
_MAX_ISSUER_ATTRIBUTES = 10

Usages = Annotated[
    tuple[ExtendedKeyUsage, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
]


def _source(text: str) -> str:
    return read_source(text).written


def _fact_regex(text: str) -> str:
    return read_fact_pattern(text).source


def _names(value: object) -> object:
    if isinstance(value, dict):
        for name in value:
            check_fact_name(str(name))
    return value


def _issuer(value: object) -> object:
    if isinstance(value, dict):
        for name, regex in value.items():
            try:
                read_attribute(str(name))
                if isinstance(regex, str):
                    compile_regex(regex)
            except Misfit as fault:
                raise Misfit(str(fault), (str(name),)) from fault
    return value


class FactExtraction(StrictModel):
    """A fact that is read in the certificate."""

    source: Annotated[str, AfterValidator(_source)] = Field(alias="from", description=f"One of {SOURCES}")
    regex: Annotated[str, AfterValidator(_fact_regex)] | None = Field(
        None,
        description="RE2; it must match all of the value. The fact is what its group holds, or all of it",
    )
    required: bool = Field(
        True, description="false: a certificate in which it does not stand is accepted, without the fact"
    )


class CertificateRequirements(StrictModel):
    """What must stand in the certificate, beside the path to its trust store."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "eku": "is spelled extended_key_usage; write that",
        "issuer_cn_regex": "is spelled issuer: {CN: REGEX}; write that",
    }

    extended_key_usage: Usages = Field(
        (), description="One of these must be there; a certificate without any is refused"
    )
    policies: Annotated[
        tuple[Annotated[str, AfterValidator(read_oid)], ...],
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    ] = Field((), description="One of these certificate policies (OIDs) must be there")
    issuer: Annotated[dict[str, str], BeforeValidator(_issuer)] = Field(
        default_factory=dict,
        max_length=_MAX_ISSUER_ATTRIBUTES,
        description="Attributes of its issuer's name, each with a regular expression (RE2) that must match "
        "all of it",
    )

    @model_validator(mode="after")
    def _asks_for_something(self) -> CertificateRequirements:
        if not (self.extended_key_usage or self.policies or self.issuer):
            raise Misfit(
                "nothing is asked for; name extended_key_usage, policies or issuer, or remove the key"
            )
        return self


class CertificateAuthentication(StrictModel):
    """The certificate that is being renewed."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "ignore_not_after": "is for vendors' certificates, at mtls and signature; write allow_expired: 90d",
    }

    trust: ObjectName = Field(description="The trust store that the certificate must chain to")
    extended_key_usage: Usages = Field(
        (_CLIENT_AUTH,),
        description="If the certificate has extended key usages, one of these must be there; [] = any",
    )
    allow_expired: Duration = Field(timedelta(0), description="Accepted so long after its end; default 0s")
    require: CertificateRequirements | None = Field(None, description="What must stand in the certificate")
    extract: Annotated[dict[str, FactExtraction], BeforeValidator(_names)] = Field(
        default_factory=dict,
        max_length=MAX_FACTS,
        description="Facts that are read in the certificate, by name; rules speak of them as client.NAME",
    )


class ClientCertificateAuthentication(CertificateAuthentication):
    """A TLS client certificate."""

    names: Literal["any", "own"] = Field(
        "any",
        description="own: the request may name only what this certificate bears. any: as the rules say",
    )
    ignore_not_after: bool = Field(
        False,
        description="true: its end and the ends of its CAs do not count; there must have been a time "
        "at which all of them were valid. For IDevID certificates, which devices outlive",
    )

    @model_validator(mode="after")
    def _one_word_on_its_end(self) -> ClientCertificateAuthentication:
        if self.ignore_not_after and self.allow_expired:
            raise Misfit(
                "its end does not count at all; remove this, or ignore_not_after", ("allow_expired",)
            )
        return self


class SignatureAuthentication(ClientCertificateAuthentication):
    """A certificate whose key signed the message for somebody or something else (CMP)."""

    extended_key_usage: Usages = Field(
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
