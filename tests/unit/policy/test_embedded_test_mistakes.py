"""Mistakes in tests that stand in policies: each is told with its place and what would be right."""

from __future__ import annotations

import pytest

from tests.unit.policy.embedded import fault, only
from tests.unit.policy.sample import policy

PLACE = "p.yaml:"
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
