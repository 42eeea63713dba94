"""Two gateways with two workers each on one PostgreSQL: whatever one knows, the other knows."""

from __future__ import annotations

import shutil
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support import pki, policies
from tests.support.answers import issued, issued_der, refused
from tests.support.devices import device_name, enroll_device
from tests.support.gateway import Gateway

OF_THIS_PROCESS = ("ports.json", "lock", "quickstart.json", "metrics", "tls")


class Pair(NamedTuple):
    one: Gateway
    other: Gateway


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgresql_server: Any) -> Iterator[Pair]:
    """The second gateway has a copy of the first one's keys, as docs/operations.md says."""
    directory: Path = tmp_path_factory.mktemp("shared")
    bundle = policies.bundle(
        policies.endpoint("default"),
        policies.endpoint("approval"),
        policies.own_certificates(),
        policies.enroll_policy("enroll", "default", priority=10),
        policies.renew_policy("renew", "default", priority=20),
        policies.enroll_policy(
            "parked", "approval", priority=30, approval={"required": 1, "expires": "1h", "retry_after": "1s"}
        ),
    )
    options = {"database_url": postgresql_server.new_database(), "workers": 2, "policies": bundle}
    one, other = (Gateway(directory / name, **options) for name in ("one", "other"))
    try:
        one.start()
        shutil.copytree(one.data, other.data, ignore=shutil.ignore_patterns(*OF_THIS_PROCESS))
        other.start()
        yield Pair(one, other)
    finally:
        for gateway in (one, other):
            if gateway.process is not None:
                gateway.stop()


def test_both_have_two_workers(pair: Pair) -> None:
    assert [len(gateway.worker_pids) for gateway in pair] == [2, 2]


def test_credential_made_at_one_is_good_at_the_other_at_once(pair: Pair) -> None:
    made = pair.one.cli_json("credential", "add", "--user", "press-17")
    secret = made.get("secret") or made["credential"]["secret"]
    client = pair.other.est_client(user="press-17", password=secret)
    issued(client.simple_enroll(pki.device_csr(pki.key(), device_name())))


def test_repeat_at_the_other_gets_the_same_certificate(pair: Pair) -> None:
    csr_der = pki.device_csr(pki.key(), device_name())
    answers = {issued_der(gateway.est_client().simple_enroll(csr_der)) for _ in range(4) for gateway in pair}
    assert len(answers) == 1


def test_copies_of_a_request_at_once_end_with_one_certificate(pair: Pair) -> None:
    csr_der = pki.device_csr(pki.key(), device_name())
    clients = [gateway.est_client() for gateway in pair] * 8
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(lambda client: client.simple_enroll(csr_der), clients))
    assert len({issued_der(answer) for answer in answers}) == 1


def test_certificate_revoked_at_one_is_refused_and_on_the_crl_at_the_other(pair: Pair) -> None:
    host = device_name()
    device = enroll_device(pair.one.est_client(), host)
    numbers = [_crl(gateway).extensions.get_extension_for_class(x509.CRLNumber) for gateway in pair]
    serial = device.certificate.serial_number
    pair.one.cli("cert", "revoke", f"{serial:x}")
    for gateway, before in zip(pair, numbers, strict=True):
        crl = _crl(gateway)
        assert crl.get_revoked_certificate_by_serial_number(serial) is not None
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        assert number > before.value.crl_number
        client = gateway.est_client(user=None, identity=device)
        csr_der = pki.device_csr(device.private_key, host)
        refused(client.simple_reenroll(csr_der), 403, "auth.certificate-revoked")
    assert _crl(pair.one).fingerprint(SHA256()) == _crl(pair.other).fingerprint(SHA256())


def test_request_parked_at_one_and_approved_at_the_other_is_issued_at_both(pair: Pair) -> None:
    csr_der = pki.device_csr(pki.key(), device_name())
    assert pair.one.est_client(endpoint="approval").simple_enroll(csr_der).status == 202
    (row,) = pair.other.cli_json("request", "list", "--state", "awaiting-approval")["requests"]
    pair.other.cli("request", "approve", row["id"])
    deadline = time.monotonic() + 15
    for gateway in pair:
        while (answer := gateway.est_client(endpoint="approval").simple_enroll(csr_der)).status == 202:
            assert time.monotonic() < deadline, "the approved request was not issued"
            time.sleep(0.2)
        issued(answer)


def test_audit_of_both_is_one_linear_chain(pair: Pair) -> None:
    clients = [gateway.est_client() for gateway in pair] * 4

    def enroll(client: Any) -> None:
        for _ in range(5):
            issued(client.simple_enroll(pki.device_csr(pki.key(), device_name("audit"))))

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(enroll, clients))
    for gateway in pair:
        assert "whole" in gateway.cli("audit", "verify").stdout


def _crl(gateway: Gateway) -> x509.CertificateRevocationList:
    with urllib.request.urlopen(gateway.quickstart["ca"]["crl"], timeout=20) as answer:
        return x509.load_der_x509_crl(answer.read())
