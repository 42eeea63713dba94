"""Download of certificates (acme.md C6, C69, C90; RFC 8555 section 7.4.2)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from cryptography import x509

from tests.support import pki
from tests.support.acme_client import AcmeClient, Certificate
from tests.support.acme_lab import Lab, new_name, running_lab
from tests.support.gateway import GatewayDidNotStartError
from tests.support.openssl import Judge

CHAIN = "application/pem-certificate-chain"


@pytest.fixture(scope="module")
def issued(lab: Lab, account: AcmeClient) -> Certificate:
    """A certificate of the module's account."""
    return account.issue([new_name(), new_name()], lab.http)


def test_chain_begins_with_the_leaf_and_each_signs_the_previous(
    lab: Lab, account: AcmeClient, issued: Certificate
) -> None:
    """acme.md C90"""
    answer = account.post(issued.url)
    assert answer.header("Content-Type") == CHAIN
    assert answer.body == issued.pem
    chain = x509.load_pem_x509_certificates(answer.body)
    assert len(chain) >= 2
    for certificate, issuer in itertools.pairwise(chain):
        certificate.verify_directly_issued_by(issuer)
    assert answer.body.startswith(b"-----BEGIN CERTIFICATE-----")
    assert answer.text.isascii()
    assert answer.header("Replay-Nonce")


def test_certificate_verifies_up_to_the_root(lab: Lab, issued: Certificate, tmp_path: Path) -> None:
    """acme.md C90: by openssl, with the CRL that the certificate names."""
    path = tmp_path / "chain.pem"
    path.write_bytes(issued.pem)
    Judge(lab.gateway, tmp_path).assert_valid(path)


def test_every_download_is_the_same(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C90: immutable."""
    assert {account.post(issued.url).body for _ in range(3)} == {issued.pem}


def test_alternate_chains_are_for_the_same_leaf(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C90: each is linked to, and each alternate links to the others."""
    answer = account.post(issued.url)
    alternates = answer.links("alternate")
    assert alternates, "the chain with its root is one"
    for url in alternates:
        other = account.post(url)
        assert other.status == 200, other.text
        assert other.header("Content-Type") == CHAIN
        chain = x509.load_pem_x509_certificates(other.body)
        assert chain[0] == issued.leaf
        assert other.body != issued.pem
        for certificate, issuer in itertools.pairwise(chain):
            certificate.verify_directly_issued_by(issuer)
        assert url not in other.links("alternate")


def test_chain_to_another_root_is_an_alternate_of_certificates_issued_before(
    lab: Lab, account: AcmeClient, issued: Certificate
) -> None:
    """acme.md C90: what an operator has cross-certified; also after what was issued without it."""
    other = pki.Authority("Other Root")
    root = x509.load_pem_x509_certificate(lab.gateway.root_pem.read_bytes())
    cross = other.certify(root)
    with lab.cross_certified(cross, other.certificate):
        answer = account.post(issued.url)
        assert answer.body == issued.pem
        chains = [
            x509.load_pem_x509_certificates(account.post(url).body) for url in answer.links("alternate")
        ]
        assert [chain[-1] for chain in chains] == [root, cross]
        for chain in chains:
            assert chain[0] == issued.leaf
            for certificate, issuer in itertools.pairwise(chain):
                certificate.verify_directly_issued_by(issuer)
        chains[-1][-1].verify_directly_issued_by(other.certificate)
    account.post(issued.url + "/2").refused(404, "malformed")


def test_gateway_with_a_wrong_cross_certificate_does_not_start(tmp_path: Path) -> None:
    """It ends with the name of the file and the reason."""
    other = pki.Authority("Other Root")
    wrong = other.certify(pki.Authority("Somebody").certificate)
    with (
        running_lab(tmp_path) as lab,
        pytest.raises(GatewayDidNotStartError, match=r"cross\.pem: the first certificate is for CN=Somebody"),
        lab.cross_certified(wrong, other.certificate),
    ):
        pass


def test_chain_that_does_not_exist_is_not_found(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C90"""
    for tail in ("/9", "/x", "/-1", "/1/2", "/00", "/1000000000000000000000"):
        account.post(issued.url + tail).refused(404, "malformed")


def test_certificate_of_an_order_that_has_none_is_not_found(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C90"""
    order = account.ordered([new_name()])
    theirs, mine = (url.rpartition("/")[2] for url in (issued.order_url, order.url))
    answer = account.post(issued.url.replace(theirs, mine))
    assert answer.status in (403, 404)
    assert answer.problem in ("malformed", "orderNotReady")


def test_certificate_of_somebody_else_is_not_given(lab: Lab, issued: Certificate) -> None:
    """acme.md C69, E2"""
    answer = lab.account().post(issued.url)
    assert answer.status in (403, 404)
    assert b"BEGIN" not in answer.body


def test_unsigned_download_is_refused(lab: Lab, issued: Certificate) -> None:
    """acme.md C7 (RFC 8555 section 6.3): GET went away with the drafts."""
    assert lab.client().get(issued.url).status == 405


def test_certificate_with_a_restart_between_is_the_same(
    lab: Lab, account: AcmeClient, issued: Certificate
) -> None:
    """acme.md C90"""
    lab.restart()
    assert account.post(issued.url).body == issued.pem
