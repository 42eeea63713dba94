"""The ``keys`` part of a Policy document: which keys may be certified."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.policy.complaints import Misfit
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import Curve, EdDsa, MlDsa, ObjectName, SignatureHash, as_list

BUILTIN = "builtin"  # the block list that is part of the gateway


class Reject(StrEnum):
    """Kinds of keys that are refused whatever their type and size."""

    ROCA = "roca"
    FERMAT = "fermat"
    SMALL_PRIMES = "small-primes"
    DEBIAN_WEAK = "debian-weak"
    BLOCKLIST = "blocklist"
    CA_KEY = "ca-key"
    ACCOUNT_KEY = "account-key"
    COMPROMISED_HERE = "compromised-here"


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

    elsewhere: ClassVar[Mapping[str, str]] = {
        "generate": "(keys made by the gateway) is not available in this version: the requester makes its "
        "key; remove it",
        "min": "belongs to a type of key; write rsa: {min: 2048}",
        "sizes": "belongs to a type of key; write rsa: {sizes: [2048]}",
    }

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
    reject: Annotated[
        tuple[Reject, ...], BeforeValidator(as_list, json_schema_input_type=Reject | list[Reject])
    ] = Field(
        tuple(Reject),
        description="Keys that are refused whatever their type and size; without this key all of them, "
        "debian-weak as far as `blocklists` names a list for it. Keys whose certificate was revoked as "
        "compromised are refused in any case",
    )
    blocklists: Annotated[
        tuple[ObjectName, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field(
        (BUILTIN,),
        description="Where known keys are looked up: builtin (keys that stand in RFCs with their private "
        "half) and List documents of the types spki-sha256 and debian-openssl",
    )
    reuse: Literal["allow", "deny", "same-subject"] = Field(
        "deny",
        description="A key that was certified before. deny: not if that was for somebody else. same-subject: "
        "not for another subject either, whoever asked. allow: always",
    )

    @model_validator(mode="after")
    def _allows_something(self) -> KeyRules:
        if self.rsa is None and not (self.ec or self.eddsa or self.ml_dsa):
            raise Misfit(
                "no key is allowed; add rsa: {}, ec: [P-256], eddsa: [Ed25519] or ml_dsa: [ML-DSA-65]"
            )
        return self

    @model_validator(mode="after")
    def _lists_and_what_is_rejected_fit(self) -> KeyRules:
        lists = [name for name in self.blocklists if name != BUILTIN]
        if "reject" not in self.model_fields_set:
            return self
        if Reject.DEBIAN_WEAK in self.reject and not lists:
            raise Misfit(
                "debian-weak needs the list of those keys, which is too large to be built in; name a List of "
                "type debian-openssl in blocklists, or remove debian-weak",
                ("reject",),
            )
        if "blocklists" in self.model_fields_set and not {Reject.BLOCKLIST, Reject.DEBIAN_WEAK} & {
            *self.reject
        }:
            raise Misfit(
                "these lists are not looked into, since reject does not name blocklist; add it there or "
                "remove blocklists",
                ("blocklists",),
            )
        if Reject.BLOCKLIST in self.reject and not self.blocklists:
            raise Misfit(
                "blocklist has no list to look into; write builtin or the name of a List", ("blocklists",)
            )
        return self
