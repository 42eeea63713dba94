"""A fifth protocol and another CA, found by entry point and run on the one path."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.protocol.plugins.conftest import StartRemote, issued_orders, journal
from tests.support import pki
from tests.support.answers import issued, refused
from tests.support.devices import device_name
from tests.support.est_client import Answer, EstClient
from tests.support.gateway import Gateway
from tests.unit.ca_backend.sample_ca import SampleCa


def _remote(gateway: Gateway) -> EstClient:
    return gateway.est_client(endpoint="remote")


def _until_answered(client: EstClient, csr_der: bytes, *, timeout_s: float = 60) -> Answer:
    deadline = time.monotonic() + timeout_s
    while True:
        answer = client.simple_enroll(csr_der)
        if answer.status not in (202, 503) or time.monotonic() > deadline:
            return answer
        time.sleep(0.3)


def _post(url: str, root_pem: Path, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    context = ssl.create_default_context(cafile=str(root_pem))
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_front_end_of_another_distribution_enrols_on_the_one_path(start_remote: StartRemote) -> None:
    gateway, _ = start_remote("idempotent")
    facts, host = gateway.quickstart, device_name()
    csr = base64.b64encode(pki.device_csr(pki.key(), host)).decode()
    url = f"{facts['https']}/sample/front/enroll"
    status, answer = _post(url, gateway.root_pem, {"csr": csr, "user": "demo", "password": "wrong"})
    assert (status, answer["reasons"][0]["code"]) == (401, "auth.failed")
    demo = {"user": facts["est"]["user"], "password": facts["est"]["password"]}
    status, answer = _post(url, gateway.root_pem, {"csr": csr, **demo})
    # The demo credential is for EST; the service holds that for every front end alike.
    assert (status, answer["reasons"][0]["code"]) == (403, "auth.credential-scope")
    made = gateway.cli_json("credential", "add", "sample", "--user", "by-json")
    status, answer = _post(url, gateway.root_pem, {"csr": csr, "user": "by-json", "password": made["secret"]})
    assert (status, answer["status"]) == (200, "issued")
    certificate = x509.load_der_x509_certificate(base64.b64decode(answer["certificate"]))
    assert host in certificate.subject.rfc4514_string()
    recorded = gateway.cli_json("request", "list")["requests"]
    assert {row["protocol"] for row in recorded} == {"sample"}
    assert {row["state"] for row in recorded} == {"issued", "refused"}


def test_ca_of_another_distribution_issues_and_is_recorded(start_remote: StartRemote) -> None:
    gateway, ca = start_remote("idempotent")
    host = device_name()
    certificate = issued(_remote(gateway).simple_enroll(pki.device_csr(pki.key(), host)))
    assert "pkigate" not in certificate.issuer.rfc4514_string().lower()
    listed = gateway.cli_json("cert", "list")["certificates"]
    assert f"{certificate.serial_number:x}" in {row["serial"] for row in listed}
    assert len(issued_orders(ca)) == 1


def test_revocation_reaches_the_ca_that_issued(start_remote: StartRemote) -> None:
    gateway, ca = start_remote("idempotent")
    certificate = issued(_remote(gateway).simple_enroll(pki.device_csr(pki.key(), device_name())))
    gateway.cli("cert", "revoke", f"{certificate.serial_number:x}", "--reason", "superseded")
    deadline = time.monotonic() + 60
    while not (told := [line for line in journal(ca) if line["kind"] == "revoked"]):
        assert time.monotonic() < deadline, "the CA was not told"
        time.sleep(0.1)
    assert told[0]["reason"] == "superseded"


def test_ca_that_decides_later_gives_202_then_the_certificate(start_remote: StartRemote) -> None:
    gateway, ca = start_remote("idempotent", "--pending", "2")
    csr_der = pki.device_csr(pki.key(), device_name())
    first = _remote(gateway).simple_enroll(csr_der)
    assert first.status == 202, first.text
    issued(_until_answered(_remote(gateway), csr_der))
    assert len(issued_orders(ca)) == 1


@pytest.mark.parametrize("retry", ["idempotent", "findable"])
def test_lost_answer_of_the_ca_ends_with_one_certificate(start_remote: StartRemote, retry: str) -> None:
    gateway, ca = start_remote(retry, "--lose-after", "1")
    csr_der = pki.device_csr(pki.key(), device_name())
    first = _remote(gateway).simple_enroll(csr_der)
    assert first.status in (200, 503), first.text
    certificate = issued(_until_answered(_remote(gateway), csr_der))
    assert len(set(issued_orders(ca))) == 1
    assert len(issued_orders(ca)) == 1, "the CA has signed twice"
    listed = gateway.cli_json("cert", "list")["certificates"]
    assert sum(f"{certificate.serial_number:x}" == row["serial"] for row in listed) == 1


def test_lost_answer_of_a_ca_that_cannot_be_asked_is_shown_to_an_operator(start_remote: StartRemote) -> None:
    gateway, ca = start_remote("neither", "--lose-after", "1")
    csr_der = pki.device_csr(pki.key(), device_name())
    for _ in range(2):
        answer = _remote(gateway).simple_enroll(csr_der)
        assert answer.status == 503, answer.text
        assert answer.header("Retry-After")
    waiting = gateway.cli_json("request", "list", "--state", "in-doubt")["requests"]
    assert len(waiting) == 1
    assert len(issued_orders(ca)) == 1, "it was ordered again"


def test_ca_out_of_reach_is_503_and_the_request_is_issued_when_it_is_back(start_remote: StartRemote) -> None:
    """est.md C41"""
    gateway, ca = start_remote("idempotent")
    issued(_remote(gateway).simple_enroll(pki.device_csr(pki.key(), device_name())))
    ca.stop()
    csr_der = pki.device_csr(pki.key(), device_name())
    down = _remote(gateway).simple_enroll(csr_der)
    assert down.status == 503, down.text
    assert down.header("Retry-After")
    assert "Traceback" not in gateway.log
    ca.start()
    issued(_until_answered(_remote(gateway), csr_der))


def test_refusal_of_the_ca_is_403_without_its_words(start_remote: StartRemote) -> None:
    """est.md C41"""
    gateway, _ = start_remote("idempotent", "--refuse", "the secret internals of the CA")
    answer = _remote(gateway).simple_enroll(pki.device_csr(pki.key(), device_name()))
    reason_id = refused(answer, 403, "backend.refused")
    assert "internals" not in answer.text
    assert "internals" in gateway.cli("audit", "export").stdout
    assert gateway.cli_json("request", "show", reason_id)["state"] == "refused"


@pytest.mark.parametrize("lie", ["wrong-key", "wrong-name", "longer-validity"])
def test_certificate_that_is_not_the_one_decided_on_never_leaves(start_remote: StartRemote, lie: str) -> None:
    gateway, ca = start_remote("idempotent", "--lie", lie)
    answer = _remote(gateway).simple_enroll(pki.device_csr(pki.key(), device_name()))
    refused(answer, 502, "backend.mismatch")
    quarantined = gateway.cli_json("cert", "list", "--status", "revoked")["certificates"]
    assert len(quarantined) == 1
    deadline = time.monotonic() + 60
    while not (told := [line for line in journal(ca) if line["kind"] == "revoked"]):
        assert time.monotonic() < deadline, "the CA was not told"
        time.sleep(0.1)
    assert len(told) == 1


def test_approved_request_goes_to_a_foreign_ca_once(start_remote: StartRemote) -> None:
    gateway, ca = start_remote("findable", policy={"approval": {"required": 1, "expires": "1h"}})
    csr_der = pki.device_csr(pki.key(), device_name())
    assert _remote(gateway).simple_enroll(csr_der).status == 202
    (row,) = gateway.cli_json("request", "list", "--state", "awaiting-approval")["requests"]
    assert issued_orders_or_none(ca) == []
    gateway.cli("request", "approve", row["id"])
    issued(_until_answered(_remote(gateway), csr_der))
    assert len(issued_orders(ca)) == 1


def issued_orders_or_none(ca: SampleCa) -> list[str]:
    return issued_orders(ca) if (ca.state / "journal.jsonl").exists() else []
