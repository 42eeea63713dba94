"""Renewals: names, window, keys, and which certificate may be renewed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model.decision import Allow, Decision, Deny
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import BASIC, MTLS, RENEWAL_CERT, CredentialKind, Evidence, VerifiedCredential
from gateway.model.keys import KeyToCome
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import Selected, preview, select
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.rules import Bundle
from tests.unit.policy.sample import (
    allowed,
    certificate,
    client_key,
    codes,
    decide,
    ec_key,
    facts,
    load,
    password,
    policy,
    previous,
    renewal_policy,
    request,
    sans,
    subject,
)

OLD = b"the old certificate"
KEEP = "subject: keep-from-previous\ndns: {suffix: [test]}"


def evidence(kind: CredentialKind = RENEWAL_CERT, certificate_der: bytes = OLD) -> Evidence:
    return Evidence((VerifiedCredential(kind, "cert:1", "CN=device 1", certificate_der),))


def renewal(*names: str, cn: str | None = "device 1", new_key: bool = False) -> EnrolmentRequest:
    return request(
        *names,
        cn=cn,
        operation=Operation.REKEY if new_key else Operation.RENEW,
        key=client_key(ec_key(1 if new_key else 0)),
        presented=(certificate(OLD, kind=RENEWAL_CERT),),
        renews_der=OLD,
    )


def renew(
    rules: Bundle, asked: EnrolmentRequest, old: PreviousCertificate | None, by: Evidence | None = None
) -> Decision:
    return decide(rules, asked, by or evidence(), facts(previous=old))


def judged(rules: Bundle, asked: EnrolmentRequest, old: PreviousCertificate | None) -> list[ReasonCode]:
    decision = renew(rules, asked, old)
    return codes(decision) if isinstance(decision, Deny) else []


@pytest.mark.parametrize("new_key", [False, True])
def test_same_names_are_renewed_with_either_key(new_key: bool) -> None:
    rules = load(renewal_policy())
    old = previous("dns:a.test", "dns:b.test")
    plan = allowed(renew(rules, renewal("dns:B.test", "dns:a.test", new_key=new_key), old)).plan
    assert plan is not None
    assert plan.subject == subject(("CN", "device 1"))
    assert set(plan.sans) == set(sans("dns:a.test", "dns:b.test"))
    assert plan.spki_der == ec_key(1 if new_key else 0).spki_der


@pytest.mark.parametrize(
    "asked",
    [
        renewal("dns:a.test", cn="device 2"),
        renewal("dns:b.test"),
        renewal("dns:a.test", "dns:b.test"),
        renewal(),
        renewal("dns:a.test", cn=None),
    ],
    ids=["subject", "other-san", "further-san", "no-san", "no-subject"],
)
def test_change_of_names_is_refused_unless_allowed(asked: EnrolmentRequest) -> None:
    old = previous("dns:a.test")
    assert judged(load(renewal_policy()), asked, old) == [ReasonCode.RENEWAL_NAMES_DIFFER]
    lenient = load(renewal_policy(renewal="{name_change: allow, missing_san: copy}"))
    assert judged(lenient, asked, old) == []


def test_changed_names_still_obey_the_name_rules() -> None:
    rules = load(renewal_policy(renewal="{name_change: allow}"))
    assert judged(rules, renewal("dns:evil.com"), previous("dns:a.test")) == [ReasonCode.NAME_NOT_ALLOWED]


def test_old_names_that_the_rules_no_longer_allow_are_not_renewed() -> None:
    rules = load(renewal_policy(names=KEEP, renewal="{missing_san: copy}"))
    assert judged(rules, renewal("dns:evil.com"), previous("dns:evil.com")) == [ReasonCode.NAME_NOT_ALLOWED]
    assert judged(rules, renewal(), previous("dns:evil.com")) == [ReasonCode.NAME_NOT_ALLOWED]


def test_missing_alternative_names_are_copied_only_where_the_rule_says_so() -> None:
    rules = load(renewal_policy(renewal="{missing_san: copy}"))
    plan = allowed(renew(rules, renewal(), previous("dns:a.test"))).plan
    assert plan is not None
    assert plan.sans == sans("dns:a.test")
    rejecting = load(renewal_policy(renewal="{missing_san: reject, name_change: allow}"))
    assert judged(rejecting, renewal(), previous("dns:a.test")) == [ReasonCode.RENEWAL_NAMES_DIFFER]
    assert judged(rejecting, renewal(), previous()) == []


def test_kept_subject_is_that_of_the_old_certificate() -> None:
    rules = load(renewal_policy(names=KEEP))
    for cn in ("DEVICE  1", None):
        plan = allowed(renew(rules, renewal("dns:a.test", cn=cn), previous("dns:a.test"))).plan
        assert plan is not None
        assert plan.subject == subject(("CN", "device 1"))
    other = renewal("dns:a.test", cn="device 2")
    assert judged(rules, other, previous("dns:a.test")) == [ReasonCode.RENEWAL_NAMES_DIFFER]


@pytest.mark.parametrize(("days_left", "opens"), [(31, False), (30, True), (1, True), (-1, True)])
def test_renewal_waits_for_its_window(days_left: int, opens: bool) -> None:
    rules = load(renewal_policy(renewal="{window: 30d}"))
    found = judged(rules, renewal(), previous(days_left=days_left))
    assert found == ([] if opens else [ReasonCode.RENEWAL_WINDOW])


def test_key_of_a_renewal_follows_the_rule() -> None:
    required = load(renewal_policy(renewal="{new_key: required}"))
    assert judged(required, renewal(), previous()) == [ReasonCode.KEY_REUSE]
    assert judged(required, renewal(new_key=True), previous()) == []
    forbidden = load(
        renewal_policy(match="{protocol: est, operation: renew}", renewal="{new_key: forbidden}")
    )
    assert judged(forbidden, renewal(), previous()) == []


@pytest.mark.parametrize(("operation", "number"), [(Operation.RENEW, 1), (Operation.REKEY, 0)])
def test_operation_that_does_not_fit_the_key_is_refused(operation: Operation, number: int) -> None:
    asked = replace(renewal(), operation=operation, key=client_key(ec_key(number)))
    assert judged(load(renewal_policy()), asked, previous()) == [ReasonCode.POLICY_UNACCOUNTED]


def test_renewal_of_nothing_is_refused() -> None:
    assert judged(load(renewal_policy()), renewal(), None) == [ReasonCode.RENEWAL_NOT_OURS]


def test_certificate_of_another_ca_is_renewed_only_by_itself() -> None:
    foreign = previous(issued_here=False)
    assert judged(load(renewal_policy()), renewal(), foreign) == []  # its trust store has decided
    by_password = load(renewal_policy(authenticate="{basic: {}}"))
    asked = replace(renewal(), presented=(password(),))
    by = Evidence((VerifiedCredential(BASIC, "basic:1", "device"),))
    assert codes(renew(by_password, asked, foreign, by)) == [ReasonCode.RENEWAL_NOT_OURS]
    assert isinstance(renew(by_password, asked, previous(), by), Allow)


@pytest.mark.parametrize("kind", [RENEWAL_CERT, MTLS])
def test_certificate_renews_itself_only(kind: CredentialKind) -> None:
    rules = load(renewal_policy())
    assert isinstance(renew(rules, renewal(), previous(), evidence(kind)), Allow)
    other = renew(rules, renewal(), previous(), evidence(kind, b"another certificate"))
    assert codes(other) == [ReasonCode.RENEWAL_NOT_OURS]


def test_preview_of_a_renewal_needs_no_key() -> None:
    rules = load(renewal_policy())
    asked = replace(renewal("dns:a.test"), key=KeyToCome())
    selected = select(rules, asked)
    assert isinstance(selected, Selected)
    known: Facts = facts(previous=previous("dns:a.test"))
    assert preview(rules, selected, asked, Evidence(), known).reasons == ()
    other = facts(previous=previous("dns:b.test"))
    assert preview(rules, selected, asked, Evidence(), other).reasons != ()


def test_first_enrolment_needs_no_previous_certificate() -> None:
    assert isinstance(decide(load(policy()), request()), Allow)
