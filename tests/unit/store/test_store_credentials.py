"""Credentials found by their verifier, and uses that are taken once, on each kind of database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gateway.clock import to_epoch_s
from gateway.errors import Conflict
from gateway.model.evidence import BASIC, SCEP_CHALLENGE
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.statement import Column, Statement
from gateway.store.store import Store
from gateway.store.unit import Unit

NOW = datetime(2026, 3, 1, tzinfo=UTC)
VERIFIER = "hmac-sha256:" + "ab" * 32


def _row(credential_id: str, **changes: object) -> CredentialRow:
    values: dict[str, object] = {"kind": SCEP_CHALLENGE, "name": credential_id, "verifier": VERIFIER}
    return CredentialRow(id=credential_id, created_at=NOW, **(values | changes))  # type: ignore[arg-type]


async def _add(store: Store, *rows: CredentialRow) -> None:
    unit = Unit()
    for row in rows:
        credentials.insert(unit, row)
    await store.recorder.commit(unit)


async def _revoke(store: Store, credential_id: str) -> None:
    unit = Unit()
    credentials.revoke(unit, credential_id, NOW)
    await store.recorder.commit(unit)


async def _found(store: Store, verifier: str = VERIFIER) -> str | None:
    row = await store.reader.read(
        lambda connection: credentials.by_verifier(connection, SCEP_CHALLENGE, verifier)
    )
    return None if row is None else row.id


async def test_credential_is_found_by_its_kind_and_verifier_alone(store: Store) -> None:
    other = "hmac-sha256:" + "cd" * 32
    await _add(store, _row("one"), _row("two", verifier=other), _row("basic", kind=BASIC, verifier="x"))
    assert await _found(store) == "one"
    assert await _found(store, other) == "two"
    assert await _found(store, "x") is None
    assert await _found(store, "hmac-sha256:") is None


async def test_groups_and_labels_come_back_as_they_were_stored(store: Store) -> None:
    labels = (("site", "brno"), ("v", "\u010d\u00edslo 7"))
    await _add(store, _row("one", groups=("web-team", "ci"), labels=labels), _row("two"))
    found = await store.reader.read(lambda connection: credentials.get(connection, "one"))
    bare = await store.reader.read(lambda connection: credentials.get(connection, "two"))
    assert found is not None
    assert bare is not None
    assert (found.groups, found.labels) == (("web-team", "ci"), labels)
    assert (bare.groups, bare.labels) == ((), ())


async def test_revoked_credential_is_found_only_where_none_with_its_verifier_is_good(store: Store) -> None:
    """The operator is told that a challenge was once good; a new one with the same secret comes first."""
    await _add(store, _row("first"))
    await _revoke(store, "first")
    assert await _found(store) == "first"
    await _add(store, _row("second"))
    assert await _found(store) == "second"
    await _revoke(store, "second")
    assert await _found(store) == "second"


@pytest.mark.parametrize(
    ("query", "values", "index"),
    [
        (credentials._BY_VERIFIER, {"kind": SCEP_CHALLENGE, "verifier": VERIFIER}, "credential_verifier"),
        (credentials._BY_NAME, {"kind": BASIC, "name": "anna"}, "credential_name_key"),
        (credentials._REVOKED_BY_NAME, {"kind": BASIC, "name": "anna"}, "credential_revoked_name"),
    ],
    ids=["verifier", "name", "revoked name"],
)
async def test_credential_is_found_by_an_index(
    store: Store, query: Statement, values: dict[str, Column], index: str
) -> None:
    """No scan at any guess, however many one-time challenges were ever given out."""
    statement, order = query.sql(store.reader._engine.dialect.name)
    bound = query.bind(values)
    many = [_row(f"id-{number}", verifier=f"hmac-sha256:{number:064x}") for number in range(300)]
    await _add(store, *many)

    def plan(connection: object) -> str:
        cursor = connection.connection.dbapi_connection.cursor()  # type: ignore[attr-defined]
        postgresql = "%s" in statement
        if postgresql:
            cursor.execute("SET enable_seqscan = off")  # so few rows would be scanned in any case
        explain = "EXPLAIN " if postgresql else "EXPLAIN QUERY PLAN "
        cursor.execute(explain + statement, bound if order is None else order(bound))
        return str(cursor.fetchall())

    assert index in store.reader.read_blocking(plan)


async def test_one_time_credential_is_taken_once_however_many_come_at_once(store: Store) -> None:
    """scep.md C39: fifty requests that are accepted at the same moment leave one."""
    await _add(store, _row("once", uses_left=1, expires_at=NOW + timedelta(hours=1)))

    async def accept() -> bool:
        unit = Unit()
        credentials.use(unit, "once", NOW)
        try:
            await store.recorder.commit(unit)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(accept() for _ in range(50)))) == 1
    row = await store.reader.read(lambda connection: credentials.get(connection, "once"))
    assert row is not None
    assert row.uses_left == 0


@pytest.mark.parametrize(
    ("expires_s", "revoked", "good"), [(1, False, True), (0, False, False), (60, True, False)]
)
async def test_use_is_taken_only_off_what_is_good_at_that_moment(
    store: Store, expires_s: int, revoked: bool, good: bool
) -> None:
    await _add(store, _row("once", uses_left=1, expires_at=NOW + timedelta(seconds=expires_s)))
    if revoked:
        await _revoke(store, "once")
    unit = Unit()
    credentials.use(unit, "once", NOW)
    if good:
        await store.recorder.commit(unit)
    else:
        with pytest.raises(Conflict):
            await store.recorder.commit(unit)


async def test_row_shows_neither_verifier_nor_sealed_secret(store: Store) -> None:
    await _add(store, _row("one", sealed=b"sealed secret"))
    row = await store.reader.read(lambda connection: credentials.get(connection, "one"))
    assert row is not None
    assert (row.verifier, row.sealed, to_epoch_s(row.created_at)) == (VERIFIER, b"sealed secret", 1772323200)
    assert "sealed secret" not in repr(row)
    assert VERIFIER not in repr(row)
