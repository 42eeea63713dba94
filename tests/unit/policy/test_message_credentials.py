"""Challenge passwords, secrets and signatures of messages: what they select, and what they grant."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.model.decision import Allow, Decision
from gateway.model.enrolment import Operation, RequestedIdentity
from gateway.model.evidence import (
    BASIC,
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    MAC,
    MTLS,
    RENEWAL_CERT,
    SIGNATURE,
    CredentialKind,
    Evidence,
)
from gateway.model.keys import ClientKey, Pop
from gateway.model.names import DistinguishedName
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import NotSelected, Selected, accepted_kinds, select
from gateway.policy.rules import Bundle, CompiledPolicy
from tests.support.pki import Authority
from tests.unit.policy.message_sample import (
    CHALLENGE,
    CMP,
    MAC_OF_DEVICE,
    SCEP,
    message,
    message_bundle,
    message_policy,
    signed,
    verified,
)
from tests.unit.policy.sample import certificate, codes, decide, ec_key, password, sans

SORTS = {"static": CHALLENGE_STATIC, "dynamic": CHALLENGE_DYNAMIC}
ACCEPTED = {
    "challenge: {}": {"static", "dynamic"},
    "challenge: {accept: [static, dynamic]}": {"static", "dynamic"},
    "challenge: {accept: [static]}": {"static"},
    "challenge: {accept: dynamic}": {"dynamic"},
}


def compiled(bundle: Bundle) -> CompiledPolicy:
    (found,) = bundle.policies
    assert isinstance(found, CompiledPolicy)
    return found


@pytest.mark.parametrize(("rule", "sort"), [*product(ACCEPTED, SORTS)])
def test_challenge_is_granted_only_of_the_sort_that_the_policy_accepts(rule: str, sort: str) -> None:
    """scep.md C40: which sort a presented challenge is shows only when it is verified."""
    bundle = message_bundle(message_policy("scep", authenticate=f"{{{rule}}}"))
    asked = message(protocol=SCEP, presented=(CHALLENGE,))
    decision = decide(bundle, asked, verified(SORTS[sort]))
    if sort in ACCEPTED[rule]:
        assert isinstance(decision, Allow)
    else:
        assert codes(decision) == [ReasonCode.AUTH_MISSING]


@pytest.mark.parametrize("word", ["challenge-static", "challenge-dynamic"])
def test_presented_challenge_selects_by_either_word(word: str) -> None:
    rules = "{protocol: scep, operation: enroll, auth: " + word + "}"
    bundle = message_bundle(message_policy("scep", match=rules, authenticate="{challenge: {}}"))
    asked = message(protocol=SCEP, presented=(CHALLENGE,))
    assert isinstance(select(bundle, asked), Selected)
    assert accepted_kinds(bundle, "scep", "default", Operation.ENROLL) == (word,)


def test_request_without_challenge_is_told_what_is_looked_at() -> None:
    bundle = message_bundle(message_policy("scep", authenticate="{challenge: {}}"))
    missing = select(bundle, message(protocol=SCEP, presented=()))
    assert isinstance(missing, NotSelected)
    assert missing.accepts == (CHALLENGE_DYNAMIC, CHALLENGE_STATIC)
    assert [reason.code for reason in missing.reasons] == [ReasonCode.AUTH_MISSING]
    other = select(bundle, message(protocol=SCEP, presented=(password(),)))
    assert isinstance(other, NotSelected)
    assert [reason.code for reason in other.reasons] == [ReasonCode.AUTH_KIND]


def test_all_credentials_are_met_by_a_challenge_of_one_sort() -> None:
    both = "{require: all, challenge: {}, mtls: {trust: own}}"
    bundle = message_bundle(message_policy("scep", authenticate=both))
    asked = message(protocol=SCEP, presented=(CHALLENGE, certificate()))
    for sort in SORTS.values():
        assert isinstance(decide(bundle, asked, verified(sort, MTLS)), Allow)
        decision = decide(bundle, asked, verified(sort))
        assert codes(decision) == [ReasonCode.AUTH_MISSING]
        assert decision.trace[-1].message.endswith("missing: mtls")
    decision = decide(bundle, asked, verified(MTLS))
    assert codes(decision) == [ReasonCode.AUTH_MISSING]
    assert decision.trace[-1].message.endswith("missing: challenge-dynamic or challenge-static")


PRESENTED = {
    MAC: MAC_OF_DEVICE,
    SIGNATURE: signed(),
    MTLS: certificate(),
    BASIC: password(),
    RENEWAL_CERT: certificate(kind=RENEWAL_CERT),
}
RULES = {
    MAC: "{mac: {}}",
    SIGNATURE: "{signature: {trust: own}}",
    MTLS: "{mtls: {trust: own}}",
    BASIC: "{basic: {}}",
}


@pytest.mark.parametrize(("rule", "kind"), [*product(RULES, PRESENTED)])
def test_credential_counts_as_what_it_was_presented_for_and_nothing_else(
    rule: CredentialKind, kind: CredentialKind
) -> None:
    """cmp.md 34: a signer is no TLS client, and a certificate that is renewed signs for itself alone."""
    bundle = message_bundle(message_policy(authenticate=RULES[rule]))
    selected = select(bundle, message(presented=(PRESENTED[kind],)))
    assert isinstance(selected, Selected) is (rule == kind)
    decision = decide(bundle, message(presented=(PRESENTED[rule],)), verified(kind))
    if rule == kind:
        assert isinstance(decision, Allow)
    else:
        assert codes(decision) == [ReasonCode.AUTH_MISSING]


def _asking_as(kind: CredentialKind, rule: str, name: str) -> Decision:
    own = Authority("ours").issue(cn="a.test", sans=["a.test"]).certificate_der
    bundle = message_bundle(message_policy(authenticate=f"{{{kind}: {{trust: own{rule}}}}}"))
    shown = signed(own) if kind == SIGNATURE else certificate(own)
    wanted = RequestedIdentity(DistinguishedName(), sans(f"dns:{name}"))
    return decide(bundle, message(identity=wanted, presented=(shown,)), verified(kind, certificate_der=own))


@pytest.mark.parametrize("kind", [SIGNATURE, MTLS])
def test_own_names_bound_a_certificate_however_it_was_presented(kind: CredentialKind) -> None:
    assert isinstance(_asking_as(kind, ", names: own", "a.test"), Allow)
    assert codes(_asking_as(kind, ", names: own", "b.test")) == [ReasonCode.AUTH_CREDENTIAL_SCOPE]
    assert isinstance(_asking_as(kind, "", "b.test"), Allow)


def test_names_of_a_signature_do_not_bound_a_tls_client() -> None:
    own = Authority("ours").issue(cn="a.test", sans=["a.test"]).certificate_der
    rules = "{signature: {trust: own, names: own}, mtls: {trust: own}}"
    bundle = message_bundle(message_policy(authenticate=rules))
    asked = message("dns:b.test", presented=(certificate(own),))
    assert isinstance(decide(bundle, asked, verified(MTLS, certificate_der=own)), Allow)


def test_signature_takes_any_usage_unless_it_names_some() -> None:
    bundle = message_bundle(message_policy(authenticate="{signature: {trust: own}}"))
    rule = compiled(bundle).authenticate.signature
    assert rule is not None
    assert (rule.trust, rule.extended_key_usage, rule.allow_expired_s) == ("own", frozenset(), 0)
    assert not rule.ra
    assert not rule.own_names_only
    rules = "{signature: {trust: own, ra: true, extended_key_usage: cmcRA, allow_expired: 7d}}"
    rule = compiled(message_bundle(message_policy(authenticate=rules))).authenticate.signature
    assert rule is not None
    assert (rule.extended_key_usage, rule.allow_expired_s) == ({"1.3.6.1.5.5.7.3.28"}, 7 * 86_400)
    assert rule.ra


WORD_OF_AN_RA = verified(SIGNATURE, ra=True)
WORD_OF_A_DEVICE = verified(MAC)


@pytest.mark.parametrize("pop", Pop)
@pytest.mark.parametrize("evidence", [WORD_OF_AN_RA, WORD_OF_A_DEVICE], ids=["ra", "device"])
def test_possession_is_proven_by_a_signature_or_by_the_word_of_an_ra(pop: Pop, evidence: Evidence) -> None:
    """cmp.md 53 and 55: raVerified counts from a registration authority, no proof at all from nobody."""
    bundle = message_bundle(message_policy(authenticate="{mac: {}, signature: {trust: own}}"))
    asked = message(key=ClientKey(ec_key(), pop, "sha256" if pop is Pop.SIGNATURE else None))
    decision = decide(bundle, asked, evidence)
    if pop is Pop.SIGNATURE or (pop is Pop.RA_VERIFIED and evidence.ra):
        assert isinstance(decision, Allow)
    else:
        assert codes(decision) == [ReasonCode.CSR_POSSESSION]


def test_protocol_of_a_request_is_its_own() -> None:
    bundle = message_bundle(message_policy(authenticate="{mac: {}}"))
    assert isinstance(select(bundle, message(protocol=CMP)), Selected)
    assert isinstance(select(bundle, message(protocol=SCEP)), NotSelected)
