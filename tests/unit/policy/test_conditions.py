"""Checks of the plan, the choice of a CA by ``when``, and approval by ``when``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.model.decision import Allow, Deny, Route
from gateway.model.reasons import ReasonCode
from tests.unit.policy.acme_sample import account, acme_bundle, acme_policy, previewed
from tests.unit.policy.sample import NOW, allowed, codes, decide, facts, load, policy, request

OTHER = """\
apiVersion: pkigate/v1
kind: Backend
metadata: {name: other}
type: embedded
---
"""


def check(expr: str, **more: str) -> str:
    """A policy with one check."""
    rest = "".join(f", {key}: {value}" for key, value in more.items())
    return policy(checks=f'[{{id: one, expr: "{expr}"{rest}}}]')


@pytest.mark.parametrize(
    "expr",
    [
        "san.dns.all(n, n.endsWith('.test')) && subject.CN == 'device 1'",
        "key.type == 'ec' && key.curve == 'P-256' && key.size == 256",
        "validity.not_after - validity.not_before < duration('2400h') && validity.not_before < now",
        "client.identity == 'basic:1' && csr.san.dns == san.dns && !limits.exceeded",
        "protocol == 'est' && endpoint == 'default' && operation == 'enroll' && profile == ''",
    ],
)
def test_plan_of_which_a_check_is_true_is_granted(expr: str) -> None:
    decision = allowed(decide(load(check(expr)), request("dns:a.test")))
    step = next(step for step in decision.trace if step.step == "checks")
    assert (step.rule, step.verdict) == ("rules.checks", "ok")


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("name", ReasonCode.CHECK_NAME),
        ("rejectedIdentifier", ReasonCode.CHECK_NAME),
        ("badAlg", ReasonCode.CHECK_KEY),
        ("notAuthorized", ReasonCode.CHECK_CLIENT),
        ("badCSR", ReasonCode.CHECK_REQUEST),
    ],
)
def test_plan_of_which_a_check_is_false_is_refused_in_its_words(word: str, code: ReasonCode) -> None:
    bundle = load(check("san.dns.size() < 2", message="one name only", code=word))
    decision = decide(bundle, request("dns:a.test", "dns:b.test"))
    assert isinstance(decision, Deny)
    (reason,) = decision.reasons
    assert (reason.code, reason.message, reason.rule) == (code, "one name only", "rules.checks.one")
    assert reason.where.startswith("p.yaml:31:")
    assert isinstance(decide(bundle, request("dns:a.test")), Allow)


def test_check_without_message_tells_its_expression() -> None:
    decision = decide(load(check("san.dns == []")), request("dns:a.test"))
    assert isinstance(decision, Deny)
    assert decision.reasons[0].message == "the condition san.dns == [] does not hold"


def test_every_check_that_fails_is_told() -> None:
    checks = "[{id: a, expr: 'false'}, {id: b, expr: 'true'}, {id: c, expr: account.name == 'x'}]"
    decision = decide(load(policy(checks=checks)), request("dns:a.test"))
    assert isinstance(decision, Deny)
    assert [one.rule for one in decision.reasons] == ["rules.checks.a", "rules.checks.c"]
    assert codes(decision) == [ReasonCode.CHECK_REQUEST, ReasonCode.CHECK_ERROR]
    assert "the request has no value for 'account'" in decision.reasons[1].message


def test_checks_are_not_asked_of_a_plan_that_is_refused_anyway() -> None:
    decision = decide(load(check("san.dns[0] == 'a.test'")), request("dns:a.example"))
    assert codes(decision) == [ReasonCode.NAME_NOT_ALLOWED]


def test_check_of_the_names_holds_in_a_preview_and_one_of_the_key_waits() -> None:
    bundle = acme_bundle(
        acme_policy(
            checks="""
              - {id: names, expr: "!san.dns.exists(n, n == 'b.test')", code: name}
              - {id: key, expr: key.type == 'rsa', code: key}
              - {id: csr, expr: csr.subject.CN == 'x'}
              - {id: account, expr: "'web' in account.groups", code: client}
            """
        )
    )
    assert previewed(bundle, "dns:a.test").reasons == ()
    found = previewed(bundle, "dns:b.test", evidence=account())
    assert [one.code for one in found.reasons] == [ReasonCode.CHECK_NAME, ReasonCode.CHECK_CLIENT]


def test_first_rule_that_counts_chooses_the_ca() -> None:
    bundle = load(
        OTHER,
        policy(
            issue="""
              - {backend: other, when: "san.dns.all(n, n.endsWith('.corp.test')) && san.dns != []"}
              - {backend: other, profile: issuing, when: key.type == 'rsa'}
              - {backend: embedded}
            """
        ),
    )
    decision = allowed(decide(bundle, request("dns:a.corp.test")))
    assert decision.route == Route("other")
    assert decision.trace[-1].rule == "rules.issue[0]"
    assert decision.trace[-1].where == "p.yaml:37:5"
    assert allowed(decide(bundle, request("dns:a.test"))).route == Route("embedded")


def test_request_that_no_rule_of_issue_is_for_is_refused() -> None:
    bundle = load(policy(issue="[{backend: embedded, when: profile == 'x'}]"))
    decision = decide(bundle, request("dns:a.test"))
    assert codes(decision) == [ReasonCode.POLICY_UNACCOUNTED]
    assert isinstance(decision, Deny)
    assert (decision.reasons[0].rule, decision.reasons[0].where) == ("rules.issue", "p.yaml:30:1")


def test_rule_of_issue_without_an_answer_refuses() -> None:
    bundle = load(policy(issue="[{backend: embedded, when: account.name == 'x'}, {backend: embedded}]"))
    decision = decide(bundle, request("dns:a.test"))
    assert codes(decision) == [ReasonCode.CHECK_ERROR]
    assert isinstance(decision, Deny)
    assert decision.reasons[0].rule == "rules.issue[0]"


@pytest.mark.parametrize(
    ("name", "end"),
    [("dns:a.corp.test", NOW + timedelta(days=30)), ("dns:a.test", NOW + timedelta(days=60))],
)
def test_life_is_bounded_by_the_end_of_the_ca_that_was_chosen(name: str, end: object) -> None:
    bundle = load(
        OTHER, policy(issue="[{backend: other, when: \"san.dns[0].contains('corp')\"}, {backend: embedded}]")
    )
    ends = {
        ("other", None): NOW + timedelta(days=30),
        ("embedded", None): NOW + timedelta(days=60),
    }
    decision = allowed(decide(bundle, request(name), known=facts(issuer_not_after=None, issuer_ends=ends)))
    assert decision.plan is not None
    assert decision.plan.not_after == end


def test_fallbacks_go_with_the_route_in_their_order() -> None:
    third = OTHER.replace("other", "third")
    issue = "{backend: embedded, fallback: [other, {backend: third, profile: issuing}], fallback_on: 5xx}"
    route = allowed(decide(load(OTHER, third, policy(issue=issue)), request("dns:a.test"))).route
    assert route == Route("embedded", None, (Route("other"), Route("third", "issuing")), ("5xx",))


@pytest.mark.parametrize(("name", "waits"), [("dns:a.corp.test", True), ("dns:a.test", False)])
def test_people_are_asked_where_the_expression_is_true(name: str, waits: bool) -> None:
    bundle = load(policy(approval="{when: \"san.dns[0].contains('corp') || limits.exceeded\", required: 2}"))
    decision = allowed(decide(bundle, request(name)))
    assert (decision.approval is not None) is waits
    assert [step.step for step in decision.trace].count("approval") == waits
    exceeded = allowed(decide(bundle, request(name), known=facts(limits_exceeded=True)))
    assert exceeded.approval is not None
    assert exceeded.approval.required == 2


def test_approval_without_an_answer_refuses() -> None:
    bundle = load(policy(approval="{when: subject.O == 'x'}"))
    assert codes(decide(bundle, request("dns:a.test"))) == [ReasonCode.CHECK_ERROR]
