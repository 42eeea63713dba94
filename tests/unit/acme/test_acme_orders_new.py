"""newOrder: what is answered and what is made (acme.md C58 to C70)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.acme.tables import authorizations
from gateway.store.store import Store
from tests.support import acme_policies, policies
from tests.unit.acme.authorized import row_of, settle
from tests.unit.acme.house import House, SetClock, document, header, problem

PENDING_OPTIONS = {"limits": {"pending_authorizations": 3}}
SHORT = {"challenges": ("dns-01",), "reuse_authorization": "1h"}


@pytest_asyncio.fixture
async def varied(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    """Endpoints that differ in what they offer."""
    documents: list[policies.Document] = [
        acme_policies.acme_endpoint("reuse"),
        acme_policies.acme_policy("reuse", "reuse", priority=10, reuse_authorization="1h"),
        acme_policies.acme_endpoint("pending", **PENDING_OPTIONS),
        acme_policies.acme_policy("pending", "pending", priority=20, reuse_authorization="1h"),
        acme_policies.acme_endpoint("profiles", default_profile="server"),
        acme_policies.acme_policy("server", "profiles", priority=30, profile="server"),
        acme_policies.acme_policy("short", "profiles", priority=40, profile="short"),
        acme_policies.acme_endpoint("dns", max_identifiers=2),
        acme_policies.acme_policy("dns", "dns", priority=50, **SHORT),
    ]
    house = House(tmp_path, store, clock, *documents)
    yield house
    await house.aclose()


async def authorizations_of(house: House, order: dict[str, Any], client: Any) -> list[dict[str, Any]]:
    return [document(await client.post(url)) for url in order["authorizations"]]


async def test_new_order_is_answered_with_its_location_and_whole_object(house: House) -> None:
    """acme.md C58"""
    client = await house.client().registered()
    answer = await client.new_order(["a.test", "*.b.test"])
    order = document(answer)
    location = header(answer, "Location")
    assert answer.status == 201
    assert order["status"] == "pending"
    assert order["identifiers"] == [
        {"type": "dns", "value": "a.test"},
        {"type": "dns", "value": "*.b.test"},
    ]
    assert order["expires"] == (house.clock.now() + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert order["finalize"] == f"{location}/finalize"
    assert document(await client.post(str(location))) == order


async def test_wildcard_and_address_are_offered_what_can_prove_them(house: House) -> None:
    """acme.md C68"""
    client = await house.client().registered()
    wanted = [{"type": "dns", "value": "*.b.test"}, {"type": "ip", "value": "127.0.0.1"}]
    order = document(await client.post("/new-order", {"identifiers": wanted}))
    wildcard, address = await authorizations_of(house, order, client)
    assert wildcard["identifier"] == {"type": "dns", "value": "b.test"}
    assert wildcard["wildcard"] is True
    assert [one["type"] for one in wildcard["challenges"]] == ["dns-01"]
    assert "wildcard" not in address
    assert [one["type"] for one in address["challenges"]] == ["http-01", "tls-alpn-01"]
    assert all(one["status"] == "pending" and len(one["token"]) >= 22 for one in address["challenges"])


async def test_every_name_that_policy_refuses_has_its_subproblem_and_nothing_is_stored(house: House) -> None:
    """acme.md C61"""
    client = await house.client().registered()
    answer = await client.new_order(["bad.org", "good.test", "worse.org"])
    assert problem(answer) == "rejectedIdentifier"
    found = [one["identifier"]["value"] for one in document(answer)["subproblems"]]
    assert found == ["bad.org", "worse.org"]
    assert document(await client.post(f"/orders/{str(client.kid).rsplit('/', 1)[1]}")) == {"orders": []}


@pytest.mark.parametrize(
    "members",
    [
        {"notAfter": "tomorrow"},
        {"notAfter": 7},
        {"notAfter": "2099-13-01T00:00:00Z"},
        {"notAfter": "2099-01-01"},
        {"notAfter": "2099-01-01T00:00:00"},
        {"notAfter": "2099-01-01T00:00:00-00:00"},
        {"notAfter": "2001-01-01T00:00:00Z"},
        {"notAfter": "2099-01-01T00:00:00Z"},  # longer than policy
        {"notBefore": "2001-01-01T00:00:00Z"},
        {"notBefore": "0001-01-01T00:00:00+23:59"},
    ],
)
async def test_validity_that_cannot_be_honoured_is_malformed(
    house: House, members: dict[str, object]
) -> None:
    """acme.md C65"""
    client = await house.client().registered()
    answer = await client.new_order(["a.test"], **members)
    assert problem(answer) == "malformed"
    assert answer.status == 400


async def test_validity_that_ends_before_it_begins_or_has_fractions_is_malformed(house: House) -> None:
    """acme.md C65"""
    client = await house.client().registered()
    soon, later = (house.clock.now() + timedelta(days=days) for days in (3, 5))
    reversed_ = {"notBefore": f"{later:%Y-%m-%dT%H:%M:%SZ}", "notAfter": f"{soon:%Y-%m-%dT%H:%M:%SZ}"}
    assert problem(await client.new_order(["a.test"], **reversed_)) == "malformed"
    assert problem(await client.new_order(["a.test"], notAfter=f"{soon:%Y-%m-%dT%H:%M:%S}.5Z")) == "malformed"


async def test_validity_with_an_offset_is_echoed_in_utc(house: House) -> None:
    """acme.md C65"""
    client = await house.client().registered()
    begin, end = (house.clock.now() + timedelta(days=days) for days in (1, 5))
    asked = {
        "notBefore": (begin + timedelta(hours=4)).strftime("%Y-%m-%dT%H:%M:%S.000+04:00"),
        "notAfter": end.strftime("%Y-%m-%dt%H:%M:%Sz"),
    }
    order = document(await client.new_order(["a.test"], **asked))
    assert order["notBefore"] == begin.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert order["notAfter"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_profile_is_echoed_and_an_unknown_one_refused(varied: House) -> None:
    """acme.md C66"""
    client = await varied.client("profiles").registered()
    assert document(await client.new_order(["a.test"], profile="short"))["profile"] == "short"
    assert document(await client.new_order(["a.test"]))["profile"] == "server"
    answer = await client.new_order(["a.test"], profile="none-such")
    assert (problem(answer), answer.status) == ("invalidProfile", 400)
    assert problem(await client.new_order(["a.test"], profile=7)) == "malformed"


async def test_order_without_profile_has_none(house: House) -> None:
    """acme.md C66"""
    client = await house.client().registered()
    assert "profile" not in document(await client.new_order(["a.test"]))


async def test_valid_authorization_is_reused_while_policy_lets_it(varied: House) -> None:
    """acme.md C70"""
    client = await varied.client("reuse").registered()
    first = document(await client.new_order(["a.test"]))
    await settle(varied, client, first["authorizations"])
    second = document(await client.new_order(["a.test", "b.test"]))
    assert second["authorizations"][0] == first["authorizations"][0]
    assert second["status"] == "pending"
    varied.clock.advance(minutes=61)
    third = document(await client.new_order(["a.test"]))
    assert third["authorizations"] != first["authorizations"]


async def test_order_whose_names_are_all_authorized_is_ready_at_once(varied: House) -> None:
    """acme.md C70"""
    client = await varied.client("reuse").registered()
    first = document(await client.new_order(["a.test"]))
    await settle(varied, client, first["authorizations"])
    assert document(await client.new_order(["a.test"]))["status"] == "ready"


async def test_authorization_is_not_reused_where_policy_says_never(house: House) -> None:
    """acme.md C70"""
    client = await house.client().registered()
    first = document(await client.new_order(["a.test"]))
    await settle(house, client, first["authorizations"])
    assert document(await client.new_order(["a.test"]))["authorizations"] != first["authorizations"]


@pytest.mark.parametrize("other", ["*.a.test", "b.a.test"])
async def test_authorization_of_a_name_is_not_one_of_another(varied: House, other: str) -> None:
    """acme.md C70: wildcard and plain name are different"""
    client = await varied.client("reuse").registered()
    first = document(await client.new_order(["a.test"]))
    await settle(varied, client, first["authorizations"])
    second = document(await client.new_order([other]))
    assert second["authorizations"] != first["authorizations"]
    assert second["status"] == "pending"


async def test_authorization_of_another_account_or_endpoint_is_never_reused(varied: House) -> None:
    """acme.md C70"""
    owner = await varied.client("reuse").registered()
    first = document(await owner.new_order(["a.test"]))
    await settle(varied, owner, first["authorizations"])
    stranger = await varied.client("reuse").registered()
    elsewhere = await varied.client("dns", key=owner.key).registered()
    for client in (stranger, elsewhere):
        order = document(await client.new_order(["a.test"]))
        assert order["status"] == "pending"
        assert order["authorizations"] != first["authorizations"]


async def test_authorization_by_a_method_that_policy_no_longer_takes_is_not_reused(varied: House) -> None:
    """acme.md C70"""
    client = await varied.client("dns").registered()
    first = document(await client.new_order(["a.test"]))
    await settle(varied, client, first["authorizations"], method="http-01")
    assert document(await client.new_order(["a.test"]))["status"] == "pending"


async def test_unanswered_authorization_serves_further_orders_and_counts_once(varied: House) -> None:
    """acme.md E11: pending authorizations are bounded"""
    client = await varied.client("pending").registered()
    first = document(await client.new_order(["a.test", "b.test"]))
    again = document(await client.new_order(["a.test", "b.test"]))
    assert again["authorizations"] == first["authorizations"]
    refused = await client.new_order(["c.test", "d.test"])
    assert (problem(refused), refused.status) == ("rateLimited", 429)
    assert int(header(refused, "Retry-After") or "0") > 0
    assert (await client.new_order(["c.test"])).status == 201


async def test_order_ends_with_the_authorizations_that_it_stands_on(varied: House) -> None:
    """acme.md C72"""
    client = await varied.client("reuse").registered()
    first = document(await client.new_order(["a.test"]))
    varied.clock.advance(days=3)
    second = document(await client.new_order(["a.test", "b.test"]))
    assert second["authorizations"][0] == first["authorizations"][0]
    assert second["expires"] == first["expires"]


async def test_endpoint_bounds_the_number_of_names(varied: House) -> None:
    """acme.md C59"""
    client = await varied.client("dns").registered()
    assert (await client.new_order(["a.test", "b.test"])).status == 201
    assert problem(await client.new_order(["a.test", "b.test", "c.test"])) == "malformed"


async def test_tokens_differ_between_authorizations(house: House) -> None:
    """acme.md E12"""
    client = await house.client().registered()
    order = document(await client.new_order(["a.test", "b.test"]))
    rows = [await row_of(house, client, url) for url in order["authorizations"]]
    assert rows[0].token != rows[1].token
    assert {row.status for row in rows} == {authorizations.PENDING}
