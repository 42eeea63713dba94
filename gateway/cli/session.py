"""The gateway's database as a command sees it: opened for one command, closed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway.cli.options import load_config
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.config import Config
    from gateway.datadir import DataDirectory
    from gateway.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """An open store with what leads to it."""

    config: Config
    data: DataDirectory
    store: Store

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query. Raises StoreUnavailable."""
        return self.store.reader.read_blocking(query)


@contextmanager
def open_session(config_file: Path | None, data_dir: Path | None) -> Iterator[Session]:
    """Open the database of an existing gateway; whether it runs does not matter.

    Raises ConfigurationError, StoreUnavailable.
    """
    from gateway.datadir import open_existing
    from gateway.store.store import Store

    config = load_config(config_file, data_dir)
    data = open_existing(config.data_directory)
    _refuse_other_database(config, data)
    refuse_missing_database(config)
    with Store(config.database_url) as store:
        yield Session(config, data, store)


def _refuse_other_database(config: Config, data: DataDirectory) -> None:
    """Raise ConfigurationError where the gateway runs on another kind of database than this command has.

    A file that was left behind when the gateway moved to PostgreSQL would give old answers, and take new
    credentials and revocations that nobody ever looks at.
    """
    from gateway.quickstart import database_in

    running = database_in(data.quickstart_file)
    if running is not None and running != config.database_kind:
        raise ConfigurationError(
            f"the gateway of {data.path} runs on {running}, but this command would use "
            f"{config.database_kind}; give it the gateway's configuration: --config FILE, PKIGATE_CONFIG "
            "or PKIGATE_DATABASE_URL"
        )


def refuse_missing_database(config: Config) -> None:
    """Raise ConfigurationError where SQLite would otherwise make an empty file."""
    if config.uses_sqlite:
        file = Path("/" + config.database_url.partition("://")[2].lstrip("/").partition("?")[0])
        if not file.exists():
            raise ConfigurationError(
                f"database {file}: does not exist yet; run `pkigate serve` or `pkigate db migrate` first"
            )
