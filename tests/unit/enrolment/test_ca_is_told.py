"""Revocations that a CA in another process is told of: what it knows in the end is what our record shows."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta

import pytest

from gateway.enrolment.backends import BackendSet
from gateway.enrolment.issued import IssuedCertificates
from gateway.enrolment.work import EnrolmentJobs
from gateway.errors import BackendUnavailable
from gateway.model.certificate import CertificateRecord, RevocationReason
from gateway.model.outcome import Issued
from gateway.store import certificates
from gateway.store.jobs import Job
from gateway.store.unit import Unit
from tests.unit.enrolment.house import House

HOLD, STOLEN = RevocationReason.CERTIFICATE_HOLD, RevocationReason.KEY_COMPROMISE


async def _issued(house: House) -> str:
    """SHA-256 of a certificate that the foreign CA has issued."""
    await house.credential("device")
    issued = await house.submit(house.request("a.test", endpoint="foreign"))
    assert isinstance(issued, Issued)
    return hashlib.sha256(issued.certificate_der).hexdigest()


async def _record(house: House, sha256: str) -> CertificateRecord:
    record = await house.store.reader.read(lambda connection: certificates.by_sha256(connection, sha256))
    assert record is not None
    return record


async def _revoke(house: House, sha256: str, reason: RevocationReason) -> None:
    record = await _record(house, sha256)
    await IssuedCertificates(house.store, house.clock).revoke(record, reason, "cli:anna")


def _away(call: str) -> None:
    if call == "revoke":
        raise BackendUnavailable("away")


async def _all_told(house: House) -> None:
    """Let the jobs run until none of them has anything to tell."""
    async with house.at_work(), asyncio.timeout(60):
        while states := {job.state for job in await house.jobs() if job.kind == "revoke-at-ca"} - {"done"}:
            if "running" not in states:
                house.clock.advance(seconds=1)
            house.runner.wake()
            await asyncio.sleep(0.01)


def _told(house: House) -> list[str]:
    """The reasons as the CA gets them, which by itself remembers the first one only."""
    reasons: list[str] = []
    house.foreign.ca.revoke = lambda serial, reason: reasons.append(reason)
    return reasons


async def _tried(house: House) -> None:
    async with house.at_work(), asyncio.timeout(60):
        while "revoke" not in house.foreign.calls:
            await asyncio.sleep(0.01)


async def test_revocation_after_a_hold_that_still_waits_is_told(house: House) -> None:
    sha256 = await _issued(house)
    house.foreign.before = _away
    await _revoke(house, sha256, HOLD)
    await _tried(house)
    await _revoke(house, sha256, STOLEN)
    house.foreign.before = lambda call: None
    await _all_told(house)
    assert house.foreign.revoked == {(await _record(house, sha256)).serial_hex: "keyCompromise"}


async def test_hold_that_was_released_before_the_ca_came_back_is_not_told(house: House) -> None:
    sha256 = await _issued(house)
    house.foreign.before = _away
    await _revoke(house, sha256, HOLD)
    await _tried(house)
    unit = Unit()
    certificates.release_hold(unit, await _record(house, sha256))
    await house.store.recorder.commit(unit)
    house.foreign.before = lambda call: None
    await _all_told(house)
    assert house.foreign.revoked == {}


async def _only_job(house: House) -> Job:
    (job,) = [job for job in await house.jobs() if job.kind == "revoke-at-ca"]
    return job


async def test_revocation_waits_for_a_backend_that_is_no_longer_in_the_policies(house: House) -> None:
    sha256 = await _issued(house)
    await _revoke(house, sha256, STOLEN)
    job = await _only_job(house)
    without = EnrolmentJobs(
        house.store, house.service.settlement, BackendSet({"embedded": house.embedded}), house.clock
    )
    assert await without.revoke_at_ca(job) == house.clock.now() + timedelta(hours=1)
    assert await house.work.revoke_at_ca(job) is None
    assert list(house.foreign.revoked.values()) == ["keyCompromise"]


async def test_nobody_is_told_of_the_revocation_of_what_has_expired(house: House) -> None:
    """However long a CA is away: its job ends with the certificate."""
    sha256 = await _issued(house)
    house.foreign.before = _away
    await _revoke(house, sha256, STOLEN)
    job = await _only_job(house)
    house.clock.moment = (await _record(house, sha256)).not_after
    with pytest.raises(BackendUnavailable):
        await house.work.revoke_at_ca(job)
    house.clock.advance(seconds=1)
    assert await house.work.revoke_at_ca(job) is None
    assert house.foreign.revoked == {}


@pytest.mark.parametrize("later", [True, False], ids=["the hold is told last", "the revocation is told last"])
async def test_revocation_while_the_hold_is_being_told_is_what_the_ca_knows(
    house: House, later: bool
) -> None:
    sha256, told = await _issued(house), _told(house)
    held, go_on = asyncio.Event(), asyncio.Event()

    async def hold_on() -> None:
        house.foreign.before = lambda call: None
        held.set()
        await go_on.wait()

    house.foreign.before = lambda call: hold_on() if call == "revoke" else None
    await _revoke(house, sha256, HOLD)
    async with house.at_work(), asyncio.timeout(60):
        await held.wait()
        await _revoke(house, sha256, STOLEN)
        if not later:
            go_on.set()
        house.runner.wake()
        while "keyCompromise" not in told:
            await asyncio.sleep(0.01)
        go_on.set()
    await _all_told(house)
    assert told[-1] == "keyCompromise"
