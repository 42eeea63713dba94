"""Two gateways of two workers each on one PostgreSQL (acme.md B1, C29, C39, C74, C89, E7)."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import database, pki
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab, new_name, running_lab
from tests.support.acme_signing import b64u

# What one host keeps for itself; keys, server key and policies are the same on all (docs/operations.md).
_OWN = shutil.ignore_patterns("instance", "ports.json", "lock", "quickstart.json", "metrics", "tls")
PUBLIC = "https://pair.test"


@dataclass(frozen=True, slots=True)
class Pair:
    """Both gateways, as a balancer would show them: one base URL, two listeners."""

    labs: tuple[Lab, Lab]

    def client(self, place: int, endpoint: str = "", **more: Any) -> AcmeClient:
        """A client whose connection ends at one of them."""
        lab = self.labs[place]
        ports = json.loads((lab.gateway.data / "ports.json").read_text())["ports"]
        listener = f"https://localhost:{ports['https']}"
        made = AcmeClient(
            f"{PUBLIC}/acme{endpoint}/directory", lab.gateway.root_pem, listener=listener, **more
        )
        lab.clients.append(made)
        return made

    def both(self, endpoint: str = "") -> tuple[AcmeClient, AcmeClient]:
        """One account, seen from both."""
        first = self.client(0, endpoint).registered()
        return first, self.client(1, endpoint, key=first.key, kid=first.kid)

    def crowd(self, account: AcmeClient, count: int) -> list[AcmeClient]:
        """Connections of one account, by turns to either."""
        return [self.client(place % 2, key=account.key, kid=account.kid) for place in range(count)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgresql_server: Any) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("pair")
    options: dict[str, Any] = {
        "database_url": postgresql_server.new_database(),
        "workers": 2,
        "config": {"public_urls": [PUBLIC, "http://pair.test"]},
    }
    with running_lab(directory / "first", **options) as first:
        shutil.copytree(first.gateway.data, directory / "second" / "data", ignore=_OWN)
        responders = (first.http, first.alpn)
        with running_lab(directory / "second", responders=responders, **options) as second:
            yield Pair((first, second))


def test_nonce_of_one_gateway_is_good_at_the_other(pair: Pair) -> None:
    """acme.md B1, C29, E7: no badNonce behind a balancer, over 60 turns."""
    first, second = pair.both()
    nonce = first.new_nonce()
    for turn in range(60):
        client = (second, first)[turn % 2]
        assert client.kid is not None
        answer = client.post(client.kid, nonce=nonce)
        assert answer.status == 200, (turn, answer.text)
        nonce = answer.header("Replay-Nonce") or ""


def test_nonce_is_good_once_over_both(pair: Pair) -> None:
    """acme.md C39: twenty uses at once, by four workers."""
    account = pair.both()[0]
    assert account.kid is not None
    kid = account.kid
    for _ in range(3):
        nonce = account.new_nonce()
        clients = pair.crowd(account, 20)
        bodies = [client.body(kid, None, nonce=nonce) for client in clients]
        with ThreadPoolExecutor(20) as pool:
            statuses = list(
                pool.map(lambda one: one[0].post_body(kid, one[1]).status, zip(clients, bodies, strict=True))
            )
        assert sorted(statuses) == [200] + [400] * 19


def test_nonce_outlives_the_restart_of_its_gateway(pair: Pair) -> None:
    """acme.md B1: what was redeemed is remembered by all."""
    first, second = pair.both()
    used, fresh = first.new_nonce(), first.new_nonce()
    assert first.kid is not None
    first.post(first.kid, nonce=used).ok()
    pair.labs[0].restart()
    again = pair.client(0, key=first.key, kid=first.kid)
    again.post(first.kid, nonce=used).refused(400, "badNonce")
    second.post(first.kid, nonce=used).refused(400, "badNonce")
    again.post(first.kid, nonce=fresh).ok()


def test_order_is_worked_on_at_either_by_turns(pair: Pair) -> None:
    """acme.md B1, C89: ordered here, answered there, finalized here, downloaded there."""
    first, second = pair.both()
    host = new_name()
    order = first.ordered([host])
    offered = order.challenge()
    pair.labs[0].http.answer(offered["token"], first.key)
    second.post(offered["url"], {}).ok()
    assert first.wait(order.document["authorizations"][0])["status"] == "valid"
    answer = second.post(order.document["finalize"], {"csr": b64u(order.csr(pki.key()))})
    assert answer.status == 200, answer.text
    found = first.wait(order.url)
    assert found["status"] == "valid"
    bodies = {client.post(found["certificate"]).body for client in (first, second)}
    assert len(bodies) == 1


def test_finalizations_at_both_give_one_certificate(pair: Pair) -> None:
    """acme.md C89: with fifty keys."""
    account = pair.both()[0]
    order = account.ordered([new_name("pair")]).ready(pair.labs[0].http)
    clients = pair.crowd(account, 50)
    payloads = [{"csr": b64u(order.csr(pki.key()))} for _ in clients]

    def finalize(one: tuple[AcmeClient, dict[str, str]]) -> int:
        return one[0].post(order.document["finalize"], one[1]).status

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(finalize, zip(clients, payloads, strict=True)))
    assert set(statuses) <= {200, 403}
    assert account.wait(order.url)["status"] == "valid"
    query = f"SELECT count(*) FROM certificate WHERE sans LIKE '%{order.names[0]}%'"
    assert database.rows(pair.labs[0].gateway.sql_url, query)[0][0] == 1


def test_answers_at_both_are_one_validation(pair: Pair) -> None:
    """acme.md C74"""
    account = pair.both()[0]
    order = account.ordered([new_name("pair")])
    offered, gate = order.challenge(), threading.Event()
    pair.labs[0].http.answer(offered["token"], account.key, gate=gate)
    clients = pair.crowd(account, 50)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda client: client.post(offered["url"], {}), clients))
    assert {answer.status for answer in answers} <= {200, 400}
    gate.set()
    assert account.wait(order.document["authorizations"][0])["status"] == "valid"
    assert pair.labs[0].http.times_asked(offered["token"]) == 1


def test_one_key_registered_at_both_is_one_account(pair: Pair) -> None:
    """acme.md C42"""
    key = pki.key()
    clients = [pair.client(place % 2, key=key) for place in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda client: client.new_account(), clients))
    assert len({answer.location for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200] * 11 + [201]


def test_validation_of_a_killed_gateway_is_done_by_the_other(pair: Pair) -> None:
    """acme.md E13: the job is done again; the order does not hang."""
    first, second = pair.both("/hasty")
    order = first.ordered([new_name("pair")])
    offered, gate = order.challenge(), threading.Event()
    http = pair.labs[0].http
    http.answer(offered["token"], first.key, gate=gate)
    first.post(offered["url"], {}).ok()
    gateway = pair.labs[0].gateway
    gateway.kill()
    gate.set()
    try:
        found = second.wait(order.document["authorizations"][0], seconds=200)
        assert found["status"] == "valid"
    finally:
        gateway.start()
        pair.labs[0].close()


def test_database_out_of_reach_is_told_with_the_time_to_ask_again(pair: Pair, postgresql_server: Any) -> None:
    """acme.md C97: serverInternal with Retry-After and no word of the inside; then all goes on."""
    first, _ = pair.both()
    order = first.ordered([new_name("pair")])
    bodies = [first.body(order.url, nonce=first.new_nonce()) for _ in range(3)]
    postgresql_server.shut_down()
    try:
        for body in bodies:
            answer = first.post_body(order.url, body)
            assert (answer.status, answer.problem) == (503, "serverInternal"), answer.text
            assert int(answer.header("Retry-After") or "0") >= 1
            assert "psycopg" not in answer.text
            assert "Traceback" not in answer.text
    finally:
        postgresql_server.restart()
    first.nonce = None
    deadline = time.monotonic() + 60
    while (answer := first.post(order.url)).status == 503 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answer.ok()["status"] == "pending"
