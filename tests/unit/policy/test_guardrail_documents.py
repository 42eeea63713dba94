"""Checks of guardrails, and mistakes in the documents."""

from __future__ import annotations

from textwrap import indent

from gateway.model.decision import Deny
from gateway.model.evidence import Evidence
from gateway.model.keys import KeyToCome
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import Selected, preview, select
from tests.unit.policy.guardrail_sample import OPEN, guarded, guardrail, refusal
from tests.unit.policy.sample import (
    HOUSE,
    allowed,
    complaints,
    decide,
    facts,
    load,
    request,
)

MISTAKES = {
    "": "this guardrail bounds nothing; add keys",
    "keys: {}": "keys: no key would be allowed anywhere; add rsa",
    "keys: {rsa: {min: 4096, max: 2048}}": "keys.rsa.min: min 4096 is above max 2048",
    "keys: {rsa: {sizes: [2048]}}": "keys.rsa.sizes: unknown key 'sizes'",
    "keys: {reuse: deny}": "keys.reuse: 'reuse' is decided by policies, a guardrail cannot bound it",
    "deny_names: {}": "deny_names: no name is denied",
    "deny_names: {regex: ['(?=a)']}": "deny_names.regex.0: '(?=a)' is no regular expression",
    "deny_names: {regex: '['}": "deny_names.regex: '[' is no regular expression",
    "deny_names: {suffix: ['*.local']}": "deny_names.suffix.0: '*.local' has a wildcard",
    "validity_max: 30s": "validity_max: the life is under a minute",
    "validity_max: long": "validity_max: 'long' is no duration",
    "forbid_eku: [codesigning]": "forbid_eku.0: 'codesigning' is no extended key usage; did you mean",
    "ca: allow": "ca: 'allow' is not known; only deny is",
    "priority: 1\nca: deny": "priority: 'priority' is for policies; all guardrails hold at once",
    "validity: {max: 1y}\nca: deny": "validity: 'validity' is decided by policies; write validity_max: 1y",
    "match: {operation: enroll}\nca: deny": "match.operation: 'operation' is decided by policies",
    "match: {protocol: ets}\nca: deny": "match.protocol: no installed plug-in brings the protocol 'ets'",
    "match: {endpoint: [line7]}\nca: deny": "match.endpoint.0: there is no Endpoint 'line7' of these",
    "denied_names: {}\nca: deny": "denied_names: unknown key 'denied_names'; did you mean 'deny_names'?",
}


def test_each_mistake_in_a_guardrail_is_told_with_its_place() -> None:
    for text, expected in MISTAKES.items():
        lines = complaints(HOUSE + OPEN + "---\n" + guardrail(text))
        assert any(expected in line for line in lines), (text, lines)
        assert all(line.startswith("p.yaml:") for line in lines), (text, lines)


def test_example_of_the_design_loads() -> None:
    text = """
keys: {rsa: {min: 2048}, ec: [P-256, P-384, P-521], eddsa: [Ed25519]}
deny_names: {suffix: [localhost, local, ca.example.com], exact: [pkigate.example.com], regex: ['^xn--']}
validity_max: 3y
forbid_eku: [anyExtendedKeyUsage, OCSPSigning, timeStamping, codeSigning]
ca: deny
"""
    bundle = load(OPEN, guardrail(indent(text, "")))
    decision = decide(bundle, request("dns:xn--bcher-kva.example"))
    assert ("name.not-allowed", "floor.deny_names.regex[0]") in refusal(decision)


CHECKS = """checks:
  - id: no-wild-tld
    expr: "san.dns.all(n, !n.matches('^[*][.][^.]+$'))"
    message: wildcard too wide
    code: name
  - {id: short, expr: "validity.not_after < timestamp('2026-12-31T00:00:00Z')"}
"""


def test_check_of_a_guardrail_holds_for_every_policy_and_sees_what_guardrails_made_of_the_plan() -> None:
    bundle = guarded(CHECKS + "validity_max: 30d")
    decision = decide(bundle, request("dns:*.test"))
    assert refusal(decision) == [(ReasonCode.CHECK_NAME, "floor.checks.no-wild-tld")]
    assert isinstance(decision, Deny)
    assert decision.reasons[0].message == "wildcard too wide"
    decision = allowed(decide(bundle, request("dns:*.a.test")))
    steps = [step.message for step in decision.trace if step.step == "guardrail"]
    assert steps == ["ends earlier, after 30d: 2026-12-23 12:00:00+00:00", "checks hold"]
    assert refusal(decide(guarded(CHECKS), request())) == [(ReasonCode.CHECK_REQUEST, "floor.checks.short")]


def test_check_of_a_guardrail_that_needs_the_key_is_left_out_of_a_preview() -> None:
    bundle = guarded(
        "checks: [{id: key, expr: key.type == 'rsa'}, {id: name, expr: '!(\"b.test\" in san.dns)'}]"
    )
    asked = request("dns:b.test", key=KeyToCome())
    selected = select(bundle, asked)
    assert isinstance(selected, Selected)
    found = preview(bundle, selected, asked, Evidence(), facts())
    assert [reason.rule for reason in found.reasons] == ["floor.checks.name"]
    assert len(refusal(decide(bundle, request("dns:b.test")))) == 2


def test_mistakes_in_checks_of_a_guardrail_are_told_with_their_place() -> None:
    text = guardrail(
        "checks: [{id: a, expr: 'san.dns.all(n, n = 1)'}, {id: b, expr: \"inList('lost', subject.CN)\"}]"
    )
    lines = complaints(HOUSE + OPEN + "---\n" + text)
    assert len(lines) == 2
    assert "checks.0.expr: this is no expression of CEL" in lines[0]
    assert "checks.1.expr: there is no List 'lost'" in lines[1]
    (line,) = complaints(
        HOUSE + OPEN + "---\n" + guardrail("checks: [{id: a, expr: 'true'}, {id: a, expr: 'true'}]")
    )
    assert "another check has the id 'a'" in line
