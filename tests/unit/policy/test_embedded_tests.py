"""Tests that stand in policies: run at load, each by the whole bundle; a failing one is a mistake."""

from __future__ import annotations

from textwrap import dedent

import pytest

from gateway.policy.embedded_tests import MAX_TESTS_OF_BUNDLE
from tests.unit.policy.embedded import fault, only, results
from tests.unit.policy.sample import HOUSE, policy, renewal_policy

SCEP = (
    "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: default}\nprotocol: scep\nbackend: embedded\n"
)
ACME = SCEP.replace("scep", "acme")
CMP = SCEP.replace("scep", "cmp")


SCEP_PARTS = {
    "match": "{protocol: scep, endpoint: default, operation: enroll}",
    "authenticate": "{challenge: {}}",
}
ACME_PARTS = {
    "match": "{protocol: acme, endpoint: default, operation: enroll}",
    "authenticate": "{acme-account: {challenges: [http-01, dns-01]}}",
    "names": "{subject: first-dns, dns: {suffix: [test], wildcard: allow}}",
}
CMP_PARTS = {
    "match": "{protocol: cmp, endpoint: default, operation: enroll}",
    "authenticate": "{signature: {trust: own, names: any}}",
}
PASSING = {
    "allowed": (policy, {}, "{csr: {subject: {CN: device 1}, dns: [a.test]}}", "{decision: allow}"),
    "plan": (
        policy,
        {"extensions": "{extended_key_usage: clientAuth}"},
        "{csr: {subject: {CN: device 1}, dns: [a.test, B.test]}}",
        "{decision: allow, subject: CN=device 1, san: [a.test, 'dns:b.test'], eku: clientAuth}",
    ),
    "approval": (
        policy,
        {"approval": "{required: 1, expires: 1d}"},
        "{csr: {dns: [a.test]}}",
        "{decision: pend, policy: rules}",
    ),
    "refused": (
        policy,
        {},
        "{csr: {dns: [a.example]}}",
        "{decision: deny, rule: names, code: name.not-allowed, http: 400}",
    ),
    "rule-below": (policy, {}, "{csr: {dns: [a.example]}}", "{decision: deny, rule: rules.names.dns}"),
    "wrong-password": (
        policy,
        {},
        "{user: {valid: false}}",
        "{decision: deny, code: auth.failed, http: 401}",
    ),
    "elsewhere": (
        policy,
        {"match": "{protocol: est, operation: enroll, source_ip: 10.0.0.0/8}"},
        "{source_ip: 192.0.2.1, csr: {dns: [a.test]}}",
        "{decision: deny, code: policy.no-match, http: 403}",
    ),
    "inside": (
        policy,
        {"match": "{protocol: est, operation: enroll, source_ip: 10.0.0.0/8}"},
        "{csr: {dns: [a.test]}}",
        "{decision: allow}",
    ),
    "linking": (
        policy,
        {"authenticate": "{basic: {}, pop_linking: required}"},
        "{csr: {dns: [a.test]}}",
        "{decision: allow}",
    ),
    "no-linking": (
        policy,
        {"authenticate": "{basic: {}, pop_linking: required}"},
        "{linking: absent, csr: {dns: [a.test]}}",
        "{decision: deny, code: csr.linking}",
    ),
    "both-credentials": (
        policy,
        {"authenticate": "{basic: {}, mtls: {trust: own}, require: all}"},
        "{user: {name: bob}, csr: {dns: [a.test]}}",
        "{decision: allow}",
    ),
    "known-key": (
        policy,
        {"keys": "{ec: [P-256], reuse: deny}"},
        "{known_key: true, csr: {dns: [a.test]}}",
        "{decision: deny, code: key.reuse}",
    ),
    "groups": (
        policy,
        {"authenticate": "{basic: {groups: [web]}}"},
        "{user: {groups: [db]}, csr: {dns: [a.test]}}",
        "{decision: deny, rule: authenticate, http: 403}",
    ),
    "renewal": (renewal_policy, {}, "{previous: {dns: [a.test]}}", "{decision: allow, san: a.test}"),
    "rekey": (renewal_policy, {}, "{operation: rekey, previous: {dns: [a.test]}}", "{decision: allow}"),
    "too-early": (
        renewal_policy,
        {"renewal": "{window: 10d}"},
        "{previous: {dns: [a.test], expires_in: 11d}}",
        "{decision: deny, rule: renewal.window, code: renewal.window}",
    ),
    "in-time": (
        renewal_policy,
        {"renewal": "{window: 10d}"},
        "{previous: {dns: [a.test]}}",
        "{decision: allow}",
    ),
    "not-ours": (
        renewal_policy,
        {},
        "{client: {trusted: false, reason: expired}, previous: {dns: [a.test]}}",
        "{decision: deny, code: auth.certificate-expired, http: 403}",
    ),
}


@pytest.mark.parametrize(("made", "parts", "request_text", "expect"), PASSING.values(), ids=PASSING)
def test_what_is_expected_and_comes_passes(
    made: object, parts: dict[str, str], request_text: str, expect: str
) -> None:
    assert callable(made)
    ((_, verdict, differs),) = results(made(**{**parts, "tests": only(request_text, expect)}))
    assert differs == ""
    assert f"decision: {verdict}" in expect


PROTOCOLS = {
    "scep": (SCEP, SCEP_PARTS, "{csr: {dns: [a.example]}}", "scep_failinfo: badRequest"),
    "scep-key": (SCEP, SCEP_PARTS, "{csr: {key: rsa-1024, dns: [a.test]}}", "scep_failinfo: badAlg"),
    "scep-challenge": (SCEP, SCEP_PARTS, "{challenge: {valid: false}}", "scep_failinfo: badRequest"),
    "acme-name": (ACME, ACME_PARTS, "{csr: {dns: [a.example]}}", "acme_error: rejectedIdentifier, http: 403"),
    "acme-key": (ACME, ACME_PARTS, "{csr: {key: rsa-1024, dns: [a.test]}}", "acme_error: badCSR, http: 400"),
    "acme-proof": (ACME, ACME_PARTS, "{csr: {dns: [a.test]}, proven: []}", "acme_error: unauthorized"),
    "cmp-name": (CMP, CMP_PARTS, "{csr: {dns: [a.example]}}", "cmp_fail: badCertTemplate"),
    "cmp-trust": (CMP, CMP_PARTS, "{client: {trusted: false}}", "cmp_fail: signerNotTrusted"),
}


@pytest.mark.parametrize(("endpoint", "parts", "asked", "words"), PROTOCOLS.values(), ids=PROTOCOLS)
def test_refusal_is_told_in_the_words_of_its_protocol(
    endpoint: str, parts: dict[str, str], asked: str, words: str
) -> None:
    expect = f"{{decision: deny, {words}}}"
    ((_, _, differs),) = results(endpoint, policy(**parts, tests=only(asked, expect)))
    assert differs == ""


FAILING = {
    "decision": (
        "{csr: {key: rsa-1024, dns: [a.test]}}",
        "{decision: allow}",
        "test 'one': expected allow, got deny: key.size (rules.keys at p.yaml:23:1): an RSA key",
    ),
    "granted": (
        "{csr: {dns: [a.test]}}",
        "{decision: deny}",
        "expected deny, got allow; correct the policy or the",
    ),
    "subject": (
        "{csr: {subject: {CN: device 1}}}",
        "{decision: allow, subject: CN=device 2}",
        "tests.0.expect.subject: test 'one': expected CN=device 2, got CN=device 1;",
    ),
    "san": (
        "{csr: {dns: [a.test, b.test]}}",
        "{decision: allow, san: a.test}",
        "expected a.test, got dns:a.test, dns:b.test;",
    ),
    "usage": (
        "{csr: {dns: [a.test]}}",
        "{decision: allow, eku: serverAuth}",
        "expected serverAuth, got none;",
    ),
    "validity": ("{csr: {dns: [a.test]}}", "{decision: allow, validity: 1y}", "expected 365d, got 90d;"),
    "backend": (
        "{csr: {dns: [a.test]}}",
        "{decision: allow, backend: other}",
        "expected other, got embedded;",
    ),
    "policy": ("{csr: {dns: [a.test]}}", "{decision: allow, policy: other}", "expected other, got rules;"),
    "code": (
        "{csr: {dns: [a.example]}}",
        "{decision: deny, code: key.size}",
        "expected key.size, got name.not-allowed;",
    ),
    "rule": (
        "{csr: {dns: [a.example]}}",
        "{decision: deny, rule: keys}",
        "expected keys, got rules.names.dns;",
    ),
    "status": ("{csr: {dns: [a.example]}}", "{decision: deny, http: 403}", "expected 403, got 400;"),
    "other-words": (
        "{csr: {dns: [a.example]}}",
        "{decision: deny, scep_failinfo: badRequest}",
        "expected badRequest, got none: est has http;",
    ),
}


@pytest.mark.parametrize(("asked", "expect", "told"), FAILING.values(), ids=FAILING)
def test_failing_test_keeps_the_bundle_from_being_loaded_and_says_what_came(
    asked: str, expect: str, told: str
) -> None:
    text = fault(policy(tests=only(asked, expect)))
    assert told in text
    line = HOUSE.count("\n") + len(policy().splitlines()) + 1
    assert text.startswith(f"p.yaml:{line}:")
    assert "\n" not in text


def test_more_tests_than_are_run_at_every_load_are_refused() -> None:
    many = dedent("- {name: same, request: {csr: {dns: [a.test]}}, expect: {decision: allow}}\n") * 200
    documents = [
        policy(f"rules-{index}", priority=str(index), tests=many)
        for index in range(MAX_TESTS_OF_BUNDLE // 200 + 1)
    ]
    assert "all policies together have 2200 tests; at most 2000 are run at every load" in fault(*documents)
    over = policy(tests=many + "- {name: same, expect: {decision: allow}}\n")
    assert "tests: there are too many values; at most 200" in fault(over)


def test_test_is_decided_by_the_whole_bundle() -> None:
    first = policy(
        "first", priority="50", names="{subject: {CN: {source: csr, allow: {plain: true}}}, cn_in_san: false}"
    )
    asked = "{csr: {subject: {CN: device 1}, dns: [a.test]}}"
    late = policy("late", tests=only(asked, "{decision: deny, policy: first, code: name.kind}"))
    assert [differs for _, _, differs in results(first, late)] == [""]


def test_revocation_policies_have_tests_too() -> None:
    revocation = dedent(
        """\
        apiVersion: pkigate/v1
        kind: Policy
        metadata: {name: revoking}
        priority: 10
        match: {protocol: cmp, endpoint: default, operation: revoke}
        authenticate: {signature: {trust: own}}
        tests:
        - {name: ours, expect: {decision: allow}}
        - name: strange
          request: {client: {trusted: false}}
          expect: {decision: deny, cmp_fail: signerNotTrusted}
        - {name: secret, request: {mac: {}}, expect: {decision: deny, code: auth.kind}}
        """
    )
    found = results(CMP, policy(), revocation)
    assert [(verdict, differs) for _, verdict, differs in found] == [
        ("allow", ""),
        ("deny", ""),
        ("deny", ""),
    ]


def test_facts_of_a_certificate_and_entries_of_lists_are_taken_from_the_test() -> None:
    parts = {
        "authenticate": """
          mtls: {trust: own, extract: {serial: {from: subject.serialNumber, regex: 'SN:([A-Z0-9]+)'}}}
          allow_list: {list: serials, fact: client.serial}
        """,
        "names": '{subject: {CN: {source: template, value: "${client.serial}"}}, cn_in_san: false}',
        "tests": """
        - name: said
          request: {client: {serial: A1}, list: {serials: [A1]}}
          expect: {decision: allow, subject: CN=A1}
        - name: read in the certificate
          request: {client: {subject: {serialNumber: "SN:B2"}}, list: {serials: [B2]}}
          expect: {decision: allow, subject: CN=B2}
        - name: not in the list
          request: {client: {serial: C3}, list: {serials: [A1]}}
          expect: {decision: deny, http: 403}
        - name: without what is read
          request: {client: {subject: {serialNumber: "B2"}}, list: {serials: [B2]}}
          expect: {decision: deny, rule: authenticate.mtls.extract.serial, http: 403}
        """,
    }
    serials = "apiVersion: pkigate/v1\nkind: List\nmetadata: {name: serials}\ntype: serial\nentries: [ZZ]\n"
    assert [differs for _, _, differs in results(serials, policy(**parts))] == ["", "", "", ""]


def test_policy_on_trial_is_tried_as_if_it_decided() -> None:
    shadow = policy(
        "later",
        priority="50",
        mode="shadow",
        tests=only("{csr: {dns: [a.test]}}", "{decision: deny}"),
        keys="{eddsa: [Ed25519]}",
    )
    shadow = shadow.replace("request: {csr: {", "request: {csr: {key: ec-p256, ")
    assert results(policy(tests=only("{csr: {dns: [a.test]}}", "{decision: allow}")), shadow) == [
        ("one", "allow", ""),
        ("one", "deny", ""),
    ]


def test_tests_are_not_inherited() -> None:
    template = policy("base", priority="50", tests=only("{csr: {dns: [a.test]}}", "{decision: allow}"))
    heir = "apiVersion: pkigate/v1\nkind: Policy\nmetadata: {name: heir}\nextends: base\npriority: 60\n"
    heir += "match: {protocol: est, operation: renew}\nauthenticate: {mtls: {trust: own}}\n"
    assert len(results(template, heir)) == 1


def test_limit_that_people_watch_makes_a_request_wait() -> None:
    tests = only("{csr: {dns: [a.test]}, limits: {exceeded: true}}", "{decision: pend}")
    watched = policy(limits="[{per: policy, count: 1, window: 1h, on_exceed: pend}]", tests=tests)
    strict = policy("strict", priority="200", limits="[{per: policy, count: 1, window: 1h}]")
    assert results(watched, strict) == [("one", "pend", "")]
