"""What an administrator is told of a policy: file, line, column, what is wrong, what would be right."""

from __future__ import annotations

import pytest

from tests.unit.policy.sample import HOUSE, complaints, policy

GOOD = policy()
FIRST = HOUSE.count("\n") + 1  # the line of the policy's apiVersion

MISTAKES = {
    # what is replaced by what in the good policy: line after the policy's first, column, text
    "unknown-key": (
        "priority:",
        "prioritty:",
        4,
        1,
        "prioritty: unknown key 'prioritty'; did you mean 'priority'?",
    ),
    "planned-key": (
        "priority: 100",
        "priority: 100\nhooks: []",
        5,
        1,
        "hooks: 'hooks' is not available in this version; remove it",
    ),
    "missing-key": ("priority: 100\n", "", 1, 1, "the key 'priority' is missing; add it: The lowest number"),
    "no-number": ("100", "high", 4, 11, "priority: 'high' is no whole number; write one"),
    "number-too-large": ("100", "9999999", 4, 11, "priority: '9999999' is too large; at most 1000000"),
    "wrong-word": (
        "operation: enroll",
        "operation: enrol",
        5,
        54,
        "'enrol' is not known; did you mean 'enroll'?",
    ),
    "planned-operation": (
        "operation: enroll",
        "operation: keygen",
        5,
        54,
        "match.operation: 'keygen' is not available in this version; remove it",
    ),
    "planned-credential": (
        "operation: enroll}",
        "operation: enroll, auth: [api-token]}",
        5,
        62,
        "match.auth: 'api-token' is not available in this version; remove it",
    ),
    "auth-not-offered": (
        "operation: enroll}",
        "operation: enroll, auth: [basic, mtls]}",
        5,
        76,
        "match.auth.1: 'mtls' is not under authenticate; add it there or remove it here",
    ),
    "no-credential": (
        "authenticate: {basic: {}}",
        "authenticate: {}",
        6,
        1,
        "authenticate: no credential is asked for; add basic: {}",
    ),
    "credential-without-braces": (
        "authenticate: {basic: {}}",
        "authenticate:\n  mtls:",
        7,
        8,
        "authenticate.mtls: there is no value; write one, {} for none in particular, or remove the key",
    ),
    "unknown-endpoint": (
        "endpoint: default",
        "endpoint: defualt",
        5,
        34,
        "match.endpoint: there is no Endpoint of est 'defualt'; did you mean 'default'? Otherwise add an End",
    ),
    "unknown-protocol": (
        "protocol: est",
        "protocol: ets",
        5,
        19,
        "match.protocol: no installed plug-in brings the protocol 'ets'; did you mean 'est'?",
    ),
    "unknown-backend": (
        "issue: {backend: embedded}",
        "issue: {backend: embeded}",
        14,
        18,
        "issue.backend: there is no Backend 'embeded'; did you mean 'embedded'?",
    ),
    "unknown-trust-store": (
        "authenticate: {basic: {}}",
        "authenticate: {mtls: {trust: mine}}",
        6,
        30,
        "authenticate.mtls.trust: there is no TrustStore 'mine'; known here: own",
    ),
    "unknown-curve": (
        "[P-256, P-384]",
        "[P-256, P-348]",
        7,
        29,
        "keys.ec.1: 'P-348' is not known; did you mean 'P-384'?",
    ),
    "rsa-too-small": ("rsa: {}", "rsa: {min: 512}", 7, 19, "keys.rsa.min: '512' is too small; at least 1024"),
    "rsa-range": (
        "rsa: {}",
        "rsa: {min: 4096, max: 2048}",
        7,
        19,
        "keys.rsa.min: min 4096 is above max 2048; swap or correct them",
    ),
    "no-key": (
        "keys: {rsa: {}, ec: [P-256, P-384], eddsa: [Ed25519]}",
        "keys: {}",
        7,
        1,
        "keys: no key is allowed; add rsa: {}",
    ),
    "bad-duration": (
        "90d",
        "90 days",
        13,
        21,
        "validity.default: '90 days' is no duration; write a number and",
    ),
    "max-without-request": (
        "{default: 90d}",
        "{default: 90d, max: 1y}",
        13,
        31,
        "validity.max: max has no effect unless client_may_request: true",
    ),
    "max-below-default": (
        "{default: 90d}",
        "{default: 90d, max: 1d, client_may_request: true}",
        13,
        31,
        "validity.max: max is shorter than default",
    ),
    "suffix-with-dot": (
        "dns: {suffix: [test]}",
        "dns: {suffix: [.test]}",
        11,
        18,
        "'.test' begins with a dot; write 'test'",
    ),
    "suffix-with-wildcard": (
        "dns: {suffix: [test]}",
        'dns: {suffix: ["*.test"]}',
        11,
        18,
        "names.dns.suffix.0: '*.test' has a wildcard; write 'test', which holds all names below it",
    ),
    "suffix-not-ascii": (
        "dns: {suffix: [test]}",
        "dns: {suffix: [bücher.test]}",
        11,
        18,
        "send the A-label form",
    ),
    "exact-wildcard": (
        "dns: {suffix: [test]}",
        'dns: {exact: ["*.test"]}',
        11,
        17,
        "names.dns.exact.0: '*.test' needs wildcard: allow; add it",
    ),
    "network-bits": (
        "dns: {suffix: [test]}",
        "ip: {cidr: [10.0.0.1/8]}",
        11,
        15,
        "names.ip.cidr.0: '10.0.0.1/8' has bits set below its mask; did you mean '10.0.0.0/8'?",
    ),
    "uri-without-host": (
        "dns: {suffix: [test]}",
        'uri: {prefix: ["https://a.test"]}',
        11,
        18,
        "leaves the host open; write it with a slash after it",
    ),
    "unknown-attribute": (
        "    CN: {source: csr",
        "    serialnumber: {source: csr",
        10,
        5,
        "names.subject.serialnumber: 'serialnumber' is no subject attribute; did you mean 'serialNumber'?",
    ),
    "unbounded-attribute": (
        "    CN: {source: csr, allow: {plain: true, suffix: [test]}}",
        "    O: {source: csr}",
        10,
        5,
        "names.subject.O: nothing bounds this value; add allow:",
    ),
    "template-without-value": (
        "{source: csr, allow: {plain: true, suffix: [test]}}",
        "{source: template}",
        10,
        5,
        "a template attribute has no value; add the key value",
    ),
    "fixed-without-value": (
        "{source: csr, allow: {plain: true, suffix: [test]}}",
        "{source: fixed}",
        10,
        5,
        "names.subject.CN: a fixed attribute has no value; add the key value",
    ),
    "nothing-allowed": (
        "allow: {plain: true, suffix: [test]}",
        "allow: {wildcard: allow}",
        10,
        23,
        "names.subject.CN.allow: no value is allowed",
    ),
    "keep-at-enroll": (
        "  subject:\n    CN: {source: csr, allow: {plain: true, suffix: [test]}}",
        "  subject: keep-from-previous",
        9,
        12,
        "names.subject: a first enrolment has no previous certificate",
    ),
    "wrong-subject-word": (
        "  subject:\n    CN: {source: csr, allow: {plain: true, suffix: [test]}}",
        "  subject: first-dsn",
        9,
        12,
        "names.subject: 'first-dsn' is not known; did you mean 'first-dns'?",
    ),
    "mode": (
        "priority: 100",
        "priority: 100\nmode: shaddow",
        5,
        7,
        "mode: 'shaddow' is not known; did you mean 'shadow'?",
    ),
    "unreached-backend": (
        "issue: {backend: embedded}",
        "issue: [{backend: embedded}, {backend: embedded}]",
        14,
        30,
        "issue.1: this rule is never reached, since rule 1 has no `when`; give that one a `when`",
    ),
    "fallback": (
        "issue: {backend: embedded}",
        "issue: [{backend: embedded, fallback: [x]}]",
        14,
        40,
        "issue.0.fallback.0: there is no Backend 'x'",
    ),
    "fallback-profile": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded, fallback: {backend: embedded, profile: issueing}}",
        14,
        28,
        "issue.fallback: a mapping stands here; write a list: [a, b]",
    ),
    "fallback-known-profile": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded, fallback: [{backend: embedded, profile: issueing}]}",
        14,
        68,
        "issue.fallback.0.profile: the backend 'embedded' has no CA or profile 'issueing'",
    ),
    "fallback-to-itself": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded, fallback: [embedded]}",
        14,
        39,
        "issue.fallback.0: 'embedded' is asked already; name another backend",
    ),
    "fallback-on": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded, fallback_on: [connect-eror]}",
        14,
        42,
        "issue.fallback_on.0: 'connect-eror' is not known; did you mean 'connect-error'?",
    ),
    "issue-when": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded, when: san.dsn != san.ip}",
        14,
        34,
        "issue.when: there is no word 'san.dsn'; below 'san' did you mean 'dns'?",
    ),
    "issue-when-later": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded, when: validity.not_after > now}",
        14,
        34,
        "issue.when: 'validity' is not known here: its end depends on the CA that is chosen here; known",
    ),
    "issue-ca": (
        "issue: {backend: embedded}",
        "issue: [{backend: embedded, ca: x}]",
        14,
        29,
        "issue.0.ca: 'ca' is not available in this version; remove it",
    ),
    "approval-when": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded}\napproval: {when: limits.exeeded}",
        15,
        18,
        "approval.when: there is no word 'limits.exeeded'; below 'limits' did you mean 'exceeded'?",
    ),
    "check-list": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded}\nchecks: [{id: known, expr: \"inList('sites', subject.CN)\"}]",
        15,
        28,
        "checks.0.expr: there is no List 'sites'",
    ),
    "check-code": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded}\nchecks: [{id: known, expr: 'true', code: rateLimited}]",
        15,
        42,
        "checks.0.code: a check refuses for good, it has no 'rateLimited'; write limits: for that",
    ),
    "check-code-unknown": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded}\nchecks: [{id: known, expr: 'true', code: names}]",
        15,
        42,
        "checks.0.code: 'names' is not known; did you mean 'name'?",
    ),
    "check-twice": (
        "issue: {backend: embedded}",
        "issue: {backend: embedded}\nchecks: [{id: a, expr: 'true'}, {id: a, expr: 'false'}]",
        15,
        38,
        "checks.1.id: another check has the id 'a'; choose another",
    ),
    "ocsp-signing": (
        "validity:",
        "extensions: {extended_key_usage: [OCSPSigning]}\nvalidity:",
        13,
        35,
        "OCSPSigning is never given to an enrolled certificate; remove it",
    ),
    "unknown-usage": (
        "validity:",
        "extensions: {extended_key_usage: [serverauth]}\nvalidity:",
        13,
        35,
        "'serverauth' is no extended key usage; did you mean 'serverAuth'?",
    ),
    "usage-no-key-can-do": (
        "validity:",
        "extensions: {key_usage: [keyEncipherment]}\nvalidity:",
        13,
        14,
        "extensions.key_usage: none of keyEncipherment can be done by ec keys",
    ),
    "bad-name": ("{name: rules}", "{name: My Rules}", 3, 18, "metadata.name: 'My Rules' has the wrong form"),
    "rekey-with-old-key": (
        "operation: enroll}",
        "operation: [renew, rekey]}\nrenewal: {new_key: forbidden}",
        6,
        20,
        "renewal.new_key: a rekey always brings a new key",
    ),
    "api-version": (
        "pkigate/v1",
        "pkigate/v2",
        1,
        13,
        "apiVersion: 'pkigate/v2' is not known; did you mean 'pkigate/v1'?",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_in_a_policy_is_told_with_its_place(case: str) -> None:
    old, new, line, column, expected = MISTAKES[case]
    assert old in GOOD, "the case no longer fits the good policy"
    found = complaints(HOUSE + GOOD.replace(old, new, 1))
    place = f"p.yaml:{FIRST + line - 1}:{column}: "
    assert any(one.startswith(place) and expected in one for one in found), (place, found)
    assert all(";" in one for one in found), found


def test_wrong_word_of_a_list_is_told_once() -> None:
    (found,) = complaints(HOUSE + GOOD.replace("operation: enroll", "operation: [enrol]"))
    assert "match.operation.0: 'enrol' is not known; did you mean 'enroll'?" in found
    (empty,) = complaints(HOUSE + GOOD.replace("operation: enroll", "operation: []"))
    assert "match.operation: there are too few values; at least 1" in empty


def test_every_mistake_is_told_at_once_in_the_order_of_lines() -> None:
    text = GOOD.replace("priority: 100", "priority: x").replace("90d", "long").replace("[P-256", "[P-257")
    found = complaints(HOUSE + text)
    assert [int(one.split(":")[1]) - FIRST + 1 for one in found] == [4, 7, 13]
