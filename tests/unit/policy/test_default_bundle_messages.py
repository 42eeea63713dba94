"""The bundle that a fresh gateway starts with: the names of the lab, nothing else. Here: SCEP and CMP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.model.decision import Allow, Decision
from gateway.model.enrolment import Operation, RequestedIdentity
from gateway.model.evidence import (
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    MAC,
    RENEWAL_CERT,
    SIGNATURE,
    CredentialKind,
    Evidence,
    PresentedCredential,
)
from gateway.model.ids import ProtocolName
from gateway.model.keys import ClientKey, Pop
from gateway.model.reasons import ReasonCode
from gateway.plugins import load_plugins
from gateway.policy.engine import Admitted, NotSelected, accepted_kinds, authorize, select, select_revocation
from gateway.policy.handed_out import foreign_issuers
from gateway.policy.load import load_bundle
from gateway.policy.reach import hidden_policies
from gateway.policy.rules import Bundle
from gateway.policy.sample_keys import sample_key
from gateway.policy.sources import read_directory
from tests.support.pki import Authority
from tests.unit.policy.message_sample import (
    CHALLENGE,
    CMP,
    MAC_OF_DEVICE,
    SCEP,
    message,
    revocation,
    signed,
    verified,
)
from tests.unit.policy.sample import (
    allowed,
    certificate,
    client_key,
    codes,
    decide,
    facts,
    previous,
    sans,
    subject,
)

POLICIES = Path(__file__).parents[3] / "policies"
RSA = sample_key("rsa-2048")
PRESENTED: dict[ProtocolName, PresentedCredential] = {SCEP: CHALLENGE, CMP: MAC_OF_DEVICE}
VERIFIED = {SCEP: verified(CHALLENGE_DYNAMIC), CMP: verified(MAC)}
BOTH = pytest.mark.parametrize("protocol", [SCEP, CMP])


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "lab"])
def lab(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def bundle(lab: bool) -> Bundle:
    return load_bundle(read_directory(POLICIES), load_plugins().registry(lab=lab))


def identity(*names: str, cn: str | None = None, **attributes: str) -> RequestedIdentity:
    common = [("CN", cn)] if cn is not None else []
    return RequestedIdentity(subject(*common, *attributes.items()), sans(*names))


def first(bundle: Bundle, protocol: ProtocolName, wanted: RequestedIdentity, **parts: object) -> Decision:
    """A first certificate by the usual credential of the protocol."""
    usual: dict[str, object] = {"key": client_key(RSA), "presented": (PRESENTED[protocol],)}
    asked = message(protocol=protocol, identity=wanted, **{**usual, **parts})
    return decide(bundle, asked, VERIFIED[protocol])


@BOTH
@pytest.mark.parametrize("name", ["a.test", "a.b.example", "host.internal", "localhost", "*.a.test"])
def test_names_of_the_lab_are_granted_to_whoever_has_the_secret(
    bundle: Bundle, protocol: ProtocolName, name: str
) -> None:
    plan = allowed(first(bundle, protocol, identity(f"dns:{name}", cn="device 1"))).plan
    assert plan is not None
    assert [one.value for one in plan.sans] == [name]
    assert plan.key_usage == ("digitalSignature", "keyEncipherment")
    assert (plan.not_after - facts().now).days == 90


@BOTH
@pytest.mark.parametrize("name", ["example.com", "atest", "a.test.com", "www.localhost"])
def test_other_names_of_messages_are_refused(bundle: Bundle, protocol: ProtocolName, name: str) -> None:
    assert codes(first(bundle, protocol, identity(f"dns:{name}"))) == [ReasonCode.NAME_NOT_ALLOWED]


@BOTH
def test_loopback_is_granted_to_messages_in_the_lab_only(
    bundle: Bundle, protocol: ProtocolName, lab: bool
) -> None:
    assert isinstance(first(bundle, protocol, identity("ip:127.0.0.1")), Allow) is lab


def test_scep_issues_from_its_rsa_ca_and_cmp_from_the_default(bundle: Bundle) -> None:
    routes = {p: allowed(first(bundle, p, identity(cn="device"))).route for p in (SCEP, CMP)}
    assert (routes[SCEP].profile, routes[CMP].profile) == ("scep", None)
    assert bundle.endpoints["scep", "default"].ca == "scep"
    assert bundle.endpoints["cmp", "default"].ca is None
    keys = {ca.name: ca.key for ca in bundle.backends["embedded"].options.issuing}
    assert keys == {"issuing": "ec-p256", "scep": "rsa-2048"}
    assert bundle.backends["embedded"].options.default_issuing_name == "issuing"


@pytest.mark.parametrize("bits", [1024, 2047, 2048, 4096, 4097])
def test_scep_certifies_rsa_keys_of_2048_to_4096_bits(bundle: Bundle, bits: int) -> None:
    """scep.md C26: the answer is encrypted to the key that is certified."""
    key = client_key(replace(RSA, size_bits=bits))
    granted = isinstance(first(bundle, SCEP, identity(cn="device"), key=key), Allow)
    assert granted is (2048 <= bits <= 4096)


def test_scep_certifies_no_ec_key_and_cmp_does(bundle: Bundle) -> None:
    assert codes(first(bundle, SCEP, identity(cn="device"), key=client_key())) == [ReasonCode.KEY_TYPE]
    assert isinstance(first(bundle, CMP, identity(cn="device"), key=client_key()), Allow)


def test_subject_that_scep_clients_always_send_is_left_out(bundle: Bundle) -> None:
    """micromdm scepclient 2.1.0 asks for O, OU and C unless told otherwise."""
    wanted = identity(cn="device 1", O="scep-client", OU="MDM", C="US")
    plan = allowed(first(bundle, SCEP, wanted)).plan
    assert plan is not None
    assert str(plan.subject) == "CN=device 1"
    assert codes(first(bundle, CMP, wanted)) == [ReasonCode.SUBJECT_ATTRIBUTE] * 3


def test_scep_certifies_a_key_again_for_another_challenge_and_cmp_for_nobody_else(bundle: Bundle) -> None:
    known = facts(key_known_to_others=True)
    for protocol in (SCEP, CMP):
        asked = message(protocol=protocol, key=client_key(RSA), presented=(PRESENTED[protocol],))
        decision = decide(bundle, asked, VERIFIED[protocol], known)
        if protocol == SCEP:
            assert isinstance(decision, Allow)
        else:
            assert codes(decision) == [ReasonCode.KEY_REUSE]


@pytest.mark.parametrize("sort", [CHALLENGE_STATIC, CHALLENGE_DYNAMIC])
def test_challenges_of_both_sorts_are_accepted(bundle: Bundle, sort: CredentialKind) -> None:
    asked = message(protocol=SCEP, key=client_key(RSA), presented=(CHALLENGE,))
    assert isinstance(decide(bundle, asked, verified(sort)), Allow)


@BOTH
def test_renewal_of_a_message_keeps_the_names(bundle: Bundle, protocol: ProtocolName) -> None:
    """Subject attributes that were left out then are left out now, and do not count as a change."""
    known = facts(previous=previous("dns:a.test", key=RSA))
    evidence = verified(RENEWAL_CERT, certificate_der=b"old")

    def ask(name: str) -> Decision:
        asked = message(
            protocol=protocol,
            operation=Operation.RENEW,
            identity=identity(f"dns:{name}", cn="device 1", **({"O": "x"} if protocol == SCEP else {})),
            key=client_key(RSA),
            presented=(certificate(b"old", kind=RENEWAL_CERT),),
            renews_der=b"old",
        )
        return decide(bundle, asked, evidence, known)

    assert isinstance(ask("a.test"), Allow)
    assert codes(ask("b.test")) == [ReasonCode.RENEWAL_NAMES_DIFFER]


def test_own_certificate_signs_for_its_own_names_only(bundle: Bundle) -> None:
    own = Authority("ours").issue(cn="a.test", sans=["a.test"]).certificate_der

    def ask(name: str) -> Decision:
        asked = message(identity=identity(f"dns:{name}", cn=name), presented=(signed(own),))
        return decide(bundle, asked, verified(SIGNATURE, certificate_der=own))

    assert isinstance(ask("a.test"), Allow)
    assert set(codes(ask("b.test"))) == {ReasonCode.AUTH_CREDENTIAL_SCOPE}


def test_nobody_is_a_registration_authority_by_default(bundle: Bundle) -> None:
    assert not any(
        policy.authenticate.signature is not None and policy.authenticate.signature.ra
        for policy in bundle.policies
    )
    key = ClientKey(RSA, Pop.RA_VERIFIED)
    assert codes(first(bundle, CMP, identity(cn="device"), key=key)) == [ReasonCode.CSR_POSSESSION]


def test_revocation_is_for_signers_of_cmp_alone(bundle: Bundle) -> None:
    admitted = select_revocation(bundle, revocation())
    assert isinstance(admitted, Admitted)
    assert admitted.policy.name == "cmp-revocation"
    assert authorize(bundle, admitted, revocation(), verified(SIGNATURE)) is None
    assert authorize(bundle, admitted, revocation(), Evidence()) is not None
    assert isinstance(select_revocation(bundle, revocation(presented=(MAC_OF_DEVICE,))), NotSelected)
    for protocol in ("scep", "est", "acme"):
        assert isinstance(select_revocation(bundle, revocation(protocol=protocol)), NotSelected)


def test_each_operation_of_messages_accepts_its_credentials(bundle: Bundle) -> None:
    challenges = (CHALLENGE_DYNAMIC, CHALLENGE_STATIC)
    assert accepted_kinds(bundle, "scep", "default", Operation.ENROLL) == challenges
    assert accepted_kinds(bundle, "cmp", "default", Operation.ENROLL) == (MAC, SIGNATURE)
    for protocol in ("scep", "cmp"):
        for operation in (Operation.RENEW, Operation.REKEY):
            assert accepted_kinds(bundle, protocol, "default", operation) == (RENEWAL_CERT,)
        assert isinstance(select(bundle, message(protocol=protocol, operation=Operation.KEYGEN)), NotSelected)


def test_no_policy_of_the_default_bundle_hides_another(bundle: Bundle) -> None:
    assert hidden_policies(bundle) == ()


def test_default_bundle_issues_by_the_cas_that_its_endpoints_hand_out(bundle: Bundle) -> None:
    assert foreign_issuers(bundle) == ()
