"""Nonces (acme.md C4, C5, C29-C31, C38, C39, C98, E7; RFC 8555 section 6.5)."""

from __future__ import annotations

import json
import re
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import acme_signing, pki
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_signing import b64u, from_b64u


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
def test_new_nonce_answers_with_a_nonce_that_nobody_keeps(lab: Lab, method: str, status: int) -> None:
    """acme.md C4"""
    client = lab.client()
    answer = client.send(method, client.directory["newNonce"])
    assert (answer.status, answer.body) == (status, b"")
    assert answer.header("Replay-Nonce")
    assert answer.header("Cache-Control") == "no-store"
    assert answer.links("index") == [lab.directory()]


def test_nonces_are_long_unpadded_and_never_the_same(lab: Lab) -> None:
    """acme.md C5"""
    client = lab.client()
    nonces = [client.new_nonce() for _ in range(200)]
    assert len(set(nonces)) == len(nonces)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22,}", nonce) for nonce in nonces)
    tails = {from_b64u(nonce)[-8:] for nonce in nonces}
    assert len(tails) == len(nonces), "the end of a nonce does not change"


def test_message_without_nonce_is_refused_with_one(account: AcmeClient) -> None:
    """acme.md C29"""
    account.nonce = None
    answer = account.call("newOrder", {}, changes={"nonce": None})
    answer.refused(400, "badNonce")
    assert account.nonce is not None


def _forged(nonce: str) -> list[str]:
    octets = from_b64u(nonce)
    flipped = [
        octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :] for place in range(len(octets))
    ]
    return [
        *(b64u(one) for one in flipped),
        b64u(secrets.token_bytes(len(octets))),
        b64u(octets[:-1]),
        b64u(octets + b"\x00"),
        "AAAA",
        "",
    ]


def test_forged_nonces_are_refused_with_a_fresh_one(account: AcmeClient) -> None:
    """acme.md C5, C29: every octet counts."""
    for forged in _forged(account.new_nonce()):
        answer = account.call("newOrder", {}, nonce=forged)
        answer.refused(400, "badNonce")
        assert answer.header("Replay-Nonce"), forged
    account.call("newOrder", {}).refused(400, "malformed")


@pytest.mark.parametrize("nonce", ["not base64url!", "AAAA=", "AA+/", "A", "Ä", "AAAA\n"])
def test_nonce_that_is_not_base64url_is_malformed(account: AcmeClient, nonce: str) -> None:
    """acme.md C30 (RFC 8555 section 6.5.2)"""
    account.call("newOrder", {}, changes={"nonce": nonce}).refused(400, "malformed")


@pytest.mark.parametrize("nonce", [7, ["AAAA"], {"a": "b"}, True])
def test_nonce_that_is_no_text_is_malformed(account: AcmeClient, nonce: object) -> None:
    """acme.md C30"""
    account.call("newOrder", {}, changes={"nonce": nonce}).refused(400, "malformed")


def test_nonce_is_good_once(account: AcmeClient) -> None:
    """acme.md C29"""
    nonce = account.new_nonce()
    assert account.kid is not None
    account.post(account.kid, nonce=nonce).ok()
    account.post(account.kid, nonce=nonce).refused(400, "badNonce")


@pytest.mark.parametrize("fault", ["url", "payload", "kid"])
def test_nonce_is_used_up_by_a_signed_message_that_is_refused_later(account: AcmeClient, fault: str) -> None:
    """acme.md C39"""
    nonce = account.new_nonce()
    assert account.kid is not None
    changes = {"url": {"url": "https://elsewhere.test/"}}.get(fault, {})
    target = account.kid + "x" if fault == "kid" else account.kid
    payload = b"[]" if fault == "payload" else None
    first = account.post(target, payload, nonce=nonce, changes=changes)
    assert first.status >= 400
    assert first.problem != "badNonce"
    account.post(account.kid, nonce=nonce).refused(400, "badNonce")


def test_nobody_burns_a_nonce_without_the_key(lab: Lab, account: AcmeClient) -> None:
    """acme.md C38, E7: a stranger sends somebody's nonce in messages that are not signed by any account."""
    nonce = account.new_nonce()
    stranger = lab.client()
    url = account.directory["newOrder"]
    header = acme_signing.protected_header(account.key, url, nonce, account.kid)
    unsigned = acme_signing.flattened(header, b"{}", b"\x00" * 64)
    by_another = acme_signing.signed(pki.key(), header, {})
    unknown = acme_signing.signed(account.key, header | {"kid": f"{account.kid}x"}, {})
    for body in (unsigned, by_another, unknown, {**unsigned, "signature": ""}):
        assert stranger.post_body(url, json.dumps(body).encode()).status >= 400
    account.call("newOrder", {}, nonce=nonce).refused(400, "malformed")


def test_parallel_uses_of_one_nonce_pass_once(account: AcmeClient) -> None:
    """acme.md C39"""
    nonce = account.new_nonce()
    assert account.kid is not None
    kid = account.kid
    clients = [account.same_account() for _ in range(20)]
    bodies = [client.body(kid, None, nonce=nonce) for client in clients]

    def send(client: AcmeClient, body: bytes) -> int:
        with client:
            return client.post_body(kid, body).status

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(send, clients, bodies))
    assert sorted(statuses) == [200] + [400] * 19


def test_nonce_in_a_request_header_counts_for_nothing(account: AcmeClient) -> None:
    """acme.md C31"""
    nonce = account.new_nonce()
    assert account.kid is not None
    body = account.body(account.kid, None, changes={"nonce": None})
    answer = account.post_body(account.kid, body, **{"Replay-Nonce": nonce})
    answer.refused(400, "badNonce")
    account.post(account.kid, nonce=nonce).ok()


def test_nonce_of_another_directory_of_this_gateway_is_good(lab: Lab, account: AcmeClient) -> None:
    """acme.md C29: nonces belong to the gateway; what they sign belongs to the directory."""
    assert account.kid is not None
    account.post(account.kid, nonce=lab.client("other").new_nonce()).ok()


def test_bad_nonce_can_be_repeated_for_each_kind_of_post(lab: Lab) -> None:
    """acme.md C98"""
    client = lab.client()
    bad = b64u(secrets.token_bytes(24))

    def twice(url: str, payload: object = None, *, by_key: bool | None = None) -> object:
        client.post(url, payload, by_key=by_key, nonce=bad).refused(400, "badNonce")
        assert client.nonce is not None
        answer = client.post(url, payload, by_key=by_key)
        assert answer.status in (200, 201), answer.text
        client.kid = answer.location if by_key else client.kid
        return answer

    directory = client.directory
    twice(directory["newAccount"], {"termsOfServiceAgreed": True}, by_key=True)
    assert client.kid is not None
    twice(client.kid, {})
    twice(client.kid.replace("/account/", "/orders/"))
    host = new_name()
    twice(directory["newOrder"], {"identifiers": [{"type": "dns", "value": host}]})
    order = client.ordered([host])
    offered = order.challenge()
    lab.http.answer(offered["token"], client.key)
    twice(order.document["authorizations"][0])
    twice(offered["url"], {})
    client.wait(order.document["authorizations"][0])
    twice(order.document["finalize"], {"csr": b64u(order.csr(pki.key()))})
    certificate = client.wait(order.url)["certificate"]
    twice(certificate)
    leaf = x509.load_pem_x509_certificate(client.post(certificate).body)
    twice(directory["revokeCert"], {"certificate": b64u(leaf.public_bytes(Encoding.DER))})
    new_key = pki.key()
    inner = acme_signing.key_change_payload(client.key, new_key, client.kid, directory["keyChange"])
    twice(directory["keyChange"], inner)


def test_nonce_from_before_a_restart_is_refused_and_its_repeat_passes(lab: Lab) -> None:
    """acme.md C29, B1: one process forgets what it redeemed, so it takes nothing from before it began."""
    client = lab.account()
    old = client.new_nonce()
    lab.restart()
    assert client.kid is not None
    client.post(client.kid, nonce=old).refused(400, "badNonce")
    client.post(client.kid).ok()
