"""What of a decision depends on expressions: the CA that issues, checks of the plan, and people's approval.

Where a policy has no expression all of this is the same for every request and made once, at load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.model.decision import ApprovalRule, Route, TraceStep
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import Evidence
from gateway.model.keys import PublicKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.reasons import Reason
from gateway.policy.checks import CompiledCheck, check_reasons, words_of
from gateway.policy.complaints import Path
from gateway.policy.facts import Facts
from gateway.policy.plan_words import plan_words, unknown_words, validity_words
from gateway.policy.routing import Approving, RouteRule, Routing


@dataclass(frozen=True, slots=True)
class Ending:
    """How a granted request goes on, with the last lines of its trace."""

    route: Route
    approval: ApprovalRule | None
    steps: tuple[TraceStep, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """The rules of one policy. ``constant``: the ending of every request, where no ``when`` decides."""

    checks: tuple[CompiledCheck, ...]
    routing: Routing
    approving: Approving | None
    words: frozenset[str]
    constant: Ending | None
    where: str  # of the checks

    @property
    def lists(self) -> Iterable[tuple[str, Path]]:
        """The List documents that are asked, each with the place of the expression."""
        expressions = [check.expression for check in self.checks]
        expressions += self.routing.expressions
        if self.approving is not None and self.approving.when is not None:
            expressions.append(self.approving.when)
        return [(name, one.path) for one in expressions for name in one.lists]


def conditions_of(
    checks: tuple[CompiledCheck, ...], routing: Routing, approving: Approving | None, where: str
) -> Conditions:
    """Put the compiled rules of one policy together."""
    words = words_of(checks) | routing.words
    if approving is not None and approving.when is not None:
        words |= approving.when.words
    constant = None
    if routing.always is not None and (approving is None or approving.when is None):
        constant = _ending(routing.always, approving)
    return Conditions(checks, routing, approving, words, constant, where)


def _ending(chosen: RouteRule, approving: Approving | None) -> Ending:
    if approving is None:
        return Ending(chosen.route, None, (chosen.step,))
    return Ending(chosen.route, approving.approval, (approving.step, chosen.step))


@dataclass(slots=True)
class PlanConditions:
    """The conditions of one plan in the making. ``facts``: with the end of the CA that was chosen.

    ``chosen`` is None where there is none, for ``reasons``, or where a preview cannot tell.
    """

    rules: Conditions
    facts: Facts
    words: dict[str, object] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    chosen: RouteRule | None = None
    reasons: list[Reason] = field(default_factory=list)

    def check(self, not_before: datetime, not_after: datetime) -> list[Reason]:
        """What checks have against the plan, now that its times are known."""
        if not self.rules.checks:
            return []
        words: Mapping[str, object] = {**self.words, **validity_words(not_before, not_after)}
        return check_reasons(self.rules.checks, words, self.facts.lists, unknown=self.unknown)

    def ending(self, not_before: datetime, not_after: datetime) -> Ending | Reason:
        """How the request goes on; a Reason where an expression cannot tell."""
        if self.rules.constant is not None:
            return self.rules.constant
        assert self.chosen is not None
        approving = self.rules.approving
        if approving is None:
            return _ending(self.chosen, None)
        asked = approving.asked({**self.words, **validity_words(not_before, not_after)}, self.facts.lists)
        if isinstance(asked, Reason):
            return asked
        return _ending(self.chosen, approving if asked else None)


def plan_conditions(
    rules: Conditions,
    request: EnrolmentRequest,
    evidence: Evidence,
    facts: Facts,
    names: tuple[DistinguishedName | None, Iterable[GeneralName], PublicKey | None],
) -> PlanConditions:
    """Choose the CA. ``names``: subject, alternative names and key; None where a preview does not know it."""
    if rules.constant is not None and not rules.words and not facts.issuer_ends:
        return PlanConditions(rules, facts, chosen=rules.routing.always)
    found = PlanConditions(
        rules,
        facts,
        words=plan_words(rules.words, request, evidence, facts, names),
        unknown=unknown_words(evidence, names[0], names[2]),
    )
    chosen = rules.routing.choose(found.words, facts.lists, found.unknown)
    if isinstance(chosen, Reason):
        found.reasons.append(chosen)
    elif chosen is not None:
        found.chosen = chosen
    if facts.issuer_ends:
        found.facts = replace(facts, issuer_not_after=_end(rules.routing, found.chosen, facts))
    return found


def _end(routing: Routing, chosen: RouteRule | None, facts: Facts) -> datetime | None:
    """The end of the CA that was chosen; while none is, the latest that it may be."""
    if not facts.issuer_ends:
        return facts.issuer_not_after
    if chosen is not None:
        return facts.issuer_ends.get((chosen.route.backend, chosen.route.profile))
    ends = [facts.issuer_ends.get((one.backend, one.profile)) for one in routing.routes]
    return max((one for one in ends if one is not None), default=None) if None not in ends else None
