"""PostgreSQL's connections: bounded in time, so that a stopped or lost host blocks nobody for minutes.

The server's own limits come first. A server that is stopped applies none of them, and its kernel still
acknowledges what we send; for that case the client gives up by itself.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

T = TypeVar("T")

CONNECT_S = 5
UNACKNOWLEDGED_MS = 10_000  # tcp_user_timeout: the other host is gone
LOCK_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 15_000
SILENCE_S = 17.0  # longer than the server's own limits, whose errors say more


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up on a server that has said nothing for ``SILENCE_S`` while we wait for it.

    Raises OperationalError then, and the connection is closed, since its state is not known.
    """

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        return super().wait(self._until_silent(gen), *args, **kwargs)

    def _until_silent(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Pass on what psycopg and its poll say to each other; a poll in vain comes every 0.1 s."""
        silent_since: float | None = None
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    silent_since = None
                elif silent_since is None:
                    silent_since = time.monotonic()
                elif time.monotonic() - silent_since > SILENCE_S:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has said nothing for {SILENCE_S:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result


def postgresql_engine(address: URL, isolation_level: Any, *, bounded: bool) -> Engine:
    """An engine whose every statement ends in time; ``bounded=False`` lets migrations take theirs."""
    settings = {
        # A stopped gateway must not hold the audit head, and with it every other gateway, for ever.
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": 30_000,
        **({"statement_timeout": STATEMENT_TIMEOUT_MS} if bounded else {}),
    }
    engine = create_engine(
        address,
        poolclass=NullPool,
        isolation_level=isolation_level,
        connect_args={
            "connect_timeout": CONNECT_S,
            "application_name": "pkigate",
            "tcp_user_timeout": UNACKNOWLEDGED_MS,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )
    if bounded:
        event.listen(engine, "do_connect", _connect_bounded)
    return engine


def _connect_bounded(_dialect: Any, _record: Any, arguments: Any, options: Any) -> BoundedConnection:
    return BoundedConnection.connect(*arguments, **options)
