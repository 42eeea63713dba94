"""How both databases find ACME's rows: by ranges of indexes, however many there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.acme.tables import accounts, authorizations, orders, owned
from gateway.store.engine import open_engine
from gateway.store.migrate import migrate
from gateway.store.statement import Column, Statement, driver_of

HERE: Mapping[str, Column] = {"endpoint": "default", "account_id": "a"}
OBJECT: Mapping[str, Column] = {**HERE, "object_id": "i"}
BY_NAME: Mapping[str, Column] = {**HERE, "name_is": "a.test", "wildcard_is": 0, "after_s": 1}
NAMED = "acme_authorization_usable: account_id name expires_at"
# What each statement is to use: an index, and the columns of it that narrow the search.
PLANS: Mapping[str, tuple[Statement, Mapping[str, Column], str]] = {
    "open-authorizations-are-counted": (
        authorizations._COUNT_OPEN,
        {"account_id": "a", "now_s": 1},
        "acme_authorization_open: account_id expires_at",
    ),
    "valid-ones-by-name": (authorizations._VALID_FOR, BY_NAME, NAMED),
    "pending-ones-by-name": (authorizations._PENDING_FOR, BY_NAME, NAMED),
    "authorization-by-id": (
        authorizations._BY_ID,
        {**HERE, "authorization_id": "i"},
        "acme_authorization_id_key: id",
    ),
    "authorizations-of-an-order": (
        authorizations._BY_IDS._statement(2),
        {**HERE, "key_0": "i", "key_1": "j"},
        "acme_authorization_id_key: id",
    ),
    "order-by-id": (orders._BY_ID, {"endpoint": "default", "order_id": "i"}, "acme_order_id_key: id"),
    "account-with-an-order": (owned._WITH_ORDER, OBJECT, "acme_account_id_key: id"),
    "order-with-its-account": (owned._WITH_ORDER, OBJECT, "acme_order_: id"),
    "account-with-an-authorization": (owned._WITH_AUTHORIZATION, OBJECT, "acme_account_id_key: id"),
    "authorization-with-its-account": (owned._WITH_AUTHORIZATION, OBJECT, "acme_authorization_id_key: id"),
    "orders-of-an-account": (
        orders._OF_ACCOUNT,
        {**HERE, "before": "z", "most": 51},
        "acme_order_account: account_id id",
    ),
    "order-that-replaces": (
        orders._REPLACING,
        {"sha256": "0" * 64},
        "acme_order_replaces_key: replaces_sha256",
    ),
    "account-by-id": (accounts._BY_ID, HERE, "acme_account_id_key: id"),
    "account-by-key": (
        accounts._BY_THUMBPRINT,
        {"endpoint": "default", "thumbprint": "t"},
        "acme_account_thumbprint_key: thumbprint",
    ),
}


@pytest.fixture(scope="module")
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A migrated database of each kind."""
    path: Path = tmp_path_factory.mktemp("plans")
    found = {
        "sqlite": f"sqlite:///{path}/plans.db",
        "postgresql": request.getfixturevalue("postgresql_server").new_database(),
    }
    for url in found.values():
        migrate(url)
    return found


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("what", PLANS)
def test_look_up_is_a_range_of_its_index(databases: Mapping[str, str], database: str, what: str) -> None:
    """acme.md E11"""
    statement, values, wanted = PLANS[what]
    plan = plan_of(databases[database], statement, values)
    index, _, columns = wanted.partition(": ")
    lines = [line for line in plan if index in line or "Index Cond" in line]
    assert any(index in line for line in lines), plan
    narrowed = " ".join(line.partition("Filter")[0].replace(index, "") for line in lines)
    assert all(column in narrowed for column in columns.split()), plan


def plan_of(url: str, statement: Statement, values: Mapping[str, Column]) -> list[str]:
    """The lines of the plan that the database makes."""
    engine = open_engine(url)
    sqlite = url.startswith("sqlite")
    with engine.connect() as connection:
        cursor = driver_of(connection).cursor()
        if not sqlite:
            for method in ("seqscan", "bitmapscan"):  # an empty table is read whole otherwise
                cursor.execute(f"SET enable_{method} = off")
        text, order = statement.sql(connection.dialect.name)
        bound = statement.bind(values)
        cursor.execute(
            ("EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN ") + text, bound if order is None else order(bound)
        )
        lines = [str(row[-1]) for row in cursor.fetchall()]
        cursor.close()
    engine.dispose()
    return lines
