"""Tests that stand in policies: run at load, each by the whole bundle; a failing one is a mistake."""

from __future__ import annotations

from textwrap import dedent

import pytest

from gateway.errors import ConfigurationError
from gateway.plugins import load_plugins
from gateway.policy.embedded_tests import MAX_TESTS_OF_BUNDLE
from gateway.policy.load import load_bundle, load_with_tests
from gateway.policy.sources import PolicySource
from tests.unit.policy.sample import HOUSE, policy, renewal_policy

PLACE = "p.yaml:"
SCEP = (
    "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: default}\nprotocol: scep\nbackend: embedded\n"
)
ACME = SCEP.replace("scep", "acme")
CMP = SCEP.replace("scep", "cmp")


def results(*documents: str) -> list[tuple[str, str, str]]:
    """Name, verdict and what differs of every test."""
    source = PolicySource("p.yaml", HOUSE + "---\n".join(documents))
    _, found = load_with_tests((source,), load_plugins().registry(lab=False))
    return [
        (
            one.name,
            one.verdict,
            "; ".join(f"{one.document.where((*one.path, *d.at))} {d.text}" for d in one.differences),
        )
        for one in found
    ]


def fault(*documents: str) -> str:
    """What the loader says."""
    with pytest.raises(ConfigurationError) as caught:
        load_bundle(
            (PolicySource("p.yaml", HOUSE + "---\n".join(documents)),), load_plugins().registry(lab=False)
        )
    return str(caught.value)


def only(request: str, expect: str) -> str:
    """The text of one test."""
    return f"[{{name: one, request: {request}, expect: {expect}}}]"


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


MISTAKES = {
    "unknown-key": (
        "{crs: {}}",
        "{decision: allow}",
        "tests.0.request.crs: unknown key 'crs'; did you mean 'csr'?",
    ),
    "key": (
        "{csr: {key: rsa2048}}",
        "{decision: allow}",
        "'rsa2048' is no kind of key; did you mean 'rsa-2048'?",
    ),
    "short-key": ("{csr: {key: rsa-0512}}", "{decision: allow}", "write one from rsa-1024 to rsa-8192"),
    "odd-key": ("{csr: {key: rsa-2047}}", "{decision: allow}", "in steps of 128"),
    "attribute": (
        "{csr: {subject: {CommonName: x}}}",
        "{decision: allow}",
        "tests.0.request.csr.subject.CommonName: 'CommonName' is no attribute; write CN",
    ),
    "name": ("{csr: {dns: ['a..test']}}", "{decision: allow}", "tests.0.request.csr.dns.0: "),
    "address": ("{csr: {ip: [10.0.0.256]}}", "{decision: allow}", "tests.0.request.csr.ip.0: "),
    "source": ("{source_ip: here}", "{decision: allow}", "'here' is no address; write one like 192.0.2.7"),
    "moment": (
        "{now: today}",
        "{decision: allow}",
        "'today' is no moment; write one like '2030-01-31T12:00:00Z'",
    ),
    "decision": ("{}", "{decision: permit}", "'permit' is not known; one of allow, deny, pend"),
    "no-decision": ("{}", "{code: key.size}", "the key 'decision' is missing"),
    "code": (
        "{}",
        "{decision: deny, code: key.siz}",
        "'key.siz' is no reason code; did you mean 'key.size'?",
    ),
    "granted-code": (
        "{}",
        "{decision: allow, code: key.size}",
        "nothing that is granted has this; remove it",
    ),
    "refused-subject": (
        "{}",
        "{decision: deny, subject: CN=a}",
        "nothing that is refused has this; remove it",
    ),
    "fact": (
        "{client: {truste: 'true'}}",
        "{decision: allow}",
        "no `extract` of this policy gives the fact 'truste'; did you mean 'trusted'?",
    ),
    "made-fact": (
        "{client: {identity: me}}",
        "{decision: allow}",
        "'identity' is made by the gateway; remove it",
    ),
}


@pytest.mark.parametrize(("asked", "expect", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_in_a_test_is_told_with_its_place(asked: str, expect: str, told: str) -> None:
    parts = {"authenticate": "{basic: {}, mtls: {trust: own}}"}
    text = fault(policy(**parts, tests=only(asked, expect)))
    assert told in text
    assert text.startswith(PLACE)


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
