"""Each way by which rules let names through: globs, regular expressions, networks, templates, lists."""

from __future__ import annotations

import pytest

from gateway.model.decision import Deny
from gateway.model.reasons import ReasonCode
from tests.unit.policy.name_sample import (
    LISTED,
    NO,
    READS,
    WILD,
    Given,
    asked,
    bundle,
    client,
    planned,
    verdict,
)
from tests.unit.policy.sample import (
    codes,
    decide,
    facts,
    load,
    policy,
    request,
    sans,
)

CASES = {
    ("dns: {glob: ['*.a.test']}", "dns:x.a.test"): None,
    ("dns: {glob: ['*.a.test']}", "dns:y.x.a.test"): NO,
    ("dns: {glob: ['*.a.test']}", "dns:a.test"): NO,
    ("dns: {glob: ['*.A.test']}", "dns:X.a.TEST"): None,
    ("dns: {glob: ['*.a.test']}", "dns:*.a.test"): WILD,
    ("dns: {glob: ['*.a.test'], wildcard: allow}", "dns:*.a.test"): None,
    ("dns: {glob: ['web-*.a.test'], wildcard: allow}", "dns:*.a.test"): NO,
    ("dns: {glob: ['web-*.a.test']}", "dns:web-1.a.test"): None,
    ("dns: {glob: ['web-*.a.test']}", "dns:web-1.b.a.test"): NO,
    ("dns: {glob: ['x*.test']}", "dns:xn--bcher-kva.test"): NO,
    ("dns: {glob: ['xn--*.test']}", "dns:xn--bcher-kva.test"): None,
    ("dns: {glob: ['*.*.test']}", "dns:a.b.test"): None,
    ("dns: {regex: ['(web|app)-[0-9]+\\.a\\.test']}", "dns:web-1.a.test"): None,
    ("dns: {regex: ['(web|app)-[0-9]+\\.a\\.test']}", "dns:WEB-1.a.test"): None,
    ("dns: {regex: ['(WEB|APP)-[0-9]+\\.A\\.TEST']}", "dns:web-1.a.test"): None,
    ("dns: {regex: ['web']}", "dns:web.a.test"): NO,
    ("dns: {regex: ['.*\\.a\\.test']}", "dns:*.a.test"): WILD,
    ("dns: {regex: ['.*'], max_labels: 2}", "dns:a.b.test"): NO,
    ("dns: {template: ['${client.serial}.a.test']}", "dns:a1.a.test"): None,
    ("dns: {template: ['${client.serial}.a.test']}", "dns:a2.a.test"): NO,
    ("dns: {template: ['${client.label.site}.a.test']}", "dns:brno.a.test"): None,
    ("dns: {template: ['${client.label.rack}.a.test']}", "dns:brno.a.test"): NO,
    ("dns: {template: ['${client.label.rack}.a.test'], exact: [b.test]}", "dns:b.test"): None,
    # ways add up: the suffix lets through what the template does not
    ("dns: {template: ['${client.label.site}.a.test'], suffix: [a.test]}", "dns:x.a.test"): None,
    ("dns: {allow: {suffix: [a.test], wildcard: allow}, max: 1}", "dns:*.a.test"): None,
    ("dns: {suffix: [test]}", "dns:xn--a.test"): ReasonCode.NAME_MALFORMED,
    ("ip: {template: ['${client.label.site}']}", "ip:10.0.0.1"): NO,
    ("ip: {allow: {cidr: [10.0.0.0/8]}}", "ip:10.0.0.1"): None,
    ("email: {exact: [Ops@A.test]}", "email:Ops@a.TEST"): None,
    ("email: {exact: [Ops@A.test]}", "email:ops@a.test"): NO,
    ("email: {glob: ['ops-*@a.test']}", "email:ops-1@A.test"): None,
    ("email: {glob: ['ops-*@a.test']}", "email:ops-1.x@a.test"): NO,
    ("email: {regex: ['[a-z]+@a\\.test']}", "email:ops@A.test"): None,
    ("email: {template: ['${client.serial|lower}@a.test']}", "email:a1@a.test"): None,
    ("uri: {exact: ['https://a.test/x']}", "uri:HTTPS://A.test/x"): None,
    ("uri: {exact: ['https://a.test/x']}", "uri:https://a.test/X"): NO,
    ("uri: {regex: ['https://[a-z.]+/.*']}", "uri:https://a.test/x"): None,
    ("uri: {regex: ['.*']}", "uri:https://good.test@evil.test/x"): NO,
    ("uri: {regex: ['.*'], userinfo: true}", "uri:https://me@a.test/x"): None,
    ("uri: {regex: ['.*']}", "uri:https://a.test/x/../y"): NO,
    ("uri: {regex: ['.*']}", "uri:mailto:me@a.test"): None,
    ("uri: {template: ['urn:dev:${client.vendor}']}", "uri:urn:dev:Big%20Co"): None,
    ("uri: {template: ['urn:dev:${client.vendor}']}", "uri:urn:dev:Big"): NO,
}


@pytest.mark.parametrize(("rule", "name"), CASES)
def test_name_is_judged_by_every_way_of_its_rule(rule: str, name: str) -> None:
    expected = CASES[rule, name]
    found = verdict(asked(*sans(name), names=rule))
    assert found == ([] if expected is None else [expected])


VALUES = {
    ("{glob: ['dev-*']}", "dev-17"): True,
    ("{glob: ['dev-*']}", "dev-"): False,
    ("{glob: ['dev-*']}", "dev-1.evil"): False,
    ("{glob: ['dev-*']}", "dev-1 2"): False,
    ("{glob: ['* plant']}", "north plant"): True,
    ("{regex: ['(rtr|sw)-[a-z]{3}[0-9]{2}']}", "rtr-brn01"): True,
    ("{regex: ['(rtr|sw)-[a-z]{3}[0-9]{2}']}", "rtr-brn01x"): False,
    ("{regex: ['(rtr|sw)-[a-z]{3}[0-9]{2}']}", "RTR-brn01"): False,
    ("{regex: ['^rtr-.*$']}", "rtr-1"): True,
    ("{regex: ['.*']}", "*.evil.test"): False,
    ("{regex: ['.*'], wildcard: allow}", "*.good.test"): True,
    ("{cidr: [10.0.0.0/8]}", "10.1.2.3"): True,
    ("{cidr: [10.0.0.0/8]}", "11.1.2.3"): False,
    ("{cidr: [10.0.0.0/8]}", "::ffff:10.1.2.3"): True,
    ("{template: ['${client.serial}']}", "A1"): True,
    ("{template: ['${client.serial}']}", "a1"): False,
    ("{list: hosts}", "in.test"): True,
    ("{list: hosts}", "out.test"): False,
}


@pytest.mark.parametrize(("rule", "value"), VALUES)
def test_value_of_the_subject_is_judged_by_every_way_of_its_rule(rule: str, value: str) -> None:
    rules = load(
        policy(
            names=f"{{subject: {{CN: {{source: csr, allow: {rule}}}}}, cn_in_san: false}}", authenticate=READS
        ),
        LISTED,
    )
    lists = Given({"hosts": frozenset({"in.test"})})
    decision = decide(rules, request(cn=value), client(serial="A1"), facts(lists=lists))
    assert (not isinstance(decision, Deny)) is VALUES[rule, value], decision


def test_pattern_holds_no_value_longer_than_its_bound() -> None:
    rule = "uri: {regex: ['.*']}"
    assert verdict(asked(*sans("uri:urn:" + "a" * 1020), names=rule)) == []
    assert verdict(asked(*sans("uri:urn:" + "a" * 1021), names=rule)) == [NO]


def test_names_of_a_list_are_allowed() -> None:
    rules = bundle("dns: {list: hosts}", LISTED)
    known = facts(lists=Given({"hosts": frozenset({"in.test"})}))
    assert [str(name) for name in planned(decide(rules, request("dns:in.test"), known=known)).sans] == [
        "dns:in.test"
    ]
    assert codes(decide(rules, request("dns:out.test"), known=known)) == [NO]
