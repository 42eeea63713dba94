"""What stays of CMP messages in the record, and many clients at once (cmp.md B, F)."""

from __future__ import annotations

import re
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_client import CmpClient, Reply
from tests.support.cmp_lab import IMPLICIT, CmpLab, ask, begun, ir
from tests.support.cmp_wire import Signed, Unprotected
from tests.support.devices import device_name

_REASON_ID = re.compile(r"PG-[0-9A-Z]{8}")


def _refused_by(lab: CmpLab, kind: str) -> Reply:
    """A refusal of this kind."""
    host, client = device_name("record"), lab.client()
    match kind:
        case "name":
            return ask(client, host="host.invalid")
        case "possession":
            return client.send("ir", ir(pki.key(), host, pop=b""))
        case "secret":
            return ask(lab.client(protection=replace(lab.mac, secret=b"wrong")))
        case "unprotected":
            return ask(lab.client(protection=Unprotected()))
        case "untrusted":
            return ask(lab.client(protection=Signed(pki.Authority("Stranger").issue())))
        case "time":
            then = cmp_wire.datetime(2001, 1, 1, tzinfo=cmp_wire.UTC)
            return ask(client, messageTime=cmp_wire.generalized_time(then))
        case "body":
            return client.send("krr", ir(pki.key(), host))
        case _:
            return client.post(b"hello")


@pytest.mark.parametrize(
    "kind", ["name", "possession", "secret", "unprotected", "untrusted", "time", "body", "no-message"]
)
def test_reason_that_the_client_sees_leads_to_the_record(lab: CmpLab, kind: str) -> None:
    """cmp.md B: xipki #330, a device that is refused and nobody can tell why."""
    reply = _refused_by(lab, kind)
    found = _REASON_ID.search(reply.status.text)
    assert found, reply.status.text
    shown = lab.gateway.cli_json("request", "show", found.group())
    assert shown["state"] == "refused"
    assert shown["protocol"] == "cmp"
    code = reply.status.text.rpartition("[")[2].partition(",")[0]
    assert code in str(shown)


def test_refused_revocation_leads_to_the_certificate_that_was_meant_and_to_who_meant_it(lab: CmpLab) -> None:
    """cmp.md C77: the client is told no more; the operator sees who tries serial numbers."""
    device = lab.device()
    unknown = cmp_bodies.template(issuer=device.certificate.issuer, serial=0x4711AFFE)
    reply = lab.client(protection=Signed(device)).send(
        "rr", cmp_bodies.revocations(cmp_bodies.revocation(unknown))
    )
    assert "4711affe" not in reply.status.text
    found = _REASON_ID.search(reply.status.text)
    assert found, reply.status.text
    (reason,) = lab.gateway.cli_json("request", "show", found.group())["decision"]["reasons"]
    who = device.certificate.subject.rfc4514_string()
    assert f"{who} asked for the serial number 4711affe of O=pkigate,CN=" in reason["message"]


def test_issued_certificate_leads_to_its_transaction(lab: CmpLab) -> None:
    """cmp.md B: traceability; the transactionID finds the request."""
    transaction, certificate = begun(lab.client())
    assert transaction.confirm(certificate).body_name == "pkiconf"
    listed = lab.gateway.cli_json("request", "list", "--transaction", transaction.transaction_id.hex())
    (row,) = listed["requests"]
    assert (row["state"], row["protocol"], row["endpoint"]) == ("issued", "cmp", "default")
    shown = lab.gateway.cli_json("request", "show", row["id"])
    assert lab.reference in str(shown), "by whose secret"


def test_secret_stands_neither_in_the_log_nor_in_the_database(lab: CmpLab) -> None:
    """cmp.md F: audit holds no secrets."""
    mac = lab.new_secret()
    ask(lab.client(protection=mac))
    ask(lab.client(protection=replace(mac, secret=b"guessed-wrongly")))
    for secret in (mac.secret, b"guessed-wrongly"):
        assert secret.decode() not in lab.gateway.log
        for path in lab.gateway.data.glob("pkigate.sqlite3*"):
            assert secret not in path.read_bytes(), path.name


def test_audit_trail_is_whole(lab: CmpLab) -> None:
    """cmp.md F: after enrolments, confirmations, refusals and revocations."""
    ask(lab.client(), generalInfo=IMPLICIT)
    lab.gateway.cli("audit", "verify")


def _at_once(lab: CmpLab, count: int, message: bytes | None, one: CmpClient) -> list[Reply]:
    """Send ``count`` messages on as many connections at the same time; the same one or each its own."""

    def send(_: int) -> Reply:
        client = CmpClient(one.url, one.protection, one.path)
        try:
            if message is not None:
                return client.post(message)
            return ask(client, generalInfo=IMPLICIT)
        finally:
            client.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(send, range(count)))


def test_one_time_secret_of_many_clients_at_once_gives_one_certificate(lab: CmpLab) -> None:
    """cmp.md C64"""
    before = lab.certificate_count()
    once = lab.client(protection=lab.new_secret("--uses", "1"))
    outcomes = Counter(reply.outcome for reply in _at_once(lab, 20, None, once))
    assert outcomes["accepted"] == 1, outcomes
    assert lab.certificate_count() == before + 1


def test_one_message_many_times_at_once_is_one_request(lab: CmpLab) -> None:
    """cmp.md F: impatient clients and their proxies."""
    host, client = device_name("record"), lab.client()
    message = client.transaction().message("ir", ir(pki.key(), host))
    replies = _at_once(lab, 20, message, client)
    assert {reply.outcome for reply in replies} <= {"accepted", "waiting", "systemUnavail"}
    certificates = {one for reply in replies for one in reply.certificates}
    assert len(certificates) == 1
    assert lab.states(host) == ["unconfirmed"]


def test_client_certificate_of_tls_is_no_protection(lab: CmpLab) -> None:
    """cmp.md C12: a TLS client certificate counts for nothing in an unprotected message."""
    device = lab.device()
    message = lab.client(protection=Unprotected()).transaction().message("ir", ir(pki.key(), "tls.test"))
    est = lab.gateway.est_client(url=lab.gateway.quickstart["https"], identity=device)
    answer = est.request(
        "POST",
        "/.well-known/cmp/p/default",
        body=message,
        content_type="application/pkixcmp",
        authorization=None,
    )
    assert answer.status == 200
    assert Reply(200, {}, answer.body).outcome == "badMessageCheck"
    assert lab.states("tls.test") in ([], ["refused"])


def test_slow_body_is_given_up(lab: CmpLab) -> None:
    """cmp.md C6: a body that stops is answered with 408."""
    split = urlsplit(lab.gateway.quickstart["http"])
    with socket.create_connection((split.hostname or "", split.port or 0), timeout=150) as sock:
        head = "POST /.well-known/cmp HTTP/1.1\r\nHost: a\r\nContent-Type: application/pkixcmp\r\n"
        sock.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + b"\x30\x82")
        assert sock.recv(4096).split(b" ")[1] == b"408"
