"""CA or database away, and senders that are slowed down (cmp.md C63; RFC 9810 section 5.2.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import cmp_bodies, cmp_wire, database, pki, policies
from tests.support import gateway as gateways
from tests.support.cmp_client import CmpClient, Reply
from tests.support.cmp_lab import CmpLab, ask, cmp_endpoint, enroll_policy, everything, ir
from tests.support.cmp_wire import Pbm
from tests.support.devices import device_name
from tests.support.gateway import Gateway
from tests.unit.ca_backend.sample_ca import SampleCa

_WITHIN_S = 90  # for whatever comes back by itself; most of it takes a second or two


def _until(ask_again: Callable[[], Reply], *outcomes: str) -> Reply:
    """Ask until the answer is one of these."""
    deadline = time.monotonic() + _WITHIN_S
    while (reply := ask_again()).outcome not in outcomes:
        assert time.monotonic() < deadline, reply.statuses
        time.sleep(0.1)
    return reply


def _away(reply: Reply, body: str) -> None:
    """systemUnavail in a message with HTTP 200, and the seconds to wait: for people and in Retry-After."""
    assert (reply.http_status, reply.body_name, reply.outcome) == (200, body, "systemUnavail")
    seconds = int(reply.headers["retry-after"])
    assert seconds >= 1
    assert f"again in {seconds} s" in reply.status.text
    assert not reply.certificates
    assert "Traceback" not in reply.status.text


def test_sender_of_many_wrong_secrets_is_told_how_long_to_wait(lab: CmpLab) -> None:
    """cmp.md C35, C63: signed, since nothing is proven; also whoever has the right secret learns it so."""
    client = lab.client(protection=replace(lab.new_secret(), secret=b"guessed"), source="127.0.63.1")
    reply = _until(lambda: ask(client), "systemUnavail")
    _away(reply, "error")
    reply.signer()
    assert "auth.throttled" in reply.status.text
    assert ask(lab.client()).outcome == "accepted", "others are not slowed down"


def test_other_answers_have_no_retry_after(lab: CmpLab) -> None:
    """cmp.md C63: what would not change by waiting says nothing of waiting."""
    for reply in (ask(lab.client()), ask(lab.client(), host="host.invalid")):
        assert "retry-after" not in reply.headers


# -- a CA elsewhere --


@dataclass(frozen=True)
class Far:
    """A gateway before a CA in another process, and a secret."""

    gateway: Gateway
    ca: SampleCa
    mac: Pbm

    def client(self) -> CmpClient:
        return CmpClient(self.gateway.quickstart["http"], self.mac)

    def states(self, host: str) -> list[str]:
        query = f"SELECT state FROM request WHERE sans LIKE '%{host}%' ORDER BY pk"
        return [str(state) for (state,) in database.rows(self.gateway.sql_url, query)]

    def come_back(self) -> None:
        """Start the CA where it was."""
        port = self.ca.address.rpartition(":")[2]
        self.ca._arguments += ["--port", port]
        self.ca.start()

    def issued_count(self) -> int:
        issued: dict[str, int] = self.ca.call("journal")["issued"]
        return sum(issued.values())


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    """The CA has never been asked for anything, not even for its certificate."""
    with SampleCa(tmp_path / "ca", "--retry", "findable") as ca:
        options = {"address": ca.address, "retry": "findable"}
        bundle = policies.bundle(
            policies.document("Backend", "remote", type="sample-remote", options=options),
            cmp_endpoint("default"),
            enroll_policy("far", "default", 10, {"mac": {}}, issue=[{"backend": "remote"}]),
        )
        with gateways.running(tmp_path / "gateway", policies=bundle) as gateway:
            made = gateway.cli_json("credential", "add", "cmp-secret", "--ref", "far")
            yield Far(gateway, ca, Pbm("far", made["secret"].encode()))


def test_ca_that_nobody_has_reached_yet_is_system_unavail_and_the_repeat_is_issued(far: Far) -> None:
    """cmp.md C63: nothing is recorded, so the same octets begin once the CA is there."""
    far.ca.stop()
    host, client = device_name("far"), far.client()
    transaction = client.transaction()
    reply = transaction.send("ir", ir(pki.key(), host))
    _away(reply, "ip")
    assert reply.mac_is_right(far.mac.secret)
    assert far.states(host) == []
    far.come_back()
    sent = transaction.sent
    reply = _until(lambda: transaction.send_message(sent), "accepted")
    assert transaction.confirm(reply.certificate).body_name == "pkiconf"
    assert (far.states(host), far.issued_count()) == (["issued"], 1)
    client.close()


def test_ca_that_goes_away_is_waiting_and_the_poll_brings_the_certificate(far: Far) -> None:
    """cmp.md C63, C73: what was accepted is not lost; it is issued once the CA is back, and once only."""
    client = far.client()
    assert ask(client).outcome == "accepted"
    far.ca.stop()
    host = device_name("far")
    transaction = client.transaction()
    assert transaction.send("ir", ir(pki.key(), host)).outcome == "waiting"

    def poll() -> Reply:
        return transaction.send("pollReq", cmp_bodies.poll_request(0))

    assert poll().body_name == "pollRep"
    assert far.states(host) == ["submitting"]
    far.come_back()
    reply = _until(poll, "accepted")
    assert transaction.confirm(reply.certificate).body_name == "pkiconf"
    assert (far.states(host), far.issued_count()) == (["issued"], 2)
    client.close()


# -- the database --


@pytest.fixture
def on_postgresql(tmp_path: Path) -> Iterator[tuple[Gateway, Any]]:
    """A gateway on a cluster of this test's own, which may be shut down."""
    from tests.support.postgresql import PostgresqlServer  # only where a test asks for it

    server = PostgresqlServer()
    server.start()
    try:
        bundle = policies.bundle(policies.own_certificates(), *everything("default", 10))
        options: dict[str, Any] = {"database_url": server.new_database(), "policies": bundle}
        with gateways.running(tmp_path / "gateway", **options) as gateway:
            yield gateway, server
    finally:
        server.stop()


def test_database_out_of_reach_is_system_unavail_and_the_repeat_goes_on(
    on_postgresql: tuple[Gateway, Any],
) -> None:
    """cmp.md C63: for a request and for a certConf; both go through when they are sent again."""
    gateway, server = on_postgresql
    made = gateway.cli_json("credential", "add", "cmp-secret", "--ref", "store")
    client = CmpClient(gateway.quickstart["http"], Pbm("store", made["secret"].encode()))
    open_one = client.transaction()
    certificate = open_one.send("ir", ir(pki.key(), device_name("store"))).certificate
    transaction = client.transaction()
    asking = transaction.message("ir", ir(pki.key(), device_name("store")))
    status = cmp_bodies.cert_status(cmp_bodies.cert_hash(certificate))
    confirming = open_one.message("certConf", pki.tlv(0x30, status))
    server.shut_down()
    try:
        for message in (asking, confirming):
            reply = client.post(message)
            _away(reply, "error")
            reply.signer()
            assert "psycopg" not in reply.status.text
    finally:
        server.restart()
    assert _until(lambda: client.post(confirming), "pkiconf").mac_is_right(client.protection.secret)
    reply = _until(lambda: transaction.send_message(asking), "accepted")
    assert transaction.confirm(reply.certificate).body_name == "pkiconf"
    query = "SELECT state FROM request WHERE protocol = 'cmp' ORDER BY pk"
    assert database.rows(gateway.sql_url, query) == [("issued",), ("issued",)]
    client.close()


def test_general_questions_need_no_ca(far: Far) -> None:
    """cmp.md C63, C78: what is known here is told while the CA is away."""
    far.ca.stop()
    client = far.client()
    reply = client.send("genm", cmp_wire.infos(cmp_wire.info("1.3.6.1.5.5.7.4.17")))
    assert reply.body_name == "genp"
    client.close()
