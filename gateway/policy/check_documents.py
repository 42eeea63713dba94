"""``checks`` of a Policy or Guardrail: conditions of CEL for what its other keys cannot say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.policy.complaints import Misfit
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import ObjectName

CheckCode = Literal["name", "key", "client", "request"]

# How the protocols call them, so that whoever knows one of them may write it.
_ALIASES = {
    "rejectedIdentifier": "name",
    "badCertTemplate": "name",
    "badPublicKey": "key",
    "badAlg": "key",
    "unauthorized": "client",
    "notAuthorized": "client",
    "badCSR": "request",
    "badRequest": "request",
}
_ELSEWHERE = {
    "rateLimited": "write limits: for that",
    "systemUnavail": "write limits: for that",
    "userActionRequired": "write approval: for that",
}


def _code(value: object) -> object:
    if isinstance(value, str) and value in _ELSEWHERE:
        raise Misfit(f"a check refuses for good, it has no {value!r}; {_ELSEWHERE[value]}")
    return _ALIASES.get(value, value) if isinstance(value, str) else value


class CheckRule(StrictModel):
    """One condition; where it is false, the request is refused."""

    id: ObjectName = Field(description="Stands in the refusal: POLICY.checks.ID")
    expr: str = Field(
        description="An expression of CEL that must be true of the certificate as it is planned"
    )
    message: str = Field("", max_length=500, description="What the client is told; default: the expression")
    code: Annotated[CheckCode, BeforeValidator(_code)] = Field(
        "request",
        description="What the refusal is about, and so how each protocol words it: name, key, client (who "
        "asks), request. A protocol's own word is taken too: rejectedIdentifier, badCSR, notAuthorized, ...",
    )


Checks = Annotated[tuple[CheckRule, ...], Field(max_length=50)]


def check_ids(checks: tuple[CheckRule, ...]) -> None:
    """Refuse two checks of one name. Raises Misfit."""
    seen: set[str] = set()
    for index, check in enumerate(checks):
        if check.id in seen:
            raise Misfit(f"another check has the id {check.id!r}; choose another", ("checks", index, "id"))
        seen.add(check.id)
