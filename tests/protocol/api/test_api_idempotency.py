"""One Idempotency-Key is one credential, however often and from wherever it comes, on both databases."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api_client import PATIENCE_S, ApiAnswer, ApiClient
from tests.support.api_lab import ApiLab
from tests.support.scep_answer import issued

CLIENTS = 50


def _body(name: str, **more: Any) -> dict[str, Any]:
    return {"kind": "scep-challenge", "name": name, "endpoints": ["default"], **more}


def _count(api: ApiLab, name: str) -> int:
    return api.scep.count("credential", f"name = '{name}'")


@pytest.fixture
def client(either: ApiLab) -> ApiClient:
    return either.client(either.token("default"))


def _at_once(clients: list[ApiClient], ask: Callable[[ApiClient], ApiAnswer]) -> list[ApiAnswer]:
    """Let every client ask over a connection that stands already, all at the same moment."""
    ready, answers = threading.Barrier(len(clients)), {}

    def run(number: int) -> None:
        clients[number].open()
        ready.wait(PATIENCE_S)
        answers[number] = ask(clients[number])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    return [answers[number] for number in range(len(clients))]


def test_fifty_at_once_with_one_key_are_one_credential_and_one_answer(either: ApiLab) -> None:
    clients = [either.client(either.token("default")) for _ in range(CLIENTS)]
    key = str(uuid.uuid4())
    answers = _at_once(clients, lambda client: client.create(_body("race"), key))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert _count(either, "race") == 1
    replayed = [answer for answer in answers if "idempotency-replayed" in answer.headers]
    assert len(replayed) == CLIENTS - 1
    issued(either.scep.device().enrol(answers[0].document["secret"]))


def test_fifty_at_once_without_a_key_are_one_name_and_conflicts(either: ApiLab) -> None:
    clients = [either.client(either.token("default")) for _ in range(CLIENTS)]
    answers = _at_once(clients, lambda client: client.create(_body("no key")))
    assert sorted(answer.status for answer in answers) == [201] + [409] * (CLIENTS - 1)
    assert _count(either, "no key") == 1


def test_answer_that_was_lost_can_be_had_again_with_its_secret(either: ApiLab) -> None:
    """The client is gone before the answer; whether the gateway was done by then is all the same."""
    token, key = either.token("default"), str(uuid.uuid4())
    lost = either.client(token)
    connection = lost.open()
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, "Content-Type": "application/json"}
    connection.request(
        "POST",
        "/api/v1/credentials",
        b'{"kind":"scep-challenge","name":"lost","endpoints":["default"]}',
        headers,
    )
    lost.close()
    made = either.client(token).created(_body("lost"), key)
    assert _count(either, "lost") == 1
    issued(either.scep.device().enrol(made["secret"]))
    # After its use, the answer is what it was when it was given.
    assert either.client(token).created(_body("lost"), key) == made


def test_key_with_another_request_is_refused(client: ApiClient, either: ApiLab) -> None:
    key = str(uuid.uuid4())
    client.created(_body("reused"), key)
    for body in (_body("reused", uses=2), _body("another"), {"kind": "acme-eab", "endpoints": ["default"]}):
        problem = client.create(body, key).problem(422, "key-reused")
        assert "take a new key" in problem["detail"]
    assert (_count(either, "reused"), _count(either, "another")) == (1, 0)


def test_same_request_is_known_however_its_json_is_written(client: ApiClient, either: ApiLab) -> None:
    key = str(uuid.uuid4())
    made = client.created(_body("written"), key)
    other = b' {"static": false, "endpoints": ["default"], "uses": null,\n'
    other += b'"name": "writ\\u0074en", "kind": "scep-challenge"}'
    assert client.create(other, key).document == made
    assert _count(either, "written") == 1


def test_same_key_of_another_token_is_another_key(client: ApiClient, either: ApiLab) -> None:
    key = str(uuid.uuid4())
    first = client.created(_body("mine"), key)
    second = either.client(either.token("default", "other")).created(_body("yours"), key)
    assert first["id"] != second["id"]


def test_refused_request_does_not_use_up_its_key(client: ApiClient) -> None:
    key = str(uuid.uuid4())
    client.create(_body("first", endpoints=["other"]), key).problem(403, "out-of-reach")
    client.create(_body("first", names=["a b"]), key).problem(422, "invalid")
    client.created(_body("first"), key)


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"])
def test_key_that_is_none_is_refused(client: ApiClient, either: ApiLab, key: str) -> None:
    before = either.scep.count("credential", "kind = 'scep-challenge'")
    client.create(_body("no such key"), key).problem(400, "idempotency-key")
    assert either.scep.count("credential", "kind = 'scep-challenge'") == before


def test_database_that_is_away_is_503_and_the_same_request_afterwards_makes_one(api: ApiLab) -> None:
    """Somebody else's transaction stands in the way until the gateway gives up."""
    client, key = api.client(api.token("default")), str(uuid.uuid4())
    other = sqlite3.connect(
        api.scep.gateway.data / "pkigate.sqlite3", timeout=PATIENCE_S, isolation_level=None
    )
    try:
        other.execute("BEGIN IMMEDIATE")
        refused = client.create(_body("held up"), key)
        assert _count(api, "held up") == 0
    finally:
        other.close()
    problem = refused.problem(503, "unavailable")
    assert "again is safe" in problem["detail"]
    assert int(refused.headers["retry-after"]) >= 1
    client.created(_body("held up"), key)
    assert _count(api, "held up") == 1


def test_fifty_revocations_at_once_are_one_and_the_same_answer(either: ApiLab) -> None:
    made = either.client(either.token("default")).created(_body("withdrawn"))
    clients = [either.client(either.token("default")) for _ in range(CLIENTS)]
    answers = _at_once(clients, lambda client: client.revoke(made["id"]))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert either.scep.count("audit", f"action = 'credential.revoke' AND object_id = '{made['id']}'") == 1
