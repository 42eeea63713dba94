"""Policies for revocations: whose word counts, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model.decision import Deny
from gateway.model.enrolment import Operation
from gateway.model.evidence import MAC, MTLS, RENEWAL_CERT, SIGNATURE, CredentialKind, Linking
from gateway.model.ids import EndpointName
from gateway.model.keys import KeyToCome
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import (
    Admitted,
    NotSelected,
    Selected,
    accepted_kinds,
    authorize,
    describe,
    select,
    select_revocation,
)
from gateway.policy.reach import hidden_policies
from gateway.policy.rules import Bundle, CompiledPolicy
from tests.unit.policy.message_sample import (
    MAC_OF_DEVICE,
    SCEP,
    endpoint,
    message,
    message_bundle,
    message_policy,
    revocation,
    revocation_policy,
    signed,
    verified,
)
from tests.unit.policy.sample import HOUSE, certificate, complaints, load, policy


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return message_bundle(message_policy(priority="10"), revocation_policy())


def admitted(bundle: Bundle, **parts: object) -> Admitted:
    selected = select_revocation(bundle, revocation(**parts))
    assert isinstance(selected, Admitted), selected
    return selected


def test_revocation_is_authorized_by_the_credential_that_its_policy_names(bundle: Bundle) -> None:
    """cmp.md 77. Whatever key and names such a request carries, they are not looked at."""
    asked = revocation(key=KeyToCome())
    chosen = admitted(bundle)
    assert chosen.policy.name == "revocations"
    assert [step.message for step in chosen.trace] == ["cmp any endpoint revoke, priority 100"]
    assert authorize(bundle, chosen, asked, verified(SIGNATURE)) is None


@pytest.mark.parametrize("kinds", [(), (MAC,), (MTLS,), (RENEWAL_CERT,)], ids=str)
def test_revocation_is_denied_to_any_other_credential(
    bundle: Bundle, kinds: tuple[CredentialKind, ...]
) -> None:
    chosen = admitted(bundle)
    decision = authorize(bundle, chosen, revocation(), verified(*kinds))
    assert isinstance(decision, Deny)
    assert decision.policy == "revocations"
    assert [reason.code for reason in decision.reasons] == [ReasonCode.AUTH_MISSING]
    assert [step.verdict for step in decision.trace] == ["chosen", "refused"]


def test_fault_while_authorizing_denies(bundle: Bundle) -> None:
    """A certificate that cannot be read any more stands in the evidence: the check itself fails."""
    broken = verified(SIGNATURE, certificate_der=b"no certificate", detail=(("ours", "yes"),))
    asked = revocation(linking=Linking.MISMATCH)
    decision = authorize(bundle, admitted(bundle), asked, broken)
    assert isinstance(decision, Deny)
    assert [reason.code for reason in decision.reasons] == [ReasonCode.POLICY_CRASH]


def test_policy_for_revocations_issues_nothing_and_one_for_certificates_revokes_nothing(
    bundle: Bundle,
) -> None:
    by_signature = (signed(),)
    only_revocations = message_bundle(revocation_policy(authenticate="{mac: {}}"))
    for operation in Operation:
        asked = message(operation=operation, presented=(*by_signature, MAC_OF_DEVICE))
        assert isinstance(select(only_revocations, asked), NotSelected)
        revoking = select_revocation(only_revocations, asked)
        assert isinstance(revoking, Admitted) is (operation is Operation.REVOKE)
        assert not isinstance(revoking, Selected)
    only_certificates = message_bundle(message_policy())
    assert isinstance(select_revocation(only_certificates, revocation()), NotSelected)
    assert [type(one) is CompiledPolicy for one in bundle.policies] == [True, False]


NOT_FOR_THIS = {
    "endpoint": {"endpoint": EndpointName("elsewhere")},
    "protocol": {"protocol": SCEP},
    "address": {"remote": replace(revocation().remote, address="192.0.2.1")},
}


@pytest.mark.parametrize("case", NOT_FOR_THIS)
def test_revocation_that_no_policy_is_for_is_refused(case: str) -> None:
    match = "{protocol: cmp, endpoint: default, operation: revoke, source_ip: 10.0.0.0/8}"
    bundle = message_bundle(revocation_policy(match=match))
    inside = replace(revocation().remote, address="10.1.2.3")
    assert admitted(bundle, remote=inside)
    refused = select_revocation(bundle, revocation(**{"remote": inside, **NOT_FOR_THIS[case]}))
    assert isinstance(refused, NotSelected)
    assert [reason.code for reason in refused.reasons] == [ReasonCode.POLICY_NO_MATCH]


def test_other_credential_is_told_what_a_revocation_needs(bundle: Bundle) -> None:
    refused = select_revocation(bundle, revocation(presented=(certificate(),)))
    assert isinstance(refused, NotSelected)
    assert refused.accepts == (SIGNATURE,)
    assert [reason.code for reason in refused.reasons] == [ReasonCode.AUTH_KIND]
    assert accepted_kinds(bundle, "cmp", "default", Operation.REVOKE) == (SIGNATURE,)
    assert accepted_kinds(bundle, "cmp", "default", Operation.ENROLL) == (MAC,)


def test_nothing_is_wanted_of_a_revocation(bundle: Bundle) -> None:
    assert describe(bundle, "cmp", "default", Operation.REVOKE) is None
    assert not admitted(bundle).policy.needs_key_history


def test_lowest_priority_that_fits_decides_on_a_revocation() -> None:
    bundle = message_bundle(
        revocation_policy("late", priority="20", authenticate="{mac: {}, signature: {trust: own}}"),
        revocation_policy("early", priority="10", authenticate="{mac: {}}"),
    )
    assert admitted(bundle).policy.name == "late"
    assert admitted(bundle, presented=(MAC_OF_DEVICE,)).policy.name == "early"
    assert hidden_policies(bundle) == ()


def test_revocations_and_certificates_do_not_overlap_but_two_for_revocations_do() -> None:
    assert len(message_bundle(message_policy(), revocation_policy()).policies) == 2
    text = HOUSE + "---\n".join([endpoint(), revocation_policy("one"), revocation_policy("two")])
    (line,) = complaints(text)
    assert "the policy 'one' at p.yaml:23:1 has the same priority 100, and some requests fit both" in line


def test_hidden_policy_for_revocations_is_found() -> None:
    bundle = message_bundle(revocation_policy("first", priority="1"), revocation_policy("second"))
    assert [one.policy.name for one in hidden_policies(bundle)] == ["second"]


def test_policy_for_revocations_is_for_every_endpoint_unless_it_names_some() -> None:
    bundle = load(endpoint(name="one"), endpoint(name="two"), revocation_policy())
    assert set(bundle.revocation) == {("cmp", "one"), ("cmp", "two")}


ISSUES_NOTHING = "says what may be issued, and a revocation issues nothing; remove it"
PARTS = {
    "keys": "{ec: [P-256]}",
    "names": "{subject: first-dns}",
    "extensions": "{}",
    "validity": "{default: 90d}",
    "renewal": "{}",
    "approval": "{}",
    "issue": "{backend: embedded}",
}


@pytest.mark.parametrize("key", PARTS)
def test_part_that_says_what_is_issued_is_refused_for_revocations(key: str) -> None:
    found = complaints(HOUSE + "---\n".join([endpoint(), revocation_policy(**{key: PARTS[key]})]))
    assert found == [f"p.yaml:29:1: {key}: {key!r} {ISSUES_NOTHING}"]


@pytest.mark.parametrize("key", ["keys", "validity", "issue"])
def test_part_that_says_what_is_issued_is_missing_for_certificates(key: str) -> None:
    text = "\n".join(line for line in policy().splitlines() if not line.startswith(key))
    (line,) = complaints(HOUSE + text + "\n")
    assert f"the key {key!r} is missing" in line


MISTAKES = {
    "mixed-with-enroll": (
        message_policy(match="{protocol: cmp, operation: [enroll, revoke]}"),
        "p.yaml:27:24: match.operation: revoke stands alone; write a policy of its own with operation: rev",
    ),
    "profile": (
        revocation_policy(match="{protocol: cmp, operation: revoke, profile: web}"),
        f"match.profile: 'profile' {ISSUES_NOTHING}",
    ),
    "own-names": (
        revocation_policy(authenticate="{signature: {trust: own, names: own}}"),
        f"authenticate.signature.names: 'names' {ISSUES_NOTHING}",
    ),
    "renewed-certificate": (
        revocation_policy(authenticate="{renewal-cert: {trust: own}}"),
        "authenticate.renewal-cert: a revocation renews nothing; use signature",
    ),
    "challenge": (
        revocation_policy(authenticate="{challenge: {}}"),
        "authenticate.challenge: a challengePassword revokes nothing; use signature",
    ),
    "account": (
        revocation_policy(authenticate="{acme-account: {}}"),
        "authenticate.acme-account: who may revoke by ACME is said by RFC 8555 section 7.6; no policy is",
    ),
    "nobody": (revocation_policy(authenticate="{}"), "authenticate: no credential is asked for; add basic"),
    "unknown-key": (revocation_policy(lint="1"), "unknown key 'lint'; known here: apiVersion, auth"),
    "unknown-trust-store": (
        revocation_policy(authenticate="{signature: {trust: mine}}"),
        "authenticate.signature.trust: there is no TrustStore 'mine'; known here: own",
    ),
    "unknown-endpoint": (
        revocation_policy(match="{protocol: cmp, endpoint: defualt, operation: revoke}"),
        "match.endpoint: there is no Endpoint of cmp 'defualt'; did you mean 'default'?",
    ),
    "auth-not-verified": (
        revocation_policy(match="{protocol: cmp, operation: [revoke], auth: mac}"),
        "match.auth.0: 'mac' is not under authenticate; add it there or remove it here",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_in_a_policy_for_revocations_is_told(case: str) -> None:
    document, expected = MISTAKES[case]
    (line,) = complaints(HOUSE + "---\n".join([endpoint(), document]))
    assert expected in line
