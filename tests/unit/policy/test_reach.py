"""Policies that can never be selected are found, and only those."""

from __future__ import annotations

import pytest

from gateway.policy.reach import hidden_policies
from gateway.policy.rules import Bundle
from tests.unit.policy.message_sample import message_bundle, message_policy
from tests.unit.policy.sample import load, policy, renewal_policy


def hidden(bundle: Bundle) -> dict[str, list[str]]:
    return {one.policy.name: [taker.name for taker in one.behind] for one in hidden_policies(bundle)}


def matching(more: str) -> str:
    return f"{{protocol: est, operation: enroll, {more}}}"


def test_policy_behind_one_with_the_same_match_is_hidden_and_told_with_its_place() -> None:
    bundle = load(policy("late", priority="100"), policy("presses", priority="50"))
    (found,) = hidden_policies(bundle)
    assert str(found).startswith(
        "p.yaml:17:1: presses (priority 50) hides late (priority 100) completely, so it is never used; "
    )


def test_policy_behind_several_that_cover_it_together_names_them_all() -> None:
    both = "{basic: {}, mtls: {trust: own}}"
    bundle = load(
        policy("by-basic", priority="1"),
        policy("by-mtls", priority="2", authenticate="{mtls: {trust: own}}"),
        policy("either", priority="3", authenticate=both),
    )
    assert hidden(bundle) == {"either": ["by-basic", "by-mtls"]}


REACHED = {
    "other-kind": {"authenticate": "{mtls: {trust: own}}"},
    "other-operation": {"match": "{protocol: est, operation: rekey}"},
    "wider-operation": {"match": "{protocol: est, operation: [enroll, rekey]}"},
    "wider-kind": {"authenticate": "{basic: {}, mtls: {trust: own}}"},
}


@pytest.mark.parametrize("case", REACHED)
def test_policy_with_a_request_of_its_own_is_not_hidden(case: str) -> None:
    assert hidden(load(policy("first", priority="1"), policy("second", priority="2", **REACHED[case]))) == {}


@pytest.mark.parametrize(
    ("first", "second", "is_hidden"),
    [
        ("source_ip: 10.0.0.0/8", "source_ip: 10.1.0.0/16", True),
        ("source_ip: 10.1.0.0/16", "source_ip: 10.0.0.0/8", False),
        ("source_ip: 10.1.0.0/16", "source_ip: ['2001:db8::/32']", False),
        ("source_ip: ['10.1.0.0/16', '10.2.0.0/16']", "source_ip: ['10.2.3.0/24', '10.1.0.0/16']", True),
        ("source_ip: 10.0.0.0/8", "endpoint: default", False),
        ("endpoint: default", "source_ip: 10.0.0.0/8", True),
        ("profile: [a, b]", "profile: b", True),
        ("profile: a", "profile: [a, b]", False),
        ("profile: a", "endpoint: default", False),
        ("endpoint: default", "profile: a", True),
    ],
)
def test_address_and_profile_hide_what_is_within_them(first: str, second: str, is_hidden: bool) -> None:
    bundle = load(
        policy("first", priority="1", match=matching(first)),
        policy("second", priority="2", match=matching(second)),
    )
    assert hidden(bundle) == ({"second": ["first"]} if is_hidden else {})


def test_renewal_by_client_certificate_is_hidden_by_one_for_the_renewed_certificate() -> None:
    by_mtls = policy(
        "by-mtls",
        priority="200",
        match="{protocol: est, operation: renew}",
        authenticate="{mtls: {trust: own}}",
    )
    assert hidden(load(renewal_policy(), by_mtls)) == {"by-mtls": ["renewal"]}


@pytest.mark.parametrize(("first", "second"), [("static", "dynamic"), ("dynamic", "static")])
def test_policy_for_one_sort_of_challenge_hides_that_for_the_other(first: str, second: str) -> None:
    """Which sort it is shows only once the first policy has been chosen for it."""
    bundle = message_bundle(
        message_policy("scep", "first", priority="1", authenticate=f"{{challenge: {{accept: {first}}}}}"),
        message_policy("scep", "second", priority="2", authenticate=f"{{challenge: {{accept: {second}}}}}"),
    )
    assert hidden(bundle) == {"second": ["first"]}
