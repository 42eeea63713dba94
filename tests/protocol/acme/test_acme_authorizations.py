"""Authorizations and their life (acme.md C68, C69, C72, C75-C78; RFC 8555 sections 7.1.4, 7.1.6 and 7.5)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support import pki
from tests.support.acme_client import AcmeClient, Order, challenge
from tests.support.acme_lab import Lab, new_name


def test_authorization_shows_identifier_status_expiry_and_challenges(account: AcmeClient) -> None:
    """acme.md C68, C58"""
    host = new_name()
    found = account.ordered([host]).authorization()
    assert found["identifier"] == {"type": "dns", "value": host}
    assert found["status"] == "pending"
    assert found["expires"].endswith("Z")
    assert {one["type"] for one in found["challenges"]} == {"http-01", "dns-01", "tls-alpn-01"}
    for one in found["challenges"]:
        assert one["status"] == "pending"
        assert len(one["token"]) >= 22
        assert one["url"].startswith("https://")
        assert "error" not in one
        assert "validated" not in one


def test_tokens_of_different_authorizations_differ(account: AcmeClient) -> None:
    """acme.md E12: 128 bits of base64url (RFC 8555 section 8.3)."""
    order = account.ordered([new_name() for _ in range(5)])
    tokens = {order.challenge(place=place)["token"] for place in range(5)}
    assert len(tokens) == 5


def test_valid_authorization_shows_when_and_how_it_was_proven(lab: Lab, account: AcmeClient) -> None:
    """acme.md C72, C76, C77: ``expires`` is there, and the one challenge that was passed."""
    order = account.ordered([new_name()]).ready(lab.http)
    found = order.authorization()
    assert found["status"] == "valid"
    assert found["expires"].endswith("Z")
    (passed,) = found["challenges"]
    assert (passed["type"], passed["status"]) == ("http-01", "valid")
    assert passed["validated"].endswith("Z")


def test_order_is_ready_only_when_every_authorization_is_valid(lab: Lab, account: AcmeClient) -> None:
    """acme.md C76, E2"""
    order = account.ordered([new_name(), new_name(), new_name()])
    for place in range(3):
        assert order.read()["status"] == "pending"
        offered = order.challenge(place=place)
        lab.http.answer(offered["token"], account.key)
        account.post(offered["url"], {}).ok()
        assert account.wait(order.document["authorizations"][place])["status"] == "valid"
    assert order.read()["status"] == "ready"


def test_deactivated_authorization_makes_its_order_invalid(lab: Lab) -> None:
    """acme.md C78 (RFC 8555 section 7.5.2)"""
    client = lab.account()
    order = client.ordered([new_name(), new_name()])
    url = order.document["authorizations"][0]
    assert client.post(url, {"status": "deactivated"}).ok()["status"] == "deactivated"
    assert client.post(url).ok()["status"] == "deactivated"
    assert order.read()["status"] == "invalid"
    assert order.document["error"]["type"].startswith("urn:ietf:params:acme:error:")


def test_valid_authorization_can_be_given_up(lab: Lab) -> None:
    """acme.md C78, E14: the order that was ready is not issued any more."""
    client = lab.account()
    order = client.ordered([new_name()]).ready(lab.http)
    client.post(order.document["authorizations"][0], {"status": "deactivated"}).ok()
    assert order.read()["status"] == "invalid"
    order.finalize(order.csr(pki.key())).refused(403, "orderNotReady")


def test_challenge_of_a_deactivated_authorization_is_dead(lab: Lab) -> None:
    """acme.md C75"""
    client = lab.account()
    order = client.ordered([new_name()])
    offered = order.challenge()
    lab.http.answer(offered["token"], client.key)
    client.post(order.document["authorizations"][0], {"status": "deactivated"}).ok()
    answer = client.post(offered["url"], {})
    assert answer.status in (400, 403), answer.text
    assert answer.problem in ("malformed", "unauthorized")
    assert order.authorization()["status"] == "deactivated"
    assert lab.http.times_asked(offered["token"]) == 0


@pytest.mark.parametrize(
    "payload",
    [{"status": "valid"}, {"status": "pending"}, {"status": "revoked"}, {"status": 7}, {"status": None}, []],
)
def test_other_status_for_an_authorization_is_malformed(account: AcmeClient, payload: object) -> None:
    """acme.md C78: nobody makes it valid by asking."""
    order = account.ordered([new_name()])
    account.post(order.document["authorizations"][0], payload).refused(400, "malformed")
    assert order.authorization()["status"] == "pending"


def _brief(client: AcmeClient) -> tuple[Order, Any]:
    """An order that expires after seconds and its challenge, both got in time; another one where not."""
    for _ in range(20):
        order = client.ordered([new_name()])
        authorization = order.authorization()
        if authorization["status"] == "pending":
            return order, challenge(authorization, "http-01")
    raise AssertionError("no order lives long enough to be looked at")


def _until_expired(order: Order) -> None:
    """Sleep until after the time that the order names; the gateway has the same clock."""
    expires = datetime.fromisoformat(order.document["expires"])
    time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()) + 1.1)


def test_unanswered_order_and_authorization_expire(lab: Lab) -> None:
    """acme.md C72, C75: invalid on read; neither challenge nor finalization goes on."""
    client = lab.account("brief")
    order, offered = _brief(client)
    lab.http.answer(offered["token"], client.key)
    _until_expired(order)
    assert order.read()["status"] == "invalid"
    assert order.authorization()["status"] in ("invalid", "expired")
    answer = client.post(offered["url"], {})
    assert answer.status in (400, 403)
    assert lab.http.times_asked(offered["token"]) == 0
    answer = order.finalize(order.csr(pki.key()))
    assert answer.status in (400, 403)


def test_ready_order_that_expired_is_not_issued(lab: Lab) -> None:
    """acme.md C72, B18: and a certificate that was issued in time is served afterwards (C90)."""
    client = lab.account()
    late = client.ordered([new_name()]).ready(lab.http)
    issued = client.issue([new_name()], lab.http)
    for url in (late.url, issued.order_url):
        lab.expire("acme_order", url)
    answer = late.finalize(late.csr(pki.key()))
    assert answer.status in (400, 403), answer.text
    assert late.read()["status"] == "invalid"
    assert client.post(issued.url).body == issued.pem
