"""Guardrails: what no policy can grant, in every plan and preview; told with their own name and place."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.model.decision import Deny
from gateway.model.enrolment import Extension, Operation
from gateway.model.evidence import RENEWAL_CERT, Evidence, VerifiedCredential
from gateway.model.keys import KeyToCome, KeyType, PublicKey
from gateway.model.names import GeneralName, NameKind
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import Selected, preview, select
from gateway.policy.guardrail_check import judge_guardrails
from tests.unit.policy.guardrail_sample import OPEN, granted, guarded, guardrail, judged, refusal
from tests.unit.policy.sample import (
    HOUSE,
    NOW,
    allowed,
    certificate,
    client_key,
    decide,
    ec_key,
    facts,
    load,
    previous,
    renewal_policy,
    request,
    subject,
)

KEYS = "keys: {rsa: {min: 2048, max: 4096}, ec: [P-256], eddsa: [Ed25519]}"


def key(kind: KeyType, size: int, curve: str | None = None) -> PublicKey:
    return PublicKey(
        spki_der=b"key", spki_sha256="k", type=kind, size_bits=size, curve=curve,
        rsa_exponent=65537 if kind is KeyType.RSA else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("offered", "code"),
    [
        (key(KeyType.RSA, 1024), ReasonCode.KEY_SIZE),
        (key(KeyType.RSA, 8192), ReasonCode.KEY_SIZE),
        (key(KeyType.EC, 384, "P-384"), ReasonCode.KEY_CURVE),
        (key(KeyType.ED448, 456), ReasonCode.KEY_TYPE),
        (key(KeyType.ML_DSA_65, 0), ReasonCode.KEY_TYPE),
    ],
)
def test_key_beyond_the_guardrail_is_refused(offered: PublicKey, code: ReasonCode) -> None:
    reasons, _ = judge_guardrails(guarded(KEYS).guardrails, granted(key=offered))
    assert [(reason.code, reason.rule) for reason in reasons] == [(code, "floor.keys")]


def test_key_that_only_the_policy_allows_is_refused_with_what_the_guardrail_leaves() -> None:
    decision = decide(guarded("keys: {rsa: {}, eddsa: [Ed25519]}"), request())
    assert refusal(decision) == [(ReasonCode.KEY_TYPE, "floor.keys")]
    assert isinstance(decision, Deny)
    assert decision.reasons[0].message == (
        "EC P-256 keys are beyond the guardrail floor; it leaves RSA of 2048 to 16384 bits; Ed25519: make "
        "such a key"
    )


def test_key_within_the_guardrail_passes_and_the_trace_says_that_it_was_kept() -> None:
    decision = allowed(decide(guarded(KEYS), request()))
    assert [
        (step.rule, step.verdict, step.message) for step in decision.trace if step.step == "guardrail"
    ] == [("floor", "ok", "kept")]


def test_refusal_names_guardrail_rule_and_its_place() -> None:
    bundle = guarded("deny_names: {suffix: [local], regex: [nothing, '^xn--']}")
    decision = decide(bundle, request("dns:a.test", "dns:printer.local", "dns:xn--bcher-kva.test"))
    assert isinstance(decision, Deny)
    first, second = decision.reasons
    line = len((HOUSE + OPEN + "---\n").splitlines()) + 4
    assert first.rule == "floor.deny_names.suffix"
    assert (first.path, first.where) == ("identity.sans[1]", f"p.yaml:{line}:14")
    assert first.message == (
        "'printer.local' is denied by the guardrail floor: it lies under a denied suffix; ask for another "
        "name"
    )
    assert (second.rule, second.path) == ("floor.deny_names.regex[1]", "identity.sans[2]")
    assert second.where.startswith(f"p.yaml:{line}:")
    steps = [step for step in decision.trace if step.step == "guardrail"]
    assert [(step.rule, step.verdict) for step in steps] == [
        ("floor.deny_names.suffix", "refused"),
        ("floor.deny_names.regex[1]", "refused"),
    ]


DENIED = """deny_names:
  suffix: [local, ca.test]
  exact: [gw.test, 10.0.0.1, boss@a.test]
  regex: ['secret', '^xn--']"""


@pytest.mark.parametrize(
    "name",
    [
        "dns:local",
        "dns:A.LOCAL",
        "dns:ca.test",
        "dns:x.ca.test",
        "dns:*.ca.test",
        "dns:*.test",  # would stand for ca.test and gw.test
        "dns:gw.test",
        "dns:GW.test",
        "dns:topsecret.test",
        "dns:xn--bcher-kva.test",
        "ip:10.0.0.1",
        "ip:::ffff:10.0.0.1",
        "email:boss@a.test",
        "email:BOSS@A.test",
        "email:me@ca.test",
        "email:secret@a.test",
        "uri:https://ca.test/",
        "uri:https://a.test/Secret",
        "uri:urn:x:secret",
    ],
)
def test_denied_name_is_refused_as_alternative_name_of_any_kind(name: str) -> None:
    open_policy = OPEN.replace('"urn:x"', '"urn:x:secret"')
    bundle = load(open_policy, guardrail(DENIED))
    decision = decide(bundle, request(name))
    assert isinstance(decision, Deny)
    assert [reason.code for reason in decision.reasons] == [ReasonCode.NAME_NOT_ALLOWED]
    assert decision.reasons[0].rule.startswith("floor.deny_names.")
    allowed(decide(load(open_policy), request(name)))


@pytest.mark.parametrize(
    "name", ["dns:a.test", "dns:notlocal", "dns:badca.test", "dns:*.a.test", "ip:10.0.0.2", "email:me@a.test"]
)
def test_name_beside_the_denied_ones_passes(name: str) -> None:
    bundle = load(OPEN.replace("[test, example", "[notlocal, test, example"), guardrail(DENIED))
    allowed(decide(bundle, request(name)))


@pytest.mark.parametrize(
    "value", ["ca.test", "ca.test.", "X.Local", "10.0.0.1", "Secret Service", "me@ca.test", "*.ca.test"]
)
@pytest.mark.parametrize("attribute", ["CN", "O"])
def test_denied_name_is_refused_in_the_subject(value: str, attribute: str) -> None:
    name = subject((attribute, value))
    decision = decide(guarded(DENIED), request("dns:a.test", name=name))
    assert isinstance(decision, Deny)
    assert [reason.path for reason in decision.reasons] == ["identity.subject"]
    allowed(decide(load(OPEN), request("dns:a.test", name=name)))


@pytest.mark.parametrize("uri", ["https://ca%2etest/x", "https://[::1/", "https://a_b@\udc80/"])
def test_uri_whose_host_cannot_be_read_is_denied(uri: str) -> None:
    assert judged(guarded(DENIED), GeneralName(NameKind.URI, uri, b"")) == ["floor.deny_names.suffix"]


def test_name_that_is_too_long_to_be_judged_is_denied() -> None:
    name = GeneralName(NameKind.URI, "urn:x:" + "a" * 1024, b"")
    assert judged(guarded("deny_names: {regex: [nothing]}"), name) == ["floor.deny_names.regex[0]"]
    assert judged(guarded("deny_names: {suffix: [local]}"), name) == []


def test_usages_are_refused_wherever_they_come_from() -> None:
    bundle = guarded("forbid_eku: [codeSigning, '1.2.3.4']\nca: deny")
    assert refusal(decide(bundle, request())) == [(ReasonCode.EXTENSION_NOT_ALLOWED, "floor.forbid_eku")]
    usage = Extension("2.5.29.37", critical=False, value_der=bytes.fromhex("30050603") + b"\x2a\x03\x04")
    assert judged(bundle, extensions=(usage,)) == ["floor.forbid_eku"]
    assert judged(bundle, key_usage=("keyCertSign",)) == ["floor.ca"]
    basic = Extension("2.5.29.19", critical=True, value_der=bytes.fromhex("30030101ff"))
    assert judged(bundle, extensions=(basic,)) == ["floor.ca"]
    assert judged(bundle) == []


def test_default_life_of_a_policy_is_cut_to_the_guardrail() -> None:
    decision = allowed(decide(guarded("validity_max: 30d"), request()))
    assert decision.plan is not None
    assert decision.plan.not_after == NOW + timedelta(days=30)
    (step,) = [step for step in decision.trace if step.step == "guardrail"]
    assert step.message == "ends earlier, after 30d: 2026-12-23 12:00:00+00:00"


def test_end_that_a_client_asks_for_beyond_the_guardrail_is_refused() -> None:
    bundle = guarded("validity_max: 30d")
    decision = decide(bundle, request(not_after=NOW + timedelta(days=31)))
    assert refusal(decision) == [(ReasonCode.VALIDITY, "floor.validity_max")]
    assert isinstance(decision, Deny)
    assert decision.reasons[0].path == "not_after"
    plan = allowed(decide(bundle, request(not_after=NOW + timedelta(days=30)))).plan
    assert plan is not None
    assert plan.not_after == NOW + timedelta(days=30)


def test_life_is_counted_from_a_later_begin() -> None:
    begin = NOW + timedelta(days=10)
    plan = allowed(decide(guarded("validity_max: 30d"), request(not_before=begin))).plan
    assert plan is not None
    assert (plan.not_before, plan.not_after) == (begin, begin + timedelta(days=30))


def test_every_guardrail_holds_at_once_and_the_narrowest_life_wins() -> None:
    bundle = guarded(
        "validity_max: 30d", guardrail("validity_max: 10d\ndeny_names: {suffix: [local]}", "other")
    )
    plan = allowed(decide(bundle, request())).plan
    assert plan is not None
    assert plan.not_after == NOW + timedelta(days=10)
    decision = decide(bundle, request("dns:a.local", not_after=NOW + timedelta(days=60)))
    assert refusal(decision) == [
        (ReasonCode.VALIDITY, "floor.validity_max"),
        (ReasonCode.NAME_NOT_ALLOWED, "other.deny_names.suffix"),
        (ReasonCode.VALIDITY, "other.validity_max"),
    ]


LINE = "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: line1}\nprotocol: est\nbackend: embedded\n"


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        ("{protocol: est}", True),
        ("{protocol: [acme, est], endpoint: [default]}", True),
        ("{protocol: acme}", False),
        ("{endpoint: line1}", False),
    ],
)
def test_match_bounds_a_guardrail_to_protocols_and_endpoints(match: str, holds: bool) -> None:
    bundle = load(OPEN, guardrail(f"match: {match}\ndeny_names: {{suffix: [local]}}"), LINE)
    decision = decide(bundle, request("dns:a.local"))
    assert isinstance(decision, Deny) is holds


def test_guardrail_holds_for_renewals_of_names_that_were_granted_before() -> None:
    names = "{subject: keep-from-previous, dns: {suffix: [test, local]}}"
    asked = request(
        "dns:a.local",
        operation=Operation.REKEY,
        key=client_key(ec_key(1)),
        presented=(certificate(b"old", kind=RENEWAL_CERT),),
        renews_der=b"old",
    )
    by = Evidence((VerifiedCredential(RENEWAL_CERT, "cert:1", "CN=device 1", b"old"),))
    known = facts(previous=previous("dns:a.local"))
    allowed(decide(load(renewal_policy(names=names)), asked, by, known))
    bundle = load(renewal_policy(names=names), guardrail("deny_names: {suffix: [local]}"))
    assert ("name.not-allowed", "floor.deny_names.suffix") in refusal(decide(bundle, asked, by, known))


def test_preview_of_an_order_tells_of_every_denied_name() -> None:
    bundle = guarded("deny_names: {suffix: [local]}\n" + KEYS)
    asked = request("dns:a.local", "dns:b.test", "dns:c.local", key=KeyToCome())
    selected = select(bundle, asked)
    assert isinstance(selected, Selected)
    found = preview(bundle, selected, asked, Evidence(), facts())
    assert [(reason.path, reason.rule) for reason in found.reasons] == [
        ("identity.sans[0]", "floor.deny_names.suffix"),
        ("identity.sans[2]", "floor.deny_names.suffix"),
    ]
