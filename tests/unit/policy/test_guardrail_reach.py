"""Policies that say what a guardrail does not let them do are found, and only those."""

from __future__ import annotations

import pytest

from gateway.policy.guardrail_reach import bounded_policies
from tests.unit.policy.guardrail_sample import guardrail
from tests.unit.policy.sample import load, policy

LONG = "{default: 90d, max: 200d, client_may_request: true}"
CASES = {
    "life": ("validity_max: 30d", {}, "cuts certificates of rules from 90d to 30d"),
    "longest": ("validity_max: 90d", {"validity": LONG}, "max is 200d, it leaves 90d"),
    "usage": (
        "forbid_eku: [emailProtection]",
        {"extensions": "{extended_key_usage: [emailProtection]}"},
        "refuses every request of rules, which sets emailProtection",
    ),
    "curve": (
        "keys: {ec: [P-521]}",
        {"keys": "{ec: [P-256]}"},
        "refuses every key that rules allows (EC P-256)",
    ),
    "size": ("keys: {rsa: {min: 4096}}", {"keys": "{rsa: {sizes: [2048, 3072]}}"}, "refuses every key"),
    "type": ("keys: {eddsa: [Ed25519]}", {"keys": "{rsa: {}}"}, "refuses every key that rules allows"),
}


@pytest.mark.parametrize("case", CASES)
def test_policy_beyond_a_guardrail_is_told(case: str) -> None:
    bounds, parts, expected = CASES[case]
    (found,) = bounded_policies(load(policy(**parts), guardrail(bounds)))
    assert expected in str(found)
    assert str(found).startswith("p.yaml:17:1: the guardrail floor at p.yaml:")
    elsewhere = guardrail(f"match: {{protocol: acme}}\n{bounds}")
    assert bounded_policies(load(policy(**parts), elsewhere)) == ()


@pytest.mark.parametrize(
    "bounds",
    [
        "validity_max: 90d",
        "forbid_eku: [codeSigning]",
        "keys: {ec: [P-384]}",
        "keys: {rsa: {min: 4096}}",
        "keys: {eddsa: [Ed25519]}",
    ],
)
def test_policy_that_has_something_within_its_guardrails_is_not_told(bounds: str) -> None:
    assert bounded_policies(load(policy(), guardrail(bounds))) == ()
