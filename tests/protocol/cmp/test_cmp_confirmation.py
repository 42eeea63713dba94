"""certConf and pkiConf (cmp.md C65 to C72, C85; RFC 9810 section 5.3.18, RFC 9483 section 4.1)."""

from __future__ import annotations

import time
import urllib.request

import pytest
from cryptography import x509

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.answers import common_name
from tests.support.cmp_bodies import SHA256, cert_hash, cert_status, status_info
from tests.support.cmp_client import Reply, Transaction
from tests.support.cmp_lab import IMPLICIT, CmpLab, ask, begun, ir
from tests.support.cmp_wire import Signed, Unprotected, integer
from tests.support.devices import device_name
from tests.support.pki import tlv


def _states(lab: CmpLab, certificate: x509.Certificate) -> list[str]:
    return lab.states(common_name(certificate))


def _certconf(transaction: Transaction, *statuses: bytes, **changes: object) -> Reply:
    return transaction.send("certConf", tlv(0x30, *statuses), **changes)


def test_confirmed_certificate_is_issued(lab: CmpLab) -> None:
    """cmp.md C65"""
    transaction, certificate = begun(lab.client())
    assert _states(lab, certificate) == ["unconfirmed"]
    reply = transaction.confirm(certificate)
    assert reply.body_name == "pkiconf"
    assert reply.mac_is_right(lab.secret)
    assert _states(lab, certificate) == ["issued"]
    assert lab.status_of(certificate) == ("good", None)


def test_hash_may_be_named_in_version_3_only(lab: CmpLab) -> None:
    """cmp.md C65"""
    transaction, certificate = begun(lab.client(), pvno=integer(3))
    status = cert_status(cert_hash(certificate), hash_algorithm=SHA256)
    assert _certconf(transaction, status, pvno=integer(3)).body_name == "pkiconf"
    transaction, certificate = begun(lab.client())
    good = transaction.last
    status = cert_status(cert_hash(certificate), hash_algorithm=SHA256)
    assert _certconf(transaction, status).outcome == "badCertId"
    transaction.last = good
    assert transaction.confirm(certificate).body_name == "pkiconf"


@pytest.mark.parametrize("value", [b"", bytes(32), bytes(20)], ids=["empty", "wrong", "short"])
def test_wrong_hash_is_refused(lab: CmpLab, value: bytes) -> None:
    """cmp.md C65"""
    transaction, certificate = begun(lab.client())
    assert _certconf(transaction, cert_status(value)).outcome == "badCertId"
    assert _states(lab, certificate) == ["unconfirmed"]


def test_hash_of_another_certificate_is_refused(lab: CmpLab) -> None:
    """cmp.md C65"""
    transaction, certificate = begun(lab.client())
    _, other = begun(lab.client())
    assert _certconf(transaction, cert_status(cert_hash(other))).outcome == "badCertId"
    assert _states(lab, certificate) == ["unconfirmed"]


def test_confirmation_that_does_not_fit_is_refused(lab: CmpLab) -> None:
    """cmp.md C66: two for one, another request's id, accepted with a failure."""
    contradiction = status_info(0, None, 4)
    for wrong in (
        lambda right: [cert_status(right), cert_status(right)],
        lambda right: [cert_status(right, cert_req_id=1)],
        lambda right: [cert_status(right, cert_req_id=-1)],
        lambda right: [cert_status(right, status_info=contradiction)],
    ):
        transaction, certificate = begun(lab.client())
        assert _certconf(transaction, *wrong(cert_hash(certificate))).outcome == "badRequest"
        assert _states(lab, certificate) == ["unconfirmed"]


@pytest.mark.parametrize("way", ["rejection", "empty"])
def test_rejected_certificate_is_withdrawn_and_revoked(lab: CmpLab, way: str) -> None:
    """cmp.md C67"""
    transaction, certificate = begun(lab.client())
    rejection = cert_status(cert_hash(certificate), status_info=status_info(2, "not what I asked for", 19))
    reply = _certconf(transaction, *([rejection] if way == "rejection" else []))
    assert reply.body_name == "pkiconf"
    assert _states(lab, certificate) == ["withdrawn"]
    status, reason = lab.status_of(certificate)
    assert (status, reason) == ("revoked", "cessationOfOperation")


def test_nobody_else_confirms_or_declines_in_a_transaction(lab: CmpLab) -> None:
    """cmp.md C65: whoever has seen its messages, but has neither its secret nor its key."""
    owner, stranger = lab.device(), lab.device()
    transaction = lab.client(protection=Signed(owner)).transaction()
    certificate = transaction.send("cr", ir(pki.key(), common_name(owner.certificate))).certificate
    accepted, declined = (
        cert_status(cert_hash(certificate), status_info=info) for info in (None, status_info(2))
    )
    for protection in (Signed(stranger), lab.mac):
        for statuses in ((accepted,), (declined,), ()):
            intruder = lab.client(protection=protection).transaction()
            intruder.transaction_id, intruder.last = transaction.transaction_id, transaction.last
            reply = _certconf(intruder, *statuses)
            assert reply.body_name == "error", statuses
            assert lab.status_of(certificate) == ("good", None)
    assert transaction.confirm(certificate).body_name == "pkiconf"


def test_rejection_is_on_the_crl(lab: CmpLab) -> None:
    """cmp.md C67: relying parties hear of it."""
    transaction, certificate = begun(lab.client())
    _certconf(transaction)
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = points[0].full_name or ()
    with urllib.request.urlopen(name.value, timeout=60) as answer:
        crl = x509.load_der_x509_crl(answer.read())
    assert crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def test_confirmation_with_the_new_certificate_is_refused(lab: CmpLab) -> None:
    """cmp.md C68"""
    private_key, host = pki.key(), device_name("cmp")
    transaction = lab.client("factory", lab.factory_device()).transaction()
    certificate = transaction.send("ir", ir(private_key, host)).certificate
    new = Signed(pki.Identity(certificate, private_key))
    reply = transaction.confirm(certificate, protection=new)
    assert reply.body_name == "error"
    assert reply.status.failures <= {"wrongAuthority", "badRequest", "notAuthorized", "signerNotTrusted"}
    assert lab.states(host) == ["unconfirmed"]


def test_unprotected_confirmation_is_refused(lab: CmpLab) -> None:
    """cmp.md C68"""
    transaction, certificate = begun(lab.client())
    assert transaction.confirm(certificate, protection=Unprotected()).outcome == "badMessageCheck"
    assert _states(lab, certificate) == ["unconfirmed"]


def test_confirmation_of_an_unknown_transaction_is_refused(lab: CmpLab) -> None:
    """cmp.md C69"""
    _, certificate = begun(lab.client())
    reply = Transaction(lab.client()).confirm(certificate)
    assert reply.outcome == "badRecipientNonce"
    assert _states(lab, certificate) == ["unconfirmed"]


def test_confirmation_comes_once(lab: CmpLab) -> None:
    """cmp.md C70: a repeat is answered as before, another message is told certConfirmed."""
    transaction, certificate = begun(lab.client())
    issued = transaction.last
    assert transaction.confirm(certificate).body_name == "pkiconf"
    assert transaction.send_message(transaction.sent).body_name == "pkiconf"
    transaction.last = issued
    assert transaction.confirm(certificate).outcome == "certConfirmed"
    assert _states(lab, certificate) == ["issued"]


def test_confirmed_certificate_cannot_be_rejected_any_more(lab: CmpLab) -> None:
    """cmp.md C70"""
    transaction, certificate = begun(lab.client())
    issued = transaction.last
    transaction.confirm(certificate)
    transaction.last = issued
    assert _certconf(transaction).outcome == "certConfirmed"
    assert lab.status_of(certificate) == ("good", None)


def test_confirmation_after_an_implicit_one_is_refused(lab: CmpLab) -> None:
    """cmp.md C70"""
    transaction, certificate = begun(lab.client(), generalInfo=IMPLICIT)
    assert transaction.confirm(certificate).outcome == "certConfirmed"
    assert _states(lab, certificate) == ["issued"]


def test_certificate_that_is_not_confirmed_in_time_is_withdrawn(lab: CmpLab) -> None:
    """cmp.md C71: confirm_within_s 10."""
    transaction, certificate = begun(lab.client("quick"))
    deadline = time.monotonic() + 150
    while _states(lab, certificate) == ["unconfirmed"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _states(lab, certificate) == ["withdrawn"]
    assert lab.status_of(certificate)[0] == "revoked"
    assert transaction.confirm(certificate).outcome == "certRevoked"


def test_implicit_confirmation_is_granted_if_asked_for_and_allowed(lab: CmpLab) -> None:
    """cmp.md C72"""
    for endpoint, changes, granted in (
        ("default", {"generalInfo": IMPLICIT}, True),
        ("default", {}, False),
        ("certconf-only", {"generalInfo": IMPLICIT}, False),
    ):
        reply = ask(lab.client(endpoint), **changes)
        assert (cmp_wire.IMPLICIT_CONFIRM in reply.infos) is granted, endpoint
        assert _states(lab, reply.certificate) == ["issued" if granted else "unconfirmed"]


def test_error_of_the_client_ends_the_transaction(lab: CmpLab) -> None:
    """cmp.md C85: answered with pkiConf; the certificate is not taken for confirmed."""
    transaction, certificate = begun(lab.client())
    assert transaction.send("error", cmp_bodies.error(text="I give up")).body_name == "pkiconf"
    assert _states(lab, certificate) in (["withdrawn"], ["unconfirmed"])


def test_several_certificates_are_confirmed_in_one_message(lab: CmpLab) -> None:
    """cmp.md C66: one accepted, one rejected."""
    hosts = (device_name("cmp"), device_name("cmp"))
    asked = (cmp_bodies.request(pki.key(), host, cert_req_id=at) for at, host in enumerate(hosts))
    transaction = lab.client().transaction()
    reply = transaction.send("ir", cmp_bodies.requests(*asked))
    first, second = (cert_hash(one) for one in reply.certificates)
    rejection = cert_status(second, cert_req_id=1, status_info=status_info(2))
    assert _certconf(transaction, cert_status(first), rejection).body_name == "pkiconf"
    assert [lab.states(host) for host in hosts] == [["issued"], ["withdrawn"]]
