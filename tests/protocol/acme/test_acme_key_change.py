"""Account key rollover (acme.md C55-C57; RFC 8555 section 7.3.5)."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support import acme_signing, pki
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab, new_name
from tests.support.keys import shared_key


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_account_goes_on_with_its_new_key(lab: Lab, kind: str) -> None:
    """acme.md C55, C57"""
    client = lab.account()
    old_key, order = client.key, client.ordered([new_name()])
    client.change_key(pki.key(kind)).ok()
    assert order.read()["status"] == "pending"
    old = lab.client(key=old_key, kid=client.kid)
    answer = old.new_order([new_name()])
    assert answer.status in (400, 401, 403)
    assert answer.problem in ("malformed", "unauthorized", "badSignatureAlgorithm")
    old.new_account(onlyReturnExisting=True).refused(400, "accountDoesNotExist")
    assert client.call("newAccount", {"onlyReturnExisting": True}, by_key=True).location == client.kid


def test_pending_order_is_finished_with_the_new_key(lab: Lab) -> None:
    """acme.md C57: key authorizations follow the new key."""
    client = lab.account()
    order = client.ordered([new_name()])
    client.change_key(pki.key()).ok()
    order.prove(lab.http)
    assert order.certified().names == list(order.names)


def test_challenge_in_flight_counts_with_the_key_it_was_answered_with(lab: Lab) -> None:
    """acme.md C57, E5: the key authorization is stored when the challenge is answered."""
    client = lab.account()
    order = client.ordered([new_name()])
    offered, gate = order.challenge(), threading.Event()
    lab.http.answer(offered["token"], client.key, gate=gate)
    client.post(offered["url"], {}).ok()
    client.change_key(pki.key()).ok()
    gate.set()
    assert client.wait(order.document["authorizations"][0])["status"] == "valid"


def test_key_of_another_account_is_a_conflict(lab: Lab) -> None:
    """acme.md C56"""
    client, other = lab.account(), lab.account()
    answer = client.change_key(other.key)
    assert answer.status == 409, answer.text
    assert answer.problem
    assert answer.location == other.kid
    assert client.new_order([new_name()]).status == 201


def test_own_present_key_is_no_new_key(lab: Lab) -> None:
    """acme.md C56"""
    client = lab.account()
    answer = client.change_key(client.key)
    assert answer.status in (400, 409)
    assert answer.problem


def test_two_accounts_that_take_one_key_at_once_do_not_share_it(lab: Lab) -> None:
    """acme.md C56"""
    clients, new_key = [lab.account() for _ in range(6)], pki.key()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda client: client.change_key(new_key), clients))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 5


def _post_inner(client: AcmeClient, inner: object) -> Any:
    return client.call("keyChange", inner)


@pytest.mark.parametrize(
    "how",
    [
        {"changes": {"nonce": "AAAAAAAAAAAAAAAAAAAAAA"}},
        {"changes": {"url": "https://evil.test/acme/key-change"}},
        {"changes": {"url": None}},
        {"changes": {"jwk": None}},
        {"changes": {"kid": "https://evil.test/account/1"}},
        {"changes": {"crit": ["x"]}},
        {"payload": {"account": "https://evil.test/account/1"}},
        {"payload": {}},
        {"signer": pki.key()},
    ],
    ids=["nonce", "other-url", "no-url", "no-jwk", "kid-too", "crit", "account", "empty", "signer"],
)
def test_faulty_inner_message_is_malformed(lab: Lab, how: dict[str, Any]) -> None:
    """acme.md C55"""
    client = lab.account()
    old_key = client.key
    assert client.kid is not None
    if "payload" in how:
        how["payload"] = {"oldKey": acme_signing.jwk_of(old_key)} | how["payload"]
    answer = client.change_key(pki.key(), **how)
    answer.refused(400, "malformed")
    assert client.post(client.kid).status == 200


def test_old_key_that_is_not_the_accounts_is_malformed(lab: Lab) -> None:
    """acme.md C55"""
    client = lab.account()
    other = acme_signing.jwk_of(pki.key())
    for old in (other, None, {}, "text", acme_signing.jwk_of(client.key) | {"d": "AAAA"}):
        payload = {"account": client.kid, "oldKey": old}
        assert client.change_key(pki.key(), payload=payload).status == 400, old


def test_old_key_is_compared_as_a_key_and_not_as_text(lab: Lab) -> None:
    """acme.md C55: other members of the JWK and their order do not matter."""
    client = lab.account()
    jwk = dict(reversed(acme_signing.jwk_of(client.key).items())) | {"kid": "my old key"}
    client.change_key(pki.key(), payload={"account": client.kid, "oldKey": jwk}).ok()


def test_algorithm_of_the_inner_message_must_fit_its_key(lab: Lab) -> None:
    """acme.md C55"""
    client = lab.account()
    answer = client.change_key(pki.key("P-384"), changes={"alg": "RS256"}, signer=shared_key("RSA-2048"))
    assert answer.status == 400
    assert answer.problem in ("malformed", "badSignatureAlgorithm")


@pytest.mark.parametrize("kind", ["RSA-1024", "P-192"])
def test_new_key_passes_the_rules_for_keys(lab: Lab, kind: str) -> None:
    """acme.md C55, C25"""
    answer = lab.account().change_key(shared_key(kind))
    assert answer.status == 400
    assert answer.problem in ("badPublicKey", "badSignatureAlgorithm", "malformed")


@pytest.mark.parametrize(
    "inner", [None, {}, [], "text", {"protected": "AAAA", "payload": "", "signature": ""}]
)
def test_payload_that_is_no_inner_message_is_malformed(account: AcmeClient, inner: object) -> None:
    """acme.md C55"""
    payload = b"" if inner is None else json.dumps(inner).encode()
    _post_inner(account, payload).refused(400, "malformed")


def test_inner_message_of_another_account_is_refused(lab: Lab) -> None:
    """acme.md C55: the outer signature and payload.account must agree."""
    client, victim = lab.account(), lab.account()
    assert victim.kid is not None
    inner = acme_signing.key_change_payload(victim.key, pki.key(), victim.kid, client.directory["keyChange"])
    _post_inner(client, inner).refused(400, "malformed")
    assert victim.post(victim.kid).status == 200
