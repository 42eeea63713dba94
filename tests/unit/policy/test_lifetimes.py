"""``validity.jitter`` and what a renewal may wait for, and brings with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.model.certificate import CertificateRecord
from gateway.model.enrolment import Operation
from gateway.model.evidence import RENEWAL_CERT, Evidence, VerifiedCredential
from gateway.model.keys import KeyToCome
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import Selected, preview, select
from gateway.policy.renewal_advice import renewal_advice
from gateway.policy.rules import Bundle
from tests.unit.policy.sample import (
    CA_END,
    HOUSE,
    NOW,
    allowed,
    certificate,
    client_key,
    codes,
    complaints,
    decide,
    ec_key,
    facts,
    load,
    policy,
    previous,
    renewal_policy,
    request,
)

FULL = NOW + timedelta(days=90)
BY_RENEWAL = Evidence((VerifiedCredential(RENEWAL_CERT, "cert:1", "old", b"old"),))


def end_of(bundle: Bundle, number: int, **parts: object) -> datetime:
    plan = allowed(decide(bundle, request(key=client_key(ec_key(number)), **parts))).plan
    assert plan is not None
    return plan.not_after


def test_jitter_shortens_by_up_to_so_much_and_not_the_same_for_all() -> None:
    bundle = load(policy(validity="{default: 90d, jitter: 6h}"))
    ends = [end_of(bundle, number) for number in range(60)]
    assert all(FULL - timedelta(hours=6) <= end <= FULL for end in ends)
    assert len(set(ends)) > 50
    assert max(ends) - min(ends) > timedelta(hours=4)  # by chance less once in 10^12


def test_jitter_of_one_key_is_always_the_same() -> None:
    bundle = load(policy(validity="{default: 90d, jitter: 6h}"))
    assert end_of(bundle, 1) == end_of(bundle, 1, cn="device 2") < FULL
    trace = decide(bundle, request(key=client_key(ec_key(1)))).trace
    assert any(step.step == "validity" and "less by jitter" in step.message for step in trace)


def test_without_jitter_the_life_is_whole() -> None:
    assert end_of(load(policy()), 1) == FULL


def test_end_that_the_client_asks_for_has_no_jitter() -> None:
    bundle = load(policy(validity="{default: 90d, jitter: 6h, client_may_request: true}"))
    asked = NOW + timedelta(days=30)
    assert end_of(bundle, 1, not_after=asked) == asked


def test_jitter_comes_off_the_life_not_off_the_end_of_the_ca() -> None:
    bundle = load(policy(validity="{default: 4000d, jitter: 6h}"))
    assert end_of(bundle, 1) == CA_END


def test_preview_without_a_key_knows_no_jitter() -> None:
    bundle = load(policy(validity="{default: 90d, jitter: 6h}"))
    asked = request("dns:a.test", key=KeyToCome())
    selected = select(bundle, asked)
    assert isinstance(selected, Selected)
    assert preview(bundle, selected, asked, Evidence(), facts()).reasons == ()


@pytest.mark.parametrize(("percent", "fits"), [(11, False), (12, True), (100, True)])
def test_window_in_percent_is_of_the_whole_life(percent: int, fits: bool) -> None:
    """The old certificate lives 90 days, of which 10 and a bit are left: 11 percent are 9.9 days."""
    bundle = load(renewal_policy(renewal=f"{{window_percent: {percent}}}"))
    asked = request(
        operation=Operation.RENEW, presented=(certificate(b"old", kind=RENEWAL_CERT),), renews_der=b"old"
    )
    decision = decide(bundle, asked, BY_RENEWAL, facts(previous=previous()))
    if fits:
        allowed(decision)
    else:
        assert codes(decision) == [ReasonCode.RENEWAL_WINDOW]


@pytest.mark.parametrize(
    ("written", "seconds"), [("never", None), ("at-once", 0), ("14d", 14 * 86_400), (None, None)]
)
def test_renewal_says_when_the_old_certificate_is_revoked(written: str | None, seconds: int | None) -> None:
    parts = {} if written is None else {"renewal": f"{{revoke_previous: {written}}}"}
    bundle = load(renewal_policy(**parts))
    asked = request(
        operation=Operation.RENEW, presented=(certificate(b"old", kind=RENEWAL_CERT),), renews_der=b"old"
    )
    decision = allowed(decide(bundle, asked, BY_RENEWAL, facts(previous=previous())))
    assert decision.revoke_previous_s == seconds


def test_first_enrolment_revokes_nothing() -> None:
    bundle = load(
        policy(match="{protocol: est, operation: [enroll, renew]}", renewal="{revoke_previous: at-once}")
    )
    assert allowed(decide(bundle, request())).revoke_previous_s is None


def record(policy_name: str) -> CertificateRecord:
    return CertificateRecord(
        sha256="",
        issuer_key_sha256="",
        serial_hex="1",
        subject="",
        sans=(),
        spki_sha256="",
        not_before=NOW,
        not_after=NOW + timedelta(days=100),
        certificate_der=b"",
        chain_sha256="",
        request_id="",
        protocol="acme",
        endpoint="default",
        identity="",
        policy=policy_name,
        bundle_sha256="",
        backend="",
    )


@pytest.mark.parametrize(
    ("rule", "opens_after_days", "offered"),
    [
        ("{}", None, True),
        ("{window: 30d}", 70, True),
        ("{window_percent: 20}", 80, True),
        ("{window: 30d, ari: auto}", 70, True),
        ("{window: 30d, ari: off}", 70, False),
    ],
)
def test_advice_follows_the_policy_of_the_certificate(
    rule: str, opens_after_days: int | None, offered: bool
) -> None:
    document = policy(
        match="{protocol: acme, operation: enroll}",
        authenticate="{acme-account: {}}",
        renewal=rule,
        names="{subject: first-dns, dns: {suffix: [test]}}",
    )
    head = "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: default}\n"
    endpoint = f"{head}protocol: acme\nbackend: embedded\n"
    bundle = load(endpoint, document)
    advice = renewal_advice(bundle, record("rules"))
    expected = None if opens_after_days is None else NOW + timedelta(days=opens_after_days)
    assert (advice.opens_at, advice.offered) == (expected, offered)
    gone = renewal_advice(bundle, replace(record("rules"), policy="gone"))
    assert (gone.opens_at, gone.offered) == (None, True)


MISTAKES = {
    "two-windows": (
        renewal_policy(renewal="{window: 30d, window_percent: 33}"),
        "renewal.window_percent: window says the same in other words; keep one of them",
    ),
    "percent": (
        renewal_policy(renewal="{window_percent: 101}"),
        "renewal.window_percent: '101' is too large; at most 100",
    ),
    "allow-expired": (
        renewal_policy(renewal="{allow_expired: 14d}"),
        "'allow_expired' belongs to the credential; write it as authenticate: {renewal-cert: {trust: NAME, a",
    ),
    "authenticate-with": (
        renewal_policy(renewal="{authenticate_with: [current-cert]}"),
        "'authenticate_with' is said by authenticate; write",
    ),
    "revoke-when": (
        renewal_policy(renewal="{revoke_previous: soon}"),
        "renewal.revoke_previous: 'soon' is none of never, at-once and a duration such as 14d; write one",
    ),
    "revoke-late": (
        renewal_policy(renewal="{revoke_previous: 2y}"),
        "renewal.revoke_previous: this is over a year; write a shorter duration, or never",
    ),
    "revoke-of-first": (
        policy(renewal="{revoke_previous: 14d}"),
        "renewal.revoke_previous: this policy is for first certificates, which have none before them; remove",
    ),
    "ari-elsewhere": (
        renewal_policy(renewal="{ari: auto}"),
        "renewal.ari: renewal information is ACME's (RFC 9773); remove it",
    ),
    "jitter-too-long": (
        policy(validity="{default: 90d, jitter: 50d}"),
        "validity.jitter: jitter takes more than half of default; write a shorter one",
    ),
    "jitter-of-a-short-life": (
        policy(validity="{default: 90s, jitter: 40s}"),
        "validity.jitter: jitter takes more than half of default; write a shorter one",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_in_times_is_told(case: str) -> None:
    document, expected = MISTAKES[case]
    (line,) = complaints(HOUSE + document)
    assert expected in line, line
    assert line.startswith("p.yaml:")
