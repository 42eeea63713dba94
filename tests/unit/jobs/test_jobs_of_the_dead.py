"""Leases of dead workers: freed by the one in their place, and by nobody else."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import datadir
from gateway.datadir import DataDirectory, prepare, supervisor_lock
from gateway.errors import StoreUnavailable
from gateway.jobs.holder import Holder, new_token
from gateway.jobs.runner import LEASE_S, LOSS_COUNTS_S, Handler, JobRunner
from gateway.store import jobs
from gateway.store.jobs import Job
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.unit.enrolment.house import SetClock

DEAD = Holder(slot=1)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: SetClock) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/gateway.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
    migrate(url)
    with Store(url, clock=clock) as opened:
        yield opened


async def queue(store: Store, clock: SetClock, *keys: str, kind: str = "work") -> None:
    unit = Unit()
    for key in keys:
        jobs.enqueue(unit, kind, key, {}, clock.now())
    await store.recorder.commit(unit)


async def claim(store: Store, clock: SetClock, holder: Holder) -> tuple[Job, ...]:
    """As a worker does just before it is killed."""
    return await jobs.claim(store.recorder, ["work"], holder.name, clock.now(), lease_s=LEASE_S)


def found(store: Store) -> dict[str, Job]:
    return {job.dedup_key: job for job in store.reader.read_blocking(jobs.search)}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    store: Store,
    clock: SetClock,
    holder: Holder,
    *,
    kinds: tuple[str, ...] = ("work", "first"),
    lingering: dict[str, timedelta] | None = None,
) -> AsyncIterator[dict[str, int]]:
    """A worker that does jobs of these kinds; gives the attempts by key, as it saw them."""
    seen: dict[str, int] = {}

    async def work(job: Job) -> None:
        seen[job.dedup_key] = job.attempts

    handlers: dict[str, Handler] = dict.fromkeys(kinds, work)
    stop = asyncio.Event()
    runner = JobRunner(store, handlers, clock, holder=holder, lingering=lingering)
    task = asyncio.create_task(runner.run(stop))
    try:
        yield seen
    finally:
        stop.set()
        await task


async def begins(store: Store, clock: SetClock, holder: Holder, **more: Any) -> dict[str, int]:
    """A worker begins, does what may be done, and ends in good order; gives the attempts by key."""
    key = new_token()
    await queue(store, clock, key, kind="first")
    async with running(store, clock, holder, **more) as seen:
        # Taking over comes before the first claim, and one claim takes all kinds: nothing more will begin.
        await until(lambda: found(store)[key].state == "done")
    return seen


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(replace(DEAD, worker=new_token()), id="same slot of the same run"),
        pytest.param(replace(DEAD, run=new_token(), slot=0, worker=new_token()), id="later run"),
    ],
)
async def test_job_of_a_dead_worker_is_done_at_once_by_who_takes_its_place(
    store: Store, clock: SetClock, holder: Holder
) -> None:
    await queue(store, clock, "a")
    assert len(await claim(store, clock, DEAD)) == 1
    assert (await begins(store, clock, holder)).get("a") == 2
    assert found(store)["a"].state == "done"


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(replace(DEAD, slot=0, worker=new_token()), id="another slot of this run"),
        pytest.param(replace(DEAD, slot=11, worker=new_token()), id="a slot that begins alike"),
        pytest.param(
            replace(DEAD, place=new_token(), worker=new_token()), id="another place, alike elsewhere"
        ),
        pytest.param(
            replace(DEAD, place=new_token(), run=new_token(), worker=new_token()), id="another gateway"
        ),
        pytest.param(DEAD, id="itself"),
    ],
)
async def test_lease_of_a_worker_that_may_live_is_left_alone_until_it_ends(
    store: Store, clock: SetClock, holder: Holder
) -> None:
    await queue(store, clock, "a")
    await claim(store, clock, DEAD)
    assert "a" not in await begins(store, clock, holder)
    assert (found(store)["a"].state, found(store)["a"].lease_owner) == ("running", DEAD.name)
    clock.advance(seconds=LEASE_S + 1)
    assert (await begins(store, clock, holder)).get("a") == 2


@pytest.mark.parametrize(
    "owner", ["", "worker-0123456789abcdef", "{0.place}", "{0.place}/{0.run}/x", "{0.place}/x/1/x/x"]
)
def test_owner_of_another_form_is_not_known_to_be_dead(owner: str) -> None:
    assert not DEAD.outlived(owner.format(DEAD))


async def test_job_that_no_worker_survives_waits_ever_longer_and_is_given_up_in_the_end(
    store: Store, clock: SetClock
) -> None:
    """Not sooner than if every lease had run out, and without killing a worker each second until then."""
    await queue(store, clock, "a")
    began_at, waits = clock.now(), []
    dying = DEAD
    while found(store)["a"].state == "running" or not waits:
        waited = 0
        while not await claim(store, clock, dying) and found(store)["a"].state == "running":
            clock.advance(seconds=1)
            waited += 1
            assert waited <= LEASE_S + 1
        waits.append(waited)
        clock.advance(seconds=1)  # until the next one is there
        dying = replace(dying, worker=new_token())
        await begins(store, clock, dying, kinds=("first",))  # takes over, and is killed before it can do more
    assert waits[:5] == [0, 0, 1, 2, 3], waits
    assert clock.now() - began_at > (jobs.MAX_ATTEMPTS - 2) * timedelta(seconds=LOSS_COUNTS_S)
    assert len(waits) <= 3 * jobs.MAX_ATTEMPTS
    assert (found(store)["a"].state, found(store)["a"].last_error) == ("failed", "the worker was lost")


async def test_worker_that_begins_meanwhile_does_not_shorten_the_wait(store: Store, clock: SetClock) -> None:
    await queue(store, clock, "a")
    for _ in range(2):
        await claim(store, clock, DEAD)
        clock.advance(seconds=30)
        await begins(store, clock, replace(DEAD, worker=new_token()), kinds=("first",))
    waits_until = found(store)["a"].lease_until
    assert waits_until == clock.now() + timedelta(seconds=30 - 1)  # due a minute, waits half a minute
    clock.advance(seconds=29)
    assert "a" not in await begins(store, clock, replace(DEAD, worker=new_token()))
    assert found(store)["a"].lease_until == waits_until
    clock.advance(seconds=1)
    assert (await begins(store, clock, replace(DEAD, worker=new_token()))).get("a") == 3


async def test_job_whose_work_goes_on_elsewhere_waits_for_that(store: Store, clock: SetClock) -> None:
    await queue(store, clock, "a")
    await claim(store, clock, DEAD)
    lingering = {"work": timedelta(seconds=45)}
    for seconds, done in ((0, False), (44, False), (1, True)):
        clock.advance(seconds=seconds)
        holder = replace(DEAD, worker=new_token())
        assert ("a" in await begins(store, clock, holder, lingering=lingering)) == done


async def test_late_word_of_a_worker_that_was_taken_for_dead_counts_for_nothing(
    store: Store, clock: SetClock
) -> None:
    """A COMMIT of the dead may reach the database after the take-over."""
    await queue(store, clock, "a")
    (late,) = await claim(store, clock, DEAD)
    successor = replace(DEAD, worker=new_token())
    async with running(store, clock, successor) as seen:
        await until(lambda: "a" in seen)
    unit = Unit()
    jobs.shorten_lease(unit, late, clock.now(), 1)
    jobs.fail(Unit(), late, "late", clock.now())
    await store.recorder.commit(unit)
    assert found(store)["a"].state == "done"


async def test_lease_is_never_made_longer(store: Store, clock: SetClock) -> None:
    await queue(store, clock, "a")
    (job,) = await claim(store, clock, DEAD)
    unit = Unit()
    jobs.shorten_lease(unit, job, clock.now() + timedelta(hours=1), 1)
    await store.recorder.commit(unit)
    clock.advance(seconds=LEASE_S + 1)
    assert len(await claim(store, clock, replace(DEAD, worker=new_token()))) == 1


async def test_database_that_is_away_at_the_start_puts_the_take_over_off(
    store: Store, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [StoreUnavailable("the database is away", retry_after_s=1)]
    really = jobs.running

    def running_jobs(*arguments: Any) -> tuple[Job, ...]:
        if faults:
            raise faults.pop()
        return really(*arguments)

    monkeypatch.setattr(jobs, "running", running_jobs)
    await queue(store, clock, "a")
    await claim(store, clock, DEAD)
    async with running(store, clock, replace(DEAD, worker=new_token())) as seen:
        await until(lambda: "a" in seen)
    assert not faults


async def test_fault_of_the_take_over_keeps_no_job_from_running(
    store: Store, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> tuple[Job, ...]:
        raise ValueError("broken")

    monkeypatch.setattr(jobs, "running", broken)
    await begins(store, clock, DEAD)


# What the lock of a data directory says


def place(data: DataDirectory) -> str:
    with supervisor_lock(data, wait_s=30) as held:
        return held


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return prepare(tmp_path / "data")


def test_place_is_the_same_at_every_start_on_one_data_directory(data: DataDirectory) -> None:
    assert place(data) == place(data)


def test_copied_data_directory_is_another_place(data: DataDirectory, tmp_path: Path) -> None:
    before = place(data)
    copied = DataDirectory(shutil.copytree(data.path, tmp_path / "copy"))
    assert place(copied) != before
    assert copied.instance() == data.instance()  # what must not be copied, and was


def test_lock_file_that_was_replaced_is_another_place(data: DataDirectory) -> None:
    with supervisor_lock(data, wait_s=30) as before:
        data.lock_file.unlink()
        assert place(data) != before


def test_place_is_another_one_after_a_boot_and_never_known_again_without_its_name(
    data: DataDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place(data)
    boot = tmp_path / "boot_id"
    boot.write_text("1b4e28ba-2fa1-11d2-883f-0016d3cca427\n")
    monkeypatch.setattr(datadir, "_BOOT_ID", boot)
    other = place(data)
    boot.unlink()
    assert len({before, other, place(data), place(data)}) == 4
