"""The subject: built by rules from the CSR, the first DNS name or the old certificate."""

from __future__ import annotations

import pytest

from gateway.model.decision import Allow
from gateway.model.names import CN_OID, AttributeTypeAndValue, DistinguishedName
from gateway.model.reasons import ReasonCode
from gateway.policy.name_bound import read_bound
from tests.unit.policy.sample import allowed, basic_evidence, codes, decide, load, policy, request, subject

COMMON_NAMES = {
    "device 17": True,
    "device_17-a": True,
    "a" * 64: True,
    "a" * 65: False,
    "a.test": True,
    "A.Test": True,
    "*.a.test": False,
    "evil.com": False,
    "127.0.0.1": False,
    "a.test.": False,
    " device": False,
    "device ": False,
    "dévice": False,
    "a\0b": False,
    "device\n": False,
    "a@b": False,
}


@pytest.mark.parametrize("value", COMMON_NAMES)
def test_common_name_is_judged_by_its_values(value: str) -> None:
    decision = decide(load(policy()), request(cn=value))
    if COMMON_NAMES[value]:
        plan = allowed(decision).plan
        assert plan is not None
        assert plan.subject.values(CN_OID) == (value,)
    else:
        code = codes(decision)[0]
        assert code in {ReasonCode.SUBJECT_CN, ReasonCode.NAME_MALFORMED, ReasonCode.NAME_WILDCARD}


ZONES = ["::1%www.google.com", "::ffff:127.0.0.1%bank.example.com", "fe80::1%eth0"]


@pytest.mark.parametrize("value", ZONES)
def test_address_with_a_zone_is_no_common_name_even_in_the_lab(value: str) -> None:
    rules = load(
        policy(names="subject: {CN: {source: csr, allow: {lab_loopback: true}}}\ncn_in_san: false"), lab=True
    )
    assert isinstance(decide(rules, request(cn="::1")), Allow)
    assert codes(decide(rules, request(cn=value))) == [ReasonCode.SUBJECT_CN]


def test_common_name_must_be_among_the_alternative_names_unless_said_otherwise() -> None:
    rules = load(policy(names="subject: {CN: {source: csr}}\ndns: {suffix: [test]}"))
    assert isinstance(decide(rules, request("dns:a.test", cn="A.test")), Allow)
    assert codes(decide(rules, request("dns:a.test", cn="b.test"))) == [ReasonCode.SUBJECT_CN]
    assert isinstance(decide(rules, request("dns:a.test", cn=None)), Allow)


@pytest.mark.parametrize("cn", ["stra\u00dfe.test", "kio\u017fk.test", "\u212aiosk.test"])
@pytest.mark.parametrize("form", ["{CN: {source: csr}}", "first-dns"])
def test_letters_that_case_folding_makes_ascii_ones_of_are_other_letters(cn: str, form: str) -> None:
    """Otherwise straße.test, which is another host, would stand beside strasse.test unasked."""
    rules = load(policy(names=f"subject: {form}\ndns: {{suffix: [test]}}"))
    asked = request("dns:strasse.test", "dns:kiosk.test", cn=cn)
    assert codes(decide(rules, asked)) == [ReasonCode.SUBJECT_CN]


def test_first_dns_name_becomes_the_common_name() -> None:
    rules = load(policy(names="subject: first-dns\ndns: {suffix: [test]}"))
    plan = allowed(decide(rules, request("dns:b.test", "dns:a.test", cn="a.test"))).plan
    assert plan is not None
    assert plan.subject == subject(("CN", "b.test"))
    long_name = ".".join(["a" * 60, "b" * 60, "test"])
    plan = allowed(decide(rules, request(f"dns:{long_name}", cn=None))).plan
    assert plan is not None
    assert not plan.subject
    assert codes(decide(rules, request("dns:a.test", cn="evil.com"))) == [ReasonCode.SUBJECT_CN]
    assert codes(decide(rules, request(cn=None))) == [ReasonCode.NAME_MISSING]


ADDRESSES = "subject: first-dns\ndns: {suffix: [test], wildcard: allow}\nip: {cidr: 10.0.0.0/8}"
FIRST_DNS = {
    # CN of the request, names -> CN of the certificate, None: refused
    (None, ("ip:10.0.0.1",)): "",
    ("10.0.0.1", ("ip:10.0.0.1",)): "",
    ("10.0.0.1", ("ip:10.0.0.1", "dns:a.test")): "a.test",
    ("a.test", ("ip:10.0.0.1", "dns:a.test")): "a.test",
    ("10.0.0.2", ("ip:10.0.0.1",)): None,
    ("*.a.test", ("dns:*.a.test", "dns:a.test")): "*.a.test",
    ("b.test", ("ip:10.0.0.1",)): None,
}


@pytest.mark.parametrize(("cn", "names"), FIRST_DNS)
def test_address_never_becomes_the_common_name(cn: str | None, names: tuple[str, ...]) -> None:
    """acme.md C91: certbot fails on such a certificate after it was issued."""
    decision = decide(load(policy(names=ADDRESSES)), request(*names, cn=cn))
    common_name = FIRST_DNS[cn, names]
    if common_name is None:
        assert codes(decision) == [ReasonCode.SUBJECT_CN]
        return
    plan = allowed(decision).plan
    assert plan is not None
    assert plan.subject == (subject(("CN", common_name)) if common_name else DistinguishedName())


def test_other_attributes_are_left_out_where_the_first_dns_name_is_the_subject() -> None:
    asked = request("dns:a.test", name=subject(("C", "NO"), ("O", "Web Ltd"), ("CN", "a.test")))
    decision = allowed(decide(load(policy(names=ADDRESSES)), asked))
    assert decision.plan is not None
    assert decision.plan.subject == subject(("CN", "a.test"))
    assert any(step.message.endswith("left out: C, O") for step in decision.trace if step.step == "names")


ATTRIBUTES = """
subject:
  CN: {source: csr, required: true, allow: {plain: true}}
  O: {source: fixed, value: Example Factory}
  C: {source: csr, allow: {exact: [NO, SE, "N*"]}}
  OU: {source: drop}
  serialNumber: {source: csr, required: true, allow: {any: true}}
cn_in_san: false
"""


def test_subject_is_built_by_attribute() -> None:
    rules = load(policy(names=ATTRIBUTES))
    asked = subject(("C", "NO"), ("O", "Evil"), ("OU", "x"), ("CN", "d1"), ("serialNumber", "7"))
    plan = allowed(decide(rules, request(name=asked))).plan
    assert plan is not None
    assert str(plan.subject) == "C=NO,O=Example Factory,CN=d1,serialNumber=7"
    short = subject(("CN", "d1"), ("serialNumber", "7"))
    plan = allowed(decide(rules, request(name=short))).plan
    assert plan is not None
    assert str(plan.subject) == "CN=d1,serialNumber=7,O=Example Factory"


SUBJECTS: dict[str, tuple[list[tuple[str, str]], list[ReasonCode]]] = {
    "required-missing": ([("CN", "d1")], [ReasonCode.NAME_MISSING]),
    "not-allowed": ([("L", "Oslo"), ("CN", "d"), ("serialNumber", "7")], [ReasonCode.SUBJECT_ATTRIBUTE]),
    "value": ([("C", "DE"), ("CN", "d"), ("serialNumber", "7")], [ReasonCode.SUBJECT_ATTRIBUTE]),
    "case-of-value": ([("C", "no"), ("CN", "d"), ("serialNumber", "7")], [ReasonCode.SUBJECT_ATTRIBUTE]),
    "too-long": ([("C", "NOR"), ("CN", "d"), ("serialNumber", "7")], [ReasonCode.SUBJECT_ATTRIBUTE]),
    "twice": ([("CN", "d"), ("CN", "e"), ("serialNumber", "7")], [ReasonCode.SUBJECT_CN]),
    "cannot-be-written": ([("CN", "d"), ("serialNumber", "ü")], [ReasonCode.NAME_MALFORMED]),
    "cannot-be-written-in-c": (
        [("C", "N*"), ("CN", "d"), ("serialNumber", "7")],
        [ReasonCode.NAME_MALFORMED],
    ),
}


@pytest.mark.parametrize("case", SUBJECTS)
def test_subject_outside_the_rules_is_refused(case: str) -> None:
    attributes, expected = SUBJECTS[case]
    assert codes(decide(load(policy(names=ATTRIBUTES)), request(name=subject(*attributes)))) == expected


def test_value_that_is_no_character_string_is_refused() -> None:
    odd = DistinguishedName(((AttributeTypeAndValue(CN_OID, "#0101ff", 1),),))
    rules = load(policy(names="subject: {CN: {source: csr, allow: {any: true}}}\ncn_in_san: false"))
    assert codes(decide(rules, request(name=odd))) == [ReasonCode.NAME_MALFORMED]


def test_old_string_types_become_utf8() -> None:
    old = DistinguishedName(((AttributeTypeAndValue(CN_OID, "device", 30),),))
    plan = allowed(decide(load(policy()), request(name=old))).plan
    assert plan is not None
    assert plan.subject.rdns[0][0].tag == 12


def test_subject_of_many_attributes_is_refused() -> None:
    many = subject(*[("OU", str(index)) for index in range(60)])
    assert codes(decide(load(policy()), request(name=many))) == [ReasonCode.SUBJECT_ATTRIBUTE]


def test_attributes_without_a_rule_are_dropped_only_where_the_rule_says_so() -> None:
    rules = load(
        policy(names="subject: {CN: {source: csr, allow: {any: true}}}\ncn_in_san: false\non_extra: drop")
    )
    plan = allowed(decide(rules, request(name=subject(("L", "Oslo"), ("CN", "d"))))).plan
    assert plan is not None
    assert plan.subject == subject(("CN", "d"))


@pytest.mark.parametrize("value", ["::1%evil.com@bank.line1.example", "a b.line1.example", "x@line1.example"])
def test_text_that_only_ends_like_a_bound_name_is_beyond_the_credential(value: str) -> None:
    bound = read_bound(["line1.example"])
    assert bound.holds_text("press-1.line1.example")
    assert not bound.holds_text(value)


def test_common_name_that_was_refused_as_alternative_name_is_not_called_missing_there() -> None:
    rules = load(policy(names="subject: {CN: {source: csr}}\ndns: {suffix: [test], required: true}"))
    assert codes(decide(rules, request("dns:a.evil", cn="A.evil"))) == [ReasonCode.NAME_NOT_ALLOWED]
    assert codes(decide(rules, request("dns:a.evil", cn="b.evil"))) == [
        ReasonCode.NAME_NOT_ALLOWED,
        ReasonCode.SUBJECT_CN,
    ]
    first = load(policy(names="subject: first-dns\ndns: {suffix: [test]}"))
    assert codes(decide(first, request("dns:a.evil", cn="a.evil"))) == [ReasonCode.NAME_NOT_ALLOWED]
    groups = "[{name: a, dns: {suffix: a.test}}, {name: b, dns: {suffix: b.test}}]"
    grouped = load(policy(names=f"{{subject: first-dns, groups: {groups}, dns: {{required: true}}}}"))
    assert codes(decide(grouped, request("dns:a.evil", cn="a.evil"))) == [ReasonCode.NAME_NOT_ALLOWED]


def test_common_name_whose_alternative_name_was_left_out_is_refused() -> None:
    rules = load(policy(names="subject: {CN: {source: csr}}\ndns: {suffix: [test]}\non_extra: drop"))
    assert codes(decide(rules, request("dns:a.test", "dns:a.evil", cn="a.evil"))) == [ReasonCode.SUBJECT_CN]


def test_name_beyond_a_credential_is_told_once_for_common_name_and_alternative_name() -> None:
    rules = load(policy())
    bound = basic_evidence(names=("line1.test",))
    asked = request("dns:a.line2.test", cn="a.line2.test")
    assert codes(decide(rules, asked, bound)) == [ReasonCode.AUTH_CREDENTIAL_SCOPE]
    other = request("dns:a.line1.test", cn="a.line2.test")
    assert codes(decide(rules, other, bound)) == [ReasonCode.AUTH_CREDENTIAL_SCOPE]
