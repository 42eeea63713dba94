"""The rows of orders, authorizations and allowances, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.acme.tables import accounts, allowances, authorizations, orders, owned
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.acme.tables.orders import OrderRow
from gateway.errors import Conflict
from gateway.store import many
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A migrated database of each kind."""
    url = f"sqlite:///{tmp_path}/rows.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
    migrate(url)
    with Store(url) as opened:
        yield opened


def commit(store: Store, *changes: Callable[[Unit], None]) -> None:
    unit = Unit()
    for change in changes:
        change(unit)
    store.recorder.commit_blocking(unit)


def read(store: Store, query: Callable[[Any], Any]) -> Any:
    return store.reader.read_blocking(query)


def authorization(one: str, **changes: Any) -> AuthorizationRow:
    made = AuthorizationRow(
        id=one,
        endpoint="default",
        account_id="account",
        kind="dns",
        name="a.test",
        wildcard=False,
        status="pending",
        token="token",
        challenges=("http-01",),
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
    )
    return replace(made, **changes)


def order(one: str, **changes: Any) -> OrderRow:
    made = OrderRow(
        id=one,
        endpoint="default",
        account_id="account",
        identifiers=("dns:a.test", "ip:2001:db8::1"),
        authorizations=("one", "two"),
        created_at=NOW,
        expires_at=NOW + timedelta(days=7),
    )
    return replace(made, **changes)


def test_authorization_is_read_back_as_it_was_written(rows: Store) -> None:
    whole = authorization(
        "one",
        wildcard=True,
        status="valid",
        method="dns-01",
        attempt="attempt",
        key_authorization="token.thumb",
        error={"type": "t", "detail": "d"},
        evidence={"addresses": ["192.0.2.1"]},
        validated_at=NOW,
    )
    commit(rows, lambda unit: authorizations.insert(unit, whole))
    assert read(rows, lambda one: authorizations.get(one, "default", "account", "one")) == whole


@pytest.mark.parametrize("place", [("other", "account"), ("default", "other")])
def test_object_of_another_account_or_endpoint_is_not_found(rows: Store, place: tuple[str, str]) -> None:
    """acme.md C69, E2"""
    endpoint, owner = place
    asking = AccountRow(owner, endpoint, "thumbprint", "{}", "valid", (), NOW)
    commit(
        rows,
        lambda unit: accounts.insert(unit, asking),
        lambda unit: authorizations.insert(unit, authorization("one")),
        lambda unit: orders.insert(unit, order("order")),
    )
    assert read(rows, lambda one: authorizations.get(one, *place, "one")) is None
    assert read(rows, lambda one: authorizations.of_order(one, *place, ["one"])) == ()
    assert read(rows, lambda one: owned.with_authorization(one, *place, "one")) == (asking, None)
    assert read(rows, lambda one: owned.with_order(one, *place, "order")) == (asking, None)
    assert read(rows, lambda one: orders.of_account(one, *place)).rows == ()


def test_object_is_read_together_with_its_account(rows: Store) -> None:
    """acme.md C69, E2"""
    owner = AccountRow("account", "default", "thumbprint", "{}", "valid", ("mailto:a@b.test",), NOW)
    commit(
        rows,
        lambda unit: accounts.insert(unit, owner),
        lambda unit: authorizations.insert(unit, authorization("one")),
        lambda unit: orders.insert(unit, order("order")),
    )
    place = ("default", "account")
    found = read(rows, lambda one: owned.with_authorization(one, *place, "one"))
    assert found == (owner, authorization("one"))
    assert read(rows, lambda one: owned.with_order(one, *place, "order")) == (owner, order("order"))
    assert read(rows, lambda one: owned.with_order(one, "default", "nobody", "order")) == (None, None)


def test_change_to_a_row_that_has_moved_on_is_a_conflict(rows: Store) -> None:
    """acme.md E13"""
    first = authorization("one")
    commit(rows, lambda unit: authorizations.insert(unit, first))
    processing = replace(first, status="processing", version=2)
    commit(rows, lambda unit: authorizations.change(unit, first, processing))
    with pytest.raises(Conflict):
        commit(rows, lambda unit: authorizations.change(unit, first, replace(first, status="deactivated")))
    found = read(rows, lambda one: authorizations.get(one, "default", "account", "one"))
    assert (found.status, found.version) == ("processing", 2)


def test_only_authorizations_that_can_serve_again_are_found_by_name(rows: Store) -> None:
    """acme.md C70"""
    made = [
        authorization("valid-old", status="valid", validated_at=NOW),
        authorization("valid-new", status="valid", validated_at=NOW),
        authorization("valid-expired", status="valid", expires_at=NOW),
        authorization("valid-other-name", status="valid", name="b.test"),
        authorization("valid-wildcard", status="valid", wildcard=True),
        authorization("pending-wildcard", wildcard=True),
        authorization("valid-foreign", status="valid", account_id="other"),
        authorization("valid-elsewhere", status="valid", endpoint="other"),
        authorization("pending"),
        authorization("processing", status="processing"),
        authorization("pending-expired", expires_at=NOW),
        authorization("pending-foreign", account_id="other"),
        authorization("invalid", status="invalid"),
        authorization("deactivated", status="deactivated"),
    ]
    commit(rows, *(lambda unit, row=row: authorizations.insert(unit, row) for row in made))
    names = [("a.test", False), ("a.test", False), ("c.test", False)]
    valid = read(rows, lambda one: authorizations.valid_for(one, "default", "account", names, NOW))
    pending = read(rows, lambda one: authorizations.pending_for(one, "default", "account", names, NOW))
    assert [row.id for row in valid] == ["valid-new", "valid-old"]
    assert [row.id for row in pending] == ["pending"]
    assert read(rows, lambda one: authorizations.count_open(one, "account", NOW)) == 3


@pytest.mark.parametrize("status", ["valid", "pending"])
def test_authorization_behind_many_of_the_wildcard_is_found(rows: Store, status: str) -> None:
    """acme.md C70: wildcards do not push plain names out of the number that is looked at."""
    changes = {"status": status, "validated_at": NOW}
    made = [authorization("plain", **changes)]
    made += [authorization(f"wildcard-{number}", wildcard=True, **changes) for number in range(25)]
    commit(rows, *(lambda unit, row=row: authorizations.insert(unit, row) for row in made))
    find = authorizations.valid_for if status == "valid" else authorizations.pending_for
    found = read(rows, lambda one: find(one, "default", "account", [("a.test", False)], NOW))
    assert [row.id for row in found] == ["plain"]


def test_authorizations_of_several_orders_are_one_read_in_whatever_number(rows: Store) -> None:
    """acme.md C52: also more than a query takes at once."""
    ids = [f"authorization-{number}" for number in range(many.LARGEST + 3)]
    commit(rows, *(lambda unit, one=one: authorizations.insert(unit, authorization(one)) for one in ids))
    for count in (0, 1, 2, 3, len(ids)):
        found = read(
            rows, lambda one, count=count: authorizations.of_order(one, "default", "account", ids[:count])
        )
        assert [row.id for row in found] == ids[:count]
    found = read(rows, lambda one: authorizations.of_order(one, "default", "account", ["no", ids[1], ids[0]]))
    assert [row.id for row in found] == [ids[1], ids[0]]


def test_orders_are_listed_newest_first_and_page_by_page(rows: Store) -> None:
    """acme.md C52"""
    for number in range(5):
        commit(rows, lambda unit, number=number: orders.insert(unit, order(f"order-{number}")))
    page = read(rows, lambda one: orders.of_account(one, "default", "account", limit=3))
    assert [row.id for row in page.rows] == ["order-4", "order-3", "order-2"]
    last = read(
        rows, lambda one: orders.of_account(one, "default", "account", limit=3, before=page.next_before)
    )
    assert [row.id for row in last.rows] == ["order-1", "order-0"]
    assert last.next_before is None


def test_certificate_is_replaced_by_one_order_until_that_gives_it_up(rows: Store) -> None:
    """acme.md C67"""
    first, second = (order(one, replaces="aki.serial", replaces_sha256="f" * 64) for one in ("one", "two"))
    commit(rows, lambda unit: orders.insert(unit, first))
    assert read(rows, lambda one: orders.replacing(one, "f" * 64)) == first
    with pytest.raises(Conflict):
        commit(rows, lambda unit: orders.insert(unit, second))
    commit(rows, lambda unit: orders.release(unit, "one"), lambda unit: orders.insert(unit, second))
    assert read(rows, lambda one: orders.replacing(one, "f" * 64)) == second
    with pytest.raises(Conflict):
        commit(rows, lambda unit: orders.release(unit, "one"))


def test_allowance_moves_on_from_now_or_from_where_it_stood(rows: Store) -> None:
    """acme.md C96"""
    key = "k" * 64

    def whole_at() -> Any:
        return read(rows, lambda one: allowances.whole_at_ms(one, [key, "x" * 64])).get(key, 0)

    assert whole_at() == 0
    commit(rows, lambda unit: allowances.charge(unit, key, 1_000, 60))
    commit(rows, lambda unit: allowances.charge(unit, key, 1_000, 60))
    assert whole_at() == 1_120
    commit(rows, lambda unit: allowances.charge(unit, key, 5_000, 60))
    assert whole_at() == 5_060
    commit(rows, lambda unit: allowances.forget(unit, 5_060))
    assert whole_at() == 5_060
    commit(rows, lambda unit: allowances.forget(unit, 5_061))
    assert whole_at() == 0


def test_one_unit_may_charge_several_allowances_and_one_twice(rows: Store) -> None:
    def charged(unit: Unit) -> None:
        for key in ("a" * 64, "b" * 64, "a" * 64):
            allowances.charge(unit, key, 1_000, 10)

    commit(rows, charged)
    keys = ["a" * 64, "b" * 64]
    assert read(rows, lambda one: allowances.whole_at_ms(one, keys)) == {keys[0]: 1_020, keys[1]: 1_010}


async def test_of_units_that_come_at_once_no_more_take_an_allowance_than_there_are_uses(rows: Store) -> None:
    """acme.md C96: five in an hour, thirty in one batch; charging goes on beyond."""
    hour_ms, key = 3_600_000, "k" * 64
    step_ms = hour_ms // 5

    async def one() -> bool:
        unit = Unit()
        allowances.take(unit, key, 1_000, step_ms, hour_ms - step_ms)
        try:
            await rows.recorder.commit(unit)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(one() for _ in range(30)))) == 5
    assert not await one()
    assert read(rows, lambda found: allowances.whole_at_ms(found, [key])) == {key: 1_000 + hour_ms}
    commit(rows, lambda unit: allowances.charge(unit, key, 1_000, step_ms))
    assert read(rows, lambda found: allowances.whole_at_ms(found, [key])) == {key: 1_000 + hour_ms + step_ms}
