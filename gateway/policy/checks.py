"""Judges the conditions of CEL that a Policy or a Guardrail puts up for the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.expressions import Expression, ExpressionFault
from gateway.policy.lists import EMPTY_LISTS, ListLookup

_PATHS = {ReasonCode.CHECK_NAME: "identity.sans", ReasonCode.CHECK_KEY: "key"}


@dataclass(frozen=True, slots=True)
class CompiledCheck:
    """``rule`` is what a refusal names: ``POLICY.checks.ID``."""

    rule: str
    expression: Expression
    message: str
    code: ReasonCode


def words_of(checks: Sequence[CompiledCheck]) -> frozenset[str]:
    """The words that some of these checks read."""
    return frozenset().union(*(check.expression.words for check in checks))


def check_reasons(
    checks: Sequence[CompiledCheck],
    words: Mapping[str, object],
    lists: ListLookup = EMPTY_LISTS,
    *,
    unknown: frozenset[str] = frozenset(),
) -> list[Reason]:
    """Every check that does not hold. Those that read one of the words ``unknown`` are left for later."""
    reasons = []
    for check in checks:
        if not check.expression.words.isdisjoint(unknown):
            continue
        try:
            if check.expression.holds(words, lists):
                continue
            code, text = check.code, check.message
        except ExpressionFault as fault:
            code, text = ReasonCode.CHECK_ERROR, fault_text(check.rule, fault)
        reasons.append(Reason(code, text, _PATHS.get(code, ""), check.rule, check.expression.where))
    return reasons


def fault_text(rule: str, fault: ExpressionFault) -> str:
    """What is told of an expression that has no answer for a request."""
    return f"the rule {rule} has no answer for this request: {fault}; ask the administrator to mend it"
