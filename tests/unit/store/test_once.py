"""What was redeemed stays redeemed, whichever memory holds it (acme.md C39, E7)."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.clock import SystemClock
from gateway.errors import StoreUnavailable
from gateway.store import once
from gateway.store.migrate import migrate
from gateway.store.once import DatabaseOnce, FileOnce, MemoryOnce, Once, open_once
from tests.support.database import rows
from tests.support.postgresql import PostgresqlServer

CLOCK = SystemClock()


class SetClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def migrated_url(postgresql_server: Any) -> str:
    url: str = postgresql_server.new_database()
    migrate(url)
    return url


@pytest.fixture
def own_server() -> Iterator[PostgresqlServer]:
    """For tests that end it: the shared one recovers for a minute, with the databases of so many tests."""
    with PostgresqlServer() as started:
        yield started


@pytest_asyncio.fixture(params=["memory", "file", "postgresql"])
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Once]:
    """Each kind, as the factory opens it."""
    url, workers = f"sqlite:///{tmp_path}/gateway.db", 2 if request.param == "file" else 1
    if request.param == "postgresql":
        url = request.getfixturevalue("migrated_url")
    opened = open_once(url, workers, tmp_path)
    yield opened
    await opened.aclose()


def token() -> bytes:
    return os.urandom(18)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_token_is_redeemed_once(memory: Once) -> None:
    """acme.md C39"""
    one, other = token(), token()
    assert await memory.redeem(one, in_an_hour())
    assert not await memory.redeem(one, in_an_hour())
    assert await memory.redeem(other, in_an_hour())


async def test_of_many_at_once_one_is_the_first(memory: Once) -> None:
    """acme.md C39: also within one statement."""
    tokens = [token() for _ in range(50)]
    asked = [one for one in tokens for _ in range(4)]
    answers = await asyncio.gather(*(memory.redeem(one, in_an_hour()) for one in asked))
    firsts = [one for one, first in zip(asked, answers, strict=True) if first]
    assert sorted(firsts) == sorted(tokens)


async def test_memory_begins_before_what_is_given_out_from_now_on(memory: Once) -> None:
    """acme.md B1: the first nonce after a start is good, whichever millisecond it was made in."""
    assert memory.since.timestamp() <= time.time()


def test_factory_takes_the_memory_that_fits(tmp_path: Path, migrated_url: str) -> None:
    async def kinds() -> Sequence[type]:
        sqlite = f"sqlite:///{tmp_path}/gateway.db"
        opened = [
            open_once(sqlite, 1, tmp_path),
            open_once(sqlite, 2, tmp_path),
            open_once(migrated_url, 1, tmp_path),
        ]
        for one in opened:
            await one.aclose()
        return [type(one) for one in opened]

    assert asyncio.run(kinds()) == [MemoryOnce, FileOnce, DatabaseOnce]


async def test_memory_drops_a_generation_whose_tokens_have_expired() -> None:
    clock = SetClock()
    memory = MemoryOnce(clock)
    started = memory.since
    for _ in range(5):
        assert await memory.redeem(token(), clock.moment + timedelta(hours=1))
        clock.moment += timedelta(hours=1)
    assert memory.since == started
    assert len(memory._current.tokens) + len(memory._older.tokens) <= 3  # what is kept


async def test_memory_keeps_what_has_not_expired_for_however_long() -> None:
    """acme.md C29"""
    clock = SetClock()
    memory = MemoryOnce(clock)
    first = token()
    assert await memory.redeem(first, clock.moment + timedelta(hours=10))
    for _ in range(18):
        clock.moment += timedelta(minutes=31)
        assert await memory.redeem(token(), clock.moment + timedelta(hours=1))
    assert not await memory.redeem(first, clock.moment + timedelta(hours=10))


async def test_full_memory_forgets_the_oldest_and_says_so() -> None:
    """Bounded: what may be forgotten is refused for its age instead."""
    clock = SetClock()
    memory = MemoryOnce(clock, most_tokens=20)
    started, moments = memory.since, {}
    for _ in range(35):
        one = token()
        moments[one] = clock.moment
        assert await memory.redeem(one, clock.moment + timedelta(hours=1))
        clock.moment += timedelta(seconds=2)
    assert memory.since > started
    for one, given_out in moments.items():
        refused_for_age = given_out < memory.since
        assert refused_for_age or not await memory.redeem(one, clock.moment)
    assert sum(given_out >= memory.since for given_out in moments.values()) >= 10


async def test_memory_holds_a_million_of_a_flood_before_anything_is_forgotten() -> None:
    """acme.md B1, C29: a flood of good messages must not make everybody's nonces too old."""
    clock = SetClock()
    memory = MemoryOnce(clock)
    started, until = memory.since, clock.moment + timedelta(hours=1)
    for number in range(500_001):
        assert await memory.redeem(number.to_bytes(18, "big"), until)
    assert memory.since == started
    assert not await memory.redeem((0).to_bytes(18, "big"), until)


def _redeem_all(directory: str, tokens: Sequence[bytes], results: Any) -> None:
    async def run() -> int:
        memory = open_once(f"sqlite:///{directory}/gateway.db", 4, Path(directory))
        count = 0
        for one in tokens:
            count += await memory.redeem(one, in_an_hour())
        await memory.aclose()
        return count

    results.put(asyncio.run(run()))


def test_processes_that_share_a_file_redeem_each_token_once(tmp_path: Path) -> None:
    """acme.md C39, E7: several workers on SQLite."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    tokens = [token() for _ in range(500)]
    workers = [context.Process(target=_redeem_all, args=(str(tmp_path), tokens, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    counts = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(counts) == 500


async def test_file_outlives_the_processes_of_one_boot_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power failure may have lost is refused for its age."""
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(once, "_BOOT_ID", boot)
    boot.write_text("11111111\n")
    memory, one = FileOnce(tmp_path, CLOCK), token()
    assert await memory.redeem(one, in_an_hour())
    began = memory.since
    await memory.aclose()
    again = FileOnce(tmp_path, CLOCK)
    assert again.since == began
    assert not await again.redeem(one, in_an_hour())
    await again.aclose()
    boot.write_text("22222222\n")
    await asyncio.sleep(0.01)
    anew = FileOnce(tmp_path, CLOCK)
    assert anew.since > began
    await anew.aclose()
    assert {path.name for path in tmp_path.glob("once-*.sqlite")} == {"once-22222222.sqlite"}


async def test_file_forgets_what_has_expired(tmp_path: Path) -> None:
    memory = FileOnce(tmp_path, CLOCK)
    past, (path,) = CLOCK.now() - timedelta(seconds=5), tmp_path.glob("once-*.sqlite")
    for _ in range(600):
        await memory.redeem(token(), past)
    assert rows(f"sqlite:///{path}", "SELECT count(*) FROM used")[0][0] < 200
    assert path.stat().st_mode & 0o777 == 0o600
    await memory.aclose()


async def test_file_that_another_process_writes_does_not_stop_the_loop(tmp_path: Path) -> None:
    """acme.md B1: only the running loop can give the lock back here, so who blocks it fails."""
    memory, (path,) = FileOnce(tmp_path, CLOCK), tmp_path.glob("once-*.sqlite")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.1, other.execute, "ROLLBACK")
    one = token()
    answers = await asyncio.gather(*(memory.redeem(one, in_an_hour()) for _ in range(20)))
    assert answers.count(True) == 1
    other.close()
    await memory.aclose()


async def test_file_that_stays_locked_is_told_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, (path,) = FileOnce(tmp_path, CLOCK), tmp_path.glob("once-*.sqlite")
    monkeypatch.setattr(once, "_FILE_TIMEOUT_S", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await memory.redeem(token(), in_an_hour())
    other.execute("ROLLBACK")
    assert await memory.redeem(token(), in_an_hour())
    other.close()
    await memory.aclose()


async def test_pruning_waits_for_another_process_without_losing_a_redemption(tmp_path: Path) -> None:
    """What was redeemed is answered so, whether the expired ones can be deleted just now or not."""
    memory, (path,) = FileOnce(tmp_path, CLOCK), tmp_path.glob("once-*.sqlite")
    assert await memory.redeem(token(), CLOCK.now() - timedelta(seconds=5))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    memory._until_prune = 0
    memory._prune()
    assert memory._until_prune == 0
    other.execute("ROLLBACK")
    assert await memory.redeem(token(), in_an_hour())
    assert rows(f"sqlite:///{path}", "SELECT count(*) FROM used")[0][0] == 1
    other.close()
    await memory.aclose()


async def test_gateways_on_one_database_redeem_each_token_once(migrated_url: str) -> None:
    """acme.md C39, E7: replicas."""
    gateways = [DatabaseOnce(migrated_url, CLOCK) for _ in range(3)]
    tokens = [token() for _ in range(200)]
    answers = await asyncio.gather(
        *(gateway.redeem(one, in_an_hour()) for one in tokens for gateway in gateways)
    )
    assert sum(answers) == 200
    for gateway in gateways:
        await gateway.aclose()


async def test_crashed_database_forgets_and_says_so(own_server: PostgresqlServer) -> None:
    """An unlogged table is empty after a crash: what was given out before is refused then."""
    url = own_server.new_database()
    migrate(url)
    memory = DatabaseOnce(url, CLOCK)
    before = memory.since
    for _ in range(20):
        assert await memory.redeem(token(), in_an_hour())
    own_server.crash()
    with pytest.raises(StoreUnavailable):
        await memory.redeem(token(), in_an_hour())
    own_server.restart()
    answers = [await memory.redeem(token(), in_an_hour()) for _ in range(5)]
    assert answers[-1]
    assert not answers[0], "nobody knows whether it was used before the crash"
    assert memory.since > before
    await memory.aclose()


async def test_database_that_is_away_at_the_start_is_found_later(own_server: PostgresqlServer) -> None:
    url = own_server.new_database()
    migrate(url)
    own_server.shut_down()
    memory = DatabaseOnce(url, CLOCK)
    own_server.restart()
    answers = [await memory.redeem(token(), in_an_hour()) for _ in range(5)]
    assert answers[-1]
    await memory.aclose()


async def test_database_forgets_what_has_expired_but_not_when_it_began(migrated_url: str) -> None:
    memory = DatabaseOnce(migrated_url, CLOCK)
    await asyncio.gather(*(memory.redeem(token(), CLOCK.now() - timedelta(minutes=1)) for _ in range(30)))
    memory._prune_at = 0.0  # now instead of in five minutes
    last = token()
    assert await memory.redeem(last, in_an_hour())
    assert {bytes(row[0]) for row in rows(migrated_url, "SELECT token FROM once_only")} == {b"", last}
    await memory.aclose()
