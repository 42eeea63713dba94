"""What an order says it replaces (RFC 9773 section 5) softens no rule: each refuses as it does without."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.model.evidence import Evidence
from gateway.model.keys import ClientKey, KeyType, Pop, PublicKey
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import Selected, evaluate, select
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.rules import SubjectForm
from tests.unit.policy.acme_sample import account, acme_bundle, acme_policy, ordered, previewed, proof
from tests.unit.policy.sample import (
    CA_END,
    NOW,
    allowed,
    client_key,
    codes,
    decide,
    facts,
    previous,
    subject,
)

REPLACED = b"the certificate that is replaced"
PROVEN = account(proof("dns:a.test"))
RSA_1024 = PublicKey(b"spki", "00" * 32, KeyType.RSA, 1024, rsa_exponent=65537)
COPY = {
    "match": "{protocol: acme, operation: [enroll, rekey]}",
    "names": "{subject: {}, dns: {suffix: [test]}}",
    "renewal": "{missing_san: copy, name_change: allow}",
}
# Rule: what it says, and (rules of the policy, names, parts of the order, evidence, facts).
Case = tuple[ReasonCode, dict[str, str], tuple[str, ...], dict[str, Any], Evidence, dict[str, Any]]
RULES: dict[str, Case] = {
    "keys.reuse": (
        ReasonCode.KEY_REUSE,
        {"keys": "{ec: P-256, reuse: deny}"},
        ("dns:a.test",),
        {},
        PROVEN,
        {"key_known_to_others": True},
    ),
    "keys.ec": (ReasonCode.KEY_TYPE, {"keys": "{rsa: {}}"}, ("dns:a.test",), {}, PROVEN, {}),
    "keys.rsa": (ReasonCode.KEY_SIZE, {}, ("dns:a.test",), {"key": client_key(RSA_1024)}, PROVEN, {}),
    "possession": (
        ReasonCode.CSR_POSSESSION,
        {},
        ("dns:a.test",),
        {"key": ClientKey(client_key().public_key, Pop.NONE, "sha256")},
        PROVEN,
        {},
    ),
    "proof": (ReasonCode.NAME_UNPROVEN, {}, ("dns:a.test",), {}, account(), {}),
    "names.dns": (
        ReasonCode.NAME_NOT_ALLOWED,
        {"names": "{subject: first-dns, dns: {suffix: [b.test]}}"},
        ("dns:a.test",),
        {},
        PROVEN,
        {},
    ),
    "names.dns.max": (
        ReasonCode.NAME_COUNT,
        {"names": "{subject: first-dns, dns: {suffix: [test], max: 1}}"},
        ("dns:a.test", "dns:b.test"),
        {},
        account(proof("dns:a.test"), proof("dns:b.test")),
        {},
    ),
    "names copied": (ReasonCode.NAME_MISSING, COPY, (), {}, account(), {}),
    "subject": (ReasonCode.SUBJECT_CN, {}, ("dns:a.test",), {"cn": "device 1"}, PROVEN, {}),
    "credential.names": (
        ReasonCode.AUTH_CREDENTIAL_SCOPE,
        {},
        ("dns:a.test",),
        {},
        account(proof("dns:a.test"), credential_id="9", names=("b.test",)),
        {},
    ),
    "credential.profiles": (
        ReasonCode.PROFILE_UNKNOWN,
        {},
        ("dns:a.test",),
        {},
        account(proof("dns:a.test"), credential_id="9", profiles=("short",)),
        {},
    ),
    "validity": (
        ReasonCode.VALIDITY,
        {"validity": "{default: 7d, max: 7d, client_may_request: true}"},
        ("dns:a.test",),
        {"not_after": NOW + timedelta(days=9)},
        PROVEN,
        {},
    ),
    "validity of the CA": (
        ReasonCode.VALIDITY,
        {"validity": "{default: 7d, max: 9000d, client_may_request: true}"},
        ("dns:a.test",),
        {"not_after": CA_END + timedelta(seconds=1)},
        PROVEN,
        {},
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_refuses_an_order_whatever_it_replaces(rule: str) -> None:
    """acme.md C67, C96: the replaced certificate has the same key and names and was issued here."""
    code, rules, names, parts, evidence, known = RULES[rule]
    bundle = acme_bundle(acme_policy(**rules))
    asked = ordered(*names, **parts)
    plain = decide(bundle, asked, evidence, facts(**known))
    assert code in codes(plain)
    for old in (_replaced(asked.key), _replaced(asked.key, cn="a.test"), None):
        with_old: Facts = facts(**known, previous=old)
        replacing = decide(bundle, replace(asked, renews_der=REPLACED), evidence, with_old)
        assert codes(replacing) == codes(plain)


def test_plan_of_an_order_is_the_same_whatever_it_replaces() -> None:
    bundle = acme_bundle()
    asked = ordered("dns:a.test")
    plain = allowed(decide(bundle, asked, PROVEN)).plan
    old = _replaced(asked.key, "dns:a.test", "dns:b.test", "dns:evil.com", cn="b.test")
    replacing = replace(asked, renews_der=REPLACED)
    assert allowed(decide(bundle, replacing, PROVEN, facts(previous=old))).plan == plain
    assert previewed(bundle, "dns:a.test", known=facts(previous=old), renews_der=REPLACED) == previewed(
        bundle, "dns:a.test"
    )


def test_subject_of_a_replaced_certificate_is_kept_by_no_order() -> None:
    """A policy that keeps subjects is for renewals; were one asked about an order, it keeps nothing."""
    bundle = acme_bundle()
    asked = replace(ordered("dns:a.test"), renews_der=REPLACED)
    selected = select(bundle, asked)
    assert isinstance(selected, Selected)
    names = replace(selected.policy.names, subject=SubjectForm.KEEP_FROM_PREVIOUS)
    keeping = Selected(replace(selected.policy, names=names), selected.trace)
    old = replace(_replaced(asked.key), subject=subject(("O", "Somebody Else")))
    plan = allowed(evaluate(bundle, keeping, asked, PROVEN, facts(previous=old))).plan
    assert plan is not None
    assert not plan.subject


def _replaced(key: Any, *names: str, cn: str = "device 1") -> PreviousCertificate:
    return previous(*(names or ("dns:a.test",)), cn=cn, key=key.public_key)
