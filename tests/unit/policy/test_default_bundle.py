"""The bundle that a fresh gateway starts with: exactly the names of the lab, nothing else. Here: EST."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.model.decision import Allow, Decision, Deny
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import MTLS, RENEWAL_CERT, Evidence, VerifiedCredential
from gateway.model.ids import ProtocolName
from gateway.plugins import load_plugins
from gateway.policy.engine import NotSelected, accepted_kinds, select
from gateway.policy.load import load_bundle
from gateway.policy.rules import Bundle
from gateway.policy.sample_keys import sample_key
from gateway.policy.sources import read_directory
from tests.support.pki import Authority
from tests.unit.policy.sample import (
    allowed,
    certificate,
    client_key,
    codes,
    decide,
    facts,
    previous,
    request,
)

POLICIES = Path(__file__).parents[3] / "policies"


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "lab"])
def lab(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def bundle(lab: bool) -> Bundle:
    return load_bundle(read_directory(POLICIES), load_plugins().registry(lab=lab))


@pytest.mark.parametrize(
    "name", ["a.test", "a.b.example", "host.internal", "localhost", "A.TEST", "test", "xn--bcher-kva.test"]
)
def test_names_of_the_lab_are_granted(bundle: Bundle, name: str) -> None:
    assert isinstance(decide(bundle, request(f"dns:{name}", cn=name)), Allow)
    assert isinstance(decide(bundle, request(cn=name)), Allow)


@pytest.mark.parametrize(
    "name", ["example.com", "atest", "a.test.com", "www.localhost", "localhost.localdomain", "test.de"]
)
def test_other_names_are_refused(bundle: Bundle, name: str) -> None:
    assert isinstance(decide(bundle, request(f"dns:{name}")), Deny)
    if "." in name:
        assert isinstance(decide(bundle, request(cn=name)), Deny)


def test_loopback_is_granted_in_the_lab_only(bundle: Bundle, lab: bool) -> None:
    for name in ("ip:127.0.0.1", "ip:::1"):
        assert isinstance(decide(bundle, request(name)), Allow) is lab
    assert isinstance(decide(bundle, request("ip:192.0.2.1")), Deny)


@pytest.mark.parametrize("name", ["email:a@a.test", "uri:https://a.test/"])
def test_other_kinds_of_names_are_refused(bundle: Bundle, name: str) -> None:
    assert isinstance(decide(bundle, request(name)), Deny)


@pytest.mark.parametrize("bits", [1024, 2047, 2048, 8192, 8193])
def test_rsa_keys_have_2048_to_8192_bits(bundle: Bundle, bits: int) -> None:
    key = replace(sample_key("rsa-2048"), size_bits=bits)
    assert isinstance(decide(bundle, request(key=client_key(key))), Allow) is (2048 <= bits <= 8192)


def test_certificate_lives_90_days(bundle: Bundle) -> None:
    plan = allowed(decide(bundle, request())).plan
    assert plan is not None
    assert (plan.not_after - facts().now).days == 90


def test_client_certificate_enrols_its_own_names_only(bundle: Bundle) -> None:
    own = Authority("ours").issue(cn="a.test", sans=["a.test"])
    evidence = Evidence((VerifiedCredential(MTLS, "cert:1", "CN=a.test", own.certificate_der),))

    def ask(name: str) -> Decision:
        return decide(
            bundle, request(f"dns:{name}", cn=name, presented=(certificate(own.certificate_der),)), evidence
        )

    assert isinstance(ask("a.test"), Allow)
    assert isinstance(ask("b.test"), Deny)


def test_renewal_by_the_old_certificate_keeps_the_names(bundle: Bundle) -> None:
    def ask(name: str) -> EnrolmentRequest:
        return request(
            f"dns:{name}",
            operation=Operation.RENEW,
            presented=(certificate(b"old", kind=RENEWAL_CERT),),
            renews_der=b"old",
        )

    evidence = Evidence((VerifiedCredential(RENEWAL_CERT, "cert:1", "CN=device 1", b"old"),))
    known = facts(previous=previous("dns:a.test"))
    assert isinstance(decide(bundle, ask("a.test"), evidence, known), Allow)
    assert codes(decide(bundle, ask("b.test"), evidence, known)) == ["renewal.names-differ"]


def test_each_operation_accepts_its_credentials(bundle: Bundle) -> None:
    assert accepted_kinds(bundle, "est", "default", Operation.ENROLL) == ("basic", "mtls")
    assert accepted_kinds(bundle, "est", "default", Operation.REKEY) == ("renewal-cert",)
    for operation in (Operation.KEYGEN, Operation.REVOKE):
        assert isinstance(select(bundle, request(operation=operation)), NotSelected)
    assert isinstance(select(bundle, request(protocol=ProtocolName("scep"))), NotSelected)
