"""/cacerts and the paths of EST (est.md C3 to C8; RFC 7030 sections 3.2.2 and 4.1)."""

from __future__ import annotations

import base64
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from tests.support.answers import issued, refused
from tests.support.devices import device_name, enroll_device
from tests.support.est_client import GO, LIBEST, STRONGSWAN, EstClient, Style


def _certificates(client: EstClient) -> list[x509.Certificate]:
    return pkcs7.load_der_pkcs7_certificates(client.cacerts().der)


@pytest.mark.parametrize("style", [LIBEST, GO, STRONGSWAN], ids=lambda style: style.name)
def test_cacerts_without_credentials_is_answered(client: EstClient, style: Style) -> None:
    """est.md C3"""
    answer = client.having(user=None, style=style).cacerts()
    assert answer.status == 200
    assert answer.body


def test_cacerts_is_a_base64_certs_only_message(client: EstClient) -> None:
    """est.md C4: judged by openssl, and by the structure itself."""
    answer = client.cacerts()
    content_type = answer.header("Content-Type") or ""
    assert content_type.partition(";")[0] == "application/pkcs7-mime"
    assert "smime-type=certs-only" in content_type
    der = base64.b64decode(answer.body, validate=False)
    printed = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print"], input=der, capture_output=True, check=True
    ).stdout.decode()
    assert "pkcs7-signedData" in printed
    signers = printed[printed.index("signer_info:") :]
    assert "<EMPTY>" in signers or "<ABSENT>" in signers
    contents = printed[printed.index("contents:") : printed.index("cert:")]
    assert "<ABSENT>" in contents


def test_cacerts_hold_what_path_building_needs(client: EstClient) -> None:
    """est.md C5: issuing CA and root, and an issued certificate verifies with them alone."""
    certificates = _certificates(client)
    by_subject = {certificate.subject: certificate for certificate in certificates}
    leaf = enroll_device(client).certificate
    issuing = by_subject[leaf.issuer]
    root = by_subject[issuing.issuer]
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)


def test_cacerts_root_is_the_one_of_quickstart(client: EstClient) -> None:
    """est.md C5"""
    root = x509.load_pem_x509_certificate(client.root_pem.read_bytes())
    assert root in _certificates(client)


def test_head_of_cacerts_has_headers_and_no_body(client: EstClient) -> None:
    """est.md C6"""
    answer = client.request("HEAD", client.path("cacerts"))
    assert answer.status == 200
    assert int(answer.header("Content-Length") or 0) > 0
    assert answer.body == b""


def test_post_to_cacerts_is_405_with_allow(client: EstClient) -> None:
    """est.md C6"""
    answer = client.request("POST", client.path("cacerts"), body=b"x", content_type="text/plain")
    refused(answer, 405, "http.method")
    assert answer.header("Allow") == "GET, HEAD"


@pytest.mark.parametrize("operation", ["simpleenroll", "simplereenroll"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_enrolment_by_another_method_is_405_with_allow(
    client: EstClient, operation: str, method: str
) -> None:
    """est.md C57"""
    answer = client.request(method, client.path(operation))
    assert answer.status == 405
    assert answer.header("Allow") == "POST"


@pytest.mark.parametrize("operation", ["fullcmc", "serverkeygen"])
def test_optional_operation_that_is_not_offered_is_404(client: EstClient, operation: str) -> None:
    """est.md C7, C51"""
    refused(client.request("POST", client.path(operation), body=b"x"), 404, "http.not-found")


def test_unknown_label_and_unknown_operation_get_the_same_answer(client: EstClient) -> None:
    """est.md C7, C8: nothing tells which labels exist."""
    answers = [
        client.request("GET", f"/.well-known/est/{path}")
        for path in ("no-such-operation", "no-such-label/cacerts", "no-such-label/no-such-operation")
    ]
    for answer in answers:
        refused(answer, 404, "http.not-found")
    texts = {answer.text.partition("[")[0] for answer in answers}
    assert len(texts) == 1


def test_default_label_may_be_named(client: EstClient) -> None:
    """est.md C8: /.well-known/est/default/OP is /.well-known/est/OP."""
    named = client.having(endpoint="default")
    assert named.cacerts().der == client.cacerts().der
    private_device = enroll_device(named, device_name("named"))
    assert private_device.certificate


@pytest.mark.parametrize(
    "path", ["%2e%2e/est/cacerts", "../est/cacerts", "/cacerts", "cacerts/", "a%2fcacerts"]
)
def test_path_that_is_not_normal_is_404(client: EstClient, path: str) -> None:
    """est.md C7: no second spelling of a path."""
    assert client.request("GET", f"/.well-known/est/{path}").status == 404


def test_cacerts_of_each_family_is_wrapped_as_it_needs(client: EstClient) -> None:
    """est.md 0.5: libest needs line breaks, strongSwan needs none."""
    libest = client.having(style=LIBEST).cacerts().body
    strongswan = client.having(style=STRONGSWAN).cacerts().body
    assert max(len(line) for line in libest.splitlines()) == 64
    assert b"\n" not in strongswan.strip()
    assert base64.b64decode(libest) == base64.b64decode(strongswan)


def test_leaf_comes_alone_in_an_enrolment_answer(client: EstClient) -> None:
    """est.md C37, beside cacerts: the chain is not repeated there."""
    from tests.support import pki

    answer = client.simple_enroll(pki.device_csr(pki.key(), device_name()))
    leaf = issued(answer)
    assert pkcs7.load_der_pkcs7_certificates(answer.der) == [leaf]
    assert leaf.public_bytes(Encoding.DER)
