"""Selection by masks chooses what looking at one policy after another would choose."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from gateway.model.enrolment import EnrolmentRequest
from gateway.policy.engine import NotSelected, Selected, select
from tests.unit.policy.sample import certificate, load, password, policy, request

NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "::/0", "fd00::1")
ADDRESSES = (
    "10.1.2.3",
    "10.1.9.9",
    "10.200.0.1",
    "192.0.2.1",
    "2001:db8::5",
    "fd00::1",
    "::ffff:10.1.2.3",
    "",
)
CREDENTIALS = {"basic": password(), "mtls": certificate()}

conditions = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True),
        "source_ip": st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=2, unique=True),
        "auth": st.lists(st.sampled_from(sorted(CREDENTIALS)), min_size=1, max_size=2, unique=True),
    },
)
some = conditions.filter(bool)
matches = st.tuples(st.lists(some, max_size=2), st.lists(some, max_size=2))
Conditions = dict[str, list[str]]


def _holds(condition: Conditions, asked: EnrolmentRequest) -> bool:
    kinds = {one.kind for one in asked.presented}
    if "profile" in condition and asked.profile not in condition["profile"]:
        return False
    if "auth" in condition and kinds.isdisjoint(condition["auth"]):
        return False
    if "source_ip" not in condition:
        return True
    text = asked.remote.address.removeprefix("::ffff:")
    return bool(text) and any(ip_address(text) in ip_network(one) for one in condition["source_ip"])


def _fits(alternatives: list[Conditions], exclusions: list[Conditions], asked: EnrolmentRequest) -> bool:
    return any(_holds(one, asked) for one in alternatives or [{}]) and not any(
        _holds(one, asked) for one in exclusions
    )


def _flow(condition: Conditions) -> str:
    return "{" + ", ".join(f"{key}: {value!r}" for key, value in condition.items()) + "}"


def _document(name: str, priority: int, alternatives: list[Conditions], exclusions: list[Conditions]) -> str:
    match = "protocol: est, operation: enroll"
    if alternatives:
        match += f", any: [{', '.join(map(_flow, alternatives))}]"
    if exclusions:
        match += f", not: [{', '.join(map(_flow, exclusions))}]"
    return policy(
        name, priority=str(priority), match=f"{{{match}}}", authenticate="{basic: {}, mtls: {trust: own}}"
    )


@given(
    st.lists(matches, min_size=1, max_size=5),
    st.sampled_from([None, "a", "b", "z"]),
    st.sampled_from(ADDRESSES),
    st.sets(st.sampled_from(sorted(CREDENTIALS))),
)
def test_first_policy_that_fits_is_the_one_that_is_selected(
    rules: list[tuple[list[Conditions], list[Conditions]]],
    profile: str | None,
    address: str,
    kinds: set[str],
) -> None:
    bundle = load(*(_document(f"p{number}", number, *rule) for number, rule in enumerate(rules)))
    asked = request(profile=profile, address=address, presented=[CREDENTIALS[kind] for kind in sorted(kinds)])
    expected = None
    if kinds:
        fitting = [number for number, rule in enumerate(rules) if _fits(*rule, asked)]
        expected = f"p{fitting[0]}" if fitting else None
    found = select(bundle, asked)
    if isinstance(found, Selected):
        assert found.policy.name == expected
        skipped = [step.rule for step in found.trace if step.verdict == "skipped"]
        assert skipped == [f"p{number}" for number in range(int(found.policy.name[1:]))]
    else:
        assert isinstance(found, NotSelected)
        assert expected is None
