"""What ACME clients get from the bundle that a fresh gateway starts with."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.model.decision import Allow, Deny
from gateway.model.enrolment import CertificatePlan, EnrolmentRequest, Extension, Operation
from gateway.model.names import CN_OID, DistinguishedName
from gateway.model.reasons import ReasonCode
from gateway.pki.oids import EXTENDED_KEY_USAGE, KEY_USAGE
from gateway.plugins import load_plugins
from gateway.policy.engine import NotSelected, Selected, accepted_kinds, profiles, select
from gateway.policy.extension_values import must_staple
from gateway.policy.load import load_bundle
from gateway.policy.reach import hidden_policies
from gateway.policy.rules import Bundle
from gateway.policy.sources import read_directory
from gateway.policy.terms import EXTENDED_KEY_USAGES
from tests.unit.policy.acme_sample import account, ordered, previewed, proof
from tests.unit.policy.sample import NOW, allowed, codes, decide, facts, password, subject

POLICIES = Path(__file__).parents[3] / "policies"


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "lab"])
def lab(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def bundle(lab: bool) -> Bundle:
    return load_bundle(read_directory(POLICIES), load_plugins().registry(lab=lab))


def plan_of(bundle: Bundle, asked: EnrolmentRequest, *proven: str) -> CertificatePlan:
    proofs = [proof(text, "dns-01" if "*" in text else "http-01") for text in proven]
    plan = allowed(decide(bundle, asked, account(*proofs))).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize(
    "name",
    ["a.test", "a.b.example", "host.internal", "localhost", "*.a.test", "*.test", "xn--bcher-kva.test"],
)
def test_proven_names_of_the_lab_are_granted(bundle: Bundle, name: str) -> None:
    assert previewed(bundle, f"dns:{name}").reasons == ()
    plan = plan_of(bundle, ordered(f"dns:{name}"), f"dns:{name}")
    assert plan.subject.values(CN_OID) == (name,)
    assert (plan.not_after - NOW).days == 90


@pytest.mark.parametrize("name", ["example.com", "atest", "www.localhost", "test.de", "*.example.com"])
def test_other_names_are_refused_before_anything_is_proven(bundle: Bundle, name: str) -> None:
    assert [reason.path for reason in previewed(bundle, f"dns:{name}").reasons] == ["identity.sans[0]"]
    assert isinstance(decide(bundle, ordered(f"dns:{name}"), account(proof(f"dns:{name}", "dns-01"))), Deny)


def test_unproven_name_is_refused(bundle: Bundle) -> None:
    assert codes(decide(bundle, ordered("dns:a.test"), account())) == [ReasonCode.NAME_UNPROVEN]


def test_loopback_is_granted_in_the_lab_only_and_never_as_common_name(bundle: Bundle, lab: bool) -> None:
    """acme.md C91."""
    for name in ("ip:127.0.0.1", "ip:::1"):
        assert (previewed(bundle, name).reasons == ()) is lab
    if lab:
        assert plan_of(bundle, ordered("ip:127.0.0.1"), "ip:127.0.0.1").subject == DistinguishedName()
        with_cn = ordered("ip:127.0.0.1", cn="127.0.0.1")
        assert plan_of(bundle, with_cn, "ip:127.0.0.1").subject == DistinguishedName()
    assert previewed(bundle, "ip:192.0.2.1").reasons != ()


SUBJECTS = {
    "empty": (),
    "cn": (("CN", "a.test"),),
    "second-name": (("CN", "b.test"),),
    "organisation": (("C", "NO"), ("ST", "Oslo"), ("O", "Web Ltd"), ("OU", "x"), ("CN", "A.test")),
    "no-cn": (("O", "Web Ltd"),),
}


@pytest.mark.parametrize("case", SUBJECTS)
def test_subjects_that_clients_send_pass_and_the_first_name_is_the_common_name(
    bundle: Bundle, case: str
) -> None:
    asked = ordered("dns:a.test", "dns:b.test", name=subject(*SUBJECTS[case]))
    assert plan_of(bundle, asked, "dns:a.test", "dns:b.test").subject == subject(("CN", "a.test"))


# DER of what certbot, lego, openssl and others put into CSRs
KEY_USAGE_OF_A_SERVER = bytes.fromhex("030205a0")  # digitalSignature, keyEncipherment
KEY_AGREEMENT = bytes.fromhex("03020308")
SERVER_AUTH = bytes.fromhex("300a06082b06010505070301")
CODE_SIGNING = bytes.fromhex("300a06082b06010505070303")
EXTENSIONS = {
    "key-usage": Extension(KEY_USAGE, True, KEY_USAGE_OF_A_SERVER),
    "other-key-usage": Extension(KEY_USAGE, True, KEY_AGREEMENT),
    "server-auth": Extension(EXTENDED_KEY_USAGE, False, SERVER_AUTH),
    "other-usage": Extension(EXTENDED_KEY_USAGE, False, CODE_SIGNING),
    "must-staple": must_staple(),
    "ca-false": Extension("2.5.29.19", True, bytes.fromhex("3000")),
    "netscape-comment": Extension("2.16.840.1.113730.1.13", False, bytes.fromhex("160161")),
}


@pytest.mark.parametrize("case", EXTENSIONS)
def test_extensions_of_the_csr_are_neither_copied_nor_a_reason_to_refuse(bundle: Bundle, case: str) -> None:
    plan = plan_of(bundle, ordered("dns:a.test", extensions=(EXTENSIONS[case],)), "dns:a.test")
    assert plan.extensions == ()
    assert plan.key_usage == ("digitalSignature",)
    assert plan.extended_key_usage == (EXTENDED_KEY_USAGES["serverAuth"], EXTENDED_KEY_USAGES["clientAuth"])


def test_ca_certificate_is_refused(bundle: Bundle) -> None:
    """acme.md C88."""
    asked = ordered("dns:a.test", extensions=(Extension("2.5.29.19", True, bytes.fromhex("30030101ff")),))
    assert codes(decide(bundle, asked, account(proof("dns:a.test")))) == [ReasonCode.EXTENSION_CA]


def test_life_is_ninety_days_or_what_the_order_asks_for_below(bundle: Bundle) -> None:
    """acme.md C65."""
    asked = ordered("dns:a.test", not_after=NOW + timedelta(days=10))
    assert plan_of(bundle, asked, "dns:a.test").not_after == NOW + timedelta(days=10)
    late = previewed(bundle, "dns:a.test", not_after=NOW + timedelta(days=91))
    assert [reason.code for reason in late.reasons] == [ReasonCode.VALIDITY]


def test_short_lived_certificates_are_a_profile(bundle: Bundle) -> None:
    """acme.md C66."""
    offered = profiles(bundle, "acme", "default")
    assert dict(offered) == {
        "short-lived": "Certificates that live seven days, for servers that renew by themselves"
    }
    asked = ordered("dns:a.test", profile="short-lived")
    assert (plan_of(bundle, asked, "dns:a.test").not_after - facts().now).days == 7


def test_challenges_and_reuse_are_the_same_for_all(bundle: Bundle) -> None:
    for profile in (None, "short-lived"):
        found = previewed(bundle, "dns:a.test", profile=profile)
        assert (found.challenges, found.reuse_s) == (("http-01", "dns-01", "tls-alpn-01"), 3600)


def test_key_of_another_account_is_no_reason_to_refuse(bundle: Bundle) -> None:
    known = facts(key_known_to_others=True)
    assert isinstance(decide(bundle, ordered("dns:a.test"), account(proof("dns:a.test")), known), Allow)


def test_accounts_need_no_binding_and_other_credentials_are_not_looked_at(bundle: Bundle) -> None:
    assert not bundle.endpoints["acme", "default"].options.binds_accounts
    assert accepted_kinds(bundle, "acme", "default", Operation.ENROLL) == ("acme-account",)
    assert isinstance(select(bundle, ordered("dns:a.test", presented=(password(),))), NotSelected)
    assert isinstance(select(bundle, ordered("dns:a.test")), Selected)
    assert hidden_policies(bundle) == ()
