"""Open requests and the jobs that go on with them: nothing stays open because a job was lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from gateway.enrolment.approval import approve
from gateway.enrolment.closing import SETTLE_JOB
from gateway.errors import BackendUnavailable
from gateway.model.outcome import Pending, State, Unavailable
from gateway.store import jobs
from gateway.store.unit import Unit
from tests.unit.enrolment.house import House


async def _lose_jobs(house: House) -> None:
    """Give up every active job, as after ten workers that did not survive it."""
    later = house.clock.now() + timedelta(days=1)
    kinds = list(house.work.handlers())
    for job in await jobs.claim(house.store.recorder, kinds, "killed", later):
        for _ in range(job.max_attempts):
            later += timedelta(minutes=5)
            await jobs.claim(house.store.recorder, kinds, "killed", later)
    assert {job.state for job in await house.jobs()} == {"failed"}


async def _idle(house: House) -> None:
    """Wait until no job is running."""
    while any(job.state == "running" for job in await house.jobs()):
        await asyncio.sleep(0.01)


async def test_request_polled_for_long_survives_a_lost_worker(house: House) -> None:
    await house.credential("device")
    house.foreign.ca.switches.pending = 30
    waiting = await house.submit(house.request("a.test", endpoint="foreign"))
    assert isinstance(waiting, Pending)
    async with house.at_work():
        for polls in range(1, 16):
            await _idle(house)
            house.clock.advance(seconds=2)
            house.runner.wake()
            while house.foreign.calls.count("poll") < polls:
                await asyncio.sleep(0.01)
        await _idle(house)
    house.clock.advance(seconds=2)
    (lost,) = await jobs.claim(house.store.recorder, [SETTLE_JOB], "killed", house.clock.now())
    assert lost.attempts == 1
    house.clock.advance(minutes=5)
    async with house.at_work():
        await house.reaches(waiting.request_id, State.ISSUED, seconds=2)


async def test_submitted_request_without_a_job_is_taken_up_by_the_sweep(house: House) -> None:
    await house.credential("device")

    def unavailable(call: str) -> None:
        raise BackendUnavailable("the CA is away")

    house.foreign.before = unavailable
    down = await house.submit(house.request("a.test", endpoint="foreign"))
    assert isinstance(down, Unavailable)
    await _lose_jobs(house)
    house.foreign.before = lambda call: None
    house.clock.advance(minutes=6)
    async with house.at_work():
        await house.reaches(down.request_id, State.ISSUED)


async def test_approved_request_without_a_job_is_taken_up_by_the_sweep(house: House) -> None:
    await house.credential("device")
    waiting = await house.submit(house.request("a.test", endpoint="approval"))
    approve(house.store, str(waiting.request_id), "cli:anna", clock=house.clock)
    (approved,) = [job for job in await house.jobs() if job.kind == "issue-approved"]
    (claimed,) = await jobs.claim(house.store.recorder, [approved.kind], "killed", house.clock.now())
    unit = Unit()
    jobs.finish(unit, claimed)
    await house.store.recorder.commit(unit)
    house.clock.advance(minutes=6)
    async with house.at_work():
        await house.reaches(waiting.request_id, State.ISSUED)


async def test_expired_request_without_a_job_is_refused_by_the_sweep(house: House) -> None:
    await house.credential("device")
    waiting = await house.submit(house.request("a.test", endpoint="approval"))
    await _lose_jobs(house)
    house.clock.advance(minutes=63)
    async with house.at_work():
        await house.reaches(waiting.request_id, State.REFUSED)


async def test_sweep_leaves_requests_with_a_job_alone(house: House) -> None:
    await house.credential("device")
    house.foreign.ca.switches.pending = 30
    await house.submit(house.request("a.test", endpoint="foreign"))
    await house.submit(house.request("b.test", endpoint="approval"))
    house.clock.advance(minutes=6)
    before = await house.jobs()
    await house.work.sweep()
    assert await house.jobs() == before
