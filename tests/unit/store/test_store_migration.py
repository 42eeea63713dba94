"""Migrations on both databases, alone and at the same time, and what the engines refuse."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, inspect

from gateway.acme.tables import schema as acme
from gateway.errors import ConfigurationError, GatewayError, StoreUnavailable
from gateway.model.outcome import State
from gateway.store import certificates, credentials, requests
from gateway.store.engine import open_engine, open_read_engine
from gateway.store.migrate import CURRENT_REVISION, migrate, schema_version
from gateway.store.schema import METADATA
from gateway.store.store import Store
from tests.unit.store.samples import CHAIN, NOW, certificate_record, request_unit


def test_migrate_brings_an_empty_database_to_the_current_revision_and_is_repeatable(
    empty_database: str,
) -> None:
    assert schema_version(empty_database) is None
    migrate(empty_database)
    migrate(empty_database)
    assert schema_version(empty_database) == CURRENT_REVISION


def test_migrated_schema_equals_the_tables_of_the_code(database: str) -> None:
    engine = open_engine(database)
    code, tables = MetaData(), [*METADATA.tables.values(), *acme.METADATA.tables.values()]
    for table in tables:
        table.to_metadata(code)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": _of_the_code})
        assert compare_metadata(context, code) == []
        found = inspect(connection)
        for table in tables:
            there = {index["name"]: index["column_names"] for index in found.get_indexes(table.name)}
            wanted = {str(index.name): [column.name for column in index.columns] for index in table.indexes}
            assert {name: there.get(name) for name in wanted} == wanted
    engine.dispose()


def _of_the_code(name: str | None, kind: str, _parents: object) -> bool:
    """Redeemed nonces lie in a table that ``gateway.store.once`` knows, on PostgreSQL only."""
    return not (kind == "table" and name == "once_only")


def test_redeemed_nonces_lie_in_an_unlogged_table_on_postgresql(database: str) -> None:
    engine = open_engine(database)
    with engine.connect() as connection:
        there = inspect(connection).has_table("once_only")
        assert there is (not database.startswith("sqlite"))
        if there:
            kept = connection.exec_driver_sql(
                "SELECT relpersistence FROM pg_class WHERE relname = 'once_only'"
            )
            assert kept.scalar_one() == "u"
    engine.dispose()


def test_partial_indexes_are_partial_in_the_database(database: str) -> None:
    query = (
        "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
        if database.startswith("sqlite")
        else "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%% WHERE %%'"
    )
    engine = open_engine(database)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(query).scalar_one() == 15
    engine.dispose()


def test_known_revision_is_the_newest_script() -> None:
    config = Config()
    config.set_main_option("script_location", "gateway.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == CURRENT_REVISION


def test_downgrade_removes_every_table_and_upgrade_makes_them_again(database: str) -> None:
    engine = open_engine(database)
    _to(engine, command.downgrade, "base")
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    engine.dispose()
    migrate(database)
    with Store(database) as store:
        store.recorder.commit_blocking(request_unit()[0])


def test_rows_of_the_first_schema_outlast_the_second_and_the_way_back(empty_database: str) -> None:
    engine = open_engine(empty_database)
    _to(engine, command.upgrade, "0001")
    issued = certificate_record(serial_hex="7f")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO credential (id, kind, name, created_at, source) "
            "VALUES ('c1', 'basic', 'dev', 1, 'cli')"
        )
    migrate(empty_database)
    with Store(empty_database) as store:
        kept = store.reader.read_blocking(lambda c: credentials.by_name(c, "basic", "dev"))
        assert kept is not None
        assert (kept.id, kept.profiles, kept.prevalidated) == ("c1", None, None)
        unit, row = request_unit(transaction_id="t")
        certificates.insert(unit, issued, CHAIN)
        store.recorder.commit_blocking(unit)
    _to(engine, command.downgrade, "0001")
    with engine.connect() as connection:
        serials = connection.exec_driver_sql("SELECT serial_hex FROM certificate").scalars().all()
        assert serials == ["7f"]
    engine.dispose()
    migrate(empty_database)
    with Store(empty_database) as store:
        found = store.reader.read_blocking(lambda c: certificates.by_serial_any(c, "7f"))
        assert found == (issued,)
        again = store.reader.read_blocking(lambda c: requests.get(c, row.id))
        assert again is not None
        assert again.transaction_id is None


def test_requests_of_the_second_schema_outlast_the_third_and_the_way_back(empty_database: str) -> None:
    engine = open_engine(empty_database)
    migrate(empty_database)
    with Store(empty_database) as store:
        unit, row = request_unit(
            transaction_id="t", state=State.UNCONFIRMED, content_sha256="1" * 64, confirm_by=NOW
        )
        store.recorder.commit_blocking(unit)
    _to(engine, command.downgrade, "0002")
    columns = {column["name"] for column in inspect(engine).get_columns("request")}
    assert {"transaction_id", "content_sha256"} & columns == {"transaction_id"}
    engine.dispose()
    migrate(empty_database)
    with Store(empty_database) as store:
        found = store.reader.read_blocking(lambda c: requests.get(c, row.id))
    assert found == replace(row, content_sha256=None, confirm_by=None)


def _to(engine: Engine, move: Callable[[Config, str], None], revision: str) -> None:
    """Bring a database up or down to a revision."""
    with engine.connect() as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", "gateway.store:migrations")
        config.attributes["connection"] = connection
        move(config, revision)


def test_gateways_that_start_at_once_on_one_empty_database_all_succeed(empty_database: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=migrate, args=(empty_database,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert schema_version(empty_database) == CURRENT_REVISION


def test_database_of_a_newer_version_is_refused_in_words(database: str) -> None:
    engine = open_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(ConfigurationError, match="9999"):
        migrate(database)


def test_failed_migration_leaves_nothing_behind(empty_database: str) -> None:
    engine = open_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE setting (x INTEGER)")  # in the way of the last step
    with pytest.raises(GatewayError):
        migrate(empty_database)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {"setting"}
    engine.dispose()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_url_that_cannot_be_served_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:"):
        open_engine(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_uses_psycopg(scheme: str) -> None:
    engine = open_engine(f"{scheme}://u@127.0.0.1/x")
    assert engine.dialect.driver == "psycopg"
    engine.dispose()


def test_missing_psycopg_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install pkigate\[postgresql\]"):
        open_engine("postgresql://u@127.0.0.1/x")


def test_unreachable_database_is_unavailable(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/missing/gateway.db", "postgresql://u@127.0.0.1:1/x"):
        with pytest.raises(StoreUnavailable):
            migrate(url)


def test_sqlite_writer_is_durable_and_its_reader_cannot_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)
    writer, reader = open_engine(url), open_read_engine(url)
    with writer.connect() as connection:
        for pragma, wanted in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == wanted
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 10_000
    with reader.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM audit_head")
    writer.dispose()
    reader.dispose()
