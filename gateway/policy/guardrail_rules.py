"""Compiled guardrails: what holds for every plan, whichever policy made it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gateway.model.keys import KeyType
from gateway.policy.checks import CompiledCheck
from gateway.policy.limit_rules import LimitRule
from gateway.policy.patterns import Pattern


@dataclass(frozen=True, slots=True)
class KeyBounds:
    """Keys that may be certified at all; ``allowed_text`` says so in words. Sizes are modulus bits."""

    types: frozenset[KeyType]
    rsa_min: int
    rsa_max: int
    curves: frozenset[str]
    allowed_text: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class DeniedRule:
    """Names that nobody gets. ``suffixes`` are lower-case A-labels, ``exact`` names in normal form,
    ``covered`` the parents of both: a wildcard right below one of these would stand for a denied name."""

    suffixes: frozenset[str]
    exact: frozenset[str]
    covered: frozenset[str]
    patterns: tuple[Pattern, ...]
    where_suffix: str = ""
    where_exact: str = ""
    where_patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompiledGuardrail:
    """``protocols`` and ``endpoints`` empty: all of them."""

    name: str
    where: str
    protocols: frozenset[str]
    endpoints: frozenset[str]
    keys: KeyBounds | None = None
    denied: DeniedRule | None = None
    validity_max: timedelta | None = None
    where_validity: str = ""
    forbidden_usages: frozenset[str] = frozenset()
    where_usages: str = ""
    deny_ca: bool = False
    where_ca: str = ""
    limits: tuple[LimitRule, ...] = ()
    checks: tuple[CompiledCheck, ...] = ()

    def holds_for(self, protocol: str, endpoint: str) -> bool:
        return (not self.protocols or protocol in self.protocols) and (
            not self.endpoints or endpoint in self.endpoints
        )
