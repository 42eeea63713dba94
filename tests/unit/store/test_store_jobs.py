"""Jobs, outbox and leases: never two holders, and a lost worker loses nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gateway.errors import Conflict
from gateway.jobs.queue import FrontEndJobs
from gateway.store import jobs, leases, outbox, requests
from gateway.store.jobs import Job
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.unit.store.samples import NOW, request_unit


async def enqueue(store: Store, *keys: str, **options: int) -> None:
    unit = Unit()
    for key in keys:
        jobs.enqueue(unit, "crl", key, {"key": key}, NOW, **options)
    await store.recorder.commit(unit)


async def claim(store: Store, owner: str = "w1", seconds: int = 0, limit: int = 10) -> tuple[Job, ...]:
    return await jobs.claim(
        store.recorder, ["crl"], owner, NOW + timedelta(seconds=seconds), lease_s=60, limit=limit
    )


async def test_job_is_claimed_once_and_finished(store: Store) -> None:
    await enqueue(store, "a")
    (job,) = await claim(store)
    assert (job.args, job.attempts, job.lease_owner, job.state) == ({"key": "a"}, 1, "w1", "running")
    assert await claim(store, "w2") == ()
    unit = Unit()
    jobs.finish(unit, job)
    await store.recorder.commit(unit)
    assert await claim(store, "w2", 1000) == ()
    assert [found.state for found in store.reader.read_blocking(jobs.search)] == ["done"]


async def test_same_key_is_queued_once_while_active_and_again_afterwards(store: Store) -> None:
    await enqueue(store, "a", "a")
    (job,) = await claim(store)
    await enqueue(store, "a")
    assert await claim(store, "w2") == ()
    unit = Unit()
    jobs.finish(unit, job)
    await store.recorder.commit(unit)
    await enqueue(store, "a")
    assert len(await claim(store, "w2")) == 1


async def test_two_workers_that_claim_at_the_same_time_never_share_a_job(database: str) -> None:
    with Store(database) as one, Store(database) as other:
        await enqueue(one, *(f"k{number}" for number in range(120)))

        claims = (claim((one, other)[number % 2], f"w{number % 2}", limit=3) for number in range(60))
        taken = [job.id for found in await asyncio.gather(*claims) for job in found]
        assert len(taken) == 120
        assert len(set(taken)) == 120


async def test_expired_lease_passes_the_job_on_and_the_late_worker_gets_a_conflict(store: Store) -> None:
    await enqueue(store, "a")
    (late,) = await claim(store, "w1")
    assert await claim(store, "w2", 60) == ()
    (job,) = await claim(store, "w2", 61)
    assert (job.id, job.attempts) == (late.id, 2)
    unit = Unit()
    jobs.finish(unit, late)
    with pytest.raises(Conflict):
        await store.recorder.commit(unit)


async def test_failure_is_repeated_with_growing_delay_and_given_up_in_the_end(store: Store) -> None:
    await enqueue(store, "a", max_attempts=3)
    at = 0
    for delay in (5, 10):
        (job,) = await claim(store, "w1", at)
        unit = Unit()
        jobs.fail(unit, job, "no\x00 answer", NOW + timedelta(seconds=at))
        await store.recorder.commit(unit)
        assert await claim(store, "w1", at + delay - 1) == ()
        at += delay
    (job,) = await claim(store, "w1", at)
    unit = Unit()
    jobs.fail(unit, job, "no answer", NOW)
    await store.recorder.commit(unit)
    assert await claim(store, "w1", 10**6) == ()
    (failed,) = store.reader.read_blocking(lambda c: jobs.search(c, state="failed", kind="crl"))
    assert failed.last_error == "no answer"


async def test_job_that_only_waited_is_not_given_up_by_a_lost_worker(store: Store) -> None:
    await enqueue(store, "a", max_attempts=3)
    for second in range(5):
        (job,) = await claim(store, "w1", second)
        unit = Unit()
        jobs.put_back(unit, job, NOW + timedelta(seconds=second + 1), error="not yet")
        await store.recorder.commit(unit)
    (lost,) = await claim(store, "w1", 10)
    assert (lost.attempts, lost.last_error) == (1, "not yet")
    (taken_over,) = await claim(store, "w2", 100)
    assert (taken_over.id, taken_over.attempts) == (lost.id, 2)


async def test_job_that_no_worker_survives_is_given_up(store: Store) -> None:
    await enqueue(store, "a", max_attempts=2)
    assert len(await claim(store, "w1", 0)) == 1
    assert len(await claim(store, "w2", 100)) == 1
    assert await claim(store, "w3", 200) == ()
    (failed,) = store.reader.read_blocking(lambda c: jobs.search(c, state="failed"))
    assert failed.last_error == "the worker was lost"


async def test_job_of_the_future_and_of_another_kind_is_left_alone(store: Store) -> None:
    unit = Unit()
    jobs.enqueue(unit, "crl", "later", {}, NOW + timedelta(seconds=10))
    jobs.enqueue(unit, "poll", "now", {}, NOW)
    await store.recorder.commit(unit)
    assert await claim(store) == ()
    assert len(await claim(store, seconds=10)) == 1


async def test_outbox_event_is_sent_once_and_a_failed_one_again(store: Store) -> None:
    unit = Unit()
    outbox.add(unit, "certificate.issued", {"id": "1"}, NOW)
    outbox.add(unit, "certificate.issued", {"id": "2"}, NOW)
    await store.recorder.commit(unit)
    first, second = await outbox.claim(store.recorder, ["certificate.issued"], "w1", NOW)
    assert [first.payload, second.payload] == [{"id": "1"}, {"id": "2"}]
    unit = Unit()
    outbox.sent(unit, first)
    outbox.fail(unit, second, "503", NOW)
    await store.recorder.commit(unit)
    assert await outbox.claim(store.recorder, ["certificate.issued"], "w1", NOW) == ()
    (again,) = await outbox.claim(store.recorder, ["certificate.issued"], "w1", NOW + timedelta(seconds=5))
    assert (again.id, again.attempts) == (second.id, 2)


async def test_lease_has_one_holder_until_it_ends_or_is_released(database: str) -> None:
    with Store(database) as one, Store(database) as other:

        async def acquire(store: Store, owner: str, seconds: int) -> bool:
            now = NOW + timedelta(seconds=seconds)
            return await leases.acquire(store.recorder, "crl", owner, now, now + timedelta(seconds=30))

        winners = await asyncio.gather(*(acquire((one, other)[n % 2], f"w{n}", 0) for n in range(20)))
        assert sum(winners) == 1
        holder, loser = f"w{winners.index(True)}", f"w{winners.index(False)}"
        assert await acquire(one, holder, 10)
        assert not await acquire(other, loser, 40)
        assert await acquire(other, loser, 41)
        unit = Unit()
        leases.release(unit, "crl", holder)
        await one.recorder.commit(unit)
        assert not await acquire(one, holder, 42)
        unit = Unit()
        leases.release(unit, "crl", loser)
        await one.recorder.commit(unit)
        assert await acquire(one, holder, 42)


async def test_withdrawn_job_is_gone_and_one_that_runs_or_is_another_stays(store: Store) -> None:
    queue = FrontEndJobs(store)
    unit = Unit()
    for key in ("done", "running", "other"):
        queue.enqueue(unit, "crl", key, {"key": key}, NOW + timedelta(seconds=key != "running"))
    queue.enqueue(unit, "poll", "done", {}, NOW)
    await store.recorder.commit(unit)
    (running,) = await claim(store)
    assert running.args == {"key": "running"}
    unit = Unit()
    for key in ("done", "running", "never queued"):
        queue.withdraw(unit, "crl", key)
    await store.recorder.commit(unit)
    left = {(job.kind, job.dedup_key, job.state) for job in store.reader.read_blocking(jobs.search)}
    assert left == {("crl", "running", "running"), ("crl", "other", "ready"), ("poll", "done", "ready")}


async def test_job_is_withdrawn_with_the_unit_that_did_its_work_or_not_at_all(store: Store) -> None:
    await enqueue(store, "a")
    (first, _), (second, row) = request_unit(), request_unit()
    requests.insert(second, row)  # twice the same id: this unit cannot be written
    jobs.withdraw(second, "crl", "a")
    with pytest.raises(Conflict):
        await store.recorder.commit(second)
    assert len(store.reader.read_blocking(jobs.search)) == 1
    jobs.withdraw(first, "crl", "a")
    await store.recorder.commit(first)
    assert store.reader.read_blocking(jobs.search) == ()
    await enqueue(store, "a")
    assert len(await claim(store)) == 1


async def test_job_that_is_withdrawn_and_queued_anew_in_one_unit_is_the_new_one(store: Store) -> None:
    await enqueue(store, "a")
    later = NOW + timedelta(minutes=5)
    unit = Unit()
    jobs.withdraw(unit, "crl", "a")
    jobs.enqueue(unit, "crl", "a", {"number": 2}, later)
    await store.recorder.commit(unit)
    (left,) = store.reader.read_blocking(jobs.search)
    assert (left.args, left.run_at) == ({"number": 2}, later)
