"""Renewal: who may renew what, when, and with which key (scep.md C42 to C44; RFC 8894 section 2.5)."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from tests.support import pki
from tests.support.authority import Identity
from tests.support.scep_answer import BAD_REQUEST, BAD_TIME, CertRep, issued, refused
from tests.support.scep_client import PKCS_REQ, RENEWAL_REQ, Device
from tests.support.scep_lab import ScepLab, rsa_key
from tests.support.scep_wire import self_signed

TYPES = pytest.mark.parametrize("message_type", [RENEWAL_REQ, PKCS_REQ], ids=["RenewalReq", "PKCSReq"])
_guesses = (f"renewing guess {number}" for number in itertools.count())


def _renewal(device: Device, message_type: str = RENEWAL_REQ, **more: object) -> CertRep:
    return device.send(device.message(device.csr(None, **more), message_type))


def _refused(lab: ScepLab, device: Device, reply: CertRep, fail_info: int, code: str) -> None:
    before = lab.certificates(device)
    row = lab.row(refused(reply, fail_info, code))
    assert (row.state, row.code) == ("refused", code)
    assert lab.certificates(device) == before


@TYPES
@pytest.mark.parametrize("key", ["device", "renewed"])
def test_good_certificate_of_ours_renews_itself_without_challenge(
    lab: ScepLab, message_type: str, key: str
) -> None:
    """scep.md C43, C44, B3, B5: Apple, Cisco and sscep send PKCSReq; old key or a new one."""
    device = lab.device().enrolled(lab.challenge)
    certificate = issued(_renewal(device, message_type, private_key=rsa_key(key)))
    assert certificate.public_key() == rsa_key(key).public_key()
    (row,) = lab.rows(device)
    assert row.operation == ("renew" if key == "device" else "rekey")
    (new, old) = lab.gateway.cli_json("cert", "list", device.cn)["certificates"]
    assert new["predecessor_sha256"] == old["sha256"]


@TYPES
def test_right_challenge_beside_the_certificate_does_no_harm(lab: ScepLab, message_type: str) -> None:
    """scep.md C43: optional; RFC 8894 section 2.4."""
    device = lab.device().enrolled(lab.challenge)
    issued(device.enrol(lab.challenge, message_type))


@TYPES
def test_revoked_certificate_renews_nothing(lab: ScepLab, message_type: str) -> None:
    """scep.md C43: with a good challenge neither."""
    device = lab.device().enrolled(lab.challenge)
    lab.revoke(device)
    for challenge in (None, lab.challenge):
        device.transaction_id += "+"
        reply = device.enrol(challenge, message_type)
        _refused(lab, device, reply, BAD_REQUEST, "auth.certificate-revoked")


def test_self_signed_certificate_renews_nothing(lab: ScepLab) -> None:
    """scep.md C43, B5: with the name of a certificate of ours, its issuer's name, or a good challenge."""
    device = lab.device().enrolled(lab.challenge)
    stranger = Device(lab.server(), rsa_key("thief"), device.cn)
    for challenge in (None, lab.challenge):
        stranger.transaction_id += "+"
        reply = stranger.enrol(challenge, RENEWAL_REQ)
        _refused(lab, stranger, reply, BAD_REQUEST, "auth.certificate-untrusted")


def test_certificate_of_an_impostor_of_our_ca_renews_nothing(lab: ScepLab) -> None:
    """scep.md C43: same issuer name and subject, another CA key."""
    device = lab.device().enrolled(lab.challenge)
    ca = pki.Authority(kind="RSA-2048", subject=lab.server().responders[1].subject)
    forged = ca.issue(cn=device.cn, sans=[device.cn], private_key=rsa_key("thief"))
    thief = Device(lab.server(), rsa_key("thief"), device.cn).signing_with(forged)
    thief.cn = device.cn
    _refused(lab, thief, _renewal(thief), BAD_REQUEST, "auth.certificate-untrusted")
    reply = _renewal(thief, PKCS_REQ)
    _refused(lab, thief, reply, BAD_REQUEST, "auth.failed")


def test_certificate_of_another_ca_renews_nothing(lab: ScepLab) -> None:
    """scep.md C43"""
    device = lab.device().signing_with(lab.vendor.issue(cn="d", private_key=rsa_key("device")))
    _refused(lab, device, _renewal(device), BAD_REQUEST, "auth.certificate-untrusted")


def test_renewal_for_other_names_is_refused(lab: ScepLab) -> None:
    """scep.md C43: subject and SAN."""
    device = lab.device().enrolled(lab.challenge)
    other = lab.device().cn
    reply = _renewal(device, cn=other, sans=[other])
    _refused(lab, device, reply, BAD_REQUEST, "renewal.names-differ")
    device.transaction_id += "2"
    reply = _renewal(device, sans=[device.cn, other])
    _refused(lab, device, reply, BAD_REQUEST, "renewal.names-differ")


def test_renewal_before_its_window_is_refused(lab: ScepLab) -> None:
    """scep.md C43"""
    device = lab.device("window").enrolled(lab.challenge)
    _refused(lab, device, _renewal(device), BAD_REQUEST, "renewal.window")


def test_expired_certificate_is_a_bad_time_and_renews_within_the_grace(lab: ScepLab) -> None:
    """scep.md C43"""
    for endpoint, starts, ends, code in (
        ("strict-late", -9, -1, "auth.certificate-expired"),
        ("late", -99, -40, "auth.certificate-expired"),
        ("late", 1, 9, "auth.certificate-not-yet-valid"),
    ):
        device = Device(lab.server(endpoint), rsa_key("device"))
        device.signer = _of_vendor(lab, device, starts, ends)
        _refused(lab, device, _renewal(device), BAD_TIME, code)
    device = Device(lab.server("late"), rsa_key("device"))
    device.signer = _of_vendor(lab, device, -9, -1)
    issued(_renewal(device))


def _of_vendor(lab: ScepLab, device: Device, starts: int, ends: int) -> Identity:
    days = {"starts": timedelta(days=starts), "ends": timedelta(days=ends)}
    return lab.vendor.issue(cn=device.cn, sans=[device.cn], private_key=device.private_key, **days)


def test_certificate_of_another_endpoint_of_ours_renews_under_its_own_policy_only(lab: ScepLab) -> None:
    """scep.md C43: the endpoint ``other`` has no policy for renewals."""
    device = lab.device().enrolled(lab.challenge)
    elsewhere = Device(lab.server("other"), device.private_key, device.cn)
    elsewhere.signer = device.signer
    _refused(lab, elsewhere, _renewal(elsewhere), BAD_REQUEST, "policy.no-match")


def test_pkcsreq_with_our_certificate_is_no_renewal_where_that_is_switched_off(lab: ScepLab) -> None:
    """scep.md C44: then the challenge decides."""
    device = lab.device("no-retrieval").enrolled(lab.challenge)
    _refused(lab, device, device.enrol(next(_guesses)), BAD_REQUEST, "auth.failed")
    device.transaction_id += "2"
    issued(_renewal(device))
    device.transaction_id += "3"
    issued(device.enrol(lab.challenge))


def test_update_request_of_old_drafts_renews_where_it_is_switched_on(lab: ScepLab) -> None:
    """scep.md C25: messageType 18."""
    device = lab.device("legacy").enrolled(lab.challenge)
    issued(_renewal(device, "18"))
    stranger = lab.device("legacy")
    _refused(lab, stranger, _renewal(stranger, "18"), BAD_REQUEST, "auth.certificate-untrusted")
    usual = lab.device().enrolled(lab.challenge)
    _refused(lab, usual, _renewal(usual, "18"), BAD_REQUEST, "message.unsupported")


def test_key_of_somebody_else_is_not_certified_by_a_renewal_without_its_proof(lab: ScepLab) -> None:
    """scep.md C36, C43"""
    device = lab.device().enrolled(lab.challenge)
    broken = pki.broken_signature(device.csr(None, private_key=rsa_key("renewed")))
    _refused(lab, device, device.send(device.message(broken, RENEWAL_REQ)), BAD_REQUEST, "message.asn1")


def test_device_that_was_issued_by_hand_signs_with_what_it_has(lab: ScepLab) -> None:
    """scep.md B5: a certificate that the gateway never issued is not renewed by its name."""
    device = lab.device().enrolled(lab.challenge)
    copied = self_signed(device.private_key, device.cn)
    again = device.signing_with(copied)
    again.cn = device.cn
    _refused(lab, again, _renewal(again), BAD_REQUEST, "auth.certificate-untrusted")
