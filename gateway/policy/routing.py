"""What follows a granted plan: which CA issues, with whom standing in, and whether people approve first.

The CA is chosen before the end of validity is set, since its own certificate bounds that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.model.decision import ApprovalRule, Route, TraceStep
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.checks import fault_text
from gateway.policy.expressions import Expression, ExpressionFault
from gateway.policy.lists import ListLookup


@dataclass(frozen=True, slots=True)
class RouteRule:
    """``when`` None: it always counts. ``step`` is the line of the trace where it does."""

    route: Route
    rule: str
    step: TraceStep
    when: Expression | None = None


@dataclass(frozen=True, slots=True)
class Routing:
    """The rules of one policy, in their order. ``always``: what counts for every request, if one does."""

    rule: str  # POLICY.issue
    where: str
    rules: tuple[RouteRule, ...]

    @property
    def always(self) -> RouteRule | None:
        return self.rules[0] if self.rules[0].when is None else None

    @property
    def words(self) -> frozenset[str]:
        return frozenset().union(*(one.when.words for one in self.rules if one.when is not None))

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every backend and profile that may come to issue, each once."""
        found: dict[tuple[str, str | None], Route] = {}
        for one in self.rules:
            for route in (one.route, *one.route.fallbacks):
                found.setdefault((route.backend, route.profile), route)
        return tuple(found.values())

    @property
    def expressions(self) -> Iterator[Expression]:
        return (one.when for one in self.rules if one.when is not None)

    def choose(
        self, words: Mapping[str, object], lists: ListLookup, unknown: frozenset[str] = frozenset()
    ) -> RouteRule | Reason | None:
        """The first rule that counts, or why there is none. None: it depends on a word of ``unknown``."""
        for one in self.rules:
            if one.when is None:
                return one
            if not one.when.words.isdisjoint(unknown):
                return None
            try:
                if one.when.holds(words, lists):
                    return one
            except ExpressionFault as fault:
                text = fault_text(one.rule, fault)
                return Reason(ReasonCode.CHECK_ERROR, text, "", one.rule, one.when.where)
        text = "no CA is chosen for such a request; ask for other names, or ask the administrator for a rule"
        return Reason(ReasonCode.POLICY_UNACCOUNTED, text, "", self.rule, self.where)


@dataclass(frozen=True, slots=True)
class Approving:
    """Whether people approve first. ``when`` None: always."""

    rule: str
    approval: ApprovalRule
    step: TraceStep
    when: Expression | None = None

    def asked(self, words: Mapping[str, object], lists: ListLookup) -> bool | Reason:
        """Whether this request waits for them; a Reason where that cannot be told."""
        if self.when is None:
            return True
        try:
            return self.when.holds(words, lists)
        except ExpressionFault as fault:
            return Reason(
                ReasonCode.CHECK_ERROR, fault_text(self.rule, fault), "", self.rule, self.when.where
            )


def route_text(route: Route) -> str:
    """``backend NAME, profile NAME, else NAME or NAME``."""
    profile = f", profile {route.profile}" if route.profile else ""
    others = " or ".join(one.backend for one in route.fallbacks)
    return f"backend {route.backend}{profile}" + (f", else {others}" if others else "")
