"""What is removed after its time, and what stays (docs/operations.md, "What is kept how long")."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from gateway.store import jobs, retention
from gateway.store.retention import JobRetention
from gateway.store.schema import JOB
from gateway.store.unit import Unit
from tests.support import pki
from tests.unit.acme import doors
from tests.unit.acme.authorized import csr_for, finalize, ready_order, settle
from tests.unit.acme.house import House, document, header, problem
from tests.unit.acme.ordered import ordered


async def counts(house: House) -> Mapping[str, int]:
    """Rows of accounts, orders and authorizations."""

    def count(connection: object) -> dict[str, int]:
        execute = connection.exec_driver_sql  # type: ignore[attr-defined]  # a Connection
        return {
            name: execute(f"SELECT count(*) FROM acme_{name}").scalar_one()
            for name in ("account", "order", "authorization")
        }

    return await house.store.reader.read(count)


async def keep_house(house: House) -> None:
    assert house.mounted.housekeeping is not None
    await house.mounted.housekeeping()


async def test_orders_and_authorizations_go_thirty_days_after_their_end(house: House) -> None:
    """acme.md E11: whoever makes orders and leaves them fills the database for a time only."""
    client = await house.client().registered()
    for name in ("a.test", "b.test"):
        assert (await client.new_order([name])).status == 201
    house.clock.advance(days=37)
    await keep_house(house)
    assert await counts(house) == {"account": 1, "order": 2, "authorization": 2}
    assert (await client.new_order(["c.test"])).status == 201
    house.clock.advance(seconds=1)
    await keep_house(house)
    assert await counts(house) == {"account": 1, "order": 1, "authorization": 1}


async def test_order_with_a_certificate_stays_and_gives_it(house: House) -> None:
    """acme.md C90: however long ago; its authorizations go."""
    client = await house.client().registered()
    one = await ordered(house, client, "a.test")
    house.clock.advance(days=400)
    await keep_house(house)
    assert await counts(house) == {"account": 1, "order": 1, "authorization": 0}
    assert (await client.post(one.url)).status == 200
    order = document(await client.post(one.url.replace("/cert/", "/order/")))
    assert (order["status"], order["certificate"]) == ("valid", one.url)


async def test_order_whose_finalization_was_refused_stays_as_its_record_does(house: House) -> None:
    """acme.md C87: the refused request names the order, so that both are found together."""
    client = await house.client().registered()
    order = await ready_order(house, client, "a.test")
    key = pki.key()
    await doors.compromise(house.store, house.clock, key)
    refused = await finalize(client, order, csr_for("a.test", key=key))
    assert problem(refused) == "badCSR"
    house.clock.advance(days=400)
    await keep_house(house)
    assert (await counts(house))["order"] == 1


async def test_invalid_authorization_and_its_order_go_too(house: House) -> None:
    """acme.md E11"""
    client = await house.client().registered()
    answer = await client.new_order(["a.test"])
    await settle(house, client, document(answer)["authorizations"], status="invalid")
    house.clock.advance(days=38)
    await keep_house(house)
    assert await counts(house) == {"account": 1, "order": 0, "authorization": 0}
    assert (await client.post(str(header(answer, "Location")))).status == 404


async def test_more_than_a_batch_goes_in_one_round_and_more_than_all_batches_in_several(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    monkeypatch.setattr(retention, "BATCHES", 2)
    client = await house.client().registered()
    kept = await ordered(house, client, "kept.test")
    for number in range(6):
        assert (await client.new_order([f"n{number}.test"])).status == 201
    house.clock.advance(days=61)
    left = []
    for _ in range(3):
        await keep_house(house)
        left.append((await counts(house))["order"])
    assert left == [4, 1, 1]
    assert (await client.post(kept.url)).status == 200


async def test_finished_jobs_go_after_a_week_and_waiting_ones_stay(house: House) -> None:
    unit, now = Unit(), house.clock.now()
    for key in ("done", "failed", "ready", "running"):
        jobs.enqueue(unit, "acme-sample", key, {}, now)
    await house.store.recorder.commit(unit)
    for state in ("done", "failed", "running"):
        change = JOB.update().where(JOB.c.dedup_key == state).values(state=state)
        await house.store.recorder.run(lambda connection, change=change: connection.execute(change) and None)
    kept = JobRetention(house.store)

    async def left() -> list[str]:
        return await house.store.reader.read(
            lambda connection: sorted(one.dedup_key for one in jobs.search(connection))
        )

    await kept.prune(now + timedelta(days=7))
    assert await left() == ["done", "failed", "ready", "running"]
    await kept.prune(now + timedelta(days=7, seconds=1))
    assert await left() == ["ready", "running"]
