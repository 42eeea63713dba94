"""Two workers on one PostgreSQL, and two gateways on one PostgreSQL, share everything (issue 2)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import gateway as gateways
from tests.support import pki, policies
from tests.support.answers import issued, issued_der, refused
from tests.support.devices import device_name, enroll_device
from tests.support.est_client import Answer, EstClient
from tests.support.gateway import Gateway

# What one host keeps for itself; keys, server key and policies are the same on all (docs/operations.md).
_OWN = shutil.ignore_patterns("ports.json", "lock", "quickstart.json", "metrics", "tls")


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
    deadline = time.monotonic() + 15
    while (answer := client.simple_enroll(csr_der)).status == 202 and time.monotonic() < deadline:
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


def test_audit_of_both_is_one_chain(pair: tuple[Gateway, Gateway]) -> None:
    first, second = pair
    for gateway in pair:
        enroll_device(gateway.est_client())
    assert first.cli_json("audit", "verify")["ok"] is True
    assert first.cli_json("audit", "verify")["checked"] == second.cli_json("audit", "verify")["checked"]
