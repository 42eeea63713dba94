"""External account binding (acme.md B4, B10, B15, C44, C53, C54, E3; RFC 8555 section 7.3.4)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support import acme_signing, pki
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_signing import b64u

Mac = tuple[str, str]


@pytest.fixture
def mac(lab: Lab) -> Mac:
    """A MAC key for the endpoint ``eab``."""
    return lab.external_account("eab")


def _bound(client: AcmeClient, mac: Mac, **how: Any) -> AcmeAnswer:
    return client.new_account(externalAccountBinding=client.binding(*mac, **how))


def _nothing_made(client: AcmeClient) -> None:
    client.new_account(onlyReturnExisting=True).refused(400, "accountDoesNotExist")


def test_account_without_binding_is_refused_where_one_is_required(lab: Lab) -> None:
    """acme.md C53"""
    for name in ("eab", "eab-new", "trusted"):
        client = lab.client(name)
        client.new_account().refused(403, "externalAccountRequired")
        _nothing_made(client)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_bound_account_shows_its_binding_and_orders(lab: Lab, mac: Mac, algorithm: str) -> None:
    """acme.md C54 (RFC 8555 section 7.1.2)"""
    client = lab.client("eab")
    binding = client.binding(*mac, changes={"alg": algorithm})
    found = client.new_account(externalAccountBinding=binding).ok(201)
    assert found["externalAccountBinding"] == binding
    assert client.new_order([new_name()]).status == 201


def test_known_key_is_answered_before_a_binding_is_asked_for(lab: Lab, mac: Mac) -> None:
    """acme.md C44, B10: cert-manager looks its account up without one."""
    client = lab.client("eab")
    _bound(client, mac).ok(201)
    assert client.new_account().status == 200
    assert client.new_account(onlyReturnExisting=True).status == 200


def test_binding_is_taken_where_none_is_required(lab: Lab) -> None:
    """acme.md C54"""
    client = lab.client()
    mac = lab.external_account("default")
    assert "externalAccountBinding" in _bound(client, mac).ok(201)


@pytest.mark.parametrize("algorithm", ["none", "RS256", "ES256", "HS1", "", None, 7])
def test_binding_by_another_algorithm_is_refused(lab: Lab, mac: Mac, algorithm: object) -> None:
    """acme.md C54"""
    client = lab.client("eab")
    answer = _bound(client, mac, changes={"alg": algorithm})
    answer.refused(400, "malformed")
    _nothing_made(client)


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://evil.test/acme/new-account"},
        {"url": None},
        {"nonce": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"kid": None},
        {"kid": 7},
        {"jwk": {"kty": "oct"}},
    ],
)
def test_binding_with_a_wrong_header_is_refused(lab: Lab, mac: Mac, changes: dict[str, object]) -> None:
    """acme.md C54"""
    client = lab.client("eab")
    answer = _bound(client, mac, changes=changes)
    assert (answer.status, answer.problem) in ((400, "malformed"), (403, "unauthorized"))
    _nothing_made(client)


def test_wrong_mac_and_unknown_key_identifier_look_the_same(lab: Lab, mac: Mac) -> None:
    """acme.md C54: nobody learns which key identifiers exist."""
    details = []
    for wrong in ((mac[0], b64u(b"x" * 32)), ("nobody", mac[1])):
        client = lab.client("eab")
        details.append(_bound(client, wrong).refused(403, "unauthorized")["detail"])
        _nothing_made(client)
    first, second = (detail.partition("PG-")[0] for detail in details)
    assert first == second


def test_binding_of_another_key_is_refused(lab: Lab, mac: Mac) -> None:
    """acme.md C54"""
    client = lab.client("eab")
    answer = _bound(client, mac, payload=acme_signing.jwk_of(pki.key()))
    assert (answer.status, answer.problem) in ((400, "malformed"), (403, "unauthorized"))
    _nothing_made(client)


def test_bound_key_is_compared_as_a_key_and_not_as_bytes(lab: Lab, mac: Mac) -> None:
    """acme.md C54: other members and their order do not matter."""
    client = lab.client("eab")
    jwk = dict(reversed(acme_signing.jwk_of(client.key).items())) | {"kid": "mine"}
    _bound(client, mac, payload=jwk).ok(201)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"7", b'{"kty":"EC"}', b"\xff"])
def test_binding_whose_payload_is_no_key_is_refused(lab: Lab, mac: Mac, payload: bytes) -> None:
    """acme.md C54: never a fault of the server."""
    client = lab.client("eab")
    answer = _bound(client, mac, payload=payload)
    assert answer.status in (400, 403), answer.text
    assert answer.problem in ("malformed", "badPublicKey", "unauthorized")


@pytest.mark.parametrize(
    "binding", ["text", [], 7, {}, {"protected": "AAAA"}, {"protected": {}, "payload": 1}]
)
def test_binding_that_is_no_jws_is_malformed(lab: Lab, binding: object) -> None:
    """acme.md C54"""
    client = lab.client("eab")
    client.new_account(externalAccountBinding=binding).refused(400, "malformed")


def test_binding_is_for_one_account_if_its_key_is(lab: Lab) -> None:
    """acme.md C54: a second key with a used up binding is refused."""
    mac = lab.external_account("eab", "--uses", "1")
    _bound(lab.client("eab"), mac).ok(201)
    second = lab.client("eab")
    _bound(second, mac).refused(403, "unauthorized")
    _nothing_made(second)


def test_parallel_bindings_take_no_more_uses_than_there_are(lab: Lab) -> None:
    """acme.md C54, E13"""
    mac = lab.external_account("eab", "--uses", "2")
    clients = [lab.client("eab") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda client: _bound(client, mac).status, clients))
    assert sorted(statuses) == [201] * 2 + [403] * 6


def test_key_of_another_directory_is_refused(lab: Lab) -> None:
    """acme.md C54, E3"""
    client = lab.client("eab")
    _bound(client, lab.external_account("trusted")).refused(403, "unauthorized")
    _nothing_made(client)


def test_unbound_account_is_refused_where_bindings_are_always_needed(lab: Lab) -> None:
    """acme.md B15: an account from before the rule."""
    with lab.other_policies('"eab": "always"', '"eab": "none"'):
        client = lab.account("eab")
    answer = client.new_order([new_name()])
    assert answer.status in (401, 403)
    assert answer.problem in ("externalAccountRequired", "unauthorized")


def test_revoked_external_account_stops_new_orders_and_finalization(lab: Lab, mac: Mac) -> None:
    """acme.md B15"""
    client = lab.client("eab")
    _bound(client, mac).ok(201)
    order = client.ordered([new_name()]).ready(lab.http)
    lab.gateway.cli("credential", "revoke", mac[0])
    answer = client.new_order([new_name()])
    assert answer.status in (401, 403), answer.text
    answer = order.finalize(order.csr(pki.key()))
    assert answer.status in (401, 403), answer.text
    client.post(order.url)


def test_bound_account_needs_no_challenge_where_policy_trusts_it(lab: Lab) -> None:
    """acme.md B4: the external account names the hosts, and no challenge is asked for."""
    mac = lab.external_account("trusted", "--prevalidated", "mine.test")
    client = lab.client("trusted")
    _bound(client, mac).ok(201)
    order = client.ordered(["a.mine.test", "b.mine.test"])
    assert order.document["status"] == "ready"
    assert order.authorization()["status"] == "valid"
    assert order.certified().names == ["a.mine.test", "b.mine.test"]


def test_names_beyond_the_external_account_are_refused(lab: Lab) -> None:
    """acme.md C61, B4: the credential bounds what its accounts may ask for."""
    mac = lab.external_account("eab", "--names", "mine.test")
    client = lab.client("eab")
    _bound(client, mac).ok(201)
    found = client.new_order(["a.mine.test", "a.yours.test"])
    assert found.status in (400, 403)
    assert found.problem == "rejectedIdentifier"
    (wrong,) = found.json["subproblems"]
    assert wrong["identifier"] == {"type": "dns", "value": "a.yours.test"}
    assert client.new_order(["a.mine.test"]).status == 201


def test_neither_binding_nor_challenge_is_no_policy(lab: Lab) -> None:
    """acme.md B4: "no EAB" together with "no challenge" is refused when policies are loaded."""
    policy = lab.gateway.directory / "policies" / "bundle.yaml"
    text = policy.read_text()
    try:
        # the last endpoint that says so is the one whose policy asks for no challenge
        before, found, after = text.rpartition('"eab": "always"')
        assert found
        policy.write_text(f'{before}"eab": "none"{after}')
        completed = lab.gateway.cli("policy", "validate", check=False)
        assert completed.returncode != 0
        assert "challenge" in completed.stdout + completed.stderr
    finally:
        policy.write_text(text)
