"""``issue`` of a Policy: which CA issues, when, and who stands in for it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.policy.complaints import Misfit
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import ObjectName, as_list

FallbackOn = Literal["connect-error", "ca-offline", "5xx"]
MAX_RULES = 20
MAX_FALLBACKS = 5
_Profile = Annotated[str, Field(min_length=1, max_length=200)]


class FallbackRule(StrictModel):
    """A backend that issues where the one before it cannot."""

    planned: ClassVar[frozenset[str]] = frozenset({"ca"})

    backend: ObjectName = Field(description="A Backend of this bundle")
    profile: _Profile | None = Field(
        None, description="A profile of that CA; default: the profile of the rule itself"
    )


def _fallbacks(value: object) -> object:
    """A name alone stands for a backend."""
    if isinstance(value, str):
        return [{"backend": value}]
    if isinstance(value, list):
        return [{"backend": one} if isinstance(one, str) else one for one in value]
    return value


class IssueRule(StrictModel):
    """A backend that issues."""

    planned: ClassVar[frozenset[str]] = frozenset({"ca"})

    backend: ObjectName = Field(description="A Backend of this bundle")
    profile: _Profile | None = Field(None, description="A profile of that CA")
    when: str | None = Field(
        None, description="An expression of CEL: the rule counts where it is true; without it, always"
    )
    fallback: Annotated[
        tuple[FallbackRule, ...],
        BeforeValidator(_fallbacks, json_schema_input_type=str | list[str | FallbackRule]),
    ] = Field(
        (),
        max_length=MAX_FALLBACKS,
        description="Backends that are asked in turn where the CA is known not to have acted",
    )
    fallback_on: Annotated[
        tuple[FallbackOn, ...],
        BeforeValidator(as_list, json_schema_input_type=FallbackOn | list[FallbackOn]),
    ] = Field(
        ("connect-error", "ca-offline"),
        description="connect-error: it could not be reached. ca-offline: it, or what signs for it, is out of "
        "service. 5xx: it answered with a fault, and the plug-in knows that nothing was issued",
    )

    @model_validator(mode="after")
    def _asks_each_once(self) -> IssueRule:
        asked = {(self.backend, self.profile)}
        for index, one in enumerate(self.fallback):
            place = one.backend, one.profile or self.profile
            if place in asked:
                raise Misfit(
                    f"{one.backend!r} is asked already; name another backend or profile, or remove it",
                    ("fallback", index),
                )
            asked.add(place)
        if self.fallback and not self.fallback_on:
            raise Misfit("nothing ever falls back; name an error, or remove fallback", ("fallback_on",))
        return self


IssueRules = Annotated[
    tuple[IssueRule, ...],
    BeforeValidator(
        lambda value: [value] if isinstance(value, dict) else value,
        json_schema_input_type=IssueRule | list[IssueRule],
    ),
    Field(min_length=1, max_length=MAX_RULES),
]


def check_reach(issue: tuple[IssueRule, ...]) -> None:
    """Refuse rules behind one that always counts. Raises Misfit."""
    for index, rule in enumerate(issue[:-1]):
        if rule.when is None:
            raise Misfit(
                f"this rule is never reached, since rule {index + 1} has no `when`; give that one a `when`, "
                "or put it last",
                ("issue", index + 1),
            )
