"""Orders that wait for people (acme.md B9, C71, C89; RFC 8555 section 7.4, "processing")."""

from __future__ import annotations

import time

import pytest

from tests.support import pki
from tests.support.acme_client import AcmeClient, Order
from tests.support.acme_lab import Lab, new_name


@pytest.fixture
def slow(lab: Lab) -> Order:
    """A ready order whose policy wants an approval."""
    return lab.account("approval").ordered([new_name("slow")]).ready(lab.http)


def _parked(lab: Lab, order: Order) -> str:
    """Id of the one request for this order that waits for approval."""
    listed = lab.gateway.cli_json("request", "list", "--state", "awaiting-approval")["requests"]
    (row,) = (row for row in listed if order.names[0] in str(row))
    return str(row["id"])


def _processing(client: AcmeClient, order: Order) -> None:
    answer = client.post(order.url)
    assert answer.ok()["status"] == "processing"
    assert int(answer.header("Retry-After") or "0") >= 1


def test_approved_order_becomes_valid(lab: Lab, slow: Order) -> None:
    """acme.md B9, C89: ``processing`` with Location and Retry-After until then."""
    answer = slow.finalize(slow.csr(pki.key()))
    assert answer.ok()["status"] == "processing"
    assert answer.header("Location") == slow.url
    assert int(answer.header("Retry-After") or "0") >= 1
    _processing(slow.client, slow)
    lab.gateway.cli("request", "approve", _parked(lab, slow))
    found = slow.client.wait(slow.url)
    assert found["status"] == "valid"
    assert b"BEGIN CERTIFICATE" in slow.client.post(found["certificate"]).body


def test_order_that_is_processed_is_not_finalized_again(lab: Lab, slow: Order) -> None:
    """acme.md C71"""
    slow.finalize(slow.csr(pki.key())).ok()
    slow.finalize(slow.csr(pki.key())).refused(403, "orderNotReady")
    assert _parked(lab, slow)


def test_rejected_order_is_invalid_with_the_reason(lab: Lab, slow: Order) -> None:
    """acme.md C89"""
    slow.finalize(slow.csr(pki.key())).ok()
    lab.gateway.cli("request", "reject", _parked(lab, slow), "--note", "not this one")
    found = slow.client.wait(slow.url)
    assert found["status"] == "invalid"
    assert found["error"]["type"].startswith("urn:ietf:params:acme:error:")
    assert found["error"]["detail"]
    slow.finalize(slow.csr(pki.key())).refused(403, "orderNotReady")


def _until_final(order: Order) -> str:
    deadline = time.monotonic() + 60
    while (status := str(order.read()["status"])) == "processing" and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


def test_order_is_not_issued_after_its_authorization_was_given_up(lab: Lab, slow: Order) -> None:
    """acme.md B18, E14: looked at again when the approval comes."""
    slow.finalize(slow.csr(pki.key())).ok()
    slow.client.post(slow.document["authorizations"][0], {"status": "deactivated"}).ok()
    lab.gateway.cli("request", "approve", _parked(lab, slow))
    assert _until_final(slow) == "invalid"


def test_order_is_not_issued_after_its_account_was_deactivated(lab: Lab, slow: Order) -> None:
    """acme.md C50, B18, E14: what the account began is not finished."""
    slow.finalize(slow.csr(pki.key())).ok()
    request_id = _parked(lab, slow)
    client = slow.client
    assert client.kid is not None
    client.post(client.kid, {"status": "deactivated"}).ok()
    lab.gateway.cli("request", "approve", request_id)
    deadline = time.monotonic() + 60
    while (state := lab.gateway.cli_json("request", "show", request_id)["state"]) not in (
        "refused",
        "issued",
    ):
        assert time.monotonic() < deadline, state
        time.sleep(0.2)
    assert state == "refused"


def test_waiting_order_outlives_a_restart(lab: Lab, slow: Order) -> None:
    """acme.md C89: the state is in the database alone."""
    slow.finalize(slow.csr(pki.key())).ok()
    lab.restart()
    _processing(slow.client, slow)
    lab.gateway.cli("request", "approve", _parked(lab, slow))
    assert slow.client.wait(slow.url)["status"] == "valid"


def test_operator_finds_the_request_by_its_order(lab: Lab, slow: Order) -> None:
    """acme.md F: the order's id is the transaction of the request."""
    slow.finalize(slow.csr(pki.key())).ok()
    shown = lab.gateway.cli_json("request", "show", _parked(lab, slow))
    assert slow.url.rpartition("/")[2] in str(shown)
    assert slow.names[0] in str(shown)
