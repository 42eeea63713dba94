"""Key update requests (cmp.md C60; RFC 9810 section 5.3.5, RFC 9483 section 4.1.3)."""

from __future__ import annotations

from cryptography import x509

from tests.support import cmp_bodies, pki
from tests.support.answers import dns_names, spki_der
from tests.support.cmp_client import Reply, Transaction
from tests.support.cmp_lab import IMPLICIT, CmpLab, ir
from tests.support.cmp_wire import Signed
from tests.support.devices import device_name


def _host(certificate: x509.Certificate) -> str:
    (host,) = dns_names(certificate)
    return host


def _update(
    lab: CmpLab, device: pki.Identity, private_key: pki.PrivateKey = None, **more: object
) -> tuple[Transaction, Reply]:
    """Ask for the successor of the device's certificate."""
    changes = {"generalInfo": more.pop("general_info", None)}
    controls = more.pop("controls", [cmp_bodies.old_cert_id(device.certificate)])
    host = more.pop("host", _host(device.certificate))
    assert isinstance(host, str | None)
    transaction = lab.client(protection=Signed(device)).transaction()
    content = ir(private_key or pki.key(), host, controls=controls, **more)
    return transaction, transaction.send("kur", content, **changes)


def test_certificate_is_updated_with_a_new_key(lab: CmpLab) -> None:
    """cmp.md C60"""
    device, private_key = lab.device(), pki.key()
    transaction, reply = _update(lab, device, private_key)
    assert (reply.body_name, reply.outcome) == ("kup", "accepted")
    assert spki_der(reply.certificate) == pki.spki_der(private_key)
    assert dns_names(reply.certificate) == dns_names(device.certificate)
    assert transaction.confirm(reply.certificate).body_name == "pkiconf"
    assert lab.states(_host(device.certificate)) == ["issued", "issued"]


def test_certificate_is_updated_with_the_old_key(lab: CmpLab) -> None:
    """cmp.md C60"""
    device = lab.device()
    _, reply = _update(lab, device, device.private_key)
    assert reply.outcome == "accepted"


def test_control_may_be_left_out(lab: CmpLab) -> None:
    """cmp.md C60: then the signing certificate is meant."""
    device = lab.device()
    assert _update(lab, device, controls=[])[1].outcome == "accepted"


def test_subject_comes_from_the_old_certificate(lab: CmpLab) -> None:
    """cmp.md C60"""
    device = lab.device()
    _, reply = _update(lab, device, host=None)
    assert reply.outcome == "accepted", reply.statuses
    assert reply.certificate.subject == device.certificate.subject
    assert dns_names(reply.certificate) == dns_names(device.certificate)


def test_update_of_another_certificate_is_rejected(lab: CmpLab) -> None:
    """cmp.md C60: wrong serial number, wrong issuer, another device's."""
    device = lab.device()
    stranger = pki.Authority("Stranger").issue()
    wrong = (
        cmp_bodies.old_cert_id(device.certificate, serial=device.certificate.serial_number + 1),
        cmp_bodies.old_cert_id(stranger.certificate, serial=device.certificate.serial_number),
        cmp_bodies.old_cert_id(lab.device().certificate),
    )
    for control in wrong:
        _, reply = _update(lab, device, controls=[control])
        assert reply.outcome == "badCertId", reply.statuses
    assert lab.states(_host(device.certificate)).count("issued") == 1


def test_update_to_another_name_is_rejected(lab: CmpLab) -> None:
    """cmp.md C60"""
    _, reply = _update(lab, lab.device(), host=device_name("other"))
    assert reply.outcome == "badCertTemplate", reply.statuses


def test_second_update_while_the_first_is_unconfirmed_is_rejected(lab: CmpLab) -> None:
    """cmp.md C60"""
    device = lab.device()
    transaction, first = _update(lab, device)
    _, second = _update(lab, device)
    assert second.outcome == "badRequest", second.statuses
    assert transaction.confirm(first.certificate).body_name == "pkiconf"
    assert lab.states(_host(device.certificate)) == ["issued", "issued", "refused"]


def test_update_of_a_revoked_certificate_is_rejected(lab: CmpLab) -> None:
    """cmp.md C60"""
    device = lab.device()
    lab.revoke(device.certificate)
    _, reply = _update(lab, device)
    assert reply.outcome == "certRevoked", reply.statuses


def test_update_of_a_foreign_certificate_is_refused(lab: CmpLab) -> None:
    """cmp.md C60: RFC 9483 section 4.1.3 is about certificates of this PKI."""
    device = lab.foreign.line.issue(cn="kur.test", sans=["kur.test"])
    _, reply = _update(lab, device)
    assert reply.outcome == "signerNotTrusted"


def test_update_may_be_confirmed_implicitly(lab: CmpLab) -> None:
    """cmp.md C72"""
    device = lab.device()
    _, reply = _update(lab, device, general_info=IMPLICIT)
    assert reply.outcome == "accepted"
    assert lab.states(_host(device.certificate)) == ["issued", "issued"]


def test_chain_of_updates_goes_on(lab: CmpLab) -> None:
    """cmp.md C60: each successor can be updated in turn."""
    device = lab.device()
    for _ in range(3):
        private_key = pki.key()
        _, reply = _update(lab, device, private_key, general_info=IMPLICIT)
        device = pki.Identity(reply.certificate, private_key)
    assert lab.states(_host(device.certificate)) == ["issued"] * 4
