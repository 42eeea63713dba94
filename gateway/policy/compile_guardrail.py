"""Guardrail documents to compiled rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.errors import MalformedMessage
from gateway.model.keys import KeyType
from gateway.pki.name_syntax import normal_dns
from gateway.policy.compile_conditions import compile_checks
from gateway.policy.guardrail_documents import DeniedNames, Guardrail, GuardrailKeys
from gateway.policy.guardrail_rules import CompiledGuardrail, DeniedRule, KeyBounds
from gateway.policy.limit_documents import compile_limits
from gateway.policy.name_rules import normal_address
from gateway.policy.patterns import compile_regex
from gateway.policy.yaml_marks import ComplaintList, Document

_TYPES: Mapping[str, KeyType] = {
    "Ed25519": KeyType.ED25519,
    "Ed448": KeyType.ED448,
    "ML-DSA-44": KeyType.ML_DSA_44,
    "ML-DSA-65": KeyType.ML_DSA_65,
    "ML-DSA-87": KeyType.ML_DSA_87,
}


def compile_guardrail(guardrail: Guardrail, document: Document, found: ComplaintList) -> CompiledGuardrail:
    """Make the form that the engine uses. What is wrong with an expression goes into ``found``."""
    name, match, denied = guardrail.metadata.name, guardrail.match, guardrail.deny_names
    return CompiledGuardrail(
        name=name,
        where=document.where(),
        protocols=frozenset(match.protocol) if match is not None else frozenset(),
        endpoints=frozenset(match.endpoint) if match is not None else frozenset(),
        keys=_keys(guardrail.keys, document) if guardrail.keys is not None else None,
        denied=_denied(denied, document) if denied is not None else None,
        validity_max=guardrail.validity_max,
        where_validity=document.where(("validity_max",)),
        forbidden_usages=frozenset(guardrail.forbid_eku),
        where_usages=document.where(("forbid_eku",)),
        deny_ca=guardrail.ca == "deny",
        where_ca=document.where(("ca",)),
        checks=compile_checks(guardrail.checks, name, document, found),
        limits=compile_limits(guardrail.limits, f"guardrail:{name}", document.where),
    )


def guardrails_by_place(
    guardrails: Iterable[CompiledGuardrail], places: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], tuple[CompiledGuardrail, ...]]:
    """Those that hold, by protocol and endpoint; ``places`` are all endpoints, those without are left out."""
    ordered = sorted(guardrails, key=lambda one: one.name)
    found = {place: tuple(one for one in ordered if one.holds_for(*place)) for place in places}
    return {place: holding for place, holding in found.items() if holding}


def _keys(rules: GuardrailKeys, document: Document) -> KeyBounds:
    types = {_TYPES[word] for word in (*rules.eddsa, *rules.ml_dsa)}
    texts: list[str] = []
    if rules.rsa is not None:
        types.add(KeyType.RSA)
        texts.append(f"RSA of {rules.rsa.min} to {rules.rsa.max} bits")
    if rules.ec:
        types.add(KeyType.EC)
        texts.append(f"EC {', '.join(rules.ec)}")
    return KeyBounds(
        types=frozenset(types),
        rsa_min=rules.rsa.min if rules.rsa is not None else 0,
        rsa_max=rules.rsa.max if rules.rsa is not None else 0,
        curves=frozenset(rules.ec),
        allowed_text="; ".join([*texts, *rules.eddsa, *rules.ml_dsa]),
        where=document.where(("keys",)),
    )


def _denied(rules: DeniedNames, document: Document) -> DeniedRule:
    exact = frozenset(map(normal_text, rules.exact))
    below = {name.partition(".")[2] for name in (*exact, *rules.suffix)}
    indexed, path = document.value, ("deny_names", "regex")
    for step in path:
        indexed = indexed.get(step) if isinstance(indexed, dict) else None
    return DeniedRule(
        suffixes=frozenset(rules.suffix),
        exact=exact,
        covered=frozenset(below - {""}),
        patterns=tuple(compile_regex(source, dns=True) for source in rules.regex),
        where_suffix=document.where(("deny_names", "suffix")),
        where_exact=document.where(("deny_names", "exact")),
        where_patterns=tuple(
            document.where(
                ("deny_names", "regex", index) if isinstance(indexed, list) else ("deny_names", "regex")
            )
            for index in range(len(rules.regex))
        ),
    )


def normal_text(text: str) -> str:
    """A name of any kind as it is compared: an address, a DNS name in A-labels, else lower case."""
    try:
        return str(normal_address(text.strip("[]")))
    except ValueError:
        pass
    return host_of(text) or text.casefold()


def host_of(text: str) -> str:
    """The DNS name that a text is, in A-labels without a dot at its end; empty if it is none."""
    try:
        return normal_dns(text.rstrip("."))
    except MalformedMessage:
        return ""
