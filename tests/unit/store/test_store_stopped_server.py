"""A PostgreSQL host that is stopped, not gone: callers hear of it within bounds, and all heals itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator

import pytest
from sqlalchemy import Connection

from gateway.errors import StoreUnavailable
from gateway.store import audit, postgresql, requests
from gateway.store.engine import open_engine, open_migration_engine, open_read_engine
from gateway.store.migrate import migrate
from gateway.store.statement import driver_of
from gateway.store.store import Store
from tests.support.postgresql import PostgresqlServer
from tests.unit.store.samples import request_unit

SILENCE_S = 1.5  # in place of the real one, which only makes these tests slow
SLACK_S = 10.0  # of a busy machine


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as started:
        try:
            yield started
        finally:
            started.thaw()


async def refused_within(bound_s: float, work: Awaitable[object]) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await work
    assert time.monotonic() - began < bound_s


async def commits_within(bound_s: float, store: Store) -> None:
    ends_at = time.monotonic() + bound_s
    while True:
        try:
            await store.recorder.commit(request_unit()[0])
        except StoreUnavailable:
            assert time.monotonic() < ends_at, "the store does not heal"
            await asyncio.sleep(0.05)
        else:
            return


async def test_stopped_server_is_unavailable_within_bounds_and_served_again_when_it_goes_on(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "SILENCE_S", SILENCE_S)
    url = server.new_database()
    migrate(url)
    with Store(url) as store:
        unit, row = request_unit()
        await store.recorder.commit(unit)
        await store.reader.read(lambda connection: requests.get(connection, row.id))
        server.freeze()
        # Both wait for an answer, then try one new connection.
        bound_s = SILENCE_S + postgresql.CONNECT_S + SLACK_S
        await asyncio.gather(
            refused_within(bound_s, store.recorder.commit(request_unit()[0])),
            refused_within(bound_s, store.reader.read(lambda connection: requests.get(connection, row.id))),
        )
        # From now on it is known, and only the connection is tried.
        await refused_within(postgresql.CONNECT_S + SLACK_S, store.recorder.commit(request_unit()[0]))
        server.thaw()
        await commits_within(60, store)
        found = await store.reader.read(lambda connection: requests.get(connection, row.id))
        assert found is not None
        assert store.reader.read_blocking(audit.verify_chain).ok


async def test_slow_answer_that_keeps_coming_is_not_taken_for_silence(
    postgresql_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "SILENCE_S", 2.0)
    url = postgresql_server.new_database()
    migrate(url)
    notices = (
        "DO $$ BEGIN FOR i IN 1..8 LOOP PERFORM pg_sleep(0.5); RAISE NOTICE 'still here'; END LOOP; END $$"
    )
    with Store(url) as store:
        await store.reader.read(lambda connection: connection.exec_driver_sql(notices))


async def test_statement_that_takes_too_long_is_ended_by_the_server_and_unavailable(
    postgresql_server: PostgresqlServer,
) -> None:
    url = postgresql_server.new_database()
    migrate(url)

    def sleep(connection: Connection) -> None:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 100")
        connection.exec_driver_sql("SELECT pg_sleep(60)")

    with Store(url) as store:
        await refused_within(SLACK_S, store.recorder.run(sleep))
        await store.recorder.commit(request_unit()[0])


def test_every_engine_has_its_bounds_and_migrations_may_take_their_time(
    postgresql_server: PostgresqlServer,
) -> None:
    url = postgresql_server.new_database()
    found = []
    for opener in (open_engine, open_read_engine, open_migration_engine):
        engine = opener(url)
        with engine.connect() as connection:
            shown = [
                connection.exec_driver_sql(f"SHOW {name}").scalar_one()
                for name in ("statement_timeout", "lock_timeout")
            ]
            client = driver_of(connection).info.get_parameters()
            found.append((*shown, client["tcp_user_timeout"], client["connect_timeout"]))
        engine.dispose()
    assert found == [("15s", "10s", "10000", "5"), ("15s", "10s", "10000", "5"), ("0", "10s", "10000", "5")]


def test_client_waits_longer_than_the_limits_of_the_server() -> None:
    assert postgresql.SILENCE_S * 1000 > postgresql.STATEMENT_TIMEOUT_MS > postgresql.LOCK_TIMEOUT_MS
