"""Open requests and the jobs that go on with them: nothing stays open because a job was lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from gateway.enrolment.approval import approve
from gateway.enrolment.closing import SETTLE_JOB
from gateway.enrolment.settle import TAKE_OVER_AFTER
from gateway.enrolment.work import LINGERING
from gateway.errors import BackendUnavailable
from gateway.jobs.holder import Holder, new_token
from gateway.jobs.runner import LEASE_S, JobRunner
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


async def test_order_of_a_killed_worker_is_sent_again_only_when_the_ca_cannot_be_at_it_any_more(
    house: House,
) -> None:
    """A CA that is asked too soon for what it is signing knows of nothing, and would sign it twice."""
    await house.credential("device")

    def unavailable(call: str) -> None:
        raise BackendUnavailable("the CA is away")

    house.foreign.before = unavailable
    down = await house.submit(house.request("a.test", endpoint="foreign"))
    assert isinstance(down, Unavailable)
    house.foreign.before = lambda call: None
    house.clock.advance(minutes=6)
    killed, now = Holder(), house.clock.now()
    (job,) = await jobs.claim(house.store.recorder, [SETTLE_JOB], killed.name, now, lease_s=LEASE_S)
    calls = len(house.foreign.calls)
    house.runner = JobRunner(
        house.store,
        house.work.handlers(),
        house.clock,
        holder=replace(killed, worker=new_token()),
        lingering=LINGERING,
    )

    async def due_after(seconds: int) -> bool:
        at = now + TAKE_OVER_AFTER + timedelta(seconds=seconds)
        return await house.store.reader.read(lambda connection: jobs.due(connection, [SETTLE_JOB], at))

    assert not await due_after(0)
    async with house.at_work():
        async with asyncio.timeout(60):
            while not await due_after(0):
                await asyncio.sleep(0.01)
        assert not await due_after(-1)
        assert len(house.foreign.calls) == calls
        house.clock.advance(seconds=int(TAKE_OVER_AFTER.total_seconds()))
        house.runner.wake()
        await house.reaches(down.request_id, State.ISSUED)
    assert job.attempts == 1


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
