"""/simplereenroll (est.md C43 to C47; RFC 7030 section 4.2.2)."""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.support import pki
from tests.support.answers import common_name, dns_names, issued, refused, spki_der
from tests.support.devices import device_name, enroll_device
from tests.support.est_client import EstClient
from tests.support.labelled import Labelled


def _renewing(client: EstClient, device: pki.Identity) -> EstClient:
    return client.having(user=None, identity=device)


def test_reenrolment_without_certificate_is_refused(client: EstClient) -> None:
    """est.md C43"""
    answer = client.having(user=None).simple_reenroll(pki.device_csr(pki.key(), device_name()))
    refused(answer, 403, "auth.missing")
    assert answer.header("WWW-Authenticate") is None


def test_reenrolment_with_a_password_alone_is_refused(client: EstClient) -> None:
    """est.md C43"""
    refused(client.simple_reenroll(pki.device_csr(pki.key(), device_name())), 403, "auth.missing")


@pytest.mark.parametrize("new_key", [False, True], ids=["renew", "rekey"])
def test_own_certificate_is_renewed(client: EstClient, new_key: bool) -> None:
    """est.md C46: same key is a renewal, a new one a rekey."""
    host = device_name()
    device = enroll_device(client, host)
    private_key = pki.key() if new_key else device.private_key
    certificate = issued(_renewing(client, device).simple_reenroll(pki.device_csr(private_key, host)))
    assert spki_der(certificate) == pki.spki_der(private_key)
    assert certificate.serial_number != device.certificate.serial_number
    assert certificate.subject == device.certificate.subject
    assert dns_names(certificate) == [host]


def test_renewed_certificate_renews_again(client: EstClient) -> None:
    """est.md C46: a chain of renewals."""
    host = device_name()
    device = enroll_device(client, host)
    for _ in range(3):
        private_key = pki.key()
        answer = _renewing(client, device).simple_reenroll(pki.device_csr(private_key, host))
        device = pki.Identity(issued(answer), private_key)


def test_reused_key_is_refused_where_a_new_one_is_required(labelled: Labelled) -> None:
    """est.md C46"""
    client, host = labelled.client("new-key"), device_name()
    device = enroll_device(client, host)
    answer = _renewing(client, device).simple_reenroll(pki.device_csr(device.private_key, host))
    refused(answer, 400, "key.reuse")
    issued(_renewing(client, device).simple_reenroll(pki.device_csr(pki.key(), host)))


def test_other_subject_is_refused(client: EstClient) -> None:
    """est.md C44"""
    host = device_name()
    device = enroll_device(client, host)
    csr_der = pki.csr(pki.key(), cn=device_name(), sans=[host])
    refused(_renewing(client, device).simple_reenroll(csr_der), 400, "renewal.names-differ")


def test_other_alternative_name_is_refused(client: EstClient) -> None:
    """est.md C44"""
    host = device_name()
    device = enroll_device(client, host)
    for sans in ([device_name()], [host, device_name()]):
        csr_der = pki.csr(pki.key(), cn=host, sans=sans)
        refused(_renewing(client, device).simple_reenroll(csr_der), 400, "renewal.names-differ")


def test_subject_in_another_string_type_and_case_is_the_same(client: EstClient) -> None:
    """est.md C44, 0.6: PrintableString for UTF8String, and upper case (RFC 5280 section 7.1)."""
    host = device_name()
    device = enroll_device(client, host)
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    for cn in (host, host.upper()):
        csr_der = pki.raw_csr(
            pki.key(),
            subject_der=pki.printable_name(cn),
            attributes=[pki.extension_request((names, False))],
        )
        issued(_renewing(client, device).simple_reenroll(csr_der))


def test_alternative_names_in_another_order_and_criticality_are_the_same(client: EstClient) -> None:
    """est.md C44"""
    host, other = device_name(), device_name()
    private_key = pki.key()
    answer = client.simple_enroll(pki.csr(private_key, cn=host, sans=[host, other]))
    device = pki.Identity(issued(answer), private_key)
    names = x509.SubjectAlternativeName([x509.DNSName(other), x509.DNSName(host)])
    csr_der = pki.csr(pki.key(), cn=host, extensions=[(names, True)])
    renewed = issued(_renewing(client, device).simple_reenroll(csr_der))
    assert sorted(dns_names(renewed)) == sorted([host, other])


def test_missing_alternative_names_are_refused_unless_policy_copies_them(labelled: Labelled) -> None:
    """est.md C44"""
    client, host = labelled.client("default"), device_name()
    device = enroll_device(client, host)
    answer = _renewing(client, device).simple_reenroll(pki.csr(pki.key(), cn=host))
    refused(answer, 400, "renewal.names-differ")


def test_missing_alternative_names_are_copied_where_policy_says_so(labelled: Labelled) -> None:
    """est.md C44"""
    client, host = labelled.client("copy-san"), device_name()
    device = enroll_device(client, host)
    renewed = issued(_renewing(client, device).simple_reenroll(pki.csr(pki.key(), cn=host)))
    assert dns_names(renewed) == [host]


def _rename(private_key: pki.PrivateKey, old: str, new: str) -> bytes:
    """A CSR of the old names that asks for new ones by ChangeSubjectName (RFC 6402 section 2.8)."""
    names = x509.SubjectAlternativeName([x509.DNSName(old)])
    return pki.raw_csr(
        private_key,
        subject_der=pki.name(old).public_bytes(),
        attributes=[
            pki.change_subject_name(pki.name(new), [new]),
            pki.extension_request((names, False)),
        ],
    )


def test_change_of_names_is_refused_by_default(client: EstClient) -> None:
    """est.md C45: new names go to policy, and it says no."""
    host = device_name()
    device = enroll_device(client, host)
    answer = _renewing(client, device).simple_reenroll(_rename(pki.key(), host, device_name()))
    assert answer.status in (400, 403), answer.text


def test_change_of_names_is_granted_where_policy_says_so(labelled: Labelled) -> None:
    """est.md C45"""
    client, host, new = labelled.client("renames"), device_name(), device_name()
    device = enroll_device(client, host)
    renewed = issued(_renewing(client, device).simple_reenroll(_rename(pki.key(), host, new)))
    assert common_name(renewed) == new
    assert dns_names(renewed) == [new]


def test_change_to_a_name_outside_policy_is_refused(labelled: Labelled) -> None:
    """est.md C45"""
    client, host = labelled.client("renames"), device_name()
    device = enroll_device(client, host)
    answer = _renewing(client, device).simple_reenroll(_rename(pki.key(), host, "host.evil.com"))
    assert answer.status == 400, answer.text


def test_change_of_names_with_another_subject_in_the_csr_is_refused(labelled: Labelled) -> None:
    """est.md C45: the CSR's own subject must still be the old one."""
    client, host = labelled.client("renames"), device_name()
    device = enroll_device(client, host)
    answer = _renewing(client, device).simple_reenroll(_rename(pki.key(), device_name(), device_name()))
    refused(answer, 400, "renewal.names-differ")


def test_malformed_change_of_names_is_refused(labelled: Labelled) -> None:
    """est.md C45"""
    client, host = labelled.client("renames"), device_name()
    device = enroll_device(client, host)
    csr_der = pki.raw_csr(
        pki.key(),
        subject_der=pki.name(host).public_bytes(),
        attributes=[pki.attribute("1.3.6.1.5.5.7.7.36", pki.tlv(0x04, b"nonsense"))],
    )
    refused(_renewing(client, device).simple_reenroll(csr_der), 400, "message.asn1")


def test_certificate_of_another_ca_does_not_renew(client: EstClient) -> None:
    """est.md C47"""
    host = device_name()
    foreign = pki.Authority("Elsewhere").issue(cn=host, sans=[host])
    answer = _renewing(client, foreign).simple_reenroll(pki.device_csr(pki.key(), host))
    refused(answer, 403, "auth.certificate-untrusted")


def test_renewal_before_the_window_is_refused(labelled: Labelled) -> None:
    """est.md C47: too early."""
    client, host = labelled.client("window"), device_name()
    device = enroll_device(client, host)
    answer = _renewing(client, device).simple_reenroll(pki.device_csr(pki.key(), host))
    refused(answer, 403, "renewal.window")


def test_repeated_renewal_gives_the_same_certificate(client: EstClient) -> None:
    """est.md C38 for renewals: the answer was lost."""
    host = device_name()
    device = enroll_device(client, host)
    csr_der = pki.device_csr(pki.key(), host)
    again = _renewing(client, device)
    assert issued(again.simple_reenroll(csr_der)) == issued(again.simple_reenroll(csr_der))
