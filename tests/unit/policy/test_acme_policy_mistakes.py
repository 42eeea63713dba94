"""What an administrator is told of an ACME policy or endpoint that is wrong."""

from __future__ import annotations

import pytest

from gateway.policy.load import load_bundle
from gateway.policy.sources import PolicySource
from tests.support import acme_policies, policies
from tests.unit.policy.acme_sample import NAMES, acme_bundle, acme_endpoint, acme_policy
from tests.unit.policy.sample import HOUSE, complaints, registry

NO_CHALLENGE = "no challenge is asked for, and anybody may open an account at the acme endpoint"


def told(*documents: str) -> list[str]:
    return complaints(HOUSE + "---\n".join(documents))


def test_no_challenge_together_with_no_binding_is_refused_with_its_place() -> None:
    """acme.md B4."""
    (line,) = told(acme_endpoint(), acme_policy(challenges="[]"))
    assert line == (
        "p.yaml:29:31: authenticate.acme-account.challenges: "
        f"{NO_CHALLENGE} 'default', so anybody could have any name; write options: "
        "{eab: always} there, or name a challenge or eab: required here"
    )


@pytest.mark.parametrize("rule", ["always", "new-accounts"])
def test_no_challenge_is_loaded_where_accounts_are_bound(rule: str) -> None:
    bundle = acme_bundle(acme_policy(challenges="[]"), options=f"{{eab: {rule}}}")
    assert bundle.policies[0].authenticate.acme is not None
    assert bundle.policies[0].authenticate.acme.challenges == ()


def test_every_endpoint_of_a_policy_without_challenge_must_bind_its_accounts() -> None:
    bound, unbound = acme_endpoint("bound", "{eab: always}"), acme_endpoint("open", "{eab: none}")
    (line,) = told(bound, unbound, acme_policy(challenges="[]"))
    assert f"{NO_CHALLENGE} 'open'" in line
    narrow = "{protocol: acme, endpoint: bound, operation: enroll}"
    text = HOUSE + "---\n".join([bound, unbound, acme_policy(challenges="[]", match=narrow)])
    assert load_bundle((PolicySource("p.yaml", text),), registry()).policies[0].endpoints == {"bound"}


def test_account_without_challenge_at_another_protocol_is_refused() -> None:
    (line,) = told(acme_policy(challenges="[]", match="{protocol: est, operation: enroll}"))
    assert "anybody may open an account at the est endpoint 'default'" in line


def test_mistake_of_an_endpoint_is_not_told_again_of_its_policies() -> None:
    (line,) = told(acme_endpoint(options="{eab: sometimes}"), acme_policy(challenges="[]"))
    assert "options.eab: 'sometimes' is not known" in line


WRONG_PARTS = {
    "unknown-challenge": (
        acme_policy(challenges="[http01]"),
        "acme-account.challenges.0: 'http01' is not known; did you mean 'http-01'?",
    ),
    "planned-challenge": (
        acme_policy(challenges="[dns-persist-01]"),
        "acme-account.challenges: 'dns-persist-01' is not available in this version; remove it",
    ),
    "no-duration": (
        acme_policy(reuse="often"),
        "reuse_authorization: 'often' is no duration; write a number",
    ),
    "unknown-key": (
        acme_policy(authenticate="{acme-account: {challange: []}}"),
        "acme-account.challange: unknown key 'challange'; did you mean 'challenges'?",
    ),
    "no-braces": (acme_policy(authenticate="{acme-account: }"), "acme-account: there is no value; write one"),
    "not-offered": (
        acme_policy(match="{protocol: acme, operation: enroll, auth: [acme-account, basic]}"),
        "match.auth.1: 'basic' is not under authenticate; add it there or remove it here",
    ),
    "planned-operation": (
        acme_policy(match="{protocol: acme, operation: keygen}"),
        "match.operation: 'keygen' is not available in this version; remove it",
    ),
    "all-names-dropped": (
        acme_policy(names=NAMES + "  on_extra: drop\n"),
        "names.on_extra: no name of an ACME order may be left out of its certificate; write deny",
    ),
    "dns-names-dropped": (
        acme_policy(names="{subject: first-dns, dns: {suffix: [test], on_extra: drop}}"),
        "names.dns.on_extra: no name of an ACME order may be left out of its certificate; write deny",
    ),
    "addresses-dropped": (
        acme_policy(names="{subject: first-dns, ip: {cidr: 10.0.0.0/8, on_extra: drop}}"),
        "names.ip.on_extra: no name of an ACME order may be left out of its certificate; write deny",
    ),
}


@pytest.mark.parametrize("case", WRONG_PARTS)
def test_wrong_part_of_a_policy_is_refused(case: str) -> None:
    document, text = WRONG_PARTS[case]
    (line,) = told(acme_endpoint(), document)
    assert text in line


WRONG_OPTIONS = {
    "{order_lifetime: soon}": "options.order_lifetime: is no duration; write for example 90s, 5m, 12h or 7d",
    "{limits: {orders_per_name: {count: 5, pre: 1h}}}": "orders_per_name.pre: unknown key 'pre'",
    "{validation_networks: [10.0.0.0/7x]}": "options.validation_networks.0",
    "{order_lifetime: 0s}": "options.order_lifetime: ",
    "{authorization_lifetime: 0d}": "options.authorization_lifetime: ",
    "{pending_authorization_lifetime: 0s}": "options.pending_authorization_lifetime: ",
    "{validation_timeout: 0s}": "options.validation_timeout: ",
    "{validation_timeout: 31s}": "options.validation_timeout: ",
    "{renewal_retry_after: 0s}": "options.renewal_retry_after: ",
    "{order_lifetime: 999999999d}": "options.order_lifetime: ",
    "{limits: {orders_per_name: {count: 5, per: 0s}}}": "options.limits.orders_per_name.per: ",
    '{terms_of_service: "https://a.test/\\r\\nX: y"}': "options.terms_of_service: is no URL",
    "{terms_of_service: 'javascript:alert(1)'}": "options.terms_of_service: is no URL",
    "{website: 'https://'}": "options.website: is no URL",
    "{renewal_explanation_url: 'https://a.test/>;rel=x'}": "options.renewal_explanation_url: is no URL",
    "{caa_identities: ['ca.example; policy=x']}": "options.caa_identities.0: the DNS name",
    "{caa_identities: ['*.ca.example']}": "options.caa_identities.0: is a wildcard",
    "{term_of_service: x}": "unknown key 'term_of_service'; did you mean 'terms_of_service'?",
}


@pytest.mark.parametrize("options", WRONG_OPTIONS)
def test_wrong_option_of_an_endpoint_is_refused_with_its_place(options: str) -> None:
    lines = told(acme_endpoint(options=options), acme_policy())
    assert any(WRONG_OPTIONS[options] in line and line.startswith("p.yaml:22:") for line in lines), lines


def test_default_profile_that_no_policy_of_the_endpoint_is_for_is_refused_with_its_place() -> None:
    """acme.md C66: each order without a profile would be refused."""
    elsewhere = (
        acme_endpoint("other")
        + "---\n"
        + acme_policy(
            "elsewhere",
            priority="90",
            match="{protocol: acme, endpoint: other, operation: enroll, profile: long}",
        )
    )
    here = acme_policy(match="{protocol: acme, endpoint: default, operation: enroll, profile: short}")
    lines = told(acme_endpoint(options="{default_profile: long}"), here, elsewhere)
    (line,) = lines
    assert line.startswith("p.yaml:22:28: options.default_profile: no policy of this endpoint is for the "), (
        line
    )
    assert "'long'; known here: short. A policy is for a profile by match: {profile: ...}" in line
    bundle = acme_bundle(acme_policy(profile="short"), options="{default_profile: short}")
    assert bundle.endpoints["acme", "default"].options.default_profile == "short"


@pytest.mark.parametrize("name", ["directory", "new-order", "challenge"])
def test_resource_of_the_protocol_cannot_name_an_endpoint(name: str) -> None:
    (line,) = told(acme_endpoint(name), acme_policy())
    assert f"metadata.name: {name!r} is a word of the protocol acme" in line


def test_options_are_read_as_they_are_written_in_yaml() -> None:
    text = (
        "{terms_of_service: 'https://a.test/terms', caa_identities: [a.test], eab: always, max_contacts: 0, "
        "validation_networks: [10.0.0.0/8, 'fd00::/8'], renewal_info: false, order_lifetime: 12h, "
        "limits: {orders_per_name: {count: 5, per: 1h}, failed_validations: null}}"
    )
    options = acme_bundle(options=text).endpoints["acme", "default"].options
    assert options.binds_accounts
    assert (options.max_contacts, options.renewal_info) == (0, False)
    assert options.order_lifetime.total_seconds() == 12 * 3600
    assert [str(network) for network in options.validation_networks] == ["10.0.0.0/8", "fd00::/8"]
    assert (options.limits.orders_per_name.count, options.limits.failed_validations) == (5, None)


def test_documents_that_other_tests_are_built_from_load() -> None:
    bundled = policies.bundle(
        acme_policies.acme_endpoint(),
        acme_policies.acme_endpoint("bound", eab="always"),
        acme_policies.acme_policy("web", priority=10),
        acme_policies.acme_policy("spared", "bound", priority=5, challenges=()),
        acme_policies.acme_policy("short", priority=4, profile="short", validity={"default": "7d"}),
        acme_policies.acme_policy(
            "asked", ("bound",), priority=3, profile=["asked"], approval={"required": 2}
        ),
    )
    bundle = load_bundle(tuple(PolicySource(name, text) for name, text in bundled.items()), registry())
    assert [(one.name, sorted(one.endpoints)) for one in bundle.policies] == [
        ("asked", ["bound"]),
        ("short", ["default"]),
        ("spared", ["bound"]),
        ("web", ["default"]),
    ]
    assert bundle.policies[0].approval is not None
