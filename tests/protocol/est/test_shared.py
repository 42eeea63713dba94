"""Two workers on one PostgreSQL, and two gateways on one PostgreSQL, share everything (issue 2)."""

from __future__ import annotations

import shutil
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support import gateway as gateways
from tests.support import pki, policies
from tests.support.answers import issued, issued_der, refused
from tests.support.devices import device_name, enroll_device
from tests.support.est_client import Answer, EstClient
from tests.support.gateway import Gateway

# What one host keeps for itself; keys, server key and policies are the same on all (docs/operations.md).
_OWN = shutil.ignore_patterns("instance", "ports.json", "lock", "quickstart.json", "metrics", "tls")


def _documents() -> list[policies.Document]:
    approval = {"required": 1, "expires": "1h", "retry_after": "1s"}
    return [
        policies.own_certificates(),
        policies.endpoint("default"),
        policies.enroll_policy("first", "default", priority=10),
        policies.renew_policy("again", "default", priority=20),
        policies.endpoint("approval"),
        policies.enroll_policy("approval", "approval", priority=30, approval=approval),
    ]


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, postgresql_server: Any
) -> Iterator[tuple[Gateway, Gateway]]:
    """Two gateways of two workers each, as on two hosts."""
    directory = tmp_path_factory.mktemp("pair")
    options = {
        "database_url": postgresql_server.new_database(),
        "workers": 2,
        "policies": policies.bundle(*_documents()),
    }
    with gateways.running(directory / "first", **options) as first:
        shutil.copytree(first.data, directory / "second" / "data", ignore=_OWN)
        with gateways.running(directory / "second", **options) as second:
            yield first, second


def _until_final(client: EstClient, csr_der: bytes) -> Answer:
    deadline = time.monotonic() + 60
    while (answer := client.simple_enroll(csr_der)).status in (202, 503) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def test_both_hand_out_the_same_ca(pair: tuple[Gateway, Gateway]) -> None:
    first, second = pair
    assert first.est_client().cacerts().der == second.est_client().cacerts().der


def test_request_repeated_at_the_other_gateway_gets_the_same_certificate(
    pair: tuple[Gateway, Gateway],
) -> None:
    """est.md C38"""
    csr_der = pki.device_csr(pki.key(), device_name())
    received = {issued_der(gateway.est_client().simple_enroll(csr_der)) for gateway in pair for _ in range(4)}
    assert len(received) == 1


def test_certificate_of_one_gateway_renews_and_is_revoked_at_the_other(pair: tuple[Gateway, Gateway]) -> None:
    """est.md C16, C46"""
    first, second = pair
    host = device_name()
    device = enroll_device(first.est_client(), host)
    there = second.est_client(user=None, identity=device)
    issued(there.simple_reenroll(pki.device_csr(pki.key(), host)))
    first.cli("cert", "revoke", f"{device.certificate.serial_number:x}", "--reason", "keyCompromise")
    for _ in range(4):  # either worker
        refused(there.simple_reenroll(pki.device_csr(pki.key(), host)), 403, "auth.certificate-revoked")


def test_credential_made_at_one_gateway_counts_at_the_other(pair: tuple[Gateway, Gateway]) -> None:
    """est.md C10"""
    first, second = pair
    made = first.cli_json("credential", "add", "--user", device_name("user"))
    client = second.est_client(user=made["user"], password=made["secret"])
    issued(client.simple_enroll(pki.device_csr(pki.key(), device_name())))
    first.cli("credential", "revoke", made["user"])
    answer = client.simple_enroll(pki.device_csr(pki.key(), device_name()))
    refused(answer, 401, "auth.failed")


def test_request_parked_at_one_gateway_is_answered_by_the_other(pair: tuple[Gateway, Gateway]) -> None:
    """est.md C39"""
    first, second = pair
    host = device_name()
    csr_der = pki.device_csr(pki.key(), host)
    assert first.est_client(endpoint="approval").simple_enroll(csr_der).status == 202
    listed = second.cli_json("request", "list", "--state", "awaiting-approval")
    (row,) = (row for row in listed["requests"] if host in str(row))
    second.cli("request", "approve", str(row["id"]))
    answers = [_until_final(gateway.est_client(endpoint="approval"), csr_der) for gateway in (second, first)]
    assert issued_der(answers[0]) == issued_der(answers[1])


def test_copies_of_a_request_at_once_end_with_one_certificate(pair: tuple[Gateway, Gateway]) -> None:
    """est.md C38"""
    csr_der = pki.device_csr(pki.key(), device_name())
    clients = [gateway.est_client() for gateway in pair] * 8
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(lambda client: client.simple_enroll(csr_der), clients))
    # A loser may be told to come again; then it gets the winner's certificate.
    assert {answer.status for answer in answers} <= {200, 202, 503}
    received = {issued_der(answer) for answer in answers if answer.status == 200}
    received |= {issued_der(_until_final(gateway.est_client(), csr_der)) for gateway in pair}
    assert len(received) == 1


def test_both_serve_the_same_crl_and_its_number_only_grows(pair: tuple[Gateway, Gateway]) -> None:
    device = enroll_device(pair[0].est_client())
    before = max(_number(_crl(gateway)) for gateway in pair)
    pair[0].cli("cert", "revoke", f"{device.certificate.serial_number:x}")
    crls = [_crl(gateway) for gateway in pair]
    assert crls[0].fingerprint(SHA256()) == crls[1].fingerprint(SHA256())
    assert _number(crls[0]) > before
    assert crls[0].get_revoked_certificate_by_serial_number(device.certificate.serial_number) is not None


def test_audit_of_both_is_one_chain_under_load(pair: tuple[Gateway, Gateway]) -> None:
    first, second = pair
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda client: enroll_device(client), [g.est_client() for g in pair] * 20))
    verdicts = [gateway.cli_json("audit", "verify") for gateway in (first, second, first)]
    assert all(verdict["ok"] is True for verdict in verdicts)
    counts = [verdict["checked"] for verdict in verdicts]
    assert counts == sorted(counts)  # a job may add to it meanwhile
    assert counts[0] >= 40


def _crl(gateway: Gateway) -> x509.CertificateRevocationList:
    with urllib.request.urlopen(gateway.quickstart["ca"]["crl"], timeout=60) as answer:
        return x509.load_der_x509_crl(answer.read())


def _number(crl: x509.CertificateRevocationList) -> int:
    number: int = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return number
