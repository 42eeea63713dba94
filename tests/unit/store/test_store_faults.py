"""Full disks, read-only databases and lost servers: no answer without durability, and all heals itself."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, func, select

from gateway.errors import GatewayError, StoreUnavailable
from gateway.store import audit, requests
from gateway.store.migrate import migrate
from gateway.store.schema import REQUEST
from gateway.store.store import Store
from tests.support.postgresql import PostgresqlServer
from tests.unit.store.samples import request_unit


def recorded(store: Store) -> set[str]:
    return set(
        store.reader.read_blocking(
            lambda connection: connection.execute(select(REQUEST.c.id)).scalars().all()
        )
    )


async def commit_many(store: Store, how_many: int) -> tuple[set[str], list[str]]:
    """Commit concurrently; gives the ids that were answered as durable, and why the others were refused."""
    acknowledged: set[str] = set()
    refused: list[str] = []

    async def one() -> None:
        unit, row = request_unit(csr_der=os.urandom(3000))
        try:
            await store.recorder.commit(unit)
            acknowledged.add(row.id)
        except StoreUnavailable as error:
            refused.append(error.detail)

    await asyncio.gather(*(one() for _ in range(how_many)))
    return acknowledged, refused


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small tmpfs")
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mounted)], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


async def test_full_disk_acknowledges_only_what_is_recorded_and_heals_without_restart(
    small_disk: Path,
) -> None:
    url = f"sqlite:///{small_disk}/gateway.db"
    migrate(url)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2_400_000))
    with Store(url) as store:
        acknowledged: set[str] = set()
        refused: list[str] = []
        for _ in range(30):
            more, failures = await commit_many(store, 20)
            acknowledged |= more
            refused += failures
        assert acknowledged
        assert refused
        assert recorded(store) >= acknowledged  # reads are still served
        ballast.unlink()
        more, failures = await commit_many(store, 10)
        assert failures == []
        assert recorded(store) == acknowledged | more
        assert store.reader.read_blocking(audit.verify_chain).ok


async def test_page_limit_in_the_middle_of_a_batch_loses_no_acknowledged_unit(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)

    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 40}")
        connection.exec_driver_sql("PRAGMA cache_size=5")  # spills, so that FULL comes in the statement

    with Store(url) as store:
        acknowledged: set[str] = set()
        refused: list[str] = []
        for _ in range(5):
            await store.recorder.run(limit)
            more, failures = await commit_many(store, 40)
            acknowledged |= more
            refused += failures
        assert refused
        assert recorded(store) == acknowledged
        assert store.reader.read_blocking(audit.verify_chain).ok


async def test_transaction_that_the_database_ended_is_never_reported_as_committed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)

    def end_silently(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")  # what SQLITE_FULL does; COMMIT then reports success

    with Store(url) as store:
        with pytest.raises(StoreUnavailable):
            await store.recorder.run(end_silently)
        await store.recorder.commit(request_unit()[0])


async def test_read_only_database_is_unavailable_until_it_is_writable_again(database: str) -> None:
    with Store(database) as store:
        await store.recorder.commit(request_unit()[0])
        _set_read_only(database, store, "on")
        with pytest.raises(StoreUnavailable):
            await store.recorder.commit(request_unit()[0])
        assert len(recorded(store)) == 1
        _set_read_only(database, store, "off")
        await _eventually_commits(store)


async def test_other_writer_that_holds_the_database_makes_us_wait_not_fail(database: str) -> None:
    with Store(database) as store:
        other = _hold_head(database)
        waiting = asyncio.create_task(store.recorder.commit(request_unit()[0]))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        other.rollback()
        other.close()
        await asyncio.wait_for(waiting, 60)


async def test_ended_sessions_are_replaced_without_an_error(postgresql_server: PostgresqlServer) -> None:
    url = postgresql_server.new_database()
    migrate(url)
    with Store(url) as store:
        unit, row = request_unit()
        await store.recorder.commit(unit)
        await store.reader.read(lambda connection: requests.get(connection, row.id))
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await store.recorder.commit(request_unit()[0])
        found = await store.reader.read(lambda connection: requests.get(connection, row.id))
        assert found is not None


async def test_crashed_server_is_unavailable_and_comes_back_with_every_acknowledged_unit() -> None:
    with PostgresqlServer() as server:
        url = server.new_database()
        migrate(url)
        with Store(url) as store:
            before, refused = await commit_many(store, 50)
            assert refused == []
            running = asyncio.create_task(commit_many(store, 400))
            await asyncio.sleep(0.02)
            await asyncio.to_thread(server.crash)
            during, _ = await running
            with pytest.raises(StoreUnavailable):
                await store.recorder.commit(request_unit()[0])
            with pytest.raises(StoreUnavailable):
                await store.reader.read(lambda connection: requests.get(connection, "x"))
            await asyncio.to_thread(server.restart)
            await _eventually_commits(store)
            assert recorded(store) >= before | during
            assert store.reader.read_blocking(audit.verify_chain).ok


async def test_missing_schema_is_unavailable_not_a_crash(empty_database: str) -> None:
    with Store(empty_database) as store, pytest.raises(GatewayError):
        await store.recorder.commit(request_unit()[0])


async def test_batches_of_two_gateways_never_deadlock_and_keep_one_chain(database: str) -> None:
    with Store(database, max_batch=8) as one, Store(database, max_batch=8) as other:
        results = await asyncio.gather(*(commit_many(store, 300) for store in (one, other)))
        assert [refused for _, refused in results] == [[], []]
        for store in (one, other):
            assert store.recorder.counts.failures == 0
            assert store.recorder.counts.transactions > 30
        verdict = one.reader.read_blocking(audit.verify_chain)
        assert (verdict.ok, verdict.checked) == (True, 600)
        total = one.reader.read_blocking(
            lambda connection: connection.execute(select(func.count()).select_from(REQUEST)).scalar_one()
        )
        assert total == 600


async def _eventually_commits(store: Store) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            await store.recorder.commit(request_unit()[0])
        except StoreUnavailable:
            assert time.monotonic() < deadline, "the store does not heal"
            await asyncio.sleep(0.05)
        else:
            return


def _set_read_only(database: str, store: Store, word: str) -> None:
    if database.startswith("sqlite"):
        if word == "on":
            store.recorder.run_blocking(lambda connection: connection.exec_driver_sql("PRAGMA query_only=ON"))
        return  # the recorder's next connection is a new one
    with psycopg.connect(database, autocommit=True) as server:
        server.execute("SET default_transaction_read_only = off")
        name = server.info.dbname
        server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {word}")
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _hold_head(database: str) -> sqlite3.Connection | psycopg.Connection[tuple[object, ...]]:
    if database.startswith("sqlite"):
        connection = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return connection
    server = psycopg.connect(database)
    server.execute("SELECT seq FROM audit_head FOR UPDATE")
    return server
