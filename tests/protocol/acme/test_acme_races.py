"""Many at once: one certificate, one validation (acme.md C39, C74, C89, E13)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support import database, pki
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient, Order
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_signing import b64u

MANY = 50


@pytest.fixture(scope="module")
def crowd(lab: Lab) -> list[AcmeClient]:
    """Fifty connections of one account."""
    account = lab.account()
    clients = [account.same_account() for _ in range(MANY)]
    lab.clients.extend(clients)
    for client in clients:
        client.new_nonce()
    return clients


def _at_once(clients: list[AcmeClient], ask: Callable[[AcmeClient], AcmeAnswer]) -> list[AcmeAnswer]:
    start = threading.Barrier(len(clients))

    def one(client: AcmeClient) -> AcmeAnswer:
        start.wait(100)
        return ask(client)

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(one, clients))


def _certificates(lab: Lab, order: Order) -> int:
    query = f"SELECT count(*) FROM certificate WHERE sans LIKE '%{order.names[0]}%'"
    count: int = database.rows(lab.gateway.sql_url, query)[0][0]
    return count


def _finalized(lab: Lab, crowd: list[AcmeClient], bodies: list[dict[str, str]], order: Order) -> None:
    url = order.document["finalize"]
    payload_of = {id(client): body for client, body in zip(crowd, bodies, strict=True)}
    answers = _at_once(crowd, lambda client: client.post(url, payload_of[id(client)]))
    for answer in answers:
        assert answer.status in (200, 403), answer.text
        assert answer.status == 200 or answer.problem == "orderNotReady"
    assert any(answer.status == 200 for answer in answers)
    assert crowd[0].wait(order.url)["status"] == "valid"
    assert _certificates(lab, order) == 1
    assert len({crowd[place].post(order.read()["certificate"]).body for place in range(3)}) == 1


def test_fifty_equal_finalizations_give_one_certificate(lab: Lab, crowd: list[AcmeClient]) -> None:
    """acme.md C89"""
    order = crowd[0].ordered([new_name("race")]).ready(lab.http)
    body = {"csr": b64u(order.csr(pki.key()))}
    _finalized(lab, crowd, [body] * MANY, order)


def test_fifty_finalizations_with_different_keys_give_one_certificate(
    lab: Lab, crowd: list[AcmeClient]
) -> None:
    """acme.md C89: and it is for one of these keys."""
    order = crowd[0].ordered([new_name("race")]).ready(lab.http)
    _finalized(lab, crowd, [{"csr": b64u(order.csr(pki.key()))} for _ in range(MANY)], order)


def test_fifty_answers_to_one_challenge_are_one_validation(lab: Lab, crowd: list[AcmeClient]) -> None:
    """acme.md C74"""
    order = crowd[0].ordered([new_name("race")])
    offered, gate = order.challenge(), threading.Event()
    lab.http.answer(offered["token"], crowd[0].key, gate=gate)
    answers = _at_once(crowd, lambda client: client.post(offered["url"], {}))
    assert {answer.status for answer in answers} <= {200, 400}
    assert {answer.json["status"] for answer in answers if answer.status == 200} <= {"processing", "pending"}
    gate.set()
    assert crowd[0].wait(order.document["authorizations"][0])["status"] == "valid"
    assert lab.http.times_asked(offered["token"]) == 1


def test_answers_to_different_challenges_of_one_authorization_are_one_validation(
    lab: Lab, crowd: list[AcmeClient]
) -> None:
    """acme.md C74, C77: the first one decides."""
    order = crowd[0].ordered([new_name("race")])
    urls = [one["url"] for one in order.authorization()["challenges"] if one["type"] != "dns-01"]
    token = order.challenge()["token"]
    lab.http.answer(token, crowd[0].key)
    lab.alpn.answer(order.names[0], token, crowd[0].key)
    asked_before = len(lab.alpn.asked)
    url_of = {id(client): urls[place % 2] for place, client in enumerate(crowd)}
    answers = _at_once(crowd, lambda client: client.post(url_of[id(client)], {}))
    assert {answer.status for answer in answers} <= {200, 400, 403, 404}
    assert crowd[0].wait(order.document["authorizations"][0])["status"] == "valid"
    assert lab.http.times_asked(token) + len(lab.alpn.asked) - asked_before == 1


def test_authorization_that_is_given_up_while_it_is_validated_stays_given_up(lab: Lab) -> None:
    """acme.md E13: the result is written only if the authorization still waits for it."""
    client = lab.account()
    order = client.ordered([new_name("race")])
    offered, gate = order.challenge(), threading.Event()
    lab.http.answer(offered["token"], client.key, gate=gate)
    client.post(offered["url"], {}).ok()
    _asked(lab, offered)
    client.post(order.document["authorizations"][0], {"status": "deactivated"}).ok()
    gate.set()
    _settled(lab)
    assert order.authorization()["status"] == "deactivated"
    assert order.read()["status"] == "invalid"


def test_account_that_is_deactivated_while_it_is_validated_proves_nothing(lab: Lab) -> None:
    """acme.md C50, E13, E14"""
    client = lab.account()
    order = client.ordered([new_name("race")])
    offered, gate = order.challenge(), threading.Event()
    lab.http.answer(offered["token"], client.key, gate=gate)
    client.post(offered["url"], {}).ok()
    _asked(lab, offered)
    assert client.kid is not None
    client.post(client.kid, {"status": "deactivated"}).ok()
    gate.set()
    _settled(lab)
    query = f"SELECT status FROM acme_authorization WHERE token = '{offered['token']}'"
    assert database.rows(lab.gateway.sql_url, query)[0][0] != "valid"


def _asked(lab: Lab, offered: Any) -> None:
    """Wait until the validation is under way: it waits for the page."""
    deadline = time.monotonic() + 60
    while not lab.http.times_asked(offered["token"]):
        assert time.monotonic() < deadline, "nobody looks"
        time.sleep(0.01)


def _settled(lab: Lab) -> None:
    """Let the same worker make another validation from beginning to end: what the one before it, which was
    let go, writes is written by then. Its job stays until its time, and then finds nothing to do."""
    lab.issue()


def test_fifty_orders_at_once_are_fifty_orders(crowd: list[AcmeClient]) -> None:
    """acme.md E13"""
    names = {id(client): new_name("race") for client in crowd}
    answers = _at_once(crowd, lambda client: client.new_order([names[id(client)]]))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.location for answer in answers}) == MANY
