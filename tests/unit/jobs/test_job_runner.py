"""The runner on a real store: waits, faults, conflicts, hung jobs and lost leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.errors import BackendUnavailable, Conflict
from gateway.jobs import runner as runner_module
from gateway.jobs.runner import Handler, JobRunner
from gateway.store import jobs
from gateway.store.jobs import Job
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.unit.enrolment.house import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path, clock: SetClock) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)
    with Store(url, clock=clock) as opened:
        yield opened


async def queue(store: Store, clock: SetClock, *keys: str, kind: str = "work") -> None:
    unit = Unit()
    for key in keys:
        jobs.enqueue(unit, kind, key, {}, clock.now())
    await store.recorder.commit(unit)


def found(store: Store) -> dict[str, Job]:
    return {job.dedup_key: job for job in store.reader.read_blocking(jobs.search)}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(store: Store, clock: SetClock, **handlers: Handler) -> AsyncIterator[JobRunner]:
    stop, runner = asyncio.Event(), JobRunner(store, handlers, clock)
    task = asyncio.create_task(runner.run(stop))
    try:
        yield runner
    finally:
        stop.set()
        await task


async def test_job_is_done_once(store: Store, clock: SetClock) -> None:
    done: list[str] = []

    async def work(job: Job) -> None:
        done.append(job.dedup_key)

    await queue(store, clock, "a", "b")
    async with running(store, clock, work=work):
        await until(lambda: {job.state for job in found(store).values()} == {"done"})
    assert sorted(done) == ["a", "b"]


async def test_job_that_waits_keeps_all_its_attempts(store: Store, clock: SetClock) -> None:
    async def work(job: Job) -> datetime:
        return clock.now() + timedelta(seconds=30)

    await queue(store, clock, "a")
    async with running(store, clock, work=work):
        await until(lambda: found(store)["a"].run_at > clock.now())
    assert (found(store)["a"].state, found(store)["a"].attempts) == ("ready", 0)


async def test_ca_that_is_away_for_long_never_costs_the_job_its_life(store: Store, clock: SetClock) -> None:
    tries = 0

    async def work(job: Job) -> None:
        nonlocal tries
        tries += 1
        raise BackendUnavailable("the CA is away", retry_after_s=1)

    await queue(store, clock, "a")
    async with running(store, clock, work=work) as runner:
        for wanted in range(1, jobs.MAX_ATTEMPTS + 3):
            while tries < wanted or found(store)["a"].state != "ready":
                await asyncio.sleep(0.01)
            clock.advance(seconds=2)
            runner.wake()
    job = found(store)["a"]
    assert job.state in ("ready", "running")
    assert job.last_error == "BackendUnavailable: the CA is away"


@pytest.mark.parametrize("fault", [ValueError("broken"), Conflict("somebody else was first")])
async def test_fault_and_conflict_are_tried_again_later_and_end(
    store: Store, clock: SetClock, fault: Exception
) -> None:
    tries = 0

    async def work(job: Job) -> None:
        nonlocal tries
        tries += 1
        raise fault

    await queue(store, clock, "a")
    async with running(store, clock, work=work) as runner:
        await until(lambda: found(store)["a"].state == "ready" and tries == 1)
        assert found(store)["a"].run_at == clock.now() + timedelta(seconds=5)
        while found(store)["a"].state != "failed":
            clock.advance(hours=1)
            runner.wake()
            await asyncio.sleep(0.01)
    assert tries == jobs.MAX_ATTEMPTS
    assert str(fault) in str(found(store)["a"].last_error)


async def test_hung_job_does_not_hold_up_the_others(store: Store, clock: SetClock) -> None:
    release = asyncio.Event()

    async def hang(job: Job) -> None:
        await release.wait()

    async def work(job: Job) -> None:
        return None

    await queue(store, clock, "hangs", kind="hang")
    async with running(store, clock, hang=hang, work=work):
        await until(lambda: found(store)["hangs"].state == "running")
        for key in ("a", "b"):
            await queue(store, clock, key)
            while found(store)[key].state != "done":
                await asyncio.sleep(0.01)
        assert found(store)["hangs"].state == "running"
        release.set()
    assert found(store)["hangs"].state == "done"


async def test_job_that_never_ends_is_stopped_before_its_lease_runs_out(
    store: Store, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(job: Job) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(runner_module, "DEADLINE_S", 0.1)
    await queue(store, clock, "hangs", kind="hang")
    async with running(store, clock, hang=hang):
        await until(lambda: found(store)["hangs"].last_error is not None)
    assert "TimeoutError" in str(found(store)["hangs"].last_error)


async def test_worker_that_lost_its_lease_leaves_the_job_to_the_other(store: Store, clock: SetClock) -> None:
    taken: list[Job] = []

    async def work(job: Job) -> None:
        if not taken:
            clock.advance(seconds=runner_module.LEASE_S + 1)
            taken.extend(await jobs.claim(store.recorder, ["work"], "other", clock.now()))

    await queue(store, clock, "a")
    async with running(store, clock, work=work):
        await until(lambda: bool(taken))
    (job,) = taken
    assert (found(store)["a"].state, found(store)["a"].lease_owner) == ("running", "other")
    unit = Unit()
    jobs.finish(unit, job)
    await store.recorder.commit(unit)


async def test_sweep_runs_at_the_start_and_its_fault_stops_nothing(store: Store, clock: SetClock) -> None:
    sweeps = 0

    async def sweep() -> None:
        nonlocal sweeps
        sweeps += 1
        raise ValueError("broken")

    async def work(job: Job) -> None:
        return None

    stop = asyncio.Event()
    task = asyncio.create_task(JobRunner(store, {"work": work}, clock, sweep=sweep).run(stop))
    await queue(store, clock, "a")
    await until(lambda: found(store)["a"].state == "done")
    stop.set()
    await task
    assert sweeps == 1


async def test_jobs_of_a_front_end_leave_places_for_all_others(store: Store, clock: SetClock) -> None:
    """acme.md E11: a hundred validations of tarpits hold up no certificate, nor another front end"""
    hanging = 0

    async def hang(job: Job) -> None:
        nonlocal hanging
        hanging += 1
        await asyncio.Event().wait()

    async def work(job: Job) -> None:
        return None

    await queue(store, clock, *(f"h{number}" for number in range(100)), kind="hang")
    stop = asyncio.Event()
    runner = JobRunner(store, {"work": work}, clock, guests={"hang": hang, "other": work})
    task = asyncio.create_task(runner.run(stop))
    await until(lambda: hanging == runner_module.AT_ONCE // 2)
    for kind in ("work", "other"):
        await queue(store, clock, kind, kind=kind)
        runner.wake()
        await until(lambda kind=kind: found(store)[kind].state == "done")  # type: ignore[misc]  # a default
    assert hanging == runner_module.AT_ONCE // 2
    stop.set()
    await task


async def test_jobs_of_front_ends_are_put_back_at_the_stop_and_others_finished(
    store: Store, clock: SetClock
) -> None:
    """acme.md E13: a tarpit does not hold up the shutdown, and another worker goes on at once"""
    running: set[str] = set()

    async def hang(job: Job) -> None:
        running.add(job.kind)
        await asyncio.Event().wait()

    async def work(job: Job) -> None:
        running.add(job.kind)
        await asyncio.sleep(0.3)

    await queue(store, clock, "hangs", kind="hang")
    await queue(store, clock, "works")
    stop = asyncio.Event()
    task = asyncio.create_task(JobRunner(store, {"work": work}, clock, guests={"hang": hang}).run(stop))
    await until(lambda: running == {"hang", "work"})
    stop.set()
    async with asyncio.timeout(60):
        await task
    left = found(store)
    assert left["works"].state == "done"
    assert (left["hangs"].state, left["hangs"].run_at, left["hangs"].attempts) == ("ready", clock.now(), 0)
