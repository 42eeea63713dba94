"""The list of an account's orders (acme.md C52)."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.acme import orders
from gateway.http.message import HttpResponse
from gateway.store.statement import Statement
from tests.unit.acme.authorized import csr_for, finalize, ready_order, settle
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
    # Newest first; those of one millisecond, whose ids differ by chance, in the order of their ids.
    assert [one for page in found for one in page] == sorted(map(str, made), reverse=True)


async def test_place_of_a_page_is_an_id_of_the_own_order(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.md C52: it does not tell how many orders the gateway has."""
    monkeypatch.setattr(orders, "PAGE_SIZE", 2)
    client = await house.client().registered()
    made = [str(header(await client.new_order([f"n{number}.test"]), "Location")) for number in range(3)]
    following = next_page(await client.post(list_url(client)))
    assert str(following).partition("?before=")[2] == sorted(made)[1].rsplit("/", 1)[1]


async def test_list_takes_as_many_reads_for_a_page_as_for_one_order(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.md C52: orders, their authorizations and what became of them, each in one query."""
    client = await house.client().registered()
    order = await ready_order(house, client, "a0.test")
    await finalize(client, order, csr_for("a0.test"))
    few, statements = await counted(client, monkeypatch)
    for number in range(1, 6):
        order = await ready_order(house, client, f"a{number}.test", f"b{number}.test")
        if number % 2:
            await finalize(client, order, csr_for(f"a{number}.test", f"b{number}.test"))
    many, more_statements = await counted(client, monkeypatch)
    assert (len(few), len(many)) == (1, 6)
    assert more_statements == statements


async def counted(client: Client, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], int]:
    """The account's orders, and how many statements read them."""
    ran: list[str] = []
    run = Statement.all

    def noted(self: Statement, connection: Any, **values: Any) -> Any:
        ran.append(self.sql("sqlite")[0])
        return run(self, connection, **values)

    with monkeypatch.context() as patched:
        patched.setattr(Statement, "all", noted)
        answer = await client.post(list_url(client))
    return document(answer)["orders"], len(ran)


@pytest.mark.parametrize(
    "query", ["before=x", "before=1", "after=3", "before=", "before=" + "9" * 45, "before=" + "F" * 44]
)
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
