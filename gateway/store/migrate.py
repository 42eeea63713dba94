"""Bring a database to the schema of this version, under a lock, in one transaction."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from gateway.errors import ConfigurationError
from gateway.store.engine import open_engine, open_migration_engine
from gateway.store.faults import driver_errors, error_for, fault_of

CURRENT_REVISION = "0007"
_LOCK_KEY = 0x706B6967617465  # "pkigate": the advisory lock of migrations on PostgreSQL


def migrate(url: str) -> None:
    """Create or upgrade the schema. Several gateways may call this at once: one works, the others wait.

    Raises StoreUnavailable where the database is out of reach, ConfigurationError where it has a schema that
    this version does not know.
    """
    engine = open_migration_engine(url)
    try:
        with engine.connect() as connection:
            if _revision(connection) == CURRENT_REVISION:
                return
            connection.rollback()
            with connection.begin():
                # On SQLite BEGIN IMMEDIATE is the lock.
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
                _upgrade(connection)
    except driver_errors(engine) as exc:
        raise error_for(fault_of(exc), exc) from exc
    finally:
        engine.dispose()


def schema_version(url: str) -> str | None:
    """The revision of a database, None before the first ``migrate``. Raises StoreUnavailable."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return _revision(connection)
    except driver_errors(engine) as exc:
        raise error_for(fault_of(exc), exc) from exc
    finally:
        engine.dispose()


def _upgrade(connection: Connection) -> None:
    found = _revision(connection)
    if found is not None and found > CURRENT_REVISION:
        raise ConfigurationError(
            f"the database has schema {found}, this version knows {CURRENT_REVISION}; "
            "start the version that wrote it, or a newer one"
        )
    # Only a first start and an upgrade need alembic, which takes a third of a second to import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "gateway.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, CURRENT_REVISION)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
