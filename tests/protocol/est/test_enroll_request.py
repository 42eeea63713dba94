"""What a CSR may ask for and what is issued (est.md C31, C32, C37, C38, C41; RFC 7030 section 4.2)."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tests.support import pki
from tests.support.answers import common_name, dns_names, issued, issued_der, refused, spki_der
from tests.support.database import certificates
from tests.support.devices import device_name
from tests.support.est_client import Answer, EstClient
from tests.support.gateway import Gateway
from tests.support.labelled import Labelled


@pytest.mark.parametrize(
    "kind",
    ["P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "Ed25519", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"],
)
def test_certificate_holds_the_key_and_names_of_the_csr(client: EstClient, kind: str) -> None:
    """est.md C38"""
    private_key, host = pki.key(kind), device_name()
    certificate = issued(client.simple_enroll(pki.device_csr(private_key, host)))
    assert spki_der(certificate) == pki.spki_der(private_key)
    assert common_name(certificate) == host
    assert dns_names(certificate) == [host]


def test_certificate_has_the_extensions_of_the_profile_and_no_more(client: EstClient) -> None:
    """est.md C32, issue 2 point 6: CRL and OCSP addresses stand in every certificate."""
    certificate = issued(client.simple_enroll(pki.device_csr(pki.key(), device_name())))
    extensions = {extension.oid: extension for extension in certificate.extensions}
    assert extensions[ExtensionOID.BASIC_CONSTRAINTS].value.ca is False
    assert extensions[ExtensionOID.KEY_USAGE].critical
    assert not extensions[ExtensionOID.KEY_USAGE].value.key_cert_sign
    access = [
        str(d.access_location.value) for d in extensions[ExtensionOID.AUTHORITY_INFORMATION_ACCESS].value
    ]
    points = extensions[ExtensionOID.CRL_DISTRIBUTION_POINTS].value
    assert len(access) == 2
    assert points[0].full_name[0].value.startswith("http://")
    assert certificate.serial_number.bit_length() > 100
    assert certificate.not_valid_before_utc <= datetime.now(UTC)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert timedelta(days=89) < life < timedelta(days=91)


def test_csr_with_unsorted_attributes_is_taken(client: EstClient) -> None:
    """est.md E2, decisions "Cryptography": strongSwan writes its attributes in another order than DER."""
    host = device_name()
    csr_der = pki.unsorted_csr(pki.key(), cn=host, challenge="", sans=[host])
    answer = client.simple_enroll(csr_der)
    # The empty challengePassword cannot be this session's binding: linking is what may refuse it, not DER.
    assert answer.status == 200 or "csr.linking" in answer.text, answer.text


def test_csr_signed_by_another_key_is_refused(client: EstClient) -> None:
    """est.md C31: proof of possession."""
    answer = client.simple_enroll(pki.broken_signature(pki.device_csr(pki.key(), device_name())))
    refused(answer, 400, "csr.signature")


def _weak() -> dict[str, tuple[bytes, str]]:
    subject = pki.name(device_name("weak")).public_bytes()
    rsa_2048 = pki.shared_key("RSA-2048")
    return {
        "rsa-1024": (pki.device_csr(pki.shared_key("RSA-1024"), device_name("weak")), "key.size"),
        "p-192": (pki.raw_csr(pki.shared_key("P-192"), subject_der=subject), "key."),
        "sha-1": (pki.raw_csr(pki.key(), subject_der=subject, hash_name="sha1"), "key.signature-hash"),
        "rsa-sha-1": (pki.raw_csr(rsa_2048, subject_der=subject, hash_name="sha1"), "key.signature-hash"),
        "md5": (pki.raw_csr(rsa_2048, subject_der=subject, hash_name="md5"), "key.signature-hash"),
    }


@pytest.mark.parametrize("case", ["rsa-1024", "p-192", "sha-1", "rsa-sha-1", "md5"])
def test_weak_key_or_signature_is_400_and_named(client: EstClient, case: str) -> None:
    """est.md C31"""
    csr_der, code = _weak()[case]
    refused(client.simple_enroll(csr_der), 400, code)


def _too_much() -> dict[str, list[tuple[x509.ExtensionType, bool]]]:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    return {
        "ca": [(x509.BasicConstraints(ca=True, path_length=0), True)],
        "key-cert-sign": [(pki.key_usage("key_cert_sign"), True)],
        "crl-sign": [(pki.key_usage("crl_sign"), True)],
        "ocsp-signing": [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)],
        "unknown-critical": [(unknown, True)],
    }


@pytest.mark.parametrize("case", sorted(_too_much()))
def test_power_of_a_ca_is_never_given(client: EstClient, case: str) -> None:
    """est.md C32"""
    csr_der = pki.csr(pki.key(), cn=device_name(), extensions=_too_much()[case])
    refused(client.simple_enroll(csr_der), 400, "extension.")


@pytest.mark.parametrize(
    "host",
    [
        "host.evil.com",
        "eviltest",
        "a.test.evil.com",
        "*.test",
        "a..test",
        "a_b\x00.test",
        "xn--.test",
        "a.test.",
        "-a.test",
    ],
)
def test_name_outside_policy_is_refused_and_named(labelled: Labelled, host: str) -> None:
    """Issue 2 "Bad input": names outside policy, by SAN; wildcards need a word of their own there."""
    label = device_name()
    san = x509.SubjectAlternativeName([x509.DNSName(host)])
    csr_der = pki.raw_csr(
        pki.key(),
        subject_der=pki.name(label).public_bytes(),
        attributes=[pki.extension_request((san, False))],
    )
    refused(labelled.client("default").simple_enroll(csr_der), 400, "name.")


@pytest.mark.parametrize("cn", ["host.evil.com", "*.evil.com", "evil.com\x00.test", "a" * 65])
def test_common_name_outside_policy_is_refused(client: EstClient, cn: str) -> None:
    """Issue 2 "Bad input": a CN is a name too."""
    subject = pki.tlv(0x30, pki.tlv(0x31, pki.tlv(0x30, pki.oid("2.5.4.3"), pki.tlv(0x0C, cn.encode()))))
    answer = client.simple_enroll(pki.raw_csr(pki.key(), subject_der=subject))
    assert answer.status == 400, answer.text
    assert "name." in answer.text or "subject." in answer.text or "message." in answer.text


@pytest.mark.parametrize("san", ["ip:192.0.2.1", "email:a@evil.com", "uri:https://evil.com/"])
def test_other_kind_of_name_outside_policy_is_refused(client: EstClient, san: str) -> None:
    """Issue 2 "Bad input" """
    refused(client.simple_enroll(pki.csr(pki.key(), cn=device_name(), sans=[san])), 400, "name.")


def test_every_bad_name_is_told_at_once(client: EstClient) -> None:
    """Issue 2 "Bad input": an administrator corrects a request once."""
    host = device_name()
    answer = client.simple_enroll(pki.csr(pki.key(), cn=host, sans=[host, "a.evil.com", "b.evil.com"]))
    refused(answer, 400, "name.not-allowed")
    assert "a.evil.com" in answer.text
    assert "b.evil.com" in answer.text


def test_names_are_compared_without_case(client: EstClient) -> None:
    """RFC 5280 section 7.2: upper case in a DNS name is no other name."""
    host = device_name()
    certificate = issued(
        client.simple_enroll(pki.device_csr(pki.key(), host.upper().replace(".TEST", ".Test")))
    )
    assert [name.lower() for name in dns_names(certificate)] == [host]


def test_answer_holds_the_leaf_alone(labelled: Labelled) -> None:
    """est.md C37, RFC 7030 section 4.2.3"""
    answer = labelled.client("default").simple_enroll(pki.device_csr(pki.key(), device_name()))
    assert pkcs7.load_der_pkcs7_certificates(answer.der) == [issued(answer)]


def test_answer_holds_the_chain_where_the_label_says_so(labelled: Labelled) -> None:
    """est.md C37: leaf first."""
    answer = labelled.client("chain").simple_enroll(pki.device_csr(pki.key(), device_name()))
    leaf, issuing, *_ = pkcs7.load_der_pkcs7_certificates(answer.der)
    assert leaf == issued(answer)
    leaf.verify_directly_issued_by(issuing)


def test_same_csr_twice_gives_the_same_certificate(client: EstClient) -> None:
    """est.md C38, issue 2 "Bad input": a repeated request after a lost answer."""
    csr_der = pki.device_csr(pki.key(), device_name())
    assert issued_der(client.simple_enroll(csr_der)) == issued_der(client.simple_enroll(csr_der))


def test_rebuilt_csr_of_the_same_key_and_names_gives_the_same_certificate(client: EstClient) -> None:
    """est.md C38, F: not the octets of the CSR count, since ECDSA signatures differ."""
    private_key, host = pki.key(), device_name()
    first, second = pki.device_csr(private_key, host), pki.device_csr(private_key, host)
    assert first != second
    assert issued_der(client.simple_enroll(first)) == issued_der(client.simple_enroll(second))


def test_same_request_at_once_from_many_connections_gives_one_certificate(
    client: EstClient, gateway: Gateway
) -> None:
    """est.md C38, reliability C2 #12: a race for one request."""
    csr_der = pki.device_csr(private_key := pki.key(), device_name())
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.simple_enroll(csr_der))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A loser may be told to come again; then it gets the winner's certificate.
    assert {answer.status for answer in answers} <= {200, 202, 503}
    received = {issued_der(answer) for answer in answers if answer.status == 200}
    received.add(issued_der(client.simple_enroll(csr_der)))
    assert len(received) == 1
    import hashlib

    spki_sha256 = hashlib.sha256(pki.spki_der(private_key)).hexdigest()
    rows = [der for spki, der in certificates(gateway.sql_url).values() if spki == spki_sha256]
    assert rows == list(received)


def test_key_of_another_device_is_refused(client: EstClient, gateway: Gateway) -> None:
    """est.md C38, C46: a known key under another identity."""
    private_key = pki.key()
    issued(client.simple_enroll(pki.device_csr(private_key, device_name())))
    other = gateway.cli_json("credential", "add", "--user", device_name("user"))
    stranger = client.having(user=other["user"], password=other["secret"])
    refused(stranger.simple_enroll(pki.device_csr(private_key, device_name())), 400, "key.reuse")


def test_refusal_is_recorded_with_its_trace(client: EstClient, gateway: Gateway) -> None:
    """Issue 2 "Bad input": the reason id leads to the trace."""
    answer = client.simple_enroll(pki.device_csr(pki.key(), "host.evil.com"))
    reason_id = refused(answer, 400, "name.not-allowed")
    shown = str(gateway.cli_json("request", "show", reason_id))
    assert "host.evil.com" in shown
    assert "trace" in shown


def test_refusal_and_fault_leave_no_trace_of_a_crash(client: EstClient, gateway: Gateway) -> None:
    """Issue 2 "Bad input": never a stack trace; runs last in this module."""
    client.cacerts()
    time.sleep(0.3)
    assert "Traceback" not in gateway.log
    assert client.password is not None
    assert client.password not in gateway.log


def test_names_of_somebody_unverified_are_stored_only_in_part(gateway: Gateway, client: EstClient) -> None:
    """A refusal must not let a stranger fill the disk."""
    names = [f"n{number}.test" for number in range(900)]
    wrong = client.having(password="wrong")
    reason_id = refused(wrong.simple_enroll(pki.csr(pki.key(), cn="n.test", sans=names)), 401, "auth.failed")
    shown = str(gateway.cli_json("request", "show", reason_id))
    assert "n19.test" in shown
    assert "n20.test" not in shown
    assert len(shown) < 10_000
