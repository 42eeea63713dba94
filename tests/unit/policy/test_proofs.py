"""Every name of an ACME certificate is proven, in a way that the policy takes (RFC 8555 section 8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model.decision import Allow, Deny
from gateway.model.evidence import ACME_ACCOUNT, PREVALIDATED, Evidence, VerifiedCredential
from gateway.model.reasons import ReasonCode
from gateway.policy.render import decision_json
from tests.unit.policy.acme_sample import (
    account,
    acme_bundle,
    acme_policy,
    ordered,
    prevalidated,
    proof,
)
from tests.unit.policy.sample import allowed, basic_evidence, codes, decide, load, policy, request, sans

DNS_ONLY = "prove it by dns-01 in a new order"
UNPROVEN = [ReasonCode.NAME_UNPROVEN]
# acme.md C68: a wildcard is proven by dns-01 alone, an address never by dns-01
ABLE = {
    ("dns:a.test", "http-01"): True,
    ("dns:a.test", "dns-01"): True,
    ("dns:a.test", "tls-alpn-01"): True,
    ("dns:*.a.test", "http-01"): False,
    ("dns:*.a.test", "dns-01"): True,
    ("dns:*.a.test", "tls-alpn-01"): False,
    ("ip:10.0.0.1", "http-01"): True,
    ("ip:10.0.0.1", "dns-01"): False,
    ("ip:10.0.0.1", "tls-alpn-01"): True,
    ("ip:fd00::1", "http-01"): True,
    ("email:a@a.test", "http-01"): False,
    ("email:a@a.test", PREVALIDATED): False,
    ("dns:a.test", PREVALIDATED): False,
    ("dns:a.test", "invented-01"): False,
}


@pytest.mark.parametrize(("name", "method"), ABLE)
def test_name_is_granted_by_a_challenge_that_can_prove_it(name: str, method: str) -> None:
    decision = decide(acme_bundle(), ordered(name), account(proof(name, method)))
    if ABLE[name, method]:
        plan = allowed(decision).plan
        assert plan is not None
        assert plan.sans == sans(name)
    else:
        assert codes(decision) == UNPROVEN


@pytest.mark.parametrize(
    ("asked", "proven"),
    [
        ("dns:a.test", "dns:b.test"),
        ("dns:a.test", "dns:*.a.test"),
        ("dns:*.a.test", "dns:a.test"),
        ("dns:b.a.test", "dns:a.test"),
        ("dns:b.a.test", "dns:*.a.test"),
        ("ip:10.0.0.1", "ip:10.0.0.2"),
    ],
)
def test_proof_of_one_name_says_nothing_of_another(asked: str, proven: str) -> None:
    assert codes(decide(acme_bundle(), ordered(asked), account(proof(proven, "dns-01")))) == UNPROVEN


def test_every_unproven_name_is_told_with_its_place_and_what_to_do() -> None:
    asked = ordered("dns:a.test", "dns:b.test", "dns:*.c.test", "ip:10.0.0.1")
    decision = decide(acme_bundle(), asked, account(proof("dns:a.test"), proof("dns:*.c.test")))
    assert isinstance(decision, Deny)
    assert [(reason.code, reason.path) for reason in decision.reasons] == [
        (ReasonCode.NAME_UNPROVEN, "identity.sans[1]"),
        (ReasonCode.NAME_UNPROVEN, "identity.sans[2]"),
        (ReasonCode.NAME_UNPROVEN, "identity.sans[3]"),
    ]
    assert [reason.message for reason in decision.reasons] == [
        "'b.test' is not proven; prove it by http-01 or dns-01 or tls-alpn-01 in a new order",
        "'*.c.test' is not proven any more: http-01 does not count here now; " + DNS_ONLY,
        "'10.0.0.1' is not proven; prove it by http-01 or tls-alpn-01 in a new order",
    ]
    assert decision.reasons[0].rule == "web.authenticate.acme-account"
    assert decision.reasons[0].where.startswith("p.yaml:")


def test_proof_by_a_challenge_that_the_policy_has_dropped_counts_no_longer() -> None:
    """acme.md C70: authorizations are revoked by a change of policy."""
    evidence = account(proof("dns:a.test", "http-01"))
    assert isinstance(decide(acme_bundle(), ordered("dns:a.test"), evidence), Allow)
    stricter = acme_bundle(acme_policy(challenges="dns-01"))
    assert codes(decide(stricter, ordered("dns:a.test"), evidence)) == UNPROVEN


def test_account_without_word_of_proofs_has_proven_nothing() -> None:
    bare = Evidence((VerifiedCredential(ACME_ACCOUNT, "acme:1", "a"),))
    assert codes(decide(acme_bundle(), ordered("dns:a.test"), bare)) == UNPROVEN


def test_account_is_missing_where_nothing_was_verified() -> None:
    assert codes(decide(acme_bundle(), ordered("dns:a.test"), Evidence())) == [ReasonCode.AUTH_MISSING]


def test_account_at_a_policy_without_accounts_has_proven_nothing() -> None:
    """Whatever policy judges: a name of an account is never granted unproven."""
    mixed = acme_bundle(acme_policy(authenticate="{require: any, basic: {}, acme-account: {}}"))
    evidence = Evidence((*basic_evidence().credentials, *account().credentials))
    assert codes(decide(mixed, ordered("dns:a.test"), evidence)) == UNPROVEN
    plain = acme_bundle(acme_policy(authenticate="{basic: {}}"))
    asked = ordered("dns:a.test", presented=request().presented)
    assert codes(decide(plain, asked, evidence)) == UNPROVEN


def test_credentials_of_other_kinds_need_no_proof() -> None:
    assert isinstance(decide(load(policy()), request("dns:a.test")), Allow)


PREVALIDATED_NAMES = {
    ("dns:a.test", ("test",)): True,
    ("dns:a.test", ("a.test",)): True,
    ("dns:*.a.test", ("a.test",)): True,
    ("dns:a.test", ("b.test",)): False,
    ("dns:xa.test", ("a.test",)): False,
    ("dns:a.test", ()): False,
    ("ip:10.1.2.3", ("test", "10.1.2.3")): True,
    ("ip:10.1.2.3", ("10.1.0.0/16",)): True,
    ("ip:10.1.2.3", ("10.1.2.4",)): False,
    ("ip:10.1.2.3", ("test",)): False,
    ("ip:fd00::1", ("fd00::/8",)): True,
    ("email:a@a.test", ("a.test",)): False,
}


@pytest.mark.parametrize(("name", "spared"), PREVALIDATED_NAMES)
def test_external_account_stands_in_for_names_within_its_list(name: str, spared: tuple[str, ...]) -> None:
    """acme.md B4. A list that was narrowed since the order counts as it stands now."""
    evidence = account(*prevalidated(name), credential_id="9", spared=spared)
    decision = decide(acme_bundle(), ordered(name), evidence)
    if PREVALIDATED_NAMES[name, spared]:
        assert isinstance(decision, Allow)
    else:
        assert codes(decision) == UNPROVEN


def test_prevalidated_list_alone_proves_nothing_without_the_authorization() -> None:
    evidence = account(credential_id="9", spared=("test",))
    assert codes(decide(acme_bundle(), ordered("dns:a.test"), evidence)) == UNPROVEN


def test_without_challenges_only_a_bound_account_is_believed() -> None:
    """acme.md B4: no EAB together with no challenge would give anybody any name."""
    bundle = acme_bundle(acme_policy(challenges="[]"), options="{eab: new-accounts}")
    asked = ordered("dns:*.a.test", "ip:10.0.0.1")
    names = prevalidated("dns:*.a.test", "ip:10.0.0.1")
    assert isinstance(decide(bundle, asked, account(*names, credential_id="9")), Allow)
    unbound = decide(bundle, asked, account(*names))
    assert codes(unbound) == UNPROVEN * 2
    assert isinstance(unbound, Deny)
    assert "use an account that is bound to an external account" in unbound.reasons[0].message
    assert codes(decide(bundle, asked, account(proof("dns:*.a.test", "dns-01"), credential_id="9"))) == (
        UNPROVEN * 2
    )


CN_RULES = "{subject: {CN: {source: csr, allow: {suffix: [test]}}}, dns: {suffix: [test]}, cn_in_san: false}"
FIXED_CN = "{subject: {CN: {source: fixed, value: web.other}}, dns: {suffix: [test]}, cn_in_san: false}"


def test_common_name_is_a_name_that_must_be_proven() -> None:
    """acme.md C87: whatever the rules for subjects say."""
    bundle = acme_bundle(acme_policy(names=CN_RULES))
    evidence = account(proof("dns:a.test"), proof("dns:b.test"))
    assert isinstance(decide(bundle, ordered("dns:a.test", cn="A.test"), evidence), Allow)
    decision = decide(bundle, ordered("dns:a.test", cn="b.test"), evidence)
    assert codes(decision) == UNPROVEN
    assert isinstance(decision, Deny)
    assert decision.reasons[0].path == "identity.subject.CN"


def test_common_name_in_letters_that_only_fold_to_a_proven_name_is_unproven() -> None:
    """acme.md C87: straße.test is another host than strasse.test."""
    rules = "{subject: {CN: {source: csr, allow: {any: true}}}, dns: {suffix: [test]}, cn_in_san: false}"
    decision = decide(
        acme_bundle(acme_policy(names=rules)),
        ordered("dns:strasse.test", cn="stra\u00dfe.test"),
        account(proof("dns:strasse.test")),
    )
    assert codes(decision) == UNPROVEN


def test_common_name_that_the_policy_fixes_needs_no_proof() -> None:
    bundle = acme_bundle(acme_policy(names=FIXED_CN))
    assert isinstance(decide(bundle, ordered("dns:a.test"), account(proof("dns:a.test"))), Allow)


def test_proof_is_judged_beside_all_other_faults() -> None:
    decision = decide(acme_bundle(), ordered("dns:evil.com", "dns:a.test"), account())
    assert codes(decision) == [ReasonCode.NAME_NOT_ALLOWED, ReasonCode.NAME_UNPROVEN]


def test_names_beyond_the_external_account_are_told_with_their_places() -> None:
    evidence = account(
        proof("dns:a.test"), proof("dns:b.test"), proof("ip:10.9.9.9"), names=("a.test", "10.0.0.0/16")
    )
    decision = decide(acme_bundle(), ordered("dns:a.test", "dns:b.test", "ip:10.9.9.9"), evidence)
    assert isinstance(decision, Deny)
    assert [(reason.code, reason.path) for reason in decision.reasons][:2] == [
        (ReasonCode.AUTH_CREDENTIAL_SCOPE, "identity.sans[1]"),
        (ReasonCode.AUTH_CREDENTIAL_SCOPE, "identity.sans[2]"),
    ]
    assert "may ask for names under a.test and addresses in 10.0.0.0/16" in decision.reasons[0].message


@pytest.mark.parametrize(
    ("profile", "bound", "granted"),
    [
        ("short", ("short",), True),
        ("short", None, True),
        ("long", ("short",), False),
        (None, ("short",), False),
        (None, None, True),
        ("short", (), False),
    ],
)
def test_external_account_may_ask_for_its_profiles_only(
    profile: str | None, bound: tuple[str, ...] | None, granted: bool
) -> None:
    evidence = account(proof("dns:a.test"), credential_id="9", profiles=bound)
    decision = decide(acme_bundle(), ordered("dns:a.test", profile=profile), evidence)
    if granted:
        assert isinstance(decision, Allow)
    else:
        assert codes(decision) == [ReasonCode.PROFILE_UNKNOWN]


def test_order_that_replaces_a_certificate_is_an_enrolment_all_the_same() -> None:
    """acme.md C67: `replaces` tells of the predecessor; nothing follows from it for the names."""
    asked = replace(ordered("dns:a.test"), renews_der=b"predecessor")
    assert isinstance(decide(acme_bundle(), asked, account(proof("dns:a.test"))), Allow)
    assert codes(decide(acme_bundle(), asked, account())) == UNPROVEN


def test_trace_and_record_tell_how_names_were_proven() -> None:
    evidence = account(proof("dns:a.test"), proof("dns:*.a.test", "dns-01"))
    decision = allowed(decide(acme_bundle(), ordered("dns:a.test", "dns:*.a.test"), evidence))
    (step,) = (step for step in decision.trace if step.step == "proof")
    assert (step.verdict, step.message) == ("ok", "2 by dns-01 and http-01")
    credentials = decision_json(decision, evidence)["credentials"]
    assert credentials == [
        {
            "kind": "acme-account",
            "identity": "acme:1",
            "label": "mailto:a@a.test",
            "proven": [
                {"name": "dns:a.test", "method": "http-01", "at": "2026-11-23T11:00:00Z"},
                {"name": "dns:*.a.test", "method": "dns-01", "at": "2026-11-23T11:00:00Z"},
            ],
        }
    ]
