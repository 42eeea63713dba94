"""What was redeemed and must never be again (``frontend.OnceOnly``), remembered as long as it could count.

None of it is durable, since a nonce is not worth an fsync. What a crash may have forgotten is refused by its
age instead: ``since`` is when the memory that is there now began. Opened after the fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from gateway.clock import Clock, SystemClock, from_epoch_s, to_epoch_s
from gateway.errors import StoreUnavailable
from gateway.store.engine import database_address, open_read_engine
from gateway.store.reader import Reader
from gateway.store.statement import driver_of

_LONG_AGO = from_epoch_s(0)
_MEMORY_TOKENS = 1_000_000  # about 100 MB, if it ever comes to that
_GENERATION = timedelta(minutes=30)

_FILE_TIMEOUT_S = 2.0
_FILE_PAUSES_S = (0.001, 0.002, 0.005, 0.01, 0.02)  # the last one again and again
_FILE_PRUNE_EVERY, _FILE_PRUNE_MOST = 100, 400
_PRIMARY_CODE = 0xFF  # an extended result code of SQLite has its primary one in the lowest octet
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FILE_SCHEMA = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=OFF",
    "CREATE TABLE IF NOT EXISTS used (token BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS used_until ON used (until)",
    "CREATE TABLE IF NOT EXISTS epoch (one INTEGER PRIMARY KEY CHECK (one = 1), since_ms INTEGER NOT NULL)",
)

_FLIGHTS = 2  # statements under way at a time, each with all the tokens that came meanwhile
_MOST_IN_FLIGHT = 500
_PRUNE_EVERY_S = 300.0
_EPOCH_TOKEN = b""  # its row's ``until`` is when the table began, in milliseconds
_BEGIN_EPOCH = "INSERT INTO once_only (token, until) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_READ_EPOCH = "SELECT until FROM once_only WHERE token = %s"
_REDEEM = (
    "INSERT INTO once_only (token, until) SELECT * FROM unnest(%s::bytea[], %s::bigint[]) "
    "ON CONFLICT DO NOTHING RETURNING token"
)
# One gateway at a time: the others would read the same table for nothing.
_PRUNE = (
    "DELETE FROM once_only WHERE until < %s AND token <> %s "
    "AND (SELECT pg_try_advisory_xact_lock(hashtext('pkigate once_only')))"
)


class MemoryOnce:
    """For a gateway of one process: two generations of tokens, the older one dropped when all of it has
    expired. If the newer one holds half of ``most_tokens`` before that, the older one is dropped all the same
    and ``since`` moves forward."""

    def __init__(
        self, clock: Clock, *, since: datetime | None = None, most_tokens: int = _MEMORY_TOKENS
    ) -> None:
        self._clock = clock
        self._generation_tokens = max(1, most_tokens // 2)
        self._since = since or clock.now()
        self._current = _Generation(set(), clock.now() + _GENERATION)
        self._older = _Generation(set(), clock.now())

    @property
    def since(self) -> datetime:
        return self._since

    async def redeem(self, token: bytes, until: datetime) -> bool:
        """See ``frontend.OnceOnly``; never raises."""
        if token in self._current.tokens or token in self._older.tokens:
            return False
        now = self._clock.now()
        full = len(self._current.tokens) >= self._generation_tokens
        if full or (now >= self._current.full_at and self._older.until <= now):
            self._turn(now)
        self._current.tokens.add(token)
        self._current.until = max(self._current.until, until)
        return True

    async def aclose(self) -> None:
        """Nothing to close."""

    def _turn(self, now: datetime) -> None:
        if self._older.until > now:
            # What is forgotten too early was given out before its generation was closed.
            self._since = max(self._since, self._older.full_at + timedelta(seconds=1))
        self._older = self._current
        self._older.full_at = now
        self._current = _Generation(set(), now + _GENERATION)


@dataclass(slots=True)
class _Generation:
    """``full_at``: when it is to be closed, and once it is, when it was. ``until``: none lives longer."""

    tokens: set[bytes]
    full_at: datetime
    until: datetime = _LONG_AGO


class FileOnce:
    """For several processes on one machine: an SQLite file of its own, without any fsync.

    It outlives the processes but not the machine: each boot begins a new one.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        """Open or make the file in ``directory``. Raises StoreUnavailable."""
        self._clock = clock
        self._until_prune = _FILE_PRUNE_EVERY
        path = directory / f"once-{_boot_id()}.sqlite"
        for other in directory.glob("once-*.sqlite*"):
            if not other.name.startswith(path.name):
                other.unlink(missing_ok=True)
        path.touch(mode=0o600)
        with _file_errors():
            self._connection = sqlite3.connect(
                path, timeout=_FILE_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            for statement in _FILE_SCHEMA:
                self._connection.execute(statement)
            self._connection.execute(
                "INSERT OR IGNORE INTO epoch VALUES (1, ?)", (time.time_ns() // 1_000_000,)
            )
            (since_ms,) = self._connection.execute("SELECT since_ms FROM epoch").fetchone()
            # From here on it runs in the event loop, where SQLite must not sleep until others have written.
            self._connection.execute("PRAGMA busy_timeout=0")
        self._since = _from_ms(since_ms)

    @property
    def since(self) -> datetime:
        return self._since

    async def redeem(self, token: bytes, until: datetime) -> bool:
        """See ``frontend.OnceOnly``. Written in this thread: it takes less than handing it to another.

        While another process writes, this one comes again a moment later, and the loop goes on meanwhile.
        """
        arguments = (token, to_epoch_s(until))
        with _file_errors():
            done = self._if_free("INSERT OR IGNORE INTO used VALUES (?, ?)", arguments)
            if done is None:
                done = await self._when_free("INSERT OR IGNORE INTO used VALUES (?, ?)", arguments)
            self._until_prune -= 1
            if self._until_prune <= 0:
                self._prune()
        return done.rowcount == 1

    async def aclose(self) -> None:
        """Close the file; the other processes go on with it."""
        self._connection.close()

    def _if_free(self, statement: str, arguments: tuple[object, ...]) -> sqlite3.Cursor | None:
        """Run it, or None if another process writes just now."""
        try:
            return self._connection.execute(statement, arguments)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                raise
            return None

    async def _when_free(self, statement: str, arguments: tuple[object, ...]) -> sqlite3.Cursor:
        deadline = time.monotonic() + _FILE_TIMEOUT_S
        pauses = itertools.chain(_FILE_PAUSES_S, itertools.repeat(_FILE_PAUSES_S[-1]))
        while time.monotonic() < deadline:
            await asyncio.sleep(next(pauses))
            done = self._if_free(statement, arguments)
            if done is not None:
                return done
        raise sqlite3.OperationalError(f"locked for {_FILE_TIMEOUT_S} s")

    def _prune(self) -> None:
        done = self._if_free(
            "DELETE FROM used WHERE token IN (SELECT token FROM used WHERE until < ? LIMIT ?)",
            (to_epoch_s(self._clock.now()), _FILE_PRUNE_MOST),
        )
        if done is not None:  # else the next redemption tries it
            self._until_prune = _FILE_PRUNE_EVERY


class DatabaseOnce:
    """For gateways that share a PostgreSQL database: the unlogged table ``once_only``.

    What comes at once goes in one statement. A crash of the server empties the table and breaks every
    connection, so each new connection reads anew when the table began.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        """Connect if possible; if not, the first ``redeem`` does."""
        self._clock = clock
        self._since = _LONG_AGO
        self._reader = Reader(open_read_engine(url), threads=_FLIGHTS)
        self._waiting: list[_Redemption] = []
        self._flights: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._prune_at = time.monotonic() + _PRUNE_EVERY_S
        with contextlib.suppress(StoreUnavailable):
            self._reader.read_blocking(self._prepared)

    @property
    def since(self) -> datetime:
        return self._since

    async def redeem(self, token: bytes, until: datetime) -> bool:
        """See ``frontend.OnceOnly``. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        redemption = _Redemption(token, to_epoch_s(until), loop.create_future())
        self._waiting.append(redemption)
        if not self._scheduled:
            # Not at once: what else this turn of the loop brings goes into the same statement.
            self._scheduled = True
            loop.call_soon(self._take_off)
        return await redemption.first

    async def aclose(self) -> None:
        """Wait for what is under way and close every connection."""
        while self._flights:
            await asyncio.wait(self._flights)
        await asyncio.to_thread(self._reader.close)

    def _take_off(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._flights) < _FLIGHTS:
            batch, self._waiting = self._waiting[:_MOST_IN_FLIGHT], self._waiting[_MOST_IN_FLIGHT:]
            flight = asyncio.get_running_loop().create_task(self._fly(batch))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._take_off()

    async def _fly(self, batch: Sequence[_Redemption]) -> None:
        firsts: dict[bytes, _Redemption] = {}
        for one in batch:
            firsts.setdefault(one.token, one)
        tokens = sorted(firsts)  # so that two batches with the same tokens cannot deadlock
        untils = [firsts[token].until_s for token in tokens]
        prune = time.monotonic() >= self._prune_at
        if prune:
            self._prune_at = time.monotonic() + _PRUNE_EVERY_S
        try:
            redeemed = await self._reader.read(lambda reading: self._insert(reading, tokens, untils, prune))
        except Exception as exc:  # noqa: BLE001  # every waiting request gets it, whatever it is
            for one in batch:
                if not one.first.done():
                    one.first.set_exception(exc)
            return
        for one in batch:
            first = one.token in redeemed and firsts[one.token] is one
            if not one.first.done():
                one.first.set_result(first)

    def _insert(
        self, connection: Connection, tokens: list[bytes], untils: list[int], prune: bool
    ) -> frozenset[bytes]:
        """The tokens that were not there yet; none where the table turns out to be a new one."""
        if not self._prepared(connection):
            return frozenset()
        cursor = driver_of(connection).cursor()
        with contextlib.closing(cursor):
            cursor.execute(_REDEEM, (tokens, untils))
            redeemed = frozenset(bytes(token) for (token,) in cursor.fetchall())
            if prune:
                cursor.execute(_PRUNE, (to_epoch_s(self._clock.now()), _EPOCH_TOKEN))
        return redeemed

    def _prepared(self, connection: Connection) -> bool:
        """Whether this connection sees the table that we know."""
        if connection.info.get("pkigate.once"):
            return True
        cursor = driver_of(connection).cursor()
        with contextlib.closing(cursor):
            cursor.execute("SET synchronous_commit = off")
            cursor.execute(_BEGIN_EPOCH, (_EPOCH_TOKEN, time.time_ns() // 1_000_000))
            cursor.execute(_READ_EPOCH, (_EPOCH_TOKEN,))
            began = _from_ms(cursor.fetchone()[0])
        connection.info["pkigate.once"] = True
        known, self._since = self._since, max(began, self._since)
        return began <= known


@dataclass(frozen=True, slots=True)
class _Redemption:
    token: bytes
    until_s: int
    first: asyncio.Future[bool]


Once = MemoryOnce | FileOnce | DatabaseOnce


def open_once(url: str, workers: int, directory: Path, clock: Clock | None = None) -> Once:
    """The memory for this database URL and number of worker processes. Call it in the worker.

    ``directory`` is where several workers on SQLite keep their file. Raises StoreUnavailable and
    ConfigurationError.
    """
    used = clock or SystemClock()
    if database_address(url).get_backend_name() == "postgresql":
        return DatabaseOnce(url, used)
    if workers > 1:
        return FileOnce(directory, used)
    # Finer than the clock's seconds: a process that follows another within a second must know its own.
    return MemoryOnce(used, since=_from_ms(time.time_ns() // 1_000_000))


def _from_ms(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _boot_id() -> str:
    """What changes whenever the machine starts anew, and with it loses what no fsync has kept."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return "any"


@contextlib.contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise StoreUnavailable(
            "the memory of used nonces is out of reach", detail=f"{type(exc).__name__}: {exc}"
        ) from exc
