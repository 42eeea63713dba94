"""Requests that wait for people (est.md C39, C40; RFC 7030 section 4.2.3)."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.support import pki
from tests.support.answers import issued, issued_der, refused
from tests.support.devices import device_name
from tests.support.est_client import PLAIN, Answer, EstClient
from tests.support.labelled import Labelled


def _pending(answer: Answer) -> int:
    """Check a 202; gives its Retry-After in seconds."""
    assert answer.status == 202, f"{answer.status} {answer.text}"
    retry_after = answer.header("Retry-After") or ""
    assert retry_after.isdigit(), "strongSwan reads whole seconds only"
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    return int(retry_after)


def _parked(labelled: Labelled, host: str) -> dict[str, object]:
    """The one request for this host that waits for approval."""
    listed = labelled.gateway.cli_json("request", "list", "--state", "awaiting-approval")
    (row,) = (row for row in listed["requests"] if host in str(row))
    found: dict[str, object] = row
    return found


def _until_answered(client: EstClient, csr_der: bytes) -> Answer:
    deadline = time.monotonic() + 60
    while True:
        answer = client.simple_enroll(csr_der)
        if answer.status != 202 or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


def test_approved_request_gets_its_certificate(labelled: Labelled) -> None:
    """est.md C39"""
    client, host = labelled.client("approval"), device_name()
    csr_der = pki.device_csr(pki.key(), host)
    assert _pending(client.simple_enroll(csr_der)) >= 1
    labelled.gateway.cli("request", "approve", str(_parked(labelled, host)["id"]))
    certificate = issued(_until_answered(client, csr_der))
    assert host in str(certificate.subject)


def test_repeats_while_waiting_are_one_request(labelled: Labelled) -> None:
    """est.md C39: same key and names in a new session with a new binding."""
    client = labelled.client("approval", style=replace(PLAIN, tls="1.2"))
    host, private_key = device_name(), pki.key()
    for _ in range(3):
        _pending(client.simple_enroll(lambda c: c.linked_csr(private_key, cn=host, sans=[host])))
    labelled.gateway.cli("request", "approve", str(_parked(labelled, host)["id"]))
    first = _until_answered(client, pki.device_csr(private_key, host))
    assert issued_der(first) == issued_der(client.simple_enroll(pki.device_csr(private_key, host)))


def test_rejected_request_is_refused_with_the_reason_again_and_again(labelled: Labelled) -> None:
    """est.md C40"""
    client, host = labelled.client("approval"), device_name()
    csr_der = pki.device_csr(pki.key(), host)
    _pending(client.simple_enroll(csr_der))
    labelled.gateway.cli("request", "reject", str(_parked(labelled, host)["id"]), "--note", "not ours")
    answers = [client.simple_enroll(csr_der) for _ in range(3)]
    assert len({refused(answer, 403, "approval.rejected") for answer in answers}) == 1


def test_another_identity_never_gets_the_certificate_of_an_approved_request(labelled: Labelled) -> None:
    """est.md C40"""
    client, host = labelled.client("approval"), device_name()
    csr_der = pki.device_csr(pki.key(), host)
    _pending(client.simple_enroll(csr_der))
    labelled.gateway.cli("request", "approve", str(_parked(labelled, host)["id"]))
    issued(_until_answered(client, csr_der))
    other = labelled.gateway.cli_json("credential", "add", "--user", device_name("user"))
    stranger = client.having(user=other["user"], password=other["secret"])
    answer = stranger.simple_enroll(csr_der)
    assert answer.status in (202, 400, 403), answer.status


def test_waiting_request_outlives_a_restart(labelled: Labelled) -> None:
    """est.md C39, issue 2 point 7: a second start keeps everything."""
    host = device_name()
    csr_der = pki.device_csr(pki.key(), host)
    _pending(labelled.client("approval").simple_enroll(csr_der))
    labelled.gateway.restart()
    _pending(labelled.client("approval").simple_enroll(csr_der))
    labelled.gateway.cli("request", "approve", str(_parked(labelled, host)["id"]))
    issued(_until_answered(labelled.client("approval"), csr_der))


def test_request_is_approved_once_only(labelled: Labelled) -> None:
    """est.md C40: a decision is final."""
    client, host = labelled.client("approval"), device_name()
    _pending(client.simple_enroll(pki.device_csr(pki.key(), host)))
    request_id = str(_parked(labelled, host)["id"])
    labelled.gateway.cli("request", "reject", request_id)
    completed = labelled.gateway.cli("request", "approve", request_id, check=False)
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr


@pytest.mark.parametrize("command", ["approve", "reject", "show"])
def test_command_on_an_unknown_request_says_so(labelled: Labelled, command: str) -> None:
    """est.md C40, by the CLI: exit code 3 is "not found"."""
    completed = labelled.gateway.cli("request", command, "PG-00000000", check=False)
    assert completed.returncode == 3
    assert "Traceback" not in completed.stderr
