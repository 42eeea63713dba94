"""Killed between any two steps of a transaction: whatever is left can be finished, and nothing is doubled.

A process that dies at one of its writes, or at the CA, leaves what was written until then. The next one finds
the same database; the device sends its message again, and jobs run. (The harness kills real processes.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ca_backend.api import CaAnswer
from gateway.enrolment.approval import APPROVED_JOB, EXPIRE_JOB, approve
from gateway.enrolment.confirmation import CONFIRM_JOB
from gateway.model.outcome import Confirmation, Issued, Pending, State, Unavailable
from gateway.pki.keys import public_key
from gateway.store import audit, certificates
from gateway.store.recorder import Recorder
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import pki
from tests.unit.enrolment.house import ForeignCa, SetClock
from tests.unit.enrolment.transactions import Device, TransactionHouse

POLL_S = 30
CONFIRMED, DECLINED, FORGOTTEN = "confirmed", "declined", "forgotten"


class Killed(BaseException):
    """The process is gone; nothing of ours catches this."""


@dataclass(slots=True)
class Steps:
    """Kills its process before the step with this number; None: it lives."""

    last: int | None = None
    done: int = 0

    def __call__(self, _: object = None) -> None:
        if self.done == self.last:
            raise Killed
        self.done += 1


class MortalRecorder:
    """Each write is two steps: who dies before it wrote nothing, who dies after it told nobody."""

    def __init__(self, recorder: Recorder, steps: Steps) -> None:
        self._recorder = recorder
        self._steps = steps

    async def commit(self, unit: Unit) -> None:
        self._steps()
        await self._recorder.commit(unit)
        self._steps()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)


class MortalStore(Store):
    steps = Steps()

    @property
    def recorder(self) -> Recorder:
        return cast("Recorder", MortalRecorder(super().recorder, self.steps))


@dataclass(slots=True)
class World:
    """What outlasts a process: the database, the CAs, the clock, and what the device wants."""

    directory: Path
    store: MortalStore
    clock: SetClock
    foreign: ForeignCa
    endpoint: str = "direct"
    end: str = CONFIRMED

    def process(self, steps: Steps) -> TransactionHouse:
        """A new process, which dies at the last of these steps."""

        def answered(answer: CaAnswer) -> CaAnswer:
            steps()
            return answer

        self.store.steps = steps
        self.foreign.before, self.foreign.altered = steps, answered
        return TransactionHouse(self.directory, self.store, self.clock, self.foreign)


@pytest.fixture
def world(each_database: str, tmp_path: Path, clock: SetClock, foreign: ForeignCa) -> Iterator[World]:
    with MortalStore(each_database, clock=clock) as store:
        yield World(tmp_path, store, clock, foreign)


async def _approved(house: TransactionHouse, request_id: str) -> None:
    """By the CLI, which is a process of its own."""
    row = await house.row(request_id)
    if row.state is State.AWAITING_APPROVAL and not row.approvals:
        approve(house.store, row.id, "cli:anna", clock=house.clock)


async def _job(house: TransactionHouse, kind: str, request_id: str) -> None:
    """What a worker does with this job, without the runner, so that death comes through."""
    for job in await house.jobs():
        if (job.kind, job.dedup_key) == (kind, request_id):
            await house.work.handlers()[kind](job)


async def _live(world: World, house: TransactionHouse, device: Device, transaction: str) -> None:
    """A transaction from its first message to its end."""
    message = house.message(device, transaction=transaction, endpoint=world.endpoint)
    outcome = await house.submit(message)
    if isinstance(outcome, Pending):
        await _approved(house, outcome.request_id)
        await _job(house, APPROVED_JOB, outcome.request_id)
        outcome = await house.submit(message)
    assert isinstance(outcome, Issued)
    if world.end == FORGOTTEN:
        world.clock.advance(hours=1)
        await _job(house, CONFIRM_JOB, outcome.request_id)
        return
    accepted = world.end == CONFIRMED
    found = await house.confirm(accepted=accepted, transaction=transaction, endpoint=world.endpoint)
    assert found is Confirmation.DONE


async def _live_on(world: World, house: TransactionHouse, device: Device, transaction: str) -> None:
    """In the next process the device goes on, until its transaction has come to its end."""
    message = house.message(device, transaction=transaction, endpoint=world.endpoint)
    async with asyncio.timeout(60), house.at_work():
        while True:
            outcome = await house.submit(message)
            if isinstance(outcome, Pending):
                await _approved(house, outcome.request_id)
            if isinstance(outcome, Issued) and world.end != FORGOTTEN:
                accepted = world.end == CONFIRMED
                await house.confirm(accepted=accepted, transaction=transaction, endpoint=world.endpoint)
            await _no_job_is_due(house)
            if isinstance(outcome, Unavailable):  # a device asks again, whatever was too busy
                world.clock.advance(seconds=POLL_S)
                continue
            ready = {job.kind for job in await house.jobs() if job.state == "ready"}
            if not ready - {EXPIRE_JOB} and (await house.row(outcome.request_id)).closed_at is not None:
                return
            world.clock.advance(seconds=POLL_S)


async def _no_job_is_due(house: TransactionHouse) -> None:
    """Wait for those that are."""
    while any(
        job.state == "running" or (job.state == "ready" and job.run_at <= house.clock.now())
        for job in await house.jobs()
    ):
        house.runner.wake()
        await asyncio.sleep(0.01)


async def _check(world: World, house: TransactionHouse, device: Device, transaction: str) -> None:
    """One request, one certificate, and all records say the same of it."""
    rows = [row for row in await house.rows() if row.transaction_id == transaction]
    assert [row.state for row in rows] == [State.ISSUED if world.end == CONFIRMED else State.WITHDRAWN]
    spki_sha256 = public_key(pki.spki_der(device.private_key)).spki_sha256
    (record,) = await world.store.reader.read(lambda c: certificates.by_spki(c, spki_sha256))
    assert record.sha256 == rows[0].certificate_sha256
    assert record.status == ("good" if world.end == CONFIRMED else "revoked")
    if world.endpoint == "remote":
        assert (record.serial_hex in world.foreign.revoked) is (world.end != CONFIRMED)
    verdict = await world.store.reader.read(audit.verify_chain)
    assert verdict.ok, verdict.what


@pytest.mark.parametrize("end", [CONFIRMED, DECLINED, FORGOTTEN])
@pytest.mark.parametrize(("endpoint", "steps_at_least"), [("direct", 4), ("remote", 8), ("slow", 6)])
async def test_process_killed_at_any_step_of_a_transaction_leaves_nothing_unfinished(
    world: World, endpoint: str, steps_at_least: int, end: str
) -> None:
    """cmp.md C76; at an embedded CA, at one elsewhere, and after an approval."""
    world.endpoint, world.end = endpoint, end
    await world.process(Steps()).credential("device")
    killed_at = 0
    while True:
        transaction, device = f"killed at {killed_at}", Device(f"h{killed_at}.test")
        steps = Steps(killed_at)
        try:
            await _live(world, world.process(steps), device, transaction)
        except Killed:
            house = world.process(Steps())
            await _live_on(world, house, device, transaction)
            await _check(world, house, device, transaction)
            killed_at += 1
        else:
            break
    assert steps.done >= steps_at_least
