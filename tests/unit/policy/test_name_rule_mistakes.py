"""What an administrator is told of mistakes in rules for names."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigurationError
from tests.unit.policy.acme_sample import acme_bundle, acme_policy
from tests.unit.policy.name_sample import (
    FREE_CN,
    HEAD,
    LISTED,
)
from tests.unit.policy.sample import (
    complaints,
    policy,
)

MISTAKES = {
    "regex": ("dns: {regex: ['ab[z-a]']}", "p.yaml:", "invalid character class range 'z-a' at character 4"),
    "look-around": ("dns: {regex: ['(?!a)b']}", "p.yaml:", "RE2 has no look-around"),
    "long-regex": (f"dns: {{regex: ['{'a' * 513}']}}", "p.yaml:", "has 513 characters; at most 512"),
    "huge-regex": ("dns: {regex: ['((a{100}){100})']}", "p.yaml:", "is no regular expression"),
    "glob": ("dns: {glob: ['a.**']}", "p.yaml:", "is no pattern of DNS names"),
    "glob-of-all": ("dns: {glob: ['*.*']}", "p.yaml:", "holds every name of so many labels"),
    "glob-question": ("email: {glob: ['a?@b.test']}", "p.yaml:", "only single stars have a meaning"),
    "template": ("dns: {template: ['${clint.x}.test']}", "p.yaml:", "did you mean 'client'?"),
    "fact": (
        "dns: {add: ['${client.serial}.test']}",
        "p.yaml:",
        "of this policy extracts 'serial'; add `extract`",
    ),
    "no-account": ("dns: {template: ['${account.name}.test']}", "p.yaml:", "this policy asks for no account"),
    "both-forms": ("dns: {allow: {suffix: [test]}, suffix: [test]}", "p.yaml:", "suffix stands beside allow"),
    "wildcard-beside-allow": (
        "dns: {allow: {suffix: [test]}, wildcard: allow}",
        "p.yaml:",
        "wildcard stands beside allow",
    ),
    "unknown-list": ("dns: {list: host}", "p.yaml:", "there is no List 'host'; did you mean 'hosts'?"),
    "other-type": ("other: {allow: {ump: {any: true}}}", "p.yaml:", "did you mean 'upn'?"),
    "other-short": ("other: {upn: {any: true}}", "p.yaml:", "'upn' is a type; write it below allow"),
    "other-by-oid": (
        "other: {allow: {'1.2.3': {suffix: [test]}}}",
        "p.yaml:",
        "nothing is known but its values' DER",
    ),
    "other-der": ("other: {allow: {'1.2.3': {der: [AAA]}}}", "p.yaml:", "is not one value in DER, as base64"),
    "exact-upn": (
        "other: {allow: {upn: {exact: [anna]}}}",
        "p.yaml:",
        "is no user principal name of the form",
    ),
    "exact-mail": ("email: {exact: [anna]}", "p.yaml:", "is no e-mail address of the form"),
    "exact-uri": ("uri: {exact: [anna]}", "p.yaml:", "is no absolute URI"),
    "type-twice": (
        "other: {allow: {upn: {any: true}, '1.3.6.1.4.1.311.20.2.3': {any: true}}}",
        "p.yaml:",
        "is the type 'upn' once more",
    ),
    "hw-type-of-upn": (
        "other: {allow: {upn: {hw_type: ['1.2.3']}}}",
        "p.yaml:",
        "only hardwareModuleName has",
    ),
    "under": ("directory: {under: ['Example']}", "p.yaml:", "is no attribute and value; write names like"),
    "attribute": ("directory: {attributes: {Cn: {any: true}}}", "p.yaml:", "did you mean 'CN'?"),
    "x400": ("x400: {any: true}", "p.yaml:", "'x400' names are never issued"),
    "add-above": ("add: ['x']", "p.yaml:", "'add' is said of each kind of name"),
    "fixed-template": (
        "directory: {add: [{Cn: x}]}",
        "p.yaml:",
        "'Cn' is no attribute of a name; did you mean 'CN'?",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_in_name_rules_is_told_with_its_place(case: str) -> None:
    names, place, expected = MISTAKES[case]
    found = complaints("---\n".join([HEAD, policy(names=FREE_CN + names), LISTED]))
    assert any(line.startswith(place) and expected in line for line in found), found


SUBJECT_MISTAKES = {
    "of-itself": ("{CN: {source: template, value: '${subject.O}'}}", "the subject is what is being made"),
    "fixed": ("{CN: {source: fixed, value: '${client.name}'}}", "this is a template; write source: template"),
    "unread-fact": (
        "{CN: {source: template, value: '${client.serial}'}}",
        "of this policy extracts 'serial'",
    ),
    "unknown-word": ("{CN: {source: template, value: '${clent.name}'}}", "did you mean 'client'?"),
}


@pytest.mark.parametrize("case", SUBJECT_MISTAKES)
def test_mistake_in_a_subject_template_is_told(case: str) -> None:
    rules, expected = SUBJECT_MISTAKES[case]
    found = complaints("---\n".join([HEAD, policy(names=f"{{subject: {rules}, cn_in_san: false}}")]))
    assert any(expected in line for line in found), found


def test_names_that_are_made_of_the_first_name_cannot_ask_for_it() -> None:
    names = "{subject: first-dns, dns: {template: ['${subject.CN}']}}"
    found = complaints("---\n".join([HEAD, policy(names=names)]))
    assert any("the subject is made of these names (first-dns)" in line for line in found), found


ACME_MISTAKES = {
    "added": (
        "{subject: first-dns, dns: {suffix: [test], add: [gw.test]}}",
        "cannot be added to an ACME order",
    ),
    "of-the-subject": (
        "{subject: {CN: {source: csr, allow: {suffix: [test]}}}, dns: {template: ['${subject.CN}']}}",
        "an order names its names before its subject is known",
    ),
}


@pytest.mark.parametrize("case", ACME_MISTAKES)
def test_names_of_an_order_are_never_made_by_the_policy(case: str) -> None:
    names, expected = ACME_MISTAKES[case]
    with pytest.raises(ConfigurationError) as caught:
        acme_bundle(acme_policy(names=names))
    assert expected in str(caught.value)
