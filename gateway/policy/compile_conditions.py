"""``checks``, ``issue`` and ``approval`` of a document to compiled rules; complaints go into ``found``."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model.decision import ApprovalRule, Route, TraceStep
from gateway.model.reasons import ReasonCode
from gateway.policy.check_documents import CheckRule
from gateway.policy.checks import CompiledCheck
from gateway.policy.complaints import Path
from gateway.policy.conditions import Conditions, conditions_of
from gateway.policy.document import Policy
from gateway.policy.expressions import compile_expression
from gateway.policy.routing import Approving, RouteRule, Routing, route_text
from gateway.policy.terms import duration_text
from gateway.policy.yaml_marks import ComplaintList, Document

_CODES = {
    "name": ReasonCode.CHECK_NAME,
    "key": ReasonCode.CHECK_KEY,
    "client": ReasonCode.CHECK_CLIENT,
    "request": ReasonCode.CHECK_REQUEST,
}
_LATER = {
    "validity": "its end depends on the CA that is chosen here",
    "limits": "they are counted once the CA is chosen",
}


def compile_conditions(policy: Policy, document: Document, found: ComplaintList) -> Conditions:
    """All that depends on expressions, of one policy."""
    return conditions_of(
        compile_checks(policy.checks, policy.metadata.name, document, found),
        _routing(policy, document, found),
        _approving(policy, document, found),
        document.where(("checks",)),
    )


def compile_checks(
    checks: Sequence[CheckRule], owner: str, document: Document, found: ComplaintList
) -> tuple[CompiledCheck, ...]:
    """``owner``: the name of the document. What is wrong goes into ``found``."""
    return tuple(
        CompiledCheck(
            rule=f"{owner}.checks.{check.id}",
            expression=compile_expression(check.expr, document, ("checks", index, "expr"), found),
            message=check.message or f"the condition {check.expr} does not hold",
            code=_CODES[check.code],
        )
        for index, check in enumerate(checks)
    )


def _routing(policy: Policy, document: Document, found: ComplaintList) -> Routing:
    owner, issue = policy.metadata.name, policy.issue
    alone = isinstance(document.value, dict) and isinstance(document.value.get("issue"), dict)
    rules = []
    for index, one in enumerate(issue):
        path: Path = ("issue",) if alone else ("issue", index)
        rule = f"{owner}.issue" if len(issue) == 1 else f"{owner}.issue[{index}]"
        when = one.when and compile_expression(one.when, document, (*path, "when"), found, without=_LATER)
        route = Route(
            one.backend,
            one.profile,
            tuple(Route(other.backend, other.profile or one.profile) for other in one.fallback),
            tuple(dict.fromkeys(one.fallback_on)) if one.fallback else (),
        )
        step = TraceStep("route", rule, "chosen", route_text(route), document.where(path))
        rules.append(RouteRule(route, rule, step, when or None))
    return Routing(f"{owner}.issue", document.where(("issue",)), tuple(rules))


def _approving(policy: Policy, document: Document, found: ComplaintList) -> Approving | None:
    owner, rules = policy.metadata.name, policy.approval
    if rules is None:
        return None
    approval = ApprovalRule(
        rules.required, int(rules.expires.total_seconds()), int(rules.retry_after.total_seconds())
    )
    text = f"{rules.required} must approve within {duration_text(rules.expires)}"
    step = TraceStep("approval", f"{owner}.approval", "set", text, document.where(("approval",)))
    when = rules.when and compile_expression(rules.when, document, ("approval", "when"), found)
    return Approving(f"{owner}.approval", approval, step, when or None)
