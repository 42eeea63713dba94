"""Delayed delivery (cmp.md C73 to C76; RFC 9810 section 5.3.22, RFC 9483 section 4.4)."""

from __future__ import annotations

import time

import pytest

from tests.support import cmp_bodies, pki
from tests.support.answers import dns_names
from tests.support.cmp_client import Reply, Transaction
from tests.support.cmp_lab import CmpLab, ask, begun, ir
from tests.support.cmp_wire import Signed, info, infos
from tests.support.devices import device_name


def _waiting(lab: CmpLab, host: str, name: str = "ir") -> Transaction:
    """A transaction whose request waits for approval."""
    transaction = lab.client("approval").transaction()
    content = pki.device_csr(pki.key(), host) if name == "p10cr" else ir(pki.key(), host)
    reply = transaction.send(name, content)
    assert reply.outcome == "waiting", reply.statuses
    assert not reply.certificates
    return transaction


def _decide(lab: CmpLab, decision: str, host: str) -> None:
    listed = lab.gateway.cli_json("request", "list", "--state", "awaiting-approval")
    (row,) = (row for row in listed["requests"] if host in str(row))
    lab.gateway.cli("request", decision, row["id"])


def _poll(transaction: Transaction, number: int = 0) -> Reply:
    return transaction.send("pollReq", cmp_bodies.poll_request(number))


def _until_decided(transaction: Transaction, number: int = 0) -> Reply:
    deadline = time.monotonic() + 60
    while (reply := _poll(transaction, number)).body_name == "pollRep":
        assert time.monotonic() < deadline, "it still waits"
        time.sleep(0.1)
    return reply


@pytest.mark.parametrize(("name", "number"), [("ir", 0), ("cr", 0), ("p10cr", -1)])
def test_approved_request_is_delivered_by_a_poll(lab: CmpLab, name: str, number: int) -> None:
    """cmp.md C73"""
    host = device_name("cmp")
    transaction = _waiting(lab, host, name)
    reply = _poll(transaction, number)
    assert reply.body_name == "pollRep"
    assert int(reply.body[0]["certReqId"]) == number
    assert int(reply.body[0]["checkAfter"]) >= 1
    _decide(lab, "approve", host)
    reply = _until_decided(transaction, number)
    assert (reply.body_name, reply.outcome) == ("ip" if name == "ir" else "cp", "accepted")
    assert int(reply.body["response"][0]["certReqId"]) == number
    assert dns_names(reply.certificate) == [host]
    assert transaction.confirm(reply.certificate, cert_req_id=number).body_name == "pkiconf"
    assert lab.states(host) == ["issued"]


def test_approved_update_is_delivered_by_a_poll(lab: CmpLab) -> None:
    """cmp.md C73: kup."""
    host = device_name("cmp")
    device = lab.device(host)
    client = lab.client("approval", Signed(device))
    transaction = client.transaction()
    control = cmp_bodies.old_cert_id(device.certificate)
    reply = transaction.send("kur", ir(pki.key(), None, controls=[control]))
    assert (reply.body_name, reply.outcome) == ("kup", "waiting")
    _decide(lab, "approve", host)
    reply = _until_decided(transaction)
    assert (reply.body_name, reply.outcome) == ("kup", "accepted")
    reply.signer()
    assert transaction.confirm(reply.certificate).body_name == "pkiconf"


def test_poll_for_the_whole_message_tells_of_each_request(lab: CmpLab) -> None:
    """cmp.md C73, C74: certReqId -1."""
    hosts = [device_name("cmp"), device_name("cmp")]
    asked = (cmp_bodies.request(pki.key(), host, cert_req_id=at) for at, host in enumerate(hosts))
    transaction = lab.client("approval").transaction()
    reply = transaction.send("ir", cmp_bodies.requests(*asked))
    assert [one.status for one in reply.statuses] == ["waiting", "waiting"]
    reply = _poll(transaction, -1)
    assert [int(one["certReqId"]) for one in reply.body] == [0, 1]


def test_bodies_without_certificates_never_wait(lab: CmpLab) -> None:
    """cmp.md C74: they are answered at once, so that there is nothing to poll for."""
    device = lab.device()
    old = device.certificate
    named = cmp_bodies.template(issuer=old.issuer, serial=old.serial_number)
    for endpoint, protection, name, content, answered in (
        ("approval", lab.mac, "genm", infos(info("1.3.6.1.5.5.7.4.17")), "genp"),
        ("default", Signed(device), "rr", cmp_bodies.revocations(cmp_bodies.revocation(named)), "rp"),
    ):
        transaction = lab.client(endpoint, protection).transaction()
        reply = transaction.send(name, content)
        assert reply.body_name == answered
        assert "waiting" not in [one.status for one in reply.statuses]
        reply = _poll(transaction, -1)
        assert (reply.body_name, reply.outcome) == ("error", "badRequest"), name


def test_request_that_nobody_decides_ends(lab: CmpLab) -> None:
    """cmp.md C76: "approval: {expires: 1s}"; the poll tells it, and goes on telling it."""
    host = device_name("cmp")
    transaction = lab.client("hasty").transaction()
    assert transaction.send("ir", ir(pki.key(), host)).outcome == "waiting"
    reply = _until_decided(transaction)
    assert (reply.body_name, reply.status.status) == ("ip", "rejection")
    assert "approval.expired" in reply.status.text
    assert _poll(transaction).status.text == reply.status.text
    assert lab.states(host) == ["refused"]


def test_rejected_request_is_told_by_a_poll(lab: CmpLab) -> None:
    """cmp.md C73"""
    host = device_name("cmp")
    transaction = _waiting(lab, host)
    _decide(lab, "reject", host)
    reply = _until_decided(transaction)
    assert (reply.body_name, reply.outcome) == ("ip", "notAuthorized")
    assert lab.states(host) == ["refused"]


def test_repeated_request_goes_on_waiting(lab: CmpLab) -> None:
    """cmp.md F: a lost answer costs no second request."""
    host = device_name("cmp")
    transaction = _waiting(lab, host)
    assert transaction.send_message(transaction.sent).outcome == "waiting"
    assert lab.states(host) == ["awaiting-approval"]


def test_poll_without_a_waiting_request_is_refused(lab: CmpLab) -> None:
    """cmp.md C75"""
    assert _poll(Transaction(lab.client())).outcome == "badRecipientNonce"
    transaction, _ = begun(lab.client())
    reply = _poll(transaction)
    assert reply.outcome in ("badRequest", "accepted"), "nothing waits; at most it is told again"


def test_poll_for_another_request_id_is_refused(lab: CmpLab) -> None:
    """cmp.md C75"""
    transaction = _waiting(lab, device_name("cmp"))
    assert _poll(transaction, 5).outcome == "badRequest"


def test_poll_by_another_sender_is_refused(lab: CmpLab) -> None:
    """cmp.md C75: nobody gets what another one asked for."""
    host = device_name("cmp")
    transaction = _waiting(lab, host)
    _decide(lab, "approve", host)
    stranger = lab.new_secret()
    reply = transaction.send("pollReq", cmp_bodies.poll_request(0), protection=stranger)
    assert reply.outcome == "badRequest"


def test_waiting_request_outlives_a_restart(lab: CmpLab) -> None:
    """cmp.md C76"""
    host = device_name("cmp")
    transaction = _waiting(lab, host)
    lab.close()
    lab.gateway.restart()
    transaction.client = lab.client("approval").having(url=lab.gateway.quickstart["http"])
    assert _poll(transaction).body_name == "pollRep"
    _decide(lab, "approve", host)
    assert _until_decided(transaction).outcome == "accepted"


def test_secret_with_one_use_is_used_by_the_waiting_request(lab: CmpLab) -> None:
    """cmp.md C64, C73: the use is taken by the request, polls and confirmation need none."""
    host, once = device_name("cmp"), lab.new_secret("--uses", "1")
    transaction = lab.client("approval", once).transaction()
    assert transaction.send("ir", ir(pki.key(), host)).outcome == "waiting"
    assert ask(lab.client("approval", once)).outcome == "notAuthorized"
    _decide(lab, "approve", host)
    reply = _until_decided(transaction)
    assert transaction.confirm(reply.certificate).body_name == "pkiconf"
