"""The ``match`` part of a Policy document: which requests a policy is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.policy.complaints import Misfit
from gateway.policy.metadata import LabelName
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import Networks, ObjectName, Words, as_list, refuse_planned

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
_PLANNED_OPERATIONS = frozenset({"keygen"})
_PLANNED_CREDENTIALS = frozenset({"api-token"})
_MAX_ALTERNATIVES = 20
_ONCE = ("operation", "endpoint", "labels", "auth", "profile", "source_ip")


def _operations(value: object) -> object:
    words = refuse_planned(as_list(value), _PLANNED_OPERATIONS)
    if isinstance(words, list) and "revoke" in words:
        raise Misfit("revoke stands alone; write a policy of its own with operation: revoke for it")
    return words


def _credentials(value: object) -> object:
    return refuse_planned(as_list(value), _PLANNED_CREDENTIALS)


def _as_one(value: object) -> object:
    return [value] if isinstance(value, dict) else value


Operations = Annotated[
    tuple[OperationName, ...],
    BeforeValidator(_operations, json_schema_input_type=OperationName | list[OperationName]),
]


class Conditions(StrictModel):
    """What a request may be told apart by; everything that is said must fit."""

    endpoint: Annotated[
        tuple[ObjectName, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field((), description="Endpoints of that protocol; without this key, all of them")
    labels: dict[LabelName, Words] = Field(
        default_factory=dict,
        max_length=20,
        description="Labels of the endpoint (its metadata.labels): each must have this value, or one "
        "of these",
    )
    auth: Annotated[
        tuple[CredentialName, ...],
        BeforeValidator(_credentials, json_schema_input_type=CredentialName | list[CredentialName]),
    ] = Field(
        (),
        description="Kinds of credential: the policy is chosen if one of them is presented. "
        "Without this key, every kind under `authenticate`",
    )
    source_ip: Networks = Field((), description="Networks that the request must come from")


class CertificateConditions(Conditions):
    """Conditions of requests for certificates."""

    operation: Operations = Field(
        (),
        min_length=1,
        description="enroll: a first certificate. renew: again, same key. rekey: new key",
    )
    profile: Words = Field(
        (), description="Profiles that a client may ask for; without this key, any or none"
    )

    @property
    def said(self) -> list[str]:
        """Keys that say something."""
        return [key for key in _ONCE if getattr(self, key)]


class Alternative(CertificateConditions):
    """One of several ways in which a request may fit."""

    @model_validator(mode="after")
    def _says_something(self) -> Alternative:
        if not self.said:
            raise Misfit("this says nothing, so every request would fit; name operation, auth, ...")
        return self


class AnyMatch(Conditions):
    """Which requests a policy is for."""

    protocol: str = Field(description="The protocol: est, acme, scep, cmp, or what a plug-in brings")


class Match(AnyMatch, CertificateConditions):
    """Which requests for certificates a policy is for; everything that is said must fit."""

    alternatives: Annotated[
        tuple[Alternative, ...],
        BeforeValidator(_as_one, json_schema_input_type=Alternative | list[Alternative]),
    ] = Field(
        (),
        alias="any",
        min_length=1,
        max_length=_MAX_ALTERNATIVES,
        description="One of these must fit as well",
    )
    exclusions: Annotated[
        tuple[Alternative, ...],
        BeforeValidator(_as_one, json_schema_input_type=Alternative | list[Alternative]),
    ] = Field(
        (),
        alias="not",
        min_length=1,
        max_length=_MAX_ALTERNATIVES,
        description="None of these may fit; of one, everything that it says",
    )

    @property
    def merged(self) -> tuple[tuple[int | None, CertificateConditions], ...]:
        """Each alternative with what holds for all of them, and its place under ``any``."""
        if not self.alternatives:
            return ((None, self),)
        for_all = {key: getattr(self, key) for key in self.said}
        return tuple((index, one.model_copy(update=for_all)) for index, one in enumerate(self.alternatives))

    @property
    def operations(self) -> tuple[OperationName, ...]:
        """Of all alternatives."""
        return tuple(dict.fromkeys(word for _, one in self.merged for word in one.operation))

    @model_validator(mode="after")
    def _is_said_once(self) -> Match:
        for index, one in enumerate(self.alternatives):
            for key in one.said:
                if key in self.said:
                    raise Misfit(
                        f"{key!r} stands outside of any as well; keep one of them", ("any", index, key)
                    )
            if not (one.operation or self.operation):
                raise Misfit("the key 'operation' is missing; add it here or outside of any", ("any", index))
        if not (self.alternatives or self.operation):
            raise Misfit(
                "the key 'operation' is missing; add it: enroll for first certificates, renew, rekey"
            )
        return self


ISSUES_NOTHING = "says what may be issued, and a revocation issues nothing; remove it"
_STANDS_ALONE = "is for policies for certificates; write a policy of its own for each case"


class RevocationMatch(AnyMatch):
    """Which revocations a policy is for; everything that is said must fit."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        "profile": ISSUES_NOTHING,
        "any": _STANDS_ALONE,
        "not": _STANDS_ALONE,
    }

    operation: Annotated[
        tuple[Literal["revoke"], ...],
        BeforeValidator(as_list, json_schema_input_type=Literal["revoke"] | list[Literal["revoke"]]),
    ] = Field(min_length=1, max_length=1, description="revoke")
