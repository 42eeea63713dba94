"""Revocation requests (cmp.md C77; RFC 9810 section 5.3.9, RFC 9483 section 4.2)."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support import cmp_bodies, pki, raw_csr
from tests.support.cmp_bodies import revocation, revocations, template
from tests.support.cmp_client import Reply
from tests.support.cmp_lab import IMPLICIT, CmpLab
from tests.support.cmp_wire import Signed, Unprotected, bits, octets
from tests.support.pki import oid, tlv


def _named(certificate: x509.Certificate, **more: object) -> bytes:
    fields = {"issuer": certificate.issuer, "serial": certificate.serial_number, **more}
    return template(**fields)


def _ask(lab: CmpLab, signer: pki.Identity, *details: bytes) -> Reply:
    return lab.client(protection=Signed(signer)).send("rr", revocations(*details))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, "unspecified"),
        (0, "unspecified"),
        (1, "keyCompromise"),
        (3, "affiliationChanged"),
        (4, "superseded"),
        (5, "cessationOfOperation"),
        (9, "privilegeWithdrawn"),
    ],
)
def test_device_revokes_its_certificate(lab: CmpLab, reason: int | None, expected: str) -> None:
    """cmp.md C77"""
    device = lab.device()
    reply = _ask(lab, device, revocation(_named(device.certificate), reason=reason))
    assert (reply.body_name, reply.outcome) == ("rp", "accepted")
    reply.signer()
    assert lab.status_of(device.certificate) == ("revoked", expected)


def _compressed(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key with its point compressed (RFC 5480 section 2.2)."""
    point = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    algorithm = tlv(0x30, oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"))
    return tlv(0x30, algorithm, bits(point))


def test_compromised_key_is_not_certified_again_in_another_form(lab: CmpLab) -> None:
    """cmp.md C77, RFC 5480 section 2.2: a compressed point is no other key."""
    device = lab.device()
    assert _ask(lab, device, revocation(_named(device.certificate), reason=1)).outcome == "accepted"
    for form in (pki.spki_der(device.private_key), _compressed(device.private_key)):
        csr_der = raw_csr.build(
            device.private_key, subject_der=pki.name("again.test").public_bytes(), spki=form
        )
        reply = lab.client().send("p10cr", csr_der, generalInfo=IMPLICIT)
        assert reply.outcome == "badCertTemplate"
        assert "compromised" in reply.status.text


@pytest.mark.parametrize("reason", [2, 6, 10], ids=["ca-compromise", "hold", "aa-compromise"])
def test_reasons_that_a_device_cannot_give_are_refused(lab: CmpLab, reason: int) -> None:
    """cmp.md C77"""
    device = lab.device()
    reply = _ask(lab, device, revocation(_named(device.certificate), reason=reason))
    assert reply.body_name == "rp"
    assert reply.status.status == "rejection"
    assert lab.status_of(device.certificate) == ("good", None)


@pytest.mark.parametrize("value", [7, 11, 255])
def test_unknown_reason_is_refused(lab: CmpLab, value: int) -> None:
    """cmp.md C77"""
    device = lab.device()
    reply = _ask(lab, device, revocation(_named(device.certificate), reason=value))
    assert reply.outcome == "badDataFormat"
    assert lab.status_of(device.certificate) == ("good", None)


def test_revival_of_a_certificate_that_is_not_on_hold_is_refused(lab: CmpLab) -> None:
    """cmp.md C77: removeFromCRL."""
    device = lab.device()
    reply = _ask(lab, device, revocation(_named(device.certificate), reason=8))
    assert reply.status.status == "rejection"


def test_two_reasons_are_refused(lab: CmpLab) -> None:
    """cmp.md C77"""
    device = lab.device()
    reasons = (tlv(0x30, oid("2.5.29.21"), octets(bytes([0x0A, 1, reason]))) for reason in (1, 4))
    details = revocation(_named(device.certificate), crl_entry_details=tlv(0x30, *reasons))
    reply = _ask(lab, device, details)
    assert reply.outcome == "badDataFormat"
    assert lab.status_of(device.certificate) == ("good", None)


def test_certificate_that_is_not_named_is_refused(lab: CmpLab) -> None:
    """cmp.md C77: issuer or serial number missing."""
    device = lab.device()
    certificate = device.certificate
    for made in (
        template(issuer=certificate.issuer),
        template(serial=certificate.serial_number),
        template(subject=certificate.subject),
    ):
        reply = _ask(lab, device, revocation(made))
        assert (reply.body_name, reply.outcome) == ("rp", "addInfoNotAvailable")
    assert lab.status_of(certificate) == ("good", None)


def test_unknown_certificate_is_refused(lab: CmpLab) -> None:
    """cmp.md C77"""
    device = lab.device()
    unknown = template(issuer=device.certificate.issuer, serial=4711)
    assert _ask(lab, device, revocation(unknown)).outcome == "badCertId"
    foreign = template(issuer=pki.name("Another CA"), serial=device.certificate.serial_number)
    assert _ask(lab, device, revocation(foreign)).outcome == "badCertId"
    assert lab.status_of(device.certificate) == ("good", None)


def test_details_that_are_not_the_certificates_are_refused(lab: CmpLab) -> None:
    """cmp.md C77: another subject or key."""
    device = lab.device()
    for wrong in ({"subject": pki.name("somebody.test")}, {"spki_der": pki.spki_der(pki.key())}):
        reply = _ask(lab, device, revocation(_named(device.certificate, **wrong)))
        assert reply.outcome == "badCertId"
    assert lab.status_of(device.certificate) == ("good", None)


def test_right_details_do_no_harm(lab: CmpLab) -> None:
    """cmp.md C77"""
    device = lab.device()
    known = {
        "subject": device.certificate.subject,
        "spki_der": pki.spki_der(device.private_key),
        "version": 2,
    }
    reply = _ask(lab, device, revocation(_named(device.certificate, **known), reason=4))
    assert reply.outcome == "accepted"


def test_template_of_another_version_is_refused(lab: CmpLab) -> None:
    """cmp.md C77"""
    device = lab.device()
    reply = _ask(lab, device, revocation(_named(device.certificate, version=1)))
    assert reply.outcome == "badRequest"
    assert lab.status_of(device.certificate) == ("good", None)


def test_revoked_certificate_cannot_be_revoked_again(lab: CmpLab) -> None:
    """cmp.md C77: by the device it cannot even be signed for; by an RA it is already revoked."""
    authority = lab.authority()
    device, ra = lab.device(endpoint="ra", protection=authority), lab.client("ra", authority)
    details = revocations(revocation(_named(device.certificate), reason=1))
    assert ra.send("rr", details).outcome == "accepted"
    assert ra.send("rr", details).outcome == "certRevoked"
    assert _ask(lab, device, revocation(_named(device.certificate))).outcome == "certRevoked"


def test_device_cannot_revoke_another_ones_certificate(lab: CmpLab) -> None:
    """cmp.md C77"""
    victim = lab.device().certificate
    reply = _ask(lab, lab.device(), revocation(_named(victim), reason=1))
    assert reply.status.status == "rejection"
    assert reply.status.failures <= {"notAuthorized", "wrongAuthority", "badCertId"}
    assert lab.status_of(victim) == ("good", None)


def test_ra_revokes_for_its_clients(lab: CmpLab) -> None:
    """cmp.md C77"""
    authority = lab.authority()
    victims = [lab.device(endpoint="ra", protection=authority).certificate for _ in range(3)]
    details = revocations(*(revocation(_named(one), reason=5) for one in victims))
    reply = lab.client("ra", lab.authority()).send("rr", details)
    assert [one.status for one in reply.statuses] == ["accepted"] * 3
    assert {lab.status_of(one) for one in victims} == {("revoked", "cessationOfOperation")}


def test_certificate_without_the_usage_of_an_ra_revokes_nothing(lab: CmpLab) -> None:
    """cmp.md C77: extended_key_usage [cmcRA]."""
    victim = lab.device(endpoint="ra", protection=lab.authority()).certificate
    client = lab.client("ra", lab.authority(usage=False))
    reply = client.send("rr", revocations(revocation(_named(victim), reason=1)))
    assert reply.status.status == "rejection"
    assert lab.status_of(victim) == ("good", None)


def test_ra_revokes_at_its_own_endpoint_only(lab: CmpLab) -> None:
    """cmp.md C77: certificates of other endpoints are not its business."""
    victim = lab.device().certificate
    reply = lab.client("ra", lab.authority()).send("rr", revocations(revocation(_named(victim), reason=1)))
    assert reply.outcome == "badCertId"
    assert lab.status_of(victim) == ("good", None)


def test_request_without_or_with_too_many_details_is_refused(lab: CmpLab) -> None:
    """cmp.md C77: max_revocations 10."""
    device = lab.device()
    for count in (0, 11):
        reply = _ask(lab, device, *[revocation(_named(device.certificate))] * count)
        assert reply.http_status in (200, 400)
        assert all(one.status == "rejection" for one in reply.statuses)
    assert lab.status_of(device.certificate) == ("good", None)


def test_exact_repeat_of_a_revocation_does_not_fail_the_client(lab: CmpLab) -> None:
    """cmp.md F: whether the answer was lost or not, the certificate is revoked once."""
    device = lab.device()
    transaction = lab.client(protection=Signed(device)).transaction()
    details = revocations(revocation(_named(device.certificate), reason=4))
    assert transaction.send("rr", details).outcome == "accepted"
    assert transaction.send_message(transaction.sent).outcome in ("accepted", "certRevoked")
    assert lab.status_of(device.certificate) == ("revoked", "superseded")


def test_unprotected_revocation_is_refused(lab: CmpLab) -> None:
    """cmp.md C34, C77"""
    device = lab.device()
    reply = lab.client(protection=Unprotected()).send(
        "rr", cmp_bodies.revocations(revocation(_named(device.certificate)))
    )
    assert (reply.body_name, reply.outcome) == ("error", "badMessageCheck")
