"""The leased jobs of enrolment: issue what was approved, take over what was interrupted, let waits end."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial

from ca_backend.api import CanRevoke
from gateway.clock import Clock, to_epoch_s
from gateway.enrolment.approval import APPROVED_JOB, EXPIRE_JOB, SYSTEM, expired_reason, refuse_waiting
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.calls import call
from gateway.enrolment.closing import SETTLE_JOB
from gateway.enrolment.confirmation import CONFIRM_JOB, time_is_up, withdraw_late
from gateway.enrolment.revocation import REVOKE_JOB
from gateway.enrolment.settle import TAKE_OVER_AFTER, Settlement
from gateway.enrolment.states import CLOSED
from gateway.enrolment.superseding import SUPERSEDE_JOB, revoke_previous
from gateway.jobs.runner import Handler
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason
from gateway.model.outcome import Pending, State, Unavailable
from gateway.store import certificates, jobs, requests
from gateway.store.jobs import Job
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

LOG = logging.getLogger(__name__)
STRANDED_AFTER = timedelta(minutes=5)
NO_BACKEND_AGAIN = timedelta(hours=1)  # it may come back with other policies
EXPIRY_IS_LATE_AFTER = timedelta(minutes=2)
GOING_ON = (SETTLE_JOB, APPROVED_JOB)  # their key is the request's id, as that of CONFIRM_JOB
# A CA may still be at what a killed worker asked: an order that it does not find yet would be sent once more.
LINGERING = dict.fromkeys((*GOING_ON, REVOKE_JOB), TAKE_OVER_AFTER)


class EnrolmentJobs:
    """Handlers by kind; each may run twice."""

    def __init__(self, store: Store, settlement: Settlement, backends: BackendSet, clock: Clock) -> None:
        self._store = store
        self._settlement = settlement
        self._backends = backends
        self._clock = clock

    def handlers(self) -> dict[str, Handler]:
        return {
            SETTLE_JOB: self.settle,
            APPROVED_JOB: self.settle,
            EXPIRE_JOB: self.expire,
            CONFIRM_JOB: self.withdraw_unconfirmed,
            REVOKE_JOB: self.revoke_at_ca,
            SUPERSEDE_JOB: self.revoke_previous,
        }

    async def settle(self, job: Job) -> datetime | None:
        """Go on with a request until it is closed or waits for people."""
        row = await self._row(job)
        if row is None or row.state in CLOSED or row.state is State.IN_DOUBT:
            return None
        outcome = await self._settlement.resume(row)
        match outcome:
            case Pending(_, "ca", retry_after_s) | Unavailable(_, retry_after_s, _):
                after = await self._row(job)
                if after is None or after.state is State.IN_DOUBT:
                    return None
                return self._clock.now() + timedelta(seconds=retry_after_s)
            case _:
                return None

    async def expire(self, job: Job) -> datetime | None:
        """Refuse what nobody approved in time."""
        row = await self._row(job)
        if row is None or row.state is not State.AWAITING_APPROVAL:
            return None
        if len(row.approvals) >= row.approvals_required:
            return None  # the issuing job has it
        unit = Unit()
        refuse_waiting(unit, row, expired_reason(row), SYSTEM, self._clock.now())
        await self._store.recorder.commit(unit)
        return None

    async def withdraw_unconfirmed(self, job: Job) -> datetime | None:
        """Revoke what its requester did not confirm in time."""
        row = await self._row(job)
        if row is None or row.state is not State.UNCONFIRMED:
            return None
        now = self._clock.now()
        if row.confirm_by is not None and not time_is_up(row, now):
            return row.confirm_by + timedelta(seconds=1)
        await withdraw_late(self._store, row, now)
        return None

    async def revoke_at_ca(self, job: Job) -> datetime | None:
        """Tell the CA of a revocation that our record shows: as it is now, should it have changed since.

        Until the certificate has expired, however long the CA is away; then the news is none any more.
        """
        name, told = str(job.args["backend"]), None
        while (record := await self._revoked(job)) is not None and record.revocation_reason is not told:
            if name not in self._backends:
                LOG.warning("revocation.untold %s: no backend %r is open", record.serial_hex, name)
                return self._clock.now() + NO_BACKEND_AGAIN
            backend = self._backends.get(name)
            if not isinstance(backend, CanRevoke):
                return None
            reason = record.revocation_reason or RevocationReason.UNSPECIFIED
            await call(backend, "revoke", backend.revoke(int(record.serial_hex, 16), reason))
            # What came meanwhile has a job of its own, but its call may have been the quicker one.
            told = record.revocation_reason
        return None

    async def revoke_previous(self, job: Job) -> datetime | None:
        """Revoke a certificate whose successor has been good for as long as its policy says."""
        return await revoke_previous(self._store, self._clock, str(job.args["request_id"]))

    async def sweep(self) -> None:
        """Queue open requests that lost their job, or never got one. Raises StoreUnavailable.

        A job ends without success when its worker was killed too often, or a fault outlasted its attempts.
        """
        now = self._clock.now()
        find = partial(
            requests.stranded,
            kinds=(*GOING_ON, CONFIRM_JOB),
            idle_since_s=to_epoch_s(now - STRANDED_AFTER),
            expired_at_s=to_epoch_s(now - EXPIRY_IS_LATE_AFTER),
        )
        found = await self._store.reader.read(find)
        if not found:
            return
        unit = Unit()
        for row in found:
            LOG.warning("request.stranded %s in state %s is taken up again", row.id, row.state)
            jobs.enqueue(unit, _job_for(row), row.id, {"request_id": row.id}, now)
        await self._store.recorder.commit(unit)

    async def _revoked(self, job: Job) -> CertificateRecord | None:
        """The record of a certificate that is revoked or on hold; None if it is not, or has expired."""
        sha256 = str(job.args.get("sha256", job.dedup_key))  # jobs of earlier releases have it as their key
        record = await self._store.reader.read(lambda connection: certificates.by_sha256(connection, sha256))
        if record is None or record.not_after < self._clock.now():
            return None
        return None if record.status is CertificateStatus.GOOD else record

    async def _row(self, job: Job) -> RequestRow | None:
        request_id = str(job.args["request_id"])
        return await self._store.reader.read(lambda connection: requests.get(connection, request_id))


def _job_for(row: RequestRow) -> str:
    """The job that goes on with an open request that was left without one."""
    if row.state is State.UNCONFIRMED:
        return CONFIRM_JOB
    waits = row.state is State.AWAITING_APPROVAL and len(row.approvals) < row.approvals_required
    return EXPIRE_JOB if waits else SETTLE_JOB
