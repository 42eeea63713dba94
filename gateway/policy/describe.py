"""What policy expects of requests, so that CSR attributes and templates advertise what is enforced."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model.enrolment import Operation
from gateway.model.keys import KeyType
from gateway.model.names import NameKind
from gateway.model.wanted import Wanted, WantedKey
from gateway.policy.authentication_rules import (
    PopLinking,
)
from gateway.policy.content_rules import KeyRule
from gateway.policy.rules import (
    AttributeSource,
    Bundle,
    CompiledPolicy,
    SubjectForm,
)
from gateway.policy.terms import duration_text

_CURVE_ORDER = ("P-256", "P-384", "P-521")


def describe(bundle: Bundle, protocol: str, endpoint: str, operation: Operation) -> Wanted | None:
    """The union over the policies here; what one of them does not ask for is not required."""
    policies = tuple(row.policy for row in bundle.rows(protocol, endpoint, operation) if row.first)
    if not policies:
        return None
    keys = tuple(dict.fromkeys(key for policy in policies for key in _keys(policy.keys)))
    hashes = tuple(dict.fromkeys(one for policy in policies for one in sorted(policy.keys.signature_hashes)))
    first = policies[0]
    return Wanted(
        keys=keys,
        signature_hashes=hashes,
        subject_attributes=_common(policies),
        san_kinds=tuple(
            dict.fromkeys(
                kind.value for policy in policies for group in policy.names.groups for kind in group.matchers
            )
        ),
        san_required=all(_san_required(policy) for policy in policies),
        key_usage=first.extensions.key_usage_all if _same_usages(policies) else (),
        extended_key_usage=first.extensions.extended_key_usage if _same_usages(policies) else (),
        linking_required=all(p.authenticate.pop_linking is PopLinking.REQUIRED for p in policies),
    )


def profiles(bundle: Bundle, protocol: str, endpoint: str) -> Mapping[str, str]:
    """Profiles that a first certificate may be asked for under, each with the words of the first policy."""
    found: dict[str, str] = {}
    for row in bundle.rows(protocol, endpoint, Operation.ENROLL):
        for profile in sorted(row.case.profiles):
            life = duration_text(row.policy.validity.default)
            found.setdefault(profile, row.policy.description or f"Certificates that live {life}")
    return found


def _keys(rule: KeyRule) -> list[WantedKey]:
    found = [
        WantedKey(KeyType.EC, curve=curve)
        for curve in sorted(rule.curves, key=lambda c: _CURVE_ORDER.index(c) if c in _CURVE_ORDER else 9)
    ]
    if KeyType.RSA in rule.types:
        sizes = sorted(rule.rsa_sizes) or [rule.rsa_min]
        found += [WantedKey(KeyType.RSA, size_bits=size) for size in sizes]
    return found + [WantedKey(key_type) for key_type in sorted(rule.types - {KeyType.EC, KeyType.RSA})]


def _common(policies: tuple[CompiledPolicy, ...]) -> tuple[str, ...]:
    """Subject attributes that every policy requires of the CSR."""
    required = [
        {by.oid for by in policy.names.required if by.source is AttributeSource.CSR}
        if policy.names.subject is SubjectForm.RULES
        else set()
        for policy in policies
    ]
    common = set.intersection(*required)
    return tuple(by.oid for by in policies[0].names.required if by.oid in common)


def _san_required(policy: CompiledPolicy) -> bool:
    given = {one.kind for one in policy.names.added}
    if policy.names.subject is SubjectForm.FIRST_DNS:
        return NameKind.DNS not in given
    return any(bounds.required and kind not in given for kind, bounds in policy.names.kinds.items())


def _same_usages(policies: tuple[CompiledPolicy, ...]) -> bool:
    usages = {(p.extensions.key_usage_all, p.extensions.extended_key_usage) for p in policies}
    return len(usages) == 1
