"""Revocation (acme.md B16, C92-C94; RFC 8555 section 7.6)."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
import ssl
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import acme_policies, acme_signing, pki, policies
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient, Certificate
from tests.support.acme_lab import Lab, endpoint, new_name, running_lab
from tests.support.acme_signing import b64u
from tests.support.answers import issued as est_issued


@pytest.fixture
def issued(lab: Lab, account: AcmeClient) -> Certificate:
    """A certificate of the module's account, for each test a new one."""
    return account.issue([new_name()], lab.http)


def _revoke(
    client: AcmeClient, certificate: Certificate, *, by_key: bool = False, **members: Any
) -> AcmeAnswer:
    return client.call("revokeCert", {"certificate": certificate.b64u} | members, by_key=by_key)


def _entry(lab: Lab, certificate: Certificate) -> x509.RevokedCertificate | None:
    with urllib.request.urlopen(lab.gateway.quickstart["ca"]["crl"], timeout=60) as answer:
        crl = x509.load_der_x509_crl(answer.read())
    return crl.get_revoked_certificate_by_serial_number(certificate.leaf.serial_number)


def test_account_revokes_its_own_certificate(lab: Lab, account: AcmeClient, issued: Certificate) -> None:
    """acme.md C92: an empty 200, and on the CRL."""
    assert _entry(lab, issued) is None
    answer = _revoke(account, issued)
    assert (answer.status, answer.body) == (200, b"")
    assert _entry(lab, issued) is not None


def test_certificates_own_key_revokes_without_an_account(lab: Lab, issued: Certificate) -> None:
    """acme.md C92, B16"""
    answer = _revoke(lab.client(key=issued.key), issued, by_key=True, reason=4)
    assert (answer.status, answer.body) == (200, b"")
    entry = _entry(lab, issued)
    assert entry is not None
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.superseded


def test_account_with_authorizations_for_all_names_revokes(lab: Lab) -> None:
    """acme.md C92"""
    names = [new_name(), new_name()]
    issued = lab.account().issue(names, lab.http)
    other = lab.account()
    other.ordered(names[:1]).ready(lab.http)
    _revoke(other, issued).refused(403, "unauthorized")
    other.ordered(names[1:]).ready(lab.http)
    assert _revoke(other, issued).status == 200


def test_authorizations_at_another_directory_do_not_count(lab: Lab) -> None:
    """acme.md C92, E3"""
    host = new_name()
    issued = lab.account().issue([host], lab.http)
    other = lab.account("other")
    other.ordered([host]).ready(lab.http)
    answer = _revoke(other, issued)
    assert answer.status in (403, 404), answer.text


def test_stranger_does_not_revoke(lab: Lab, issued: Certificate) -> None:
    """acme.md C93: neither an account nor a key."""
    _revoke(lab.account(), issued).refused(403, "unauthorized")
    _revoke(lab.client(), issued, by_key=True).refused(403, "unauthorized")
    assert _entry(lab, issued) is None


def test_embedded_key_is_checked_against_the_signature(lab: Lab, issued: Certificate) -> None:
    """acme.md C92, E2: the certificate's key in the header, another one that signed."""
    client = lab.client()
    answer = _revoke_with_header(client, issued, {"jwk": acme_signing.jwk_of(issued.key)})
    answer.refused(400, "malformed")
    assert _entry(lab, issued) is None


def _revoke_with_header(client: AcmeClient, issued: Certificate, changes: dict[str, object]) -> AcmeAnswer:
    payload = {"certificate": issued.b64u}
    return client.post(client.directory["revokeCert"], payload, by_key=True, changes=changes)


def test_revoked_certificate_is_not_revoked_again(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C93"""
    assert _revoke(account, issued).status == 200
    _revoke(account, issued).refused(400, "alreadyRevoked")


def test_parallel_revocations_succeed_once(lab: Lab, account: AcmeClient, issued: Certificate) -> None:
    """acme.md C93, E13"""
    clients = [account.same_account() for _ in range(8)]
    lab.clients.extend(clients)
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(lambda client: _revoke(client, issued).status, clients))
    assert statuses == [200] + [400] * 7


@pytest.mark.parametrize("reason", [7, 11, -1, 99, 2, 6, 8, 10, 10**30])
def test_reason_that_may_not_be_given_is_refused(
    account: AcmeClient, issued: Certificate, reason: int
) -> None:
    """acme.md C93: unused, unknown, or not a client's to give (cACompromise, certificateHold ...)."""
    found = _revoke(account, issued, reason=reason).refused(400, "badRevocationReason")
    assert found["detail"]


@pytest.mark.parametrize("reason", ["4", 1.5, True, [], {}])
def test_reason_that_is_no_number_is_malformed(
    account: AcmeClient, issued: Certificate, reason: object
) -> None:
    """acme.md C93"""
    answer = _revoke(account, issued, reason=reason)
    assert answer.status == 400
    assert answer.problem in ("malformed", "badRevocationReason")


@pytest.mark.parametrize("reason", [0, 1, 3, 4, 5])
def test_reasons_of_clients_are_taken(
    lab: Lab, account: AcmeClient, issued: Certificate, reason: int
) -> None:
    """acme.md C93, B16"""
    assert _revoke(account, issued, reason=reason).status == 200
    assert _entry(lab, issued) is not None


def test_certificate_that_is_not_ours_is_refused(lab: Lab, account: AcmeClient) -> None:
    """acme.md C93: another CA's, and one that only says to be ours."""
    foreign = pki.Authority("Foreign Root").issue(cn=new_name())
    theirs = {"certificate": b64u(foreign.certificate.public_bytes(Encoding.DER))}
    for client, by_key in ((account, False), (lab.client(key=foreign.private_key), True)):
        answer = client.call("revokeCert", theirs, by_key=by_key)
        assert answer.status in (400, 403, 404), answer.text
        assert answer.problem in ("malformed", "unauthorized")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b'{"certificate": 7}',
        b'{"certificate": ""}',
        b'{"certificate": "AAAA"}',
        b'{"certificate": "!"}',
    ],
)
def test_message_without_a_certificate_is_malformed(account: AcmeClient, payload: bytes) -> None:
    """acme.md C93"""
    account.call("revokeCert", payload).refused(400, "malformed")


def test_certificate_in_another_coding_is_malformed(
    lab: Lab, account: AcmeClient, issued: Certificate
) -> None:
    """acme.md C93: PEM, padded, with more behind it."""
    padded = base64.urlsafe_b64encode(issued.der + b"\x00" * (1 - len(issued.der) % 3)).decode()
    for text in (issued.pem.decode(), padded, b64u(issued.der + b"x"), b64u(issued.der[:-1])):
        answer = account.call("revokeCert", {"certificate": text})
        assert answer.status in (400, 404), text[:40]
        assert answer.problem == "malformed"
    assert _entry(lab, issued) is None


def test_deactivated_account_does_not_revoke(lab: Lab) -> None:
    """acme.md B14, C37"""
    client = lab.account()
    issued = client.issue([new_name()], lab.http)
    assert client.kid is not None
    client.post(client.kid, {"status": "deactivated"}).ok()
    _revoke(client, issued).refused(401, "unauthorized")
    assert _entry(lab, issued) is None


def test_expired_certificate_is_not_revoked(lab: Lab, account: AcmeClient, issued: Certificate) -> None:
    """acme.md C93: made expired in the database, as time would."""
    path = lab.gateway.sql_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        change = "UPDATE certificate SET not_after = not_before + 1 WHERE certificate_der = ?"
        assert connection.execute(change, (issued.der,)).rowcount == 1
    _revoke(account, issued).refused(403, "unauthorized")
    _revoke(lab.client(key=issued.key), issued, by_key=True).refused(403, "unauthorized")


def test_certificate_without_names_is_not_vacuously_anybodys(tmp_path: Path) -> None:
    """acme.md C92: every account has authorizations for all of no names. Here a certificate by EST, since by
    ACME there is none without names; an ACME endpoint takes back what it issued only."""
    docs = [
        endpoint("default"),
        acme_policies.acme_policy("servers", priority=10),
        policies.endpoint("default"),
        policies.enroll_policy("devices", "default", priority=20),
    ]
    with running_lab(tmp_path, docs=docs) as lab:
        key = pki.key()
        answer = lab.gateway.est_client().simple_enroll(pki.csr(key, cn="device 1"))
        leaf = est_issued(answer)
        with pytest.raises(x509.ExtensionNotFound):
            leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        body = {"certificate": b64u(leaf.public_bytes(Encoding.DER))}
        account = lab.account()
        account.issue([new_name()], lab.http)
        account.call("revokeCert", body).refused(404, "malformed")
        lab.client(key=key).call("revokeCert", body, by_key=True).refused(404, "malformed")
        assert lab.gateway.cli_json("cert", "list", "--status", "revoked")["certificates"] == []


def test_certificate_of_another_protocol_needs_its_key_or_its_names(lab: Lab, account: AcmeClient) -> None:
    """acme.md C92: a certificate of this CA that no ACME account ordered."""
    split = urlsplit(lab.gateway.quickstart["https"])
    pem = ssl.get_server_certificate((split.hostname or "", split.port or 443))
    der = ssl.PEM_cert_to_DER_cert(pem)
    answer = account.call("revokeCert", {"certificate": b64u(der)})
    assert answer.status in (403, 404), answer.text
