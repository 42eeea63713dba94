"""Finds policies that guardrails cut short, or of which they leave nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.model.keys import KeyType
from gateway.policy.content_rules import KeyRule
from gateway.policy.guardrail_rules import CompiledGuardrail, KeyBounds
from gateway.policy.rules import Bundle, CompiledPolicy
from gateway.policy.terms import EXTENDED_KEY_USAGE_NAMES, duration_text


@dataclass(frozen=True, slots=True)
class BoundedPolicy:
    """A policy that says something which a guardrail does not let it do."""

    policy: CompiledPolicy
    guardrail: CompiledGuardrail
    what: str

    def __str__(self) -> str:
        return (
            f"{self.policy.where}: the guardrail {self.guardrail.name} at {self.guardrail.where} {self.what}"
        )


def bounded_policies(bundle: Bundle) -> tuple[BoundedPolicy, ...]:
    """Every policy with each guardrail that holds at one of its endpoints and goes against what it says."""
    found: list[BoundedPolicy] = []
    for policy in (*bundle.policies, *bundle.shadows):
        if isinstance(policy, CompiledPolicy):
            places = [(policy.protocol, endpoint) for endpoint in policy.endpoints]
            holding = [one for one in bundle.guardrails if any(one.holds_for(*place) for place in places)]
            found += [BoundedPolicy(policy, one, what) for one in holding for what in _against(policy, one)]
    return tuple(found)


def _against(policy: CompiledPolicy, guardrail: CompiledGuardrail) -> Iterator[str]:
    name, longest = policy.name, guardrail.validity_max
    if longest is not None and policy.validity.default > longest:
        yield (
            f"cuts certificates of {name} from {duration_text(policy.validity.default)} to "
            f"{duration_text(longest)}; write that life in the policy"
        )
    elif longest is not None and policy.validity.max > longest:
        yield (
            f"refuses ends that {name} lets clients ask for: max is {duration_text(policy.validity.max)}, it "
            f"leaves {duration_text(longest)}; write that as max"
        )
    for oid in policy.extensions.extended_key_usage:
        if oid in guardrail.forbidden_usages:
            usage = EXTENDED_KEY_USAGE_NAMES.get(oid, oid)
            yield f"refuses every request of {name}, which sets {usage}; take that out of the policy"
    if guardrail.keys is not None and not _share_keys(policy.keys, guardrail.keys):
        yield (
            f"refuses every key that {name} allows ({policy.keys.allowed_text}); it leaves "
            f"{guardrail.keys.allowed_text}"
        )


def _share_keys(rule: KeyRule, bounds: KeyBounds) -> bool:
    shared = rule.types & bounds.types
    if shared - {KeyType.RSA, KeyType.EC}:
        return True
    if KeyType.EC in shared and rule.curves & bounds.curves:
        return True
    if KeyType.RSA not in shared:
        return False
    smallest, largest = max(rule.rsa_min, bounds.rsa_min), min(rule.rsa_max, bounds.rsa_max)
    if rule.rsa_sizes:
        return any(smallest <= size <= largest for size in rule.rsa_sizes)
    return smallest <= largest
