"""Authorizations: reading them and giving them up (acme.md C58, C69, C78)."""

from __future__ import annotations

import pytest

from tests.unit.acme.authorized import csr_for, finalize, ready_order, settle
from tests.unit.acme.house import House, document, header, problem

GIVE_UP = {"status": "deactivated"}


@pytest.mark.parametrize("valid", [True, False], ids=["valid", "pending"])
async def test_deactivated_authorization_makes_its_orders_invalid(house: House, *, valid: bool) -> None:
    """acme.md C78"""
    client = await house.client().registered()
    answer = await client.new_order(["a.test", "b.test"])
    order, url = document(answer), document(answer)["authorizations"][0]
    if valid:
        await settle(house, client, order["authorizations"])
    given_up = await client.post(url, GIVE_UP)
    assert given_up.status == 200
    assert document(given_up)["status"] == "deactivated"
    assert document(await client.post(url))["status"] == "deactivated"
    found = document(await client.post(str(header(answer, "Location"))))
    assert found["status"] == "invalid"
    assert "a.test" in found["error"]["detail"]
    assert problem(await finalize(client, order, csr_for("a.test", "b.test"))) == "orderNotReady"


async def test_deactivation_may_come_again(house: House) -> None:
    """acme.md C78"""
    client = await house.client().registered()
    (url,) = document(await client.new_order(["a.test"]))["authorizations"]
    for _ in range(2):
        assert document(await client.post(url, GIVE_UP))["status"] == "deactivated"


@pytest.mark.parametrize(
    "payload", [{}, {"status": "valid"}, {"status": "invalid"}, {"status": 7}, [GIVE_UP], b"null", b"x"]
)
async def test_any_other_change_is_malformed(house: House, payload: object) -> None:
    """acme.md C78"""
    client = await house.client().registered()
    (url,) = document(await client.new_order(["a.test"]))["authorizations"]
    answer = await client.post(url, payload)
    assert (problem(answer), answer.status) == ("malformed", 400)
    assert document(await client.post(url))["status"] == "pending"


async def test_failed_authorization_cannot_be_deactivated(house: House) -> None:
    """acme.md C78"""
    client = await house.client().registered()
    urls = document(await client.new_order(["a.test"]))["authorizations"]
    await settle(house, client, urls, status="invalid")
    assert problem(await client.post(urls[0], GIVE_UP)) == "malformed"
    assert document(await client.post(urls[0]))["status"] == "invalid"


async def test_expired_authorization_is_shown_as_such(house: House) -> None:
    """acme.md C72"""
    client = await house.client().registered()
    order = await ready_order(house, client, "a.test")
    pending = document(await client.new_order(["b.test"]))
    house.clock.advance(days=31)
    (valid_url,), (pending_url,) = order["authorizations"], pending["authorizations"]  # type: ignore[misc]  # a list
    assert document(await client.post(valid_url))["status"] == "expired"
    assert document(await client.post(pending_url))["status"] == "invalid"


async def test_authorization_and_order_of_another_account_look_like_none(house: House) -> None:
    """acme.md C69"""
    client = await house.client().registered()
    stranger = await house.client().registered()
    answer = await client.new_order(["a.test"])
    urls = [*document(answer)["authorizations"], str(header(answer, "Location"))]
    urls.append(document(answer)["finalize"])
    for url in urls:
        foreign = await stranger.post(url, GIVE_UP)
        none = await stranger.post(url.replace(url.split("/")[5], "0" * 44), GIVE_UP)
        assert foreign.status == none.status == 404
        details = {str(document(one)["detail"]).partition(" [")[0] for one in (foreign, none)}
        assert len(details) == 1  # but for the id of the record
    assert document(await client.post(urls[0]))["status"] == "pending"


async def test_deactivation_stands_in_the_audit_log(house: House) -> None:
    client = await house.client().registered()
    (url,) = document(await client.new_order(["a.test"]))["authorizations"]
    await client.post(url, GIVE_UP)
    events = await house.services.records.read(
        lambda connection: connection.connection.dbapi_connection.execute(
            "SELECT actor, action, object_id FROM audit ORDER BY seq"
        ).fetchall()
    )
    account_id = str(client.kid).rsplit("/", 1)[1]
    assert (f"acme:{account_id}", "authorization.deactivate", url.rsplit("/", 1)[1]) in events
