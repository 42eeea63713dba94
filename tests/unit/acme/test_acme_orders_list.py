"""The list of an account's orders (acme.md C52)."""

from __future__ import annotations

import pytest

from gateway.acme import orders
from gateway.http.message import HttpResponse
from tests.unit.acme.authorized import settle
from tests.unit.acme.house import Client, House, document, header, problem


def list_url(client: Client) -> str:
    return f"/orders/{str(client.kid).rsplit('/', 1)[1]}"


def next_page(answer: HttpResponse) -> str | None:
    """The URL of the next page, by its Link header (RFC 8288)."""
    links = [value for name, value in answer.headers if name == "Link" and value.endswith('rel="next"')]
    return links[0].partition(">")[0].removeprefix("<") if links else None


async def test_list_holds_the_own_orders_without_invalid_ones(house: House) -> None:
    """acme.md C52"""
    client = await house.client().registered()
    stranger = await house.client().registered()
    await stranger.new_order(["a.test"])
    kept = [header(await client.new_order([name]), "Location") for name in ("a.test", "b.test")]
    failed = document(await client.new_order(["c.test"]))
    await settle(house, client, failed["authorizations"], status="invalid")
    answer = await client.post(list_url(client))
    assert sorted(document(answer)["orders"]) == sorted(map(str, kept))
    assert next_page(answer) is None


async def test_list_goes_on_over_pages(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """acme.md C52"""
    monkeypatch.setattr(orders, "PAGE_SIZE", 2)
    client = await house.client().registered()
    made = [header(await client.new_order([f"n{number}.test"]), "Location") for number in range(5)]
    url: str | None = list_url(client)
    found: list[list[str]] = []
    while url is not None:
        answer = await client.post(url)
        found.append(document(answer)["orders"])
        url = next_page(answer)
    assert [len(page) for page in found] == [2, 2, 1]
    assert [one for page in found for one in page] == made[::-1]


@pytest.mark.parametrize("query", ["before=x", "before=-1", "after=3", "before=", "before=" + "9" * 19])
async def test_page_that_is_none_of_ours_is_malformed(house: House, query: str) -> None:
    """acme.md C52"""
    client = await house.client().registered()
    assert problem(await client.post(f"{list_url(client)}?{query}")) == "malformed"


@pytest.mark.parametrize("payload", [{}, b"null"])
async def test_list_and_order_are_read_with_an_empty_payload_only(house: House, payload: object) -> None:
    """acme.md C40"""
    client = await house.client().registered()
    order = header(await client.new_order(["a.test"]), "Location")
    for url in (list_url(client), str(order)):
        answer = await client.post(url, payload)
        assert (problem(answer), answer.status) == ("malformed", 400)


async def test_list_of_another_account_is_not_shown(house: House) -> None:
    """acme.md C52"""
    client = await house.client().registered()
    stranger = await house.client().registered()
    answer = await stranger.post(list_url(client))
    assert answer.status in (403, 404)
    assert "orders" not in document(answer)
