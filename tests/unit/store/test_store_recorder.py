"""Batches, replay, back-pressure and the moment of the answer, on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, select

from gateway.errors import Conflict, GatewayError, Overloaded, StoreUnavailable
from gateway.model.outcome import State
from gateway.store import audit, credentials, requests
from gateway.store.schema import AUDIT, CERTIFICATE, CHAIN, REQUEST
from gateway.store.store import Store
from gateway.store.unit import AuditEvent, Unit
from tests.unit.store.samples import NOW, issued_unit, request_row, request_unit


def count(store: Store, table: Any) -> int:
    return store.reader.read_blocking(
        lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one()
    )


async def hold(store: Store, ready: asyncio.Event | None = None) -> Callable[[], None]:
    """Keep the recorder's thread busy until the returned function is called, so that units queue up."""
    import threading

    going, free = threading.Event(), threading.Event()

    def wait(_connection: Connection) -> None:
        going.set()
        free.wait(60)

    task = asyncio.create_task(store.recorder.run(wait))
    await asyncio.to_thread(going.wait, 60)

    def release() -> None:
        free.set()

    release.task = task  # type: ignore[attr-defined]
    return release


async def commit_together(store: Store, units: list[Unit]) -> list[BaseException | None]:
    """Commit units in one batch; one result for each."""
    release = await hold(store)
    tasks = [asyncio.create_task(store.recorder.commit(unit)) for unit in units]
    while store.recorder.depth < len(units):
        await asyncio.sleep(0)
    release()
    await release.task  # type: ignore[attr-defined]
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_units_that_wait_together_are_written_in_one_transaction_set_wise(store: Store) -> None:
    units = [issued_unit()[0] for _ in range(64)]
    before = store.recorder.counts.transactions, store.recorder.counts.statements
    assert await commit_together(store, units) == [None] * 64
    # One transaction is the one that held the recorder; chain, request and certificate are a statement each.
    assert store.recorder.counts.transactions - before[0] == 2
    assert store.recorder.counts.statements - before[1] == 3
    assert (count(store, REQUEST), count(store, CERTIFICATE), count(store, AUDIT)) == (64, 64, 64)
    assert count(store, CHAIN) == 1
    assert store.recorder.counts.replays == 0


async def test_unit_that_breaks_a_unique_key_is_refused_alone(store: Store) -> None:
    first, row = request_unit()
    await store.recorder.commit(first)
    twin, _ = request_unit(correlation=row.correlation)
    good = [request_unit()[0] for _ in range(9)]
    results = await commit_together(store, [*good[:5], twin, *good[5:]])
    assert isinstance(results[5], Conflict)
    assert [result for result in results if result is not None] == [results[5]]
    assert store.recorder.counts.replays == 1
    assert count(store, REQUEST) == 10
    assert count(store, AUDIT) == 10
    assert store.reader.read_blocking(audit.verify_chain).ok


async def test_unit_whose_row_count_differs_is_refused_alone_and_leaves_nothing(store: Store) -> None:
    unit, row = request_unit()
    await store.recorder.commit(unit)
    stale = Unit()
    other = request_row()
    requests.insert(stale, other)
    requests.move(stale, row.id, 7, State.REFUSED, from_state=State.AWAITING_APPROVAL, at=NOW)
    stale.audit(AuditEvent("cli:x", "request.reject", row.id))
    results = await commit_together(store, [request_unit()[0], stale, request_unit()[0]])
    assert [type(result) for result in results] == [type(None), Conflict, type(None)]
    assert store.reader.read_blocking(lambda connection: requests.get(connection, other.id)) is None
    assert count(store, AUDIT) == 3


async def test_value_that_no_driver_can_bind_is_the_fault_of_its_unit_only(store: Store) -> None:
    bad = Unit()
    requests.insert(bad, request_row(retry_after_s=2**80))
    results = await commit_together(store, [request_unit()[0], bad, request_unit()[0]])
    assert results[0] is None
    assert results[2] is None
    assert type(results[1]) is GatewayError
    assert count(store, REQUEST) == 2


async def test_text_with_nul_and_lone_surrogate_is_stored_escaped(store: Store) -> None:
    unit, row = request_unit(endpoint="a\x00b\ud800", subject="CN=x\n")
    unit.audit(AuditEvent("a\x00", "b", "\ud800", "ok", {"name": "\x00\ud800"}))
    await store.recorder.commit(unit)
    found = await store.reader.read(lambda connection: requests.get(connection, row.id))
    assert found is not None
    assert (found.endpoint, found.subject) == ("a\\u{0}b\\u{d800}", "CN=x\\u{a}")
    assert store.reader.read_blocking(audit.verify_chain).ok


async def test_rows_of_a_unit_may_be_touched_by_the_next_unit_of_the_same_batch(store: Store) -> None:
    unit, row = request_unit()
    mover = Unit()
    requests.move(mover, row.id, 1, State.REFUSED, from_state=State.AWAITING_APPROVAL, at=NOW)
    assert await commit_together(store, [unit, mover]) == [None, None]


async def test_correlation_is_free_again_in_the_batch_that_retires_its_request(store: Store) -> None:
    unit, row = request_unit()
    await store.recorder.commit(unit)
    closing, following = Unit(), Unit()
    requests.move(closing, row.id, 1, State.WITHDRAWN, from_state=State.AWAITING_APPROVAL, at=NOW)
    await store.recorder.commit(closing)
    requests.retire(following, row.id)
    requests.insert(following, request_row(correlation=row.correlation))
    assert await commit_together(store, [following]) == [None]


async def test_compare_and_set_race_of_fifty_tasks_has_one_winner(store: Store) -> None:
    unit, row = request_unit()
    await store.recorder.commit(unit)

    async def approve() -> bool:
        mover = Unit()
        requests.move(mover, row.id, 1, State.SUBMITTING, from_state=State.AWAITING_APPROVAL, at=NOW)
        try:
            await store.recorder.commit(mover)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(approve() for _ in range(50)))) == 1
    found = await store.reader.read(lambda connection: requests.get(connection, row.id))
    assert found is not None
    assert (found.state, found.version) == (State.SUBMITTING, 2)


async def test_one_time_credential_serves_one_of_fifty(store: Store) -> None:
    from gateway.model.ids import new_id

    row = credentials.CredentialRow(new_id(), "challenge-static", "dev", NOW, verifier="x", uses_left=1)
    unit = Unit()
    credentials.insert(unit, row)
    await store.recorder.commit(unit)

    async def use() -> bool:
        using = Unit()
        credentials.use(using, row.id, NOW)
        try:
            await store.recorder.commit(using)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(use() for _ in range(50)))) == 1


async def test_full_queue_is_refused_with_a_time_to_retry_and_drains(database: str) -> None:
    with Store(database, max_queue=5) as store:
        release = await hold(store)
        tasks = [asyncio.create_task(store.recorder.commit(request_unit()[0])) for _ in range(8)]
        await asyncio.sleep(0.05)
        refused = [task for task in tasks if task.done()]
        assert len(refused) == 3
        for task in refused:
            with pytest.raises(Overloaded) as caught:
                await task
            assert caught.value.retry_after_s > 0
        release()
        await release.task  # type: ignore[attr-defined]
        await asyncio.gather(*(task for task in tasks if task not in refused))
        assert count(store, REQUEST) == 5


async def test_close_writes_what_is_queued_and_refuses_what_comes_later(database: str) -> None:
    store = Store(database)
    store.open()
    recorder = store.recorder
    release = await hold(store)
    tasks = [asyncio.create_task(recorder.commit(request_unit()[0])) for _ in range(20)]
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(asyncio.to_thread(store.close))
    await asyncio.sleep(0.05)
    with pytest.raises(StoreUnavailable):
        await recorder.commit(request_unit()[0])
    release()
    await asyncio.gather(release.task, closing, *tasks)  # type: ignore[attr-defined]
    with Store(database) as again:
        assert count(again, REQUEST) == 20


def test_answer_is_an_error_when_commit_itself_fails(database: str) -> None:
    """A constraint that the database checks only at COMMIT: every statement before it succeeds."""
    _deferred_failure(database)
    with Store(database) as store:
        unit, row = request_unit(subject="CN=poison")
        with pytest.raises(StoreUnavailable):
            store.recorder.commit_blocking(unit)
        assert store.reader.read_blocking(lambda connection: requests.get(connection, row.id)) is None
        store.recorder.commit_blocking(request_unit()[0])
        assert count(store, REQUEST) == 1
        assert store.reader.read_blocking(audit.verify_chain).ok


async def test_another_process_sees_the_row_by_the_time_the_answer_comes(store: Store, database: str) -> None:
    for _ in range(30):
        unit, row = request_unit()
        await store.recorder.commit(unit)
        assert _rows(database, f"SELECT id FROM request WHERE id = '{row.id}'") == [(row.id,)]


async def test_cancelled_caller_does_not_disturb_the_others(store: Store) -> None:
    release = await hold(store)
    tasks = [asyncio.create_task(store.recorder.commit(request_unit()[0])) for _ in range(4)]
    await asyncio.sleep(0.02)
    tasks[1].cancel()
    release()
    await release.task  # type: ignore[attr-defined]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [
        type(None),
        asyncio.CancelledError,
        type(None),
        type(None),
    ]


async def test_function_that_fails_in_the_recorder_leaves_it_working(store: Store) -> None:
    def broken(_connection: Connection) -> None:
        raise RuntimeError("a fault of the caller")

    with pytest.raises(GatewayError):
        await store.recorder.run(broken)
    await store.recorder.commit(request_unit()[0])


async def test_empty_unit_costs_no_transaction(store: Store) -> None:
    await store.recorder.commit(Unit())
    assert store.recorder.counts.transactions == 0


def _deferred_failure(database: str) -> None:
    if database.startswith("sqlite"):
        with sqlite3.connect(database.removeprefix("sqlite:///")) as connection:
            connection.executescript(
                "CREATE TABLE parent (id INTEGER PRIMARY KEY);"
                "CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);"
                "CREATE TRIGGER poison AFTER INSERT ON request WHEN NEW.subject = 'CN=poison'"
                " BEGIN INSERT INTO child VALUES (1); END;"
            )
        connection.close()
        return
    with psycopg.connect(database, autocommit=True) as server:
        server.execute(
            "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN IF NEW.subject = 'CN=poison' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END$$"
        )
        server.execute(
            "CREATE CONSTRAINT TRIGGER poison AFTER INSERT ON request DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION poison()"
        )


def _rows(database: str, query: str) -> list[Any]:
    if database.startswith("sqlite"):
        connection = sqlite3.connect(database.removeprefix("sqlite:///"))
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
    with psycopg.connect(database) as server:
        return server.execute(query).fetchall()
