"""Finalization (acme.md C71, C86-C89, C91, C94, E10; RFC 8555 section 7.4)."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support import acme_signing, pki
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient, Order, certificate_names
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_signing import b64u
from tests.support.answers import spki_der
from tests.support.keys import shared_key


@pytest.fixture(scope="module")
def ready(lab: Lab, account: AcmeClient) -> Order:
    """An order that stays ready, since all that is tried on it is refused."""
    return account.ordered([new_name("f"), new_name("f")]).ready(lab.http)


def _still_ready(order: Order) -> None:
    assert order.read()["status"] == "ready", order.document


def _refused(order: Order, csr_der: bytes, *types: str) -> AcmeAnswer:
    answer = order.finalize(csr_der)
    assert answer.status in (400, 403), answer.text
    assert answer.problem in (types or ("badCSR",)), answer.text
    _still_ready(order)
    return answer


def test_order_that_is_not_ready_is_not_finalized(account: AcmeClient) -> None:
    """acme.md C71"""
    order = account.ordered([new_name()])
    order.finalize(order.csr(pki.key())).refused(403, "orderNotReady")


def test_valid_order_is_not_finalized_again(lab: Lab, account: AcmeClient) -> None:
    """acme.md C71: with another key; one order, one certificate."""
    order = account.ordered([new_name()]).ready(lab.http)
    first = order.certified()
    order.finalize(order.csr(pki.key())).refused(403, "orderNotReady")
    assert account.post(order.read()["certificate"]).body == first.pem


def test_invalid_order_is_not_finalized(lab: Lab, account: AcmeClient) -> None:
    """acme.md C71"""
    order = account.ordered([new_name()])
    account.post(order.document["authorizations"][0], {"status": "deactivated"}).ok()
    order.finalize(order.csr(pki.key())).refused(403, "orderNotReady")


def test_finalized_order_leads_to_its_certificate(lab: Lab, account: AcmeClient) -> None:
    """acme.md C89"""
    order = account.ordered([new_name(), new_name()]).ready(lab.http)
    answer = order.finalize(order.csr(pki.key()))
    assert answer.ok()["status"] in ("processing", "valid")
    assert answer.header("Location") == order.url
    found = account.wait(order.url)
    assert found["status"] == "valid"
    assert found["certificate"].startswith("https://")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b'{"csr": 7}',
        b'{"csr": null}',
        b'{"csr": ""}',
        b'{"csr": "AAAA"}',
        b'{"csr": "not base64url!"}',
        b'{"csr": "MIIB="}',
    ],
)
def test_message_without_a_csr_is_refused(account: AcmeClient, ready: Order, payload: bytes) -> None:
    """acme.md C86"""
    answer = account.post(ready.document["finalize"], payload)
    assert answer.status == 400, answer.text
    assert answer.problem in ("malformed", "badCSR")
    _still_ready(ready)


def test_csr_in_another_coding_is_refused(account: AcmeClient, ready: Order) -> None:
    """acme.md C86: PEM, padded, standard base64, cut, with more behind it."""
    der = ready.csr(pki.key())
    pem = pki.pem("CERTIFICATE REQUEST", der).decode()
    padded = base64.urlsafe_b64encode(der + b"\x00" * (1 - len(der) % 3)).decode()
    for text in (
        pem,
        padded,
        b64u(der) + "==",
        base64.b64encode(der).decode() + "\n",
        b64u(der[:-1]),
        b64u(der + b"x"),
    ):
        answer = account.post(ready.document["finalize"], {"csr": text})
        assert answer.status == 400, answer.text
        assert answer.problem in ("malformed", "badCSR")
    _still_ready(ready)


def test_csr_with_a_broken_signature_is_refused(ready: Order) -> None:
    """acme.md C86"""
    _refused(ready, pki.broken_signature(ready.csr(pki.key())))


def test_csr_for_other_names_than_the_order_is_refused(ready: Order) -> None:
    """acme.md C87: more, fewer, others; the order stays ready."""
    first, second = ready.names
    for sans in (
        [first],
        [second],
        [first, second, "more.test"],
        ["a.test", "b.test"],
        [first, f"*.{second}"],
        [],
    ):
        _refused(ready, pki.csr(pki.key(), cn=None, sans=sans))


def test_csr_with_a_common_name_outside_the_order_is_refused(ready: Order) -> None:
    """acme.md C87: Pebble ignores it."""
    for cn in ("other.test", "x." + ready.names[0], "*." + ready.names[0]):
        _refused(ready, ready.csr(pki.key(), cn=cn))


@pytest.mark.parametrize("extra", ["email:a@a.test", "uri:https://a.test/", "ip:127.0.0.1"])
def test_csr_with_names_of_other_kinds_is_refused(ready: Order, extra: str) -> None:
    """acme.md C87"""
    _refused(ready, pki.csr(pki.key(), cn=None, sans=[*ready.names, extra]))


def test_common_name_within_the_order_is_accepted(lab: Lab, account: AcmeClient) -> None:
    """acme.md C87"""
    order = account.ordered([new_name(), new_name()]).ready(lab.http)
    assert sorted(order.certified(cn=order.names[1]).names) == sorted(order.names)


def test_name_in_the_common_name_alone_is_treated_always_alike(lab: Lab, account: AcmeClient) -> None:
    """acme.md C87: accepted or refused, but not now so and now so."""
    statuses = set()
    for _ in range(2):
        order = account.ordered([new_name()]).ready(lab.http)
        answer = order.finalize(pki.csr(pki.key(), cn=order.names[0]))
        statuses.add((answer.status, answer.json.get("type")))
        if answer.status == 200:
            (leaf,) = [account.wait(order.url)["certificate"]]
            certificate = x509.load_pem_x509_certificate(account.post(leaf).body)
            sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert sans.get_values_for_type(x509.DNSName) == list(order.names)
    assert len(statuses) == 1


def test_spelling_and_order_of_names_do_not_matter(lab: Lab, account: AcmeClient) -> None:
    """acme.md C87: DNS names are compared without case."""
    order = account.ordered([new_name(), new_name()]).ready(lab.http)
    sans = [name.upper() for name in reversed(order.names)]
    answer = order.finalize(pki.csr(pki.key(), cn=None, sans=sans))
    assert answer.status == 200, answer.text


def test_refused_csr_can_be_followed_by_a_good_one(lab: Lab, account: AcmeClient) -> None:
    """acme.md C87: finalized again, and issued once."""
    order = account.ordered([new_name()]).ready(lab.http)
    _refused(order, pki.csr(pki.key(), cn=None, sans=["other.test"]))
    _refused(order, order.csr(shared_key("RSA-1024")), "badCSR", "badPublicKey")
    assert order.certified().names == list(order.names)


def test_key_of_the_account_is_no_certificate_key(account: AcmeClient, ready: Order) -> None:
    """acme.md C88, E10 (RFC 8555 section 11.1)"""
    _refused(ready, ready.csr(account.key))


def test_key_of_another_account_is_no_certificate_key(lab: Lab, ready: Order) -> None:
    """acme.md C88, E10: of whatever directory."""
    _refused(ready, ready.csr(lab.account("other").key))


@pytest.mark.parametrize("kind", ["RSA-1024", "P-192"])
def test_weak_certificate_key_is_refused(ready: Order, kind: str) -> None:
    """acme.md C88"""
    _refused(ready, ready.csr(shared_key(kind)), "badCSR", "badPublicKey")


@pytest.mark.parametrize(
    ("kind", "hash_name"), [("P-256", "sha1"), ("RSA-2048", "sha1"), ("RSA-2048", "md5")]
)
def test_csr_signed_with_a_weak_hash_is_refused(ready: Order, kind: str, hash_name: str) -> None:
    """acme.md C88"""
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in ready.names])
    attributes = (pki.extension_request((names, False)),)
    csr_der = pki.raw_csr(
        shared_key(kind), subject_der=x509.Name([]).public_bytes(), attributes=attributes, hash_name=hash_name
    )
    assert hash_name.upper() in _refused(ready, csr_der).json["detail"]


def test_csr_that_asks_for_a_ca_is_refused(ready: Order) -> None:
    """acme.md C88: Pebble accepts it."""
    ca = (x509.BasicConstraints(ca=True, path_length=None), True)
    _refused(ready, ready.csr(pki.key(), extensions=[ca]))


def test_usual_extensions_of_clients_are_no_reason_to_refuse(lab: Lab, account: AcmeClient) -> None:
    """acme.md C88: key usage, EKU and must-staple come from real clients; policy decides."""
    order = account.ordered([new_name()]).ready(lab.http)
    wanted: list[tuple[x509.ExtensionType, bool]] = [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
        (x509.TLSFeature([x509.TLSFeatureType.status_request]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
    ]
    leaf = order.certified(extensions=wanted).leaf
    usages = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert ExtendedKeyUsageOID.CODE_SIGNING not in usages
    assert ExtendedKeyUsageOID.SERVER_AUTH in usages


def test_subject_of_the_csr_does_not_decide_the_certificates(lab: Lab, account: AcmeClient) -> None:
    """acme.md C87: clients send O, C and the like."""
    order = account.ordered([new_name()]).ready(lab.http)
    subject = pki.name(order.names[0], C="CH", O="Some Bank")
    leaf = order.certified(subject=subject).leaf
    assert leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) == []


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_certificate_is_for_the_key_and_names_that_were_asked(
    lab: Lab, account: AcmeClient, kind: str
) -> None:
    """acme.md C89"""
    order = account.ordered([new_name(), new_name()]).ready(lab.http)
    key = pki.key(kind)
    certificate = order.certified(key)
    assert sorted(certificate.names) == sorted(order.names)
    assert spki_der(certificate.leaf) == pki.spki_der(key)
    constraints = certificate.leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints.ca is False


def test_key_of_a_certificate_revoked_for_compromise_is_blocked(lab: Lab, account: AcmeClient) -> None:
    """acme.md C94, E10: for certificates and for accounts."""
    issued = lab.issue()
    client = lab.client(key=issued.key)
    body = {"certificate": issued.b64u, "reason": 1}
    assert client.call("revokeCert", body, by_key=True).status == 200
    order = account.ordered([new_name()]).ready(lab.http)
    _refused(order, order.csr(issued.key), "badCSR", "badPublicKey")
    answer = lab.client(key=issued.key).new_account()
    assert answer.status in (400, 403)
    assert answer.problem in ("badPublicKey", "unauthorized")


def test_finalization_needs_the_orders_own_account(lab: Lab, ready: Order) -> None:
    """acme.md C69"""
    other = lab.account()
    answer = other.post(ready.document["finalize"], {"csr": acme_signing.b64u(ready.csr(pki.key()))})
    assert answer.status in (403, 404)
    _still_ready(ready)


@pytest.mark.parametrize("cn", [None, "127.0.0.1"])
def test_address_never_stands_in_the_common_name(lab: Lab, account: AcmeClient, cn: str | None) -> None:
    """acme.md C91: not even if the CSR puts it there, which may be refused."""
    order = account.ordered([new_name(), "127.0.0.1"]).ready(lab.http)
    key = pki.key()
    answer = order.finalize(order.csr(key, cn=cn))
    if cn is not None and answer.status != 200:
        answer.refused(400, "badCSR")
        return
    certificate = account.wait(order.url)["certificate"]
    leaf = x509.load_pem_x509_certificate(account.post(certificate).body)
    assert "127.0.0.1" not in leaf.subject.rfc4514_string()
    assert sorted(certificate_names(leaf)) == sorted(order.names)
