"""The Guardrail document: bounds that hold for every policy, so that none can grant what lies beyond."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.policy.check_documents import Checks, check_ids
from gateway.policy.complaints import Misfit
from gateway.policy.limit_documents import Limits
from gateway.policy.metadata import ApiVersion, Metadata
from gateway.policy.patterns import compile_regex
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import (
    Curve,
    Duration,
    EdDsa,
    ExtendedKeyUsage,
    MlDsa,
    ObjectName,
    Suffixes,
    Words,
    as_list,
)

_ALWAYS = "is decided by policies; a guardrail holds for every plan: remove it"
_NOT_BOUNDED = "is decided by policies, a guardrail cannot bound it; remove it"


def _regexes(value: object) -> object:
    words = as_list(value)
    for index, word in enumerate(words if isinstance(words, list) else ()):
        if isinstance(word, str):
            try:
                compile_regex(word, dns=True)
            except Misfit as fault:
                raise Misfit(str(fault), (index,) if isinstance(value, list) else ()) from fault
    return words


class GuardrailMatch(StrictModel):
    """For which requests a guardrail holds; without it for all."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("operation", "auth", "profile", "source_ip", "labels", "any", "not"), _ALWAYS
    )

    protocol: Words = Field((), description="Protocols; without this key, all of them")
    endpoint: Annotated[
        tuple[ObjectName, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field((), description="Endpoints of these protocols; without this key, all of them")


class GuardrailRsa(StrictModel):
    """RSA keys by the size of their modulus in bits."""

    min: int = Field(2048, ge=1024, le=16384, description="Smallest modulus in bits")
    max: int = Field(16384, ge=1024, le=16384, description="Largest modulus in bits")

    @model_validator(mode="after")
    def _range_holds_something(self) -> GuardrailRsa:
        if self.min > self.max:
            raise Misfit(f"min {self.min} is above max {self.max}; swap or correct them", ("min",))
        return self


class GuardrailKeys(StrictModel):
    """Keys that policies may allow; a type that is not named here is refused everywhere."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("csr_signature", "reuse", "reject", "blocklists", "generate"), _NOT_BOUNDED
    )

    rsa: GuardrailRsa | None = Field(None, description="RSA keys; {} for 2048 bits or more")
    ec: Annotated[tuple[Curve, ...], BeforeValidator(as_list, json_schema_input_type=Curve | list[Curve])] = (
        Field((), description="EC curves")
    )
    eddsa: Annotated[
        tuple[EdDsa, ...], BeforeValidator(as_list, json_schema_input_type=EdDsa | list[EdDsa])
    ] = Field((), description="Edwards-curve keys")
    ml_dsa: Annotated[
        tuple[MlDsa, ...], BeforeValidator(as_list, json_schema_input_type=MlDsa | list[MlDsa])
    ] = Field((), description="ML-DSA keys")

    @model_validator(mode="after")
    def _leaves_something(self) -> GuardrailKeys:
        if self.rsa is None and not (self.ec or self.eddsa or self.ml_dsa):
            raise Misfit("no key would be allowed anywhere; add rsa: {}, ec: [P-256], ...")
        return self


class DeniedNames(StrictModel):
    """Names that no certificate may bear, as alternative names of any kind or in the subject."""

    suffix: Suffixes = Field(
        (), description="DNS names: these and everything below them, also as hosts of e-mails and URIs"
    )
    exact: Words = Field((), description="Exactly these names: DNS, IP, e-mail or URI")
    regex: Annotated[
        tuple[str, ...],
        BeforeValidator(_regexes, json_schema_input_type=str | list[str]),
        Field(max_length=50),
    ] = Field((), description="Regular expressions (RE2): a name in which one is found anywhere is denied")

    @model_validator(mode="after")
    def _denies_something(self) -> DeniedNames:
        if not (self.suffix or self.exact or self.regex):
            raise Misfit("no name is denied; add suffix, exact or regex, or remove deny_names")
        return self


class Guardrail(StrictModel):
    """Bounds for all policies together. They can only refuse or shorten, never grant."""

    planned: ClassVar[frozenset[str]] = frozenset({"checks"})
    elsewhere: ClassVar[Mapping[str, str]] = {
        "priority": "is for policies; all guardrails hold at once: remove it",
        **dict.fromkeys(
            ("authenticate", "names", "extensions", "renewal", "approval", "issue", "mode", "extends"),
            _NOT_BOUNDED,
        ),
        "validity": "is decided by policies; write validity_max: 1y",
    }

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815
    kind: Literal["Guardrail"] = Field(description="Guardrail")
    metadata: Metadata = Field(description="Its name stands in refusals and in the trace")
    match: GuardrailMatch | None = Field(None, description="For which requests it holds; without it for all")
    keys: GuardrailKeys | None = Field(None, description="Which keys may be certified at all")
    deny_names: DeniedNames | None = Field(None, description="Names that no certificate may bear")
    validity_max: Duration | None = Field(
        None,
        description="Longest life, counted from now or from a later notBefore. A policy's own default is cut "
        "to it, an end that a client asks for beyond it is refused",
    )
    forbid_eku: Annotated[
        tuple[ExtendedKeyUsage, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field((), description="Extended key usages that no certificate may have, by name or OID")
    ca: Literal["deny"] | None = Field(None, description="deny: no plan makes a CA certificate")
    checks: Checks = Field((), description="What must be true of every certificate, as expressions of CEL")
    limits: Limits = Field((), description="How many certificates, counted over all policies together")

    @model_validator(mode="after")
    def _bounds_something(self) -> Guardrail:
        bounds = (self.keys, self.deny_names, self.validity_max, self.forbid_eku, self.ca)
        if not any((*bounds, self.limits, self.checks)):
            raise Misfit(
                "this guardrail bounds nothing; add keys, deny_names, validity_max, forbid_eku, ca, limits "
                "or checks"
            )
        if self.validity_max is not None and self.validity_max < timedelta(minutes=1):
            raise Misfit("the life is under a minute; write a longer one, such as 1y", ("validity_max",))
        check_ids(self.checks)
        return self
