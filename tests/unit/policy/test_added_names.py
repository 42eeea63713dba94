"""Names that a policy makes itself: subjects by template, names put in, names as before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model.decision import Deny
from gateway.model.enrolment import Operation
from gateway.model.evidence import BASIC, Evidence, VerifiedCredential
from gateway.model.reasons import ReasonCode
from tests.unit.policy.name_sample import (
    READS,
    bundle,
    client,
    planned,
)
from tests.unit.policy.sample import (
    NOW,
    basic_evidence,
    certificate,
    codes,
    decide,
    facts,
    load,
    policy,
    previous,
    renewal_policy,
    request,
    sans,
)

FACTORY = """
  subject:
    CN: {source: template, value: "${client.serial}"}
    O: {source: fixed, value: Example Factory}
  uri: {add: ["urn:dev:os:example-${client.model}-${client.serial}"], max: 1}
  cn_in_san: false
"""


def test_device_gets_the_names_that_its_identity_makes() -> None:
    rules = load(policy(names=FACTORY, authenticate=READS))
    plan = planned(decide(rules, request(cn="whatever"), client(serial="A1B2", model="GW200")))
    assert str(plan.subject) == "CN=A1B2,O=Example Factory"
    assert [str(name) for name in plan.sans] == ["uri:urn:dev:os:example-GW200-A1B2"]


def test_name_that_is_put_in_may_be_asked_for_too() -> None:
    rules = load(policy(names=FACTORY, authenticate=READS))
    wanted = request("uri:URN:dev:os:example-GW200-A1B2")
    plan = planned(decide(rules, wanted, client(serial="A1B2", model="GW200")))
    assert len(plan.sans) == 1
    other = decide(rules, request("uri:urn:dev:os:example-GW200-A1B3"), client(serial="A1B2", model="GW200"))
    assert codes(other) == [ReasonCode.NAME_KIND]


def test_names_that_are_put_in_count_against_the_most() -> None:
    rules = bundle('dns: {suffix: [test], add: ["${client.serial}.test"], max: 1}')
    assert codes(decide(rules, request("dns:a.test"), client(serial="A1"))) == [ReasonCode.NAME_COUNT]
    assert planned(decide(rules, request("dns:a1.test"), client(serial="A1"))).sans == sans("dns:a1.test")
    total = bundle('dns: {suffix: [test], add: ["${client.serial}.test"]}\ntotal_max: 1')
    assert codes(decide(total, request("dns:a.test"), client(serial="A1"))) == [ReasonCode.NAME_COUNT]


def test_name_that_cannot_be_made_refuses_and_says_which_word_is_missing() -> None:
    rules = load(policy(names=FACTORY, authenticate=READS))
    decision = decide(rules, request(), client(serial="A1B2"))
    assert codes(decision) == [ReasonCode.NAME_MISSING]
    assert isinstance(decision, Deny)
    (reason,) = decision.reasons
    assert "client.model has no value in this request" in reason.message
    assert reason.rule == "rules.names.uri.add[0]"
    assert reason.where.startswith("p.yaml:")
    starred = decide(rules, request(), client(serial="A*", model="GW"))
    assert codes(starred) == [ReasonCode.NAME_MALFORMED] * 2
    dotted = bundle('dns: {add: ["${client.serial}.test"]}')
    assert codes(decide(dotted, request(), client(serial="evil.com"))) == [ReasonCode.NAME_MALFORMED]


def test_subject_that_is_too_long_or_missing_refuses() -> None:
    rules = load(
        policy(
            names="{subject: {CN: {source: template, value: '${client.serial}'}}, cn_in_san: false}",
            authenticate=READS,
        )
    )
    assert codes(decide(rules, request(), client())) == [ReasonCode.NAME_MISSING]
    assert codes(decide(rules, request(), client(serial="a" * 65))) == [ReasonCode.NAME_MALFORMED]
    assert str(planned(decide(rules, request(), client(serial="a" * 64))).subject) == "CN=" + "a" * 64


def test_alternative_name_is_made_of_the_subject() -> None:
    rules = load(
        policy(
            names="""
              subject: {CN: {source: csr, required: true, allow: {suffix: [net.test]}}}
              dns: {allow: {template: ["${subject.CN}"]}, add: ["${subject.CN}"], max: 1, on_extra: deny}
            """
        )
    )
    for names in ((), ("dns:rtr-1.net.test",)):
        plan = planned(decide(rules, request(*names, cn="rtr-1.net.test")))
        assert [str(name) for name in plan.sans] == ["dns:rtr-1.net.test"]
    refused = decide(rules, request("dns:rtr-2.net.test", cn="rtr-1.net.test"))
    assert ReasonCode.NAME_NOT_ALLOWED in codes(refused)
    # one word for one mistake: the missing CN is not told again as a word of the template
    assert codes(decide(rules, request(cn=None))) == [ReasonCode.NAME_MISSING]
    assert codes(decide(rules, request(cn="rtr-1.evil.com"))) == [ReasonCode.SUBJECT_CN]


def test_added_name_is_beyond_a_credential_that_may_not_ask_for_it() -> None:
    rules = bundle('dns: {suffix: [test], add: ["gw.test"]}')
    assert codes(decide(rules, request("dns:a.test", cn=None), basic_evidence(names=("a.test",)))) == [
        ReasonCode.AUTH_CREDENTIAL_SCOPE
    ]
    planned(decide(rules, request("dns:a.test", cn=None), basic_evidence(names=("test",))))


def test_policy_without_templates_builds_no_vocabulary() -> None:
    assert not bundle("dns: {glob: ['*.test'], regex: ['a'], suffix: [test]}").policies[0].names.needs_words  # type: ignore[attr-defined]
    assert bundle('uri: {add: ["urn:${client.name}"]}').policies[0].names.needs_words  # type: ignore[attr-defined]
    assert not bundle('uri: {add: ["urn:x:y"]}').policies[0].names.needs_words  # type: ignore[attr-defined]


SAME = "{subject: keep-from-previous, same_as_previous_on_renew: true, dns: {on_extra: deny}}"


def _renewed(*wanted: str, before: tuple[str, ...] = ("dns:a.old.test", "uri:urn:a:b")) -> object:
    rules = load(renewal_policy(names=SAME))
    asked_for = request(
        *wanted,
        operation=Operation.RENEW,
        presented=(certificate(),),
        renews_der=b"certificate",
    )
    evidence = Evidence((VerifiedCredential(BASIC, "x", "x", certificate_der=b"certificate"),))
    evidence = Evidence((replace(evidence.credentials[0], kind="renewal-cert"),))  # type: ignore[arg-type]
    return decide(rules, asked_for, evidence, facts(now=NOW, previous=previous(*before)))


def test_renewal_keeps_names_that_no_rule_allows_any_more() -> None:
    for wanted in ((), ("uri:urn:a:b", "dns:A.old.test")):
        plan = planned(_renewed(*wanted))
        assert {str(name) for name in plan.sans} == {"dns:a.old.test", "uri:urn:a:b"}


@pytest.mark.parametrize("wanted", [("dns:a.old.test",), ("dns:a.old.test", "uri:urn:a:b", "dns:b.old.test")])
def test_renewal_with_other_names_than_before_is_refused(wanted: tuple[str, ...]) -> None:
    found = _renewed(*wanted)
    assert isinstance(found, Deny)
    assert ReasonCode.RENEWAL_NAMES_DIFFER in codes(found)
