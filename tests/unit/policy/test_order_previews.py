"""What policy says of the names of a new ACME order, before there is a key (RFC 8555 section 7.4)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.model.enrolment import Operation
from gateway.model.evidence import Evidence
from gateway.model.preview import Preview
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import NotSelected, accepted_kinds, profiles, select
from tests.unit.policy.acme_sample import (
    account,
    acme_bundle,
    acme_endpoint,
    acme_policy,
    ordered,
    previewed,
)
from tests.unit.policy.sample import NOW, facts, load, password, policy, request, sans


def told(preview: Preview) -> list[tuple[ReasonCode, str]]:
    return [(reason.code, reason.path) for reason in preview.reasons]


def test_names_that_would_pass_come_with_the_challenges_of_the_policy() -> None:
    bundle = acme_bundle(acme_policy(challenges="[dns-01, http-01, dns-01]", reuse="12h"))
    found = previewed(bundle, "dns:a.test", "dns:*.a.test", "ip:10.0.0.1", "ip:fd00::1")
    assert found == Preview((), "web", ("dns-01", "http-01"), 12 * 3600, ())


def test_policy_that_names_nothing_offers_every_challenge_and_an_hour_of_reuse() -> None:
    found = previewed(acme_bundle(acme_policy(authenticate="{acme-account: {}}")), "dns:a.test")
    assert (found.challenges, found.reuse_s) == (("http-01", "dns-01", "tls-alpn-01"), 3600)


def test_every_name_is_judged_with_its_place_in_the_order() -> None:
    """acme.md C61: one subproblem per name, all names checked before answering."""
    bundle = acme_bundle(acme_policy(challenges="[http-01]"))
    found = previewed(
        bundle,
        "dns:evil.com",
        "dns:a.test",
        "dns:*.a.test",
        "dns:b.test",
        "ip:192.0.2.1",
        "uri:https://a.test/",
        "dns:*.evil.com",
        evidence=account(names=("a.test",)),
    )
    assert sorted(told(found), key=lambda pair: pair[1]) == [
        (ReasonCode.NAME_NOT_ALLOWED, "identity.sans[0]"),
        (ReasonCode.NAME_UNPROVEN, "identity.sans[2]"),
        (ReasonCode.AUTH_CREDENTIAL_SCOPE, "identity.sans[3]"),
        (ReasonCode.NAME_NOT_ALLOWED, "identity.sans[4]"),
        (ReasonCode.NAME_KIND, "identity.sans[5]"),
        (ReasonCode.NAME_NOT_ALLOWED, "identity.sans[6]"),
    ]


def test_none_of_many_refused_names_is_left_out() -> None:
    names = [f"dns:n{number}.evil" for number in range(100)]
    found = previewed(acme_bundle(), *names)
    assert told(found) == [(ReasonCode.NAME_NOT_ALLOWED, f"identity.sans[{number}]") for number in range(100)]


def test_names_of_groups_are_each_judged() -> None:
    groups = "subject: first-dns\ngroups: [{name: a, dns: {suffix: a.test, wildcard: allow}}]"
    two = groups[:-1] + ", {name: b, dns: {suffix: b.test}}]"
    bundle = acme_bundle(acme_policy(challenges="[http-01]", names=two))
    assert told(previewed(bundle, "dns:a.test", "dns:evil.com", "dns:*.a.test")) == [
        (ReasonCode.NAME_NOT_ALLOWED, "identity.sans[1]"),
        (ReasonCode.NAME_UNPROVEN, "identity.sans[2]"),
    ]
    assert told(previewed(bundle, "dns:a.test", "dns:b.test")) == [
        (ReasonCode.NAME_NOT_ALLOWED, "identity.sans")
    ]


UNPROVABLE = {
    ("dns:*.a.test", "[http-01, tls-alpn-01]"): "a wildcard is proven by dns-01 only, and this policy offers "
    "http-01 and tls-alpn-01; order the names one by one",
    (
        "ip:10.0.0.1",
        "[dns-01]",
    ): "an address is proven by http-01 or tls-alpn-01 only, and this policy offers "
    "dns-01; order a DNS name instead",
    ("email:a@a.test", "[http-01]"): "no challenge proves names of the kind email; leave it out",
}


@pytest.mark.parametrize(("name", "challenges"), UNPROVABLE)
def test_name_that_no_offered_challenge_can_prove_is_refused_at_once(name: str, challenges: str) -> None:
    """acme.md C68."""
    found = previewed(acme_bundle(acme_policy(challenges=challenges)), "dns:a.test", name)
    assert told(found) == [(ReasonCode.NAME_UNPROVEN, "identity.sans[1]")]
    assert found.reasons[0].message.endswith(f"cannot be proven here: {UNPROVABLE[name, challenges]}")


def test_names_within_the_external_account_need_no_challenge() -> None:
    """acme.md B4, also for a wildcard that no offered challenge could prove."""
    bundle = acme_bundle(acme_policy(challenges="[http-01]"))
    evidence = account(credential_id="9", spared=("a.test", "10.0.0.0/8"))
    found = previewed(bundle, "dns:*.a.test", "dns:b.test", "ip:10.0.0.1", evidence=evidence)
    assert found.reasons == ()
    assert found.prevalidated == sans("dns:*.a.test", "ip:10.0.0.1")


def test_bound_account_needs_no_challenge_at_all_where_none_is_asked_for() -> None:
    bundle = acme_bundle(acme_policy(challenges="[]"), options="{eab: always}")
    bound = previewed(bundle, "dns:*.a.test", "dns:a.test", evidence=account(credential_id="9"))
    assert bound == Preview((), "web", (), 3600, sans("dns:*.a.test", "dns:a.test"))
    for evidence in (account(), Evidence()):
        assert told(previewed(bundle, "dns:a.test", evidence=evidence)) == [
            (ReasonCode.NAME_UNPROVEN, "identity.sans[0]")
        ]


def test_profile_beyond_the_external_account_is_refused_at_once() -> None:
    evidence = account(credential_id="9", profiles=("short",))
    assert previewed(acme_bundle(), "dns:a.test", evidence=evidence, profile="short").reasons == ()
    assert told(previewed(acme_bundle(), "dns:a.test", evidence=evidence, profile="long")) == [
        (ReasonCode.PROFILE_UNKNOWN, "profile")
    ]
    assert told(previewed(acme_bundle(), "dns:a.test", evidence=evidence)) == [
        (ReasonCode.PROFILE_UNKNOWN, "profile")
    ]


def test_validity_is_judged_before_anything_is_proven() -> None:
    """acme.md C65: notBefore and notAfter are honoured exactly or refused."""
    plain = acme_bundle()
    day = timedelta(days=1)
    assert told(previewed(plain, "dns:a.test", not_after=NOW + day)) == [(ReasonCode.VALIDITY, "not_after")]
    asked = acme_bundle(acme_policy(validity="{default: 7d, max: 30d, client_may_request: true}"))
    assert previewed(asked, "dns:a.test", not_after=NOW + 30 * day).reasons == ()
    assert told(previewed(asked, "dns:a.test", not_after=NOW + 31 * day)) == [
        (ReasonCode.VALIDITY, "not_after")
    ]
    ends = facts(issuer_not_after=NOW + 20 * day)
    assert previewed(asked, "dns:a.test", not_after=NOW + 20 * day, known=ends).reasons == ()
    assert told(previewed(asked, "dns:a.test", not_after=NOW + 21 * day, known=ends)) == [
        (ReasonCode.VALIDITY, "not_after")
    ]


def test_subject_that_the_csr_may_still_bring_is_not_missed() -> None:
    required = "{subject: {CN: {source: csr, required: true}}, dns: {suffix: [test]}}"
    assert previewed(acme_bundle(acme_policy(names=required)), "dns:a.test").reasons == ()


def test_addresses_alone_may_be_ordered_where_the_first_dns_name_is_the_subject() -> None:
    assert previewed(acme_bundle(), "ip:10.0.0.1").reasons == ()


def test_preview_is_not_for_other_requests_than_the_policy_is() -> None:
    found = previewed(acme_bundle(), "dns:a.test", operation=Operation.ENROLL)
    assert found.reasons == ()
    bundle = acme_bundle(acme_policy(match="{protocol: acme, operation: [enroll, rekey]}"))
    assert told(previewed(bundle, "dns:a.test", operation=Operation.REKEY)) == [
        (ReasonCode.RENEWAL_NOT_OURS, "renews")
    ]


def test_profiles_are_those_of_all_policies_of_the_endpoint_in_the_words_of_their_owners() -> None:
    """acme.md C66."""
    described = acme_policy("web", priority="1", profile="[short-lived, bare]").replace(
        "{name: web}", "{name: web, description: Seven days}"
    )
    bundle = load(
        acme_endpoint(),
        acme_endpoint("other"),
        described,
        acme_policy("late", priority="2", profile="[short-lived, tls-server]"),
        acme_policy("any", priority="3"),
        acme_policy("elsewhere", priority="4", match="{protocol: acme, endpoint: other, operation: enroll}"),
        policy("est-only", match="{protocol: est, operation: enroll, profile: hidden}"),
    )
    expected = {"bare": "Seven days", "short-lived": "Seven days", "tls-server": "Certificates that live 90d"}
    assert profiles(bundle, "acme", "default") == expected
    assert list(profiles(bundle, "acme", "default")) == ["bare", "short-lived", "tls-server"]
    assert profiles(bundle, "acme", "other") == expected
    assert profiles(bundle, "est", "default") == {"hidden": "Certificates that live 90d"}
    assert profiles(bundle, "acme", "unknown") == {}


def test_account_is_what_such_a_policy_is_selected_by() -> None:
    bundle = acme_bundle()
    assert accepted_kinds(bundle, "acme", "default", Operation.ENROLL) == ("acme-account",)
    by_password = select(bundle, ordered("dns:a.test", presented=(password(),)))
    assert isinstance(by_password, NotSelected)
    assert [reason.code for reason in by_password.reasons] == [ReasonCode.AUTH_KIND]
    assert isinstance(select(load(policy()), request(presented=ordered("dns:a.test").presented)), NotSelected)
