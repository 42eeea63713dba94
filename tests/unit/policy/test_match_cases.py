"""``match.any``, ``match.not`` and ``match.labels``: which requests fit, what overlaps, what is refused."""

from __future__ import annotations

from gateway.errors import ConfigurationError
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import RENEWAL_CERT, PresentedCredential
from gateway.model.ids import EndpointName
from gateway.policy.engine import NotSelected, Selected, accepted_kinds, describe, profiles, select
from gateway.policy.reach import hidden_policies
from gateway.policy.rules import Bundle
from tests.unit.policy.sample import HOUSE, certificate, complaints, load, password, policy, request

LINES = """\
apiVersion: pkigate/v1
kind: Endpoint
metadata: {name: line1, labels: {zone: factory, site: brno}}
protocol: est
backend: embedded
---
apiVersion: pkigate/v1
kind: Endpoint
metadata: {name: line2, labels: {zone: internet}}
protocol: est
backend: embedded
"""
BOTH = "{basic: {}, mtls: {trust: own}}"


def chosen(bundle: Bundle, asked: EnrolmentRequest) -> str | None:
    found = select(bundle, asked)
    return found.policy.name if isinstance(found, Selected) else None


def at(endpoint: str, *presented: PresentedCredential, **parts: object) -> EnrolmentRequest:
    given = presented or (password(),)
    return request(endpoint=EndpointName(endpoint), presented=given, **parts)  # type: ignore[arg-type]


def test_any_fits_if_one_alternative_does_and_all_that_stands_outside_of_it() -> None:
    text = """
      protocol: est
      endpoint: default
      any:
        - {operation: enroll, auth: basic}
        - {operation: [renew, rekey], auth: renewal-cert, source_ip: 10.0.0.0/8}
    """
    bundle = load(policy(match=text, authenticate="{basic: {}, renewal-cert: {trust: own}}"), LINES)
    of_renewal = certificate(kind=RENEWAL_CERT)
    assert chosen(bundle, request()) == "rules"
    assert chosen(bundle, request(presented=(of_renewal,))) is None
    renewal = request(operation=Operation.REKEY, presented=(of_renewal,), address="10.1.1.1")
    assert chosen(bundle, renewal) == "rules"
    assert chosen(bundle, request(operation=Operation.REKEY, presented=(of_renewal,))) is None
    assert chosen(bundle, request(operation=Operation.REKEY, address="10.1.1.1")) is None
    assert chosen(bundle, at("line1")) is None
    assert accepted_kinds(bundle, "est", "default", Operation.ENROLL) == ("basic",)
    assert accepted_kinds(bundle, "est", "default", Operation.RENEW) == ("renewal-cert",)


def test_profiles_are_offered_where_their_alternative_is_for() -> None:
    text = """
      protocol: est
      operation: enroll
      any:
        - {endpoint: line1, profile: [short, long]}
        - {endpoint: line2, profile: tiny}
    """
    bundle = load(policy(match=text), LINES)
    assert sorted(profiles(bundle, "est", "line1")) == ["long", "short"]
    assert sorted(profiles(bundle, "est", "line2")) == ["tiny"]
    assert profiles(bundle, "est", "default") == {}
    assert chosen(bundle, at("line1", profile="tiny")) is None
    assert chosen(bundle, at("line2", profile="tiny")) == "rules"


def test_labels_pick_endpoints_that_have_each_of_them() -> None:
    bundle = load(
        policy(
            "brno", match="{protocol: est, operation: enroll, labels: {zone: factory, site: [brno, oslo]}}"
        ),
        policy("net", match="{protocol: est, operation: enroll, labels: {zone: internet}}"),
        LINES,
    )
    assert [chosen(bundle, at(name)) for name in ("default", "line1", "line2")] == [None, "brno", "net"]
    assert bundle.endpoints["est", "line1"].labels == {"zone": "factory", "site": "brno"}


def test_not_takes_away_endpoints_by_label_and_requests_by_what_they_bring() -> None:
    text = """
      protocol: est
      operation: enroll
      not:
        - {labels: {zone: internet}}
        - {source_ip: 10.9.0.0/16, auth: basic}
        - {profile: forbidden}
        - {endpoint: line1, operation: enroll, source_ip: "2001:db8::/32"}
    """
    bundle = load(policy(match=text, authenticate=BOTH), LINES)
    assert chosen(bundle, request()) == "rules"
    assert chosen(bundle, at("line2")) is None
    assert chosen(bundle, request(address="10.9.1.1")) is None
    assert chosen(bundle, request(address="::ffff:10.9.1.1")) is None
    assert chosen(bundle, request(address="10.9.1.1", presented=(certificate(),))) == "rules"
    assert chosen(bundle, request(address="10.9.1.1", presented=(certificate(), password()))) is None
    assert chosen(bundle, request(profile="forbidden")) is None
    assert chosen(bundle, request(profile="other")) == "rules"
    assert chosen(bundle, at("line1", address="2001:db8::1")) is None
    assert chosen(bundle, request(address="2001:db8::1")) == "rules"


def test_excluded_request_goes_to_the_next_policy_and_the_trace_says_why() -> None:
    bundle = load(
        policy("own", priority="1", match="{protocol: est, operation: enroll, not: {source_ip: 10.0.0.0/8}}"),
        policy("lab", priority="2"),
    )
    found = select(bundle, request(address="10.1.1.1"))
    assert isinstance(found, Selected)
    assert [(step.rule, step.verdict, step.message) for step in found.trace] == [
        ("own", "skipped", "it is not for such requests, by its match.not"),
        ("lab", "chosen", "est default enroll, priority 2"),
    ]
    assert hidden_policies(bundle) == ()  # the first one leaves it some requests


def test_policy_that_was_chosen_by_its_second_alternative_is_not_told_as_skipped() -> None:
    first = "{protocol: est, operation: enroll, any: [{profile: a}, {source_ip: 192.0.2.0/24}]}"
    bundle = load(policy(match=first))
    found = select(bundle, request())
    assert isinstance(found, Selected)
    assert [step.verdict for step in found.trace] == ["chosen"]


def test_trace_names_the_first_twenty_skipped_policies_and_counts_the_others() -> None:
    others = [
        policy(
            f"p{number}",
            priority=str(number),
            match=f"{{protocol: est, operation: enroll, profile: x{number}}}",
        )
        for number in range(1, 31)
    ]
    found = select(load(*others, policy("last", priority="99")), request())
    assert isinstance(found, Selected)
    assert [step.rule for step in found.trace] == [*(f"p{n}" for n in range(1, 21)), "policies", "last"]
    assert found.trace[0].message == "it is for the profile x1"
    assert found.trace[20].message.startswith("10 more with higher numbers")
    nothing = select(load(*others), request())
    assert isinstance(nothing, NotSelected)
    assert [step.verdict for step in nothing.trace] == ["skipped"] * 21 + ["refused"]


def test_wanted_is_described_by_every_policy_once() -> None:
    bundle = load(policy(match="{protocol: est, operation: enroll, any: [{profile: a}, {auth: basic}]}"))
    wanted = describe(bundle, "est", "default", Operation.ENROLL)
    assert wanted is not None
    assert len(wanted.keys) == len(set(wanted.keys))


def overlapping(first: str, second: str) -> bool:
    try:
        load(
            policy("one", match=f"{{protocol: est, {first}}}"),
            policy("two", match=f"{{protocol: est, {second}}}"),
            LINES,
        )
    except ConfigurationError as error:
        (line,) = str(error).splitlines()
        assert "some requests fit both" in line
        return True
    return False


def test_overlap_looks_at_every_pair_of_alternatives_and_at_what_is_settled_at_load() -> None:
    assert overlapping("any: [{operation: renew}, {operation: enroll, profile: a}]", "operation: enroll")
    assert not overlapping("any: [{operation: renew}, {operation: enroll, profile: a}]", "operation: rekey")
    assert not overlapping(
        "operation: enroll, any: [{profile: a}, {source_ip: 10.1.0.0/16}]",
        "operation: enroll, profile: b, source_ip: 10.2.0.0/16",
    )
    assert not overlapping(
        "operation: enroll, labels: {zone: internet}", "operation: enroll, endpoint: line1"
    )
    assert not overlapping(
        "operation: enroll, endpoint: [line1, line2], not: {labels: {zone: internet}}",
        "operation: enroll, labels: {zone: internet}",
    )
    # What `not` says of single requests does not tell policies apart: equal numbers stay a mistake.
    assert overlapping("operation: enroll, not: {source_ip: 10.0.0.0/8}", "operation: enroll")


MISTAKES = {
    "any: [{}]": "match.any.0: this says nothing, so every request would fit; name operation",
    "operation: enroll, any: [{operation: renew}]": (
        "match.any.0.operation: 'operation' stands outside of any as well; keep one of them"
    ),
    "any: [{auth: basic}]": "match.any.0: the key 'operation' is missing; add it here or outside of any",
    "endpoint: default": "match: the key 'operation' is missing; add it: enroll for first certificates",
    "any: []": "match.any: there are too few values; at least 1",
    "operation: enroll, not: {}": "match.not: this says nothing",
    "operation: enroll, not: [{endpoint: default}]": (
        "match.not: nothing is left of this match; exclude less, or remove the policy"
    ),
    "operation: enroll, not: [{nonsense: 1}]": "match.not.0.nonsense: unknown key 'nonsense'",
    "operation: enroll, labels: {zone: lab}": (
        "match.labels: no endpoint that is meant here has the labels zone: lab; none is known here"
    ),
    "operation: enroll, labels: {Zone: lab}": "match.labels.Zone",
    "any: [{operation: enroll, auth: mac}]": (
        "match.any.0.auth.0: 'mac' is not under authenticate; add it there or remove it here"
    ),
    "any: [{operation: revoke}]": "match.any.0.operation: revoke stands alone",
    "operation: enroll, any: [{profile: a, any: []}]": "match.any.0.any: unknown key 'any'",
}


def test_each_mistake_in_match_is_told_with_its_place() -> None:
    for text, expected in MISTAKES.items():
        lines = complaints(HOUSE + policy(match=f"{{protocol: est, {text}}}"))
        assert any(f": {expected}" in line for line in lines), (text, lines)
        assert all(line.startswith("p.yaml:2") for line in lines), (text, lines)


def test_first_enrolment_by_the_alternative_of_a_renewal_is_refused() -> None:
    authenticate = "{basic: {}, renewal-cert: {trust: own}}"
    for match, place in (
        ("{protocol: est, any: [{operation: renew}, {operation: enroll}]}", "match.any.1"),
        ("{protocol: est, any: [{operation: [enroll, renew], auth: renewal-cert}]}", "match.any.0"),
    ):
        (line,) = complaints(HOUSE + policy(match=match, authenticate=authenticate))
        assert "a first enrolment renews no certificate" in line
        assert f": {place}: " in line
