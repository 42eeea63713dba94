"""What the engine grants and refuses: every reason it can give, and the plan that it builds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.model.decision import Allow, Deny
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import (
    MTLS,
    RENEWAL_CERT,
    Evidence,
    Linking,
    PresentedCertificate,
    VerifiedCredential,
)
from gateway.model.ids import EndpointName
from gateway.model.keys import ClientKey, KeyToCome, KeyType, Pop, PublicKey, ServerKey
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import NotSelected, Selected, accepted_kinds, evaluate, preview, select
from gateway.policy.render import decision_json
from gateway.policy.sample_keys import sample_key
from tests.unit.policy.sample import (
    NOW,
    allowed,
    basic_evidence,
    certificate,
    client_key,
    codes,
    decide,
    ec_key,
    facts,
    load,
    password,
    policy,
    renewal_policy,
    request,
    sans,
    subject,
)


def rsa(size: int = 2048, exponent: int = 65537) -> PublicKey:
    return replace(sample_key("rsa-2048"), size_bits=size, rsa_exponent=exponent)


def test_plan_holds_what_the_rules_say() -> None:
    bundle = load(policy(extensions="{key_usage: [digitalSignature, keyEncipherment], policies: '1.2.3.4'}"))
    decision = allowed(decide(bundle, request("dns:a.test", cn="a.test")))
    assert decision.plan is not None
    assert decision.plan.subject == subject(("CN", "a.test"))
    assert decision.plan.sans == sans("dns:a.test")
    assert decision.plan.spki_der == ec_key().spki_der
    assert decision.plan.not_before == NOW - timedelta(minutes=5)
    assert decision.plan.not_after == NOW + timedelta(days=90)
    assert decision.plan.key_usage == ("digitalSignature",)  # an EC key cannot encipher
    assert decision.plan.extended_key_usage == ()
    assert [one.oid for one in decision.plan.extensions] == ["2.5.29.32"]
    assert decision.plan.extensions[0].value_der.hex() == "3007300506032a0304"
    assert (decision.policy, decision.route.backend, decision.approval) == ("rules", "embedded", None)


def test_key_usages_follow_the_type_of_key() -> None:
    bundle = load(policy(extensions="{key_usage: [digitalSignature, keyEncipherment, keyAgreement]}"))
    for key, usages in (
        (rsa(), ("digitalSignature", "keyEncipherment")),
        (ec_key(), ("digitalSignature", "keyAgreement")),
        (PublicKey(b"e", "11" * 32, KeyType.ED25519, 0), ("digitalSignature",)),
    ):
        decision = allowed(decide(bundle, request(key=client_key(key))))
        assert decision.plan is not None
        assert decision.plan.key_usage == usages


KEYS = {
    "type": (PublicKey(b"k", "22" * 32, KeyType.ED448, 0), ReasonCode.KEY_TYPE),
    "other": (PublicKey(b"k", "22" * 32, KeyType.OTHER, 0, algorithm_oid="1.2.3"), ReasonCode.KEY_TYPE),
    "curve": (PublicKey(b"k", "22" * 32, KeyType.EC, 521, "P-521"), ReasonCode.KEY_CURVE),
    "small": (rsa(1024), ReasonCode.KEY_SIZE),
    "large": (rsa(16384), ReasonCode.KEY_SIZE),
    "exponent": (rsa(2048, 3), ReasonCode.KEY_WEAK),
    "even-exponent": (rsa(2048, 65538), ReasonCode.KEY_WEAK),
}


@pytest.mark.parametrize("case", KEYS)
def test_key_outside_the_rules_is_refused(case: str) -> None:
    key, code = KEYS[case]
    decision = decide(load(policy()), request(key=client_key(key)))
    assert codes(decision) == [code]
    assert isinstance(decision, Deny)
    assert decision.reasons[0].path == "key"
    assert decision.reasons[0].rule == "rules.keys"
    assert decision.reasons[0].where == "p.yaml:23:1"


def test_exact_sizes_exclude_those_between() -> None:
    bundle = load(policy(keys="{rsa: {sizes: [2048, 4096]}}"))
    assert isinstance(decide(bundle, request(key=client_key(rsa(4096)))), Allow)
    assert codes(decide(bundle, request(key=client_key(rsa(3072))))) == [ReasonCode.KEY_SIZE]


def test_weak_signature_of_the_csr_is_refused() -> None:
    decision = decide(load(policy()), request(key=client_key(signature_hash="sha1")))
    assert codes(decision) == [ReasonCode.KEY_SIGNATURE_HASH]


@pytest.mark.parametrize("pop", [Pop.NONE, Pop.RA_VERIFIED])
def test_unproven_possession_is_refused(pop: Pop) -> None:
    decision = decide(load(policy()), request(key=ClientKey(ec_key(), pop, "sha256")))
    assert codes(decision) == [ReasonCode.CSR_POSSESSION]


def test_key_of_another_identity_is_refused_unless_reuse_is_allowed() -> None:
    known = facts(key_known_to_others=True)
    bundle = load(policy())
    assert bundle.policies[0].needs_key_history
    assert codes(decide(bundle, request(), known=known)) == [ReasonCode.KEY_REUSE]
    lenient = load(policy(keys="{ec: P-256, reuse: allow}"))
    assert not lenient.policies[0].needs_key_history
    assert isinstance(decide(lenient, request(), known=known), Allow)


def test_all_faults_of_all_steps_are_told_at_once() -> None:
    asked = request("dns:evil.com", "dns:a.test", "ip:192.0.2.1", cn="evil.com", key=client_key(rsa(1024)))
    decision = decide(load(policy()), replace(asked, not_after=NOW + timedelta(days=1)))
    assert codes(decision) == [
        ReasonCode.KEY_SIZE,
        ReasonCode.NAME_NOT_ALLOWED,
        ReasonCode.NAME_KIND,
        ReasonCode.SUBJECT_CN,
        ReasonCode.VALIDITY,
    ]
    assert isinstance(decision, Deny)
    assert [reason.path for reason in decision.reasons] == [
        "key",
        "identity.sans[0]",
        "identity.sans[2]",
        "identity.subject.CN",
        "not_after",
    ]
    assert "'evil.com' is not allowed here; allowed are names under test" in decision.reasons[1].message


LINKING = {
    ("if-present", Linking.ABSENT): True,
    ("if-present", Linking.TLS_UNIQUE): True,
    ("if-present", Linking.TLS_EXPORTER): True,
    ("if-present", Linking.MISMATCH): False,
    ("if-present", Linking.UNAVAILABLE): False,
    ("required", Linking.ABSENT): False,
    ("required", Linking.TLS_UNIQUE): True,
    ("required", Linking.MISMATCH): False,
    ("ignore", Linking.MISMATCH): True,
    ("ignore", Linking.UNAVAILABLE): True,
}


@pytest.mark.parametrize(("mode", "linking"), LINKING)
def test_linking_is_judged_by_the_mode(mode: str, linking: Linking) -> None:
    bundle = load(policy(authenticate=f"{{basic: {{}}, pop_linking: {mode}}}"))
    decision = decide(bundle, request(linking=linking))
    if LINKING[mode, linking]:
        assert isinstance(decision, Allow)
    else:
        assert codes(decision) == [ReasonCode.CSR_LINKING]


def test_request_without_the_evidence_that_the_policy_asks_for_is_refused() -> None:
    asked = request()
    assert codes(decide(load(policy()), asked, Evidence())) == [ReasonCode.AUTH_MISSING]
    both = load(policy(authenticate="{require: all, basic: {}, mtls: {trust: own}}"))
    decision = decide(both, asked)
    assert codes(decision) == [ReasonCode.AUTH_MISSING]
    assert decision.trace[-1].message.endswith("missing: mtls")
    full = Evidence((*basic_evidence().credentials, VerifiedCredential(MTLS, "cert:1", "CN=a", b"der")))
    assert isinstance(decide(both, asked, full), Allow)


UNACCOUNTED: dict[str, dict[str, object]] = {
    "key-to-come": {"key": KeyToCome()},
    "server-key": {"key": ServerKey()},
    "renews-at-enroll": {"renews_der": b"certificate"},
    "operation": {"operation": Operation.REKEY},
    "revoke": {"operation": Operation.REVOKE},
    "endpoint": {"endpoint": EndpointName("other")},
}


@pytest.mark.parametrize("case", UNACCOUNTED)
def test_request_that_no_rule_speaks_for_is_refused(case: str) -> None:
    bundle = load(policy())
    selected = select(bundle, request())
    assert isinstance(selected, Selected)
    asked = replace(request(), **UNACCOUNTED[case])  # type: ignore[arg-type]  # fields of the request
    decision = evaluate(bundle, selected, asked, basic_evidence(), facts())
    assert codes(decision) == [ReasonCode.POLICY_UNACCOUNTED]


def test_fault_in_a_check_denies(caplog: pytest.LogCaptureFixture) -> None:
    bundle = load(policy())
    selected = select(bundle, request())
    assert isinstance(selected, Selected)
    broken = replace(selected.policy, names=None)  # type: ignore[arg-type]  # the fault
    decision = evaluate(bundle, replace(selected, policy=broken), request(), basic_evidence(), facts())
    assert codes(decision) == [ReasonCode.POLICY_CRASH]
    assert "NoneType" not in decision.reasons[0].message if isinstance(decision, Deny) else False
    previewed = preview(bundle, replace(selected, policy=broken), request(), Evidence(), facts())
    assert [reason.code for reason in previewed.reasons] == [ReasonCode.POLICY_CRASH]
    assert len(caplog.records) == 2


def test_validity_is_cut_at_the_end_of_the_ca() -> None:
    end = NOW + timedelta(days=30)
    decision = allowed(decide(load(policy()), request(), known=facts(issuer_not_after=end)))
    assert decision.plan is not None
    assert decision.plan.not_after == end
    expired = facts(issuer_not_after=NOW - timedelta(seconds=1))
    assert codes(decide(load(policy()), request(), known=expired)) == [ReasonCode.VALIDITY]
    lenient = load(policy(validity="{default: 90d, client_may_request: true}"))
    exact = request(not_after=NOW + timedelta(days=31))  # RFC 8555 section 7.4: kept as asked for, or refused
    assert codes(decide(lenient, exact, known=facts(issuer_not_after=end))) == [ReasonCode.VALIDITY]
    unknown = allowed(decide(load(policy()), request(), known=facts(issuer_not_after=None)))
    assert unknown.plan is not None
    assert unknown.plan.not_after == NOW + timedelta(days=90)


REQUESTED_VALIDITY = {
    # days from now: begin, end -> allowed
    (None, 30): True,
    (None, 180): True,
    (None, 181): False,
    (None, 0): False,
    (None, -1): False,
    (1, None): True,
    (1, 100): True,
    (10, 191): False,
    (-1, None): False,
    (200, 210): False,
    (10, 5): False,
}


@pytest.mark.parametrize(("begin", "end"), REQUESTED_VALIDITY)
def test_requested_validity_is_held_against_the_bounds(begin: int | None, end: int | None) -> None:
    asked = request(
        not_before=None if begin is None else NOW + timedelta(days=begin),
        not_after=None if end is None else NOW + timedelta(days=end),
    )
    assert codes(decide(load(policy()), asked)) == [ReasonCode.VALIDITY]  # not to be asked for at all
    bundle = load(policy(validity="{default: 90d, max: 180d, client_may_request: true}"))
    decision = decide(bundle, asked)
    if not REQUESTED_VALIDITY[begin, end]:
        assert ReasonCode.VALIDITY in codes(decision)
        return
    plan = allowed(decision).plan
    assert plan is not None
    if end is not None:
        assert plan.not_after == NOW + timedelta(days=end)
    if begin is not None:
        assert plan.not_before == NOW + timedelta(days=begin)
        assert plan.not_after <= NOW + timedelta(days=begin + 180)


def test_approval_and_profile_come_from_the_policy() -> None:
    bundle = load(
        policy(
            approval="{required: 2, expires: 3d, retry_after: 2m}",
            issue="[{backend: embedded, profile: issuing}]",
        )
    )
    decision = allowed(decide(bundle, request()))
    assert decision.approval is not None
    assert (decision.approval.required, decision.approval.expires_s, decision.approval.retry_after_s) == (
        2,
        3 * 86_400,
        120,
    )
    assert decision.route.profile == "issuing"
    assert [step.step for step in decision.trace[-2:]] == ["approval", "route"]


def test_trace_has_a_line_for_every_step_and_its_rule() -> None:
    decision = allowed(decide(load(policy()), request("dns:a.test")))
    assert [(step.step, step.verdict) for step in decision.trace] == [
        ("select", "chosen"),
        ("authenticate", "ok"),
        ("keys", "ok"),
        ("names", "set"),
        ("extensions", "set"),
        ("validity", "set"),
        ("route", "chosen"),
    ]
    assert all(step.where.startswith("p.yaml:") for step in decision.trace)


def test_record_of_a_decision_is_plain_json() -> None:
    granted = decision_json(allowed(decide(load(policy()), request())), basic_evidence())
    assert (granted["version"], granted["verdict"], granted["policy"]) == (2, "allow", "rules")
    assert granted["credentials"] == [{"kind": "basic", "identity": "basic:1", "label": "device"}]
    assert granted["route"] == {"backend": "embedded", "profile": None}
    refused = decision_json(decide(load(policy()), request("dns:evil.com")), basic_evidence())
    assert refused["verdict"] == "deny"
    reasons = refused["reasons"]
    assert isinstance(reasons, list)
    assert reasons[0]["code"] == "name.not-allowed"
    assert reasons[0]["where"] == "p.yaml:27:3"


def test_preview_judges_names_before_there_is_a_key() -> None:
    bundle = load(policy())
    for names, found in ((["dns:a.test"], []), (["dns:evil.com"], [ReasonCode.NAME_NOT_ALLOWED])):
        asked = request(*names, key=KeyToCome())
        selected = select(bundle, asked)
        assert isinstance(selected, Selected)
        previewed = preview(bundle, selected, asked, Evidence(), facts())
        assert [reason.code for reason in previewed.reasons] == found
        assert (previewed.policy, previewed.challenges, previewed.reuse_s) == ("rules", (), 0)


def test_nothing_is_selected_without_a_policy() -> None:
    bundle = load(policy())
    for asked in (
        request(operation=Operation.KEYGEN),
        request(operation=Operation.RENEW),
        request(endpoint=EndpointName("other")),
    ):
        found = select(bundle, asked)
        assert isinstance(found, NotSelected)
        assert [reason.code for reason in found.reasons] == [ReasonCode.POLICY_NO_MATCH]
        assert found.accepts == ()


def test_missing_and_wrong_kinds_of_credential_are_told_apart() -> None:
    bundle = load(policy())
    nothing = select(bundle, request(presented=()))
    wrong = select(bundle, request(presented=(certificate(),)))
    assert isinstance(nothing, NotSelected)
    assert isinstance(wrong, NotSelected)
    assert [reason.code for reason in nothing.reasons] == [ReasonCode.AUTH_MISSING]
    assert [reason.code for reason in wrong.reasons] == [ReasonCode.AUTH_KIND]
    assert nothing.accepts == wrong.accepts == ("basic",)


def test_lowest_priority_that_fits_is_selected() -> None:
    bundle = load(
        policy("last", priority="300"),
        policy("first", priority="100", authenticate="{mtls: {trust: own}}"),
        policy("lab", priority="50", match="{protocol: est, operation: enroll, source_ip: [10.0.0.0/8]}"),
        policy("special", priority="40", match="{protocol: est, operation: enroll, profile: special}"),
    )

    def chosen(asked: EnrolmentRequest) -> str:
        found = select(bundle, asked)
        assert isinstance(found, Selected)
        return found.policy.name

    assert [one.name for one in bundle.policies] == ["special", "lab", "first", "last"]
    assert chosen(request()) == "last"
    assert chosen(request(presented=(password(), certificate()))) == "first"
    assert chosen(request(address="10.1.2.3")) == "lab"
    assert chosen(request(address="::ffff:10.1.2.3")) == "lab"
    assert chosen(request(address="")) == "last"
    assert chosen(request(profile="special")) == "special"
    assert chosen(request(profile="unknown")) == "last"
    assert accepted_kinds(bundle, "est", "default", Operation.ENROLL) == ("basic", "mtls")
    assert accepted_kinds(bundle, "est", "default", Operation.RENEW) == ()


def test_client_certificate_counts_as_renewal_certificate_at_a_renewal_only() -> None:
    bundle = load(policy(), renewal_policy())
    kinds: tuple[PresentedCertificate, ...] = (certificate(), certificate(kind=RENEWAL_CERT))
    for one in kinds:
        assert isinstance(select(bundle, request(operation=Operation.REKEY, presented=(one,))), Selected)
    mtls = load(policy(authenticate="{mtls: {trust: own}}"))
    assert isinstance(select(mtls, request(presented=(certificate(kind=RENEWAL_CERT),))), NotSelected)
