"""The parts of a Policy document beside names: keys, extensions, validity, renewal, approval, issue."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.policy.complaints import Misfit
from gateway.policy.name_documents import StrictModel
from gateway.policy.rules import MustStaple, NewKey
from gateway.policy.terms import (
    EXTENDED_KEY_USAGES,
    Curve,
    Duration,
    EdDsa,
    ExtendedKeyUsage,
    KeyUsageBit,
    MlDsa,
    ObjectName,
    Oid,
    SignatureHash,
    as_list,
)

_MAX_BACKDATE = timedelta(days=30)
_FORBIDDEN_USAGES = ("OCSPSigning", "anyExtendedKeyUsage")


class RsaRules(StrictModel):
    """RSA keys by the size of their modulus in bits."""

    min: int = Field(2048, ge=1024, le=8192, description="Smallest modulus in bits")
    max: int = Field(8192, ge=1024, le=8192, description="Largest modulus in bits")
    sizes: Annotated[
        tuple[Annotated[int, Field(ge=1024, le=8192)], ...],
        BeforeValidator(as_list, json_schema_input_type=int | list[int]),
    ] = Field((), description="Exactly these sizes; without this key, any from min to max")
    min_exponent: int = Field(
        65537, ge=3, description="Smallest public exponent; always odd. Smaller ones are weak in bad software"
    )

    @model_validator(mode="after")
    def _range_holds_something(self) -> RsaRules:
        if self.min > self.max:
            raise Misfit(f"min {self.min} is above max {self.max}; swap or correct them", ("min",))
        for index, size in enumerate(self.sizes):
            if not self.min <= size <= self.max:
                raise Misfit(
                    f"{size} is not between min {self.min} and max {self.max}; remove it or widen them",
                    ("sizes", index),
                )
        return self


class KeyRules(StrictModel):
    """Which keys are allowed; what is not named is not."""

    planned: ClassVar[frozenset[str]] = frozenset({"reject", "blocklists", "generate"})

    rsa: RsaRules | None = Field(None, description="RSA keys; {} for 2048 to 8192 bits")
    ec: Annotated[tuple[Curve, ...], BeforeValidator(as_list, json_schema_input_type=Curve | list[Curve])] = (
        Field((), description="EC curves")
    )
    eddsa: Annotated[
        tuple[EdDsa, ...], BeforeValidator(as_list, json_schema_input_type=EdDsa | list[EdDsa])
    ] = Field((), description="Edwards-curve keys (RFC 8410)")
    ml_dsa: Annotated[
        tuple[MlDsa, ...], BeforeValidator(as_list, json_schema_input_type=MlDsa | list[MlDsa])
    ] = Field((), description="ML-DSA keys (RFC 9881)")
    csr_signature: Annotated[
        tuple[SignatureHash, ...],
        BeforeValidator(as_list, json_schema_input_type=SignatureHash | list[SignatureHash]),
    ] = Field(
        ("sha256", "sha384", "sha512"),
        min_length=1,
        description="Hashes of the CSR's own signature; EdDSA and ML-DSA have none of their own. sha1 is for "
        "devices that know nothing better: SCEP takes it where the endpoint's `digests` name it too, the "
        "other protocols never do",
    )
    reuse: Literal["allow", "deny"] = Field(
        "deny", description="A key that stands in a certificate of another identity: allow or deny"
    )

    @model_validator(mode="after")
    def _allows_something(self) -> KeyRules:
        if self.rsa is None and not (self.ec or self.eddsa or self.ml_dsa):
            raise Misfit(
                "no key is allowed; add rsa: {}, ec: [P-256], eddsa: [Ed25519] or ml_dsa: [ML-DSA-65]"
            )
        return self


class ExtensionsRules(StrictModel):
    """What is set beside names. It is made from these rules alone, never copied from the CSR."""

    planned: ClassVar[frozenset[str]] = frozenset({"cdp", "aia", "other"})

    key_usage: Annotated[
        tuple[KeyUsageBit, ...],
        BeforeValidator(as_list, json_schema_input_type=KeyUsageBit | list[KeyUsageBit]),
    ] = Field(
        ("digitalSignature",),
        description="Key usages; those that a type of key cannot do are left out for it (keyEncipherment is "
        "for RSA, keyAgreement for EC)",
    )
    extended_key_usage: Annotated[
        tuple[ExtendedKeyUsage, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field((), max_length=20, description="Extended key usages, by name or OID; none without this key")
    policies: Annotated[tuple[Oid, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])] = (
        Field((), max_length=20, description="OIDs of certificate policies")
    )
    must_staple: MustStaple = Field(
        MustStaple.NEVER, description="The TLS feature extension (RFC 7633): never, if-requested, always"
    )
    from_csr: Literal["ignore", "deny"] = Field(
        "ignore",
        description="Extensions of the CSR that are not set anyway: ignore or deny. Always denied: CA:TRUE, "
        "keyCertSign, cRLSign, OCSPSigning, and critical ones that will not be set",
    )

    @model_validator(mode="after")
    def _is_for_end_entities(self) -> ExtensionsRules:
        for index, oid in enumerate(self.extended_key_usage):
            for name in _FORBIDDEN_USAGES:
                if oid == EXTENDED_KEY_USAGES[name]:
                    raise Misfit(
                        f"{name} is never given to an enrolled certificate; remove it",
                        ("extended_key_usage", index),
                    )
        return self


class ValidityRules(StrictModel):
    """How long a certificate lives; never longer than the certificate of the CA that issues it."""

    planned: ClassVar[frozenset[str]] = frozenset({"jitter"})

    default: Duration = Field(description="Life counted from now, such as 90d")
    max: Duration | None = Field(
        None, description="Longest life that a client may ask for; default: `default`"
    )
    client_may_request: bool = Field(
        False, description="Whether a client may ask for begin and end; if not, such a request is denied"
    )
    backdate: Duration = Field(timedelta(minutes=5), description="notBefore lies so long before now")

    @model_validator(mode="after")
    def _spans_fit(self) -> ValidityRules:
        if self.default < timedelta(minutes=1):
            raise Misfit("the life is under a minute; write a longer one, such as 90d", ("default",))
        if self.max is not None and self.max < self.default:
            raise Misfit("max is shorter than default; lengthen max or shorten default", ("max",))
        if self.max is not None and self.max > self.default and not self.client_may_request:
            raise Misfit(
                "max has no effect unless client_may_request: true; add that or remove max", ("max",)
            )
        if self.backdate > _MAX_BACKDATE:
            raise Misfit("backdate is over 30d; write a shorter one, such as 5m", ("backdate",))
        return self


class RenewalRules(StrictModel):
    """What holds for renew and rekey, beside everything else."""

    planned: ClassVar[frozenset[str]] = frozenset(
        {"window_percent", "ari", "authenticate_with", "allow_expired", "revoke_previous"}
    )

    window: Duration | None = Field(
        None,
        description="Renewal is allowed from so long before the end of the old one; default: at any time",
    )
    name_change: Literal["deny", "allow"] = Field(
        "deny", description="Whether the new certificate may have other names (allowed ones)"
    )
    new_key: NewKey = Field(NewKey.OPTIONAL, description="optional, required or forbidden")
    missing_san: Literal["reject", "copy"] = Field(
        "reject", description="A request without alternative names where the old certificate has some"
    )


class ApprovalRules(StrictModel):
    """People decide before anything is issued."""

    planned: ClassVar[frozenset[str]] = frozenset({"when", "steps"})

    required: int = Field(1, ge=1, le=10, description="How many people must approve")
    expires: Duration = Field(timedelta(days=7), description="Refused if not approved by then")
    retry_after: Duration = Field(
        timedelta(minutes=1), description="When the client is told to ask again (Retry-After)"
    )

    @model_validator(mode="after")
    def _waits_some_time(self) -> ApprovalRules:
        for key in ("expires", "retry_after"):
            if getattr(self, key) < timedelta(seconds=1):
                raise Misfit("this is no time at all; write at least 1s", (key,))
        return self


class IssueRule(StrictModel):
    """The backend that issues."""

    planned: ClassVar[frozenset[str]] = frozenset({"ca", "when", "fallback", "fallback_on"})

    backend: ObjectName = Field(description="A Backend of this bundle")
    profile: str | None = Field(None, min_length=1, max_length=200, description="A profile of that CA")
