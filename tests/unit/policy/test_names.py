"""Which names may stand in a certificate: suffixes, wildcards, networks, groups, attributes, bounds."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.decision import Allow, Deny
from gateway.model.enrolment import RequestedIdentity
from gateway.model.evidence import MTLS, Evidence, VerifiedCredential
from gateway.model.names import (
    GeneralName,
    NameKind,
)
from gateway.model.reasons import ReasonCode
from gateway.pki import der
from gateway.policy.name_rules import DnsMatcher, Verdict, Wildcard, under_suffix
from gateway.policy.rules import Bundle
from tests.support.pki import Authority
from tests.unit.policy.sample import (
    allowed,
    basic_evidence,
    certificate,
    codes,
    decide,
    load,
    policy,
    request,
    sans,
    subject,
)

FREE_CN = "subject: {CN: {source: csr, allow: {any: true}}}\ncn_in_san: false\n"

LABELS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)


def bundle(names: str, *, lab: bool = False) -> Bundle:
    return load(policy(names=FREE_CN + names), lab=lab)


def judge(rules: Bundle, *texts: str) -> list[ReasonCode]:
    """The codes of the refusal; empty if it is granted."""
    decision = decide(rules, request(*texts))
    return codes(decision) if isinstance(decision, Deny) else []


CASES = {
    # rule, name -> code or None
    ("dns: {suffix: [example.test]}", "dns:example.test"): None,
    ("dns: {suffix: [example.test]}", "dns:a.b.example.test"): None,
    ("dns: {suffix: [example.test]}", "dns:A.Example.TEST"): None,
    ("dns: {suffix: [Example.Test]}", "dns:a.example.test"): None,
    ("dns: {suffix: [example.test]}", "dns:badexample.test"): ReasonCode.NAME_NOT_ALLOWED,
    ("dns: {suffix: [example.test]}", "dns:test"): ReasonCode.NAME_NOT_ALLOWED,
    ("dns: {suffix: [example.test]}", "dns:example.test.evil.com"): ReasonCode.NAME_NOT_ALLOWED,
    ("dns: {suffix: [example.test]}", "dns:*.example.test"): ReasonCode.NAME_WILDCARD,
    ("dns: {suffix: [example.test], wildcard: allow}", "dns:*.example.test"): None,
    ("dns: {suffix: [example.test], wildcard: allow}", "dns:a.example.test"): None,
    ("dns: {suffix: [example.test], wildcard: allow}", "dns:*.test"): ReasonCode.NAME_NOT_ALLOWED,
    ("dns: {suffix: [example.test], wildcard: only}", "dns:a.example.test"): ReasonCode.NAME_WILDCARD,
    ("dns: {suffix: [example.test], wildcard: only}", "dns:*.example.test"): None,
    ("dns: {suffix: [example.test], max_labels: 3}", "dns:a.example.test"): None,
    ("dns: {suffix: [example.test], max_labels: 3}", "dns:a.b.example.test"): ReasonCode.NAME_NOT_ALLOWED,
    ("dns: {exact: [a.test]}", "dns:a.test"): None,
    ("dns: {exact: [a.test]}", "dns:b.a.test"): ReasonCode.NAME_NOT_ALLOWED,
    ('dns: {exact: ["*.a.test"], wildcard: allow}', "dns:*.a.test"): None,
    ('dns: {exact: ["*.a.test"], wildcard: allow}', "dns:b.a.test"): ReasonCode.NAME_NOT_ALLOWED,
    ("dns: {suffix: [xn--bcher-kva.test]}", "dns:www.xn--bcher-kva.test"): None,
    ("ip: {cidr: [10.0.0.0/8, '2001:db8::/32']}", "ip:10.1.2.3"): None,
    ("ip: {cidr: [10.0.0.0/8, '2001:db8::/32']}", "ip:2001:db8::1"): None,
    ("ip: {cidr: [10.0.0.0/8, '2001:db8::/32']}", "ip:::ffff:10.1.2.3"): None,
    ("ip: {cidr: [10.0.0.0/8, '2001:db8::/32']}", "ip:11.1.2.3"): ReasonCode.NAME_NOT_ALLOWED,
    ("ip: {cidr: [10.0.0.0/8, '2001:db8::/32']}", "ip:2001:db9::1"): ReasonCode.NAME_NOT_ALLOWED,
    ("ip: {cidr: ['::/0']}", "ip:10.1.2.3"): ReasonCode.NAME_NOT_ALLOWED,
    ("ip: {cidr: [10.0.0.7]}", "ip:10.0.0.7"): None,
    ("email: {suffix: [a.test]}", "email:me@a.test"): None,
    ("email: {suffix: [a.test]}", "email:me@sub.A.test"): None,
    ("email: {suffix: [a.test]}", "email:me@aa.test"): ReasonCode.NAME_NOT_ALLOWED,
    ("uri: {prefix: ['spiffe://a.test/ns/web']}", "uri:spiffe://a.test/ns/web"): None,
    ("uri: {prefix: ['spiffe://a.test/ns/web']}", "uri:spiffe://a.test/ns/web/x"): None,
    (
        "uri: {prefix: ['spiffe://a.test/ns/web']}",
        "uri:spiffe://a.test/ns/webmail",
    ): ReasonCode.NAME_NOT_ALLOWED,
    ("uri: {prefix: ['spiffe://a.test/']}", "uri:spiffe://a.test/x/../y"): ReasonCode.NAME_NOT_ALLOWED,
    ("uri: {prefix: ['spiffe://a.test/']}", "uri:spiffe://a.test.evil.com/x"): ReasonCode.NAME_NOT_ALLOWED,
    ("uri: {prefix: ['urn:dev:']}", "uri:urn:dev:mac:1"): None,
    ("dns: {suffix: [test]}", "ip:10.0.0.1"): ReasonCode.NAME_KIND,
    ("dns: {suffix: [test]}", "uri:urn:a"): ReasonCode.NAME_KIND,
    ("dns: {max: 3}", "dns:a.test"): ReasonCode.NAME_KIND,
}


@pytest.mark.parametrize(("rule", "name"), CASES)
def test_name_is_judged_by_its_rule(rule: str, name: str) -> None:
    expected = CASES[rule, name]
    assert judge(bundle(rule), name) == ([] if expected is None else [expected])


@given(NAMES, NAMES)
def test_suffix_holds_names_below_it_label_by_label(name: str, suffix: str) -> None:
    matcher = DnsMatcher(frozenset({suffix}), frozenset(), Wildcard.ALLOW, 127, "")
    assert matcher.judge(f"{name}.{suffix}") is Verdict.YES
    assert matcher.judge(suffix) is Verdict.YES
    assert matcher.judge(f"*.{name}.{suffix}") is Verdict.YES
    glued = f"{name}{suffix}"
    assert (matcher.judge(glued) is Verdict.YES) == (("." + glued).endswith("." + suffix))


@given(NAMES, st.sets(NAMES, min_size=1, max_size=4))
def test_suffix_rule_agrees_with_its_definition(name: str, suffixes: set[str]) -> None:
    expected = any(name == suffix or name.endswith("." + suffix) for suffix in suffixes)
    assert under_suffix(name, frozenset(suffixes)) is expected


TEST_NAMES = bundle("dns: {suffix: [test]}")


@given(NAMES, st.lists(st.booleans(), min_size=60, max_size=80))
def test_case_of_a_dns_name_does_not_count(name: str, upper: list[bool]) -> None:
    mixed = "".join(char.upper() if up else char for char, up in zip(name, upper, strict=False))
    plan = allowed(decide(TEST_NAMES, request(f"dns:{mixed}.TEST"))).plan
    assert plan is not None
    assert [one.value for one in plan.sans] == [f"{mixed}.test".lower()]


MALFORMED = {
    "trailing-dot": GeneralName(NameKind.DNS, "a.test.", b""),
    "empty-label": GeneralName(NameKind.DNS, "a..test", b""),
    "inner-wildcard": GeneralName(NameKind.DNS, "a.*.test", b""),
    "partial-wildcard": GeneralName(NameKind.DNS, "a*.test", b""),
    "null": GeneralName(NameKind.DNS, "a.test\0.evil.com", b""),
    "unicode": GeneralName(NameKind.DNS, "bücher.test", b""),
    "kelvin": GeneralName(NameKind.DNS, "\u212a.test", b""),
    "address-as-name": GeneralName(NameKind.DNS, "127.0.0.1", b""),
    "address": GeneralName(NameKind.IP, "10.0.0.256", b""),
    "zone": GeneralName(NameKind.IP, "fe80::1%eth0", b""),
    "mailbox": GeneralName(NameKind.EMAIL, "a b@a.test", b""),
    "relative-uri": GeneralName(NameKind.URI, "/path", b""),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_name_is_refused_even_where_extra_names_are_dropped(case: str) -> None:
    rules = bundle("dns: {suffix: [test], wildcard: allow}\non_extra: drop")
    asked = replace(request(), identity=RequestedIdentity(subject(("CN", "x")), (MALFORMED[case],)))
    assert codes(decide(rules, asked)) == [ReasonCode.NAME_MALFORMED]


@pytest.mark.parametrize("kind", [NameKind.OTHER, NameKind.DIRECTORY, NameKind.REGISTERED_ID, NameKind.X400])
def test_unknown_kind_of_name_is_refused_or_dropped(kind: NameKind) -> None:
    identity = RequestedIdentity(subject(("CN", "x")), (GeneralName(kind, "1.2.3", b"\x88\x01\x2a"),))
    asked = replace(request(), identity=identity)
    assert codes(decide(bundle("dns: {suffix: [test]}"), asked)) == [ReasonCode.NAME_KIND]
    plan = allowed(decide(bundle("dns: {suffix: [test]}\non_extra: drop"), asked)).plan
    assert plan is not None
    assert plan.sans == ()


def test_der_of_a_name_is_made_from_the_text_that_was_compared() -> None:
    lie = GeneralName(NameKind.DNS, "a.test", der.tlv(0x82, b"evil.com"))
    asked = replace(request(), identity=RequestedIdentity(subject(("CN", "x")), (lie,)))
    plan = allowed(decide(bundle("dns: {suffix: [test]}"), asked)).plan
    assert plan is not None
    assert plan.sans == sans("dns:a.test")


def test_name_asked_for_twice_stands_once() -> None:
    plan = allowed(decide(bundle("dns: {suffix: [test], max: 1}"), request("dns:a.test", "dns:A.test"))).plan
    assert plan is not None
    assert plan.sans == sans("dns:a.test")


def test_counts_are_bounded() -> None:
    rules = bundle("dns: {suffix: [test], max: 2}\nip: {cidr: 10.0.0.0/8}\ntotal_max: 3")
    assert judge(rules, "dns:a.test", "dns:b.test", "ip:10.0.0.1") == []
    assert judge(rules, "dns:a.test", "dns:b.test", "dns:c.test") == [ReasonCode.NAME_COUNT]
    many = [f"dns:a{index}.evil.com" for index in range(500)]
    assert judge(rules, *many) == [ReasonCode.NAME_COUNT]


def test_reasons_of_one_step_are_bounded() -> None:
    rules = bundle("dns: {suffix: [test]}\ntotal_max: 1000")
    assert len(judge(rules, *[f"dns:a{index}.evil.com" for index in range(900)])) == 50


def test_required_kind_that_is_missing_is_refused() -> None:
    rules = bundle("dns: {suffix: [test], required: true}")
    assert judge(rules) == [ReasonCode.NAME_MISSING]
    assert judge(rules, "dns:a.test") == []


def test_extra_names_are_dropped_and_told_only_where_the_rule_says_so() -> None:
    rules = bundle("dns: {suffix: [test], on_extra: drop}\nip: {cidr: 10.0.0.0/8}")
    decision = allowed(decide(rules, request("dns:a.test", "dns:evil.com")))
    assert decision.plan is not None
    assert decision.plan.sans == sans("dns:a.test")
    assert any("left out: dns:evil.com" in step.message for step in decision.trace)
    assert judge(rules, "ip:11.0.0.1") == [ReasonCode.NAME_NOT_ALLOWED]


def test_certificate_without_any_name_is_refused() -> None:
    rules = load(policy(names="subject: {CN: {source: drop}}\ndns: {suffix: [test]}\ncn_in_san: false"))
    assert codes(decide(rules, request(cn="x"))) == [ReasonCode.NAME_MISSING]
    assert codes(decide(rules, request(cn=None))) == [ReasonCode.NAME_MISSING]
    assert isinstance(decide(rules, request("dns:a.test", cn=None)), Allow)


GROUPS = """
groups:
  - {name: web, dns: {suffix: [web.test]}}
  - {name: intranet, dns: {suffix: [corp.test]}, ip: {cidr: [10.0.0.0/8]}}
"""


def test_all_names_of_a_request_must_fit_one_group() -> None:
    rules = bundle(GROUPS)
    assert judge(rules, "dns:a.web.test") == []
    decision = allowed(decide(rules, request("dns:a.corp.test", "ip:10.0.0.1")))
    assert any("group intranet" in step.message for step in decision.trace)
    mixed = decide(rules, request("dns:a.web.test", "dns:a.corp.test"))
    assert codes(mixed) == [ReasonCode.NAME_NOT_ALLOWED]
    assert "a.web.test is in web; a.corp.test is in intranet" in mixed.trace[-3].message
    assert judge(rules, "dns:a.web.test", "dns:evil.com") == [ReasonCode.NAME_NOT_ALLOWED]
    assert judge(rules, "uri:urn:a") == [ReasonCode.NAME_KIND]
    assert judge(rules, "dns:*.web.test") == [ReasonCode.NAME_WILDCARD]


def test_loopback_is_allowed_in_lab_mode_only() -> None:
    text = "ip: {lab_loopback: true}"
    for name in ("ip:127.0.0.1", "ip:::1"):
        assert judge(bundle(text, lab=True), name) == []
        assert judge(bundle(text), name) == [ReasonCode.NAME_KIND]
    assert judge(bundle(text, lab=True), "ip:10.0.0.1") == [ReasonCode.NAME_NOT_ALLOWED]


def test_bound_of_a_credential_holds_for_every_name() -> None:
    rules = load(
        policy(
            names="subject: {CN: {source: csr, allow: {any: true}}}\ncn_in_san: false\n"
            "dns: {suffix: [test], wildcard: allow}\nip: {cidr: 10.0.0.0/8}\nemail: {suffix: [test]}"
        )
    )
    bound = basic_evidence(names=("*.a.test", "Device1"))
    assert isinstance(decide(rules, request("dns:x.a.test", cn="X.a.test"), bound), Allow)
    assert isinstance(decide(rules, request("dns:*.a.test", "email:m@a.test", cn="device1"), bound), Allow)
    for names, cn in (
        (["dns:b.test"], "a.test"),
        (["dns:xa.test"], "a.test"),
        (["dns:*.test"], "a.test"),
        (["ip:10.0.0.1"], "a.test"),
        (["email:m@b.test"], "a.test"),
        (["dns:a.test"], "b.test"),
        ([], "other"),
    ):
        assert codes(decide(rules, request(*names, cn=cn), bound)) == [ReasonCode.AUTH_CREDENTIAL_SCOPE]


def test_client_certificate_may_ask_for_its_own_names_only_where_the_rule_says_so() -> None:
    own = Authority("Factory").issue(cn="a.test", sans=["a.test", "b.test"])
    evidence = Evidence((VerifiedCredential(MTLS, "cert:1", "CN=a.test", own.certificate_der),))
    rules = load(policy(authenticate="{mtls: {trust: own, names: own}}"))

    def ask(*names: str, cn: str) -> list[ReasonCode]:
        decision = decide(rules, request(*names, cn=cn, presented=(certificate(),)), evidence)
        return codes(decision) if isinstance(decision, Deny) else []

    assert ask("dns:b.test", cn="A.test") == []
    assert ask(cn="a.test") == []
    assert ask("dns:c.test", cn="a.test") == [ReasonCode.AUTH_CREDENTIAL_SCOPE]
    assert ask("dns:b.test", cn="other") == [ReasonCode.AUTH_CREDENTIAL_SCOPE]
