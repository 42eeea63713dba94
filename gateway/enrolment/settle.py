"""From a granted plan to a recorded certificate: order, compare the answer with the plan, record.

A backend in this process is called first and then written once (docs/adr/0002); for every other one the
intent is durable before the call, and a job takes over whatever was interrupted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from ca_backend.api import (
    CaAnswer,
    CaBackend,
    CaIssued,
    CanFind,
    CanPoll,
    CanRevoke,
    CaPending,
    CaRefused,
    IssuanceOrder,
    RetryClass,
)
from gateway.clock import Clock
from gateway.enrolment import record
from gateway.enrolment.backends import BackendSet, issuer_of
from gateway.enrolment.compare import differences
from gateway.enrolment.plan_json import plan_from_json, shifted
from gateway.enrolment.states import CLOSED, check_move
from gateway.errors import BackendInDoubt, BackendUnavailable, MalformedMessage, RetryLater
from gateway.model.certificate import RevocationReason
from gateway.model.enrolment import CertificatePlan
from gateway.model.ids import RequestId, reason_id
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.store import certificates, jobs, requests
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

LOG = logging.getLogger(__name__)
CALL_TIMEOUT_S = 30
SETTLE_JOB = "settle"
TAKE_OVER_AFTER = timedelta(seconds=CALL_TIMEOUT_S + 15)
NOT_ACTED = "not-acted"  # in ca_handle: the last call is known not to have reached the CA
IN_DOUBT_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class Work:
    """A request on its way to a certificate. ``stored``: its row is in the database already."""

    row: RequestRow
    plan: CertificatePlan
    stored: bool
    also: Unit | None = None  # operations that belong into the unit that records the acceptance


class Settlement:
    """Calls CAs and records what they answer."""

    def __init__(
        self, store: Store, backends: BackendSet, clock: Clock, grace_s: Callable[[str, str], int]
    ) -> None:
        """``grace_s`` tells, by protocol and endpoint, how long a closed request answers repeats."""
        self._store = store
        self._backends = backends
        self._clock = clock
        self._grace_s = grace_s

    async def start(self, work: Work) -> Outcome:
        """Take a new, granted request to its first answer. Raises Conflict if the same is there already."""
        backend = self._backends.get(work.row.backend or "")
        if backend.signs_in_process:
            return await self._close(work, await backend.issue(_order(work)))
        row = replace(work.row, state=State.SUBMITTING)
        unit = work.also or Unit()
        requests.insert(unit, row)
        unit.audit(record.event(row, "request.submit", backend=row.backend))
        jobs.enqueue(unit, SETTLE_JOB, row.id, {"request_id": row.id}, self._clock.now() + TAKE_OVER_AFTER)
        await self._store.recorder.commit(unit)
        return await self._call(Work(row, work.plan, stored=True), backend, again=False)

    async def resume(self, row: RequestRow) -> Outcome | None:
        """Go on with a stored request, from a job; None where there is nothing to do now."""
        plan = plan_from_json(row.plan or {})
        backend = self._backends.get(row.backend or "")
        if row.state is State.AWAITING_APPROVAL:
            if len(row.approvals) < row.approvals_required:
                return None
            return await self._approved(row, plan, backend)
        if row.state is State.SUBMITTING:
            return await self._call(Work(row, plan, stored=True), backend, again=True)
        if row.state is State.AWAITING_CA and isinstance(backend, CanPoll):
            work = Work(row, plan, stored=True)
            return await self._answered(work, backend.poll(row.ca_handle or ""), backend)
        return None

    async def _approved(self, row: RequestRow, plan: CertificatePlan, backend: CaBackend) -> Outcome:
        waited_s = int((self._clock.now() - row.received_at).total_seconds())
        issuer = await self._backends.issuer(row.backend or "", row.profile)
        plan = shifted(plan, waited_s, issuer.not_after)
        work = Work(row, plan, stored=True)
        if backend.signs_in_process:
            return await self._close(work, await backend.issue(_order(work)))
        unit = Unit()
        row = self._move(unit, work, State.SUBMITTING)
        await self._store.recorder.commit(unit)
        return await self._call(Work(row, plan, stored=True), backend, again=False)

    async def _call(self, work: Work, backend: CaBackend, *, again: bool) -> Outcome:
        """Send the order. ``again``: it may have been sent before; the retry class decides."""
        if again and backend.retry is RetryClass.FINDABLE and isinstance(backend, CanFind):
            try:
                found = await backend.find(work.row.id, work.plan.spki_der)
            except RetryLater as error:
                return _unavailable(work, error)
            if found is not None:
                return await self._close(work, found)
        if backend.retry is RetryClass.NEITHER:
            if again and work.row.ca_handle != NOT_ACTED:
                return await self._in_doubt(work, "the gateway stopped while the CA was being asked")
            if work.row.ca_handle == NOT_ACTED:
                # From here on the call may act: that must be durable before it is made.
                work = await self._mark(work, None)
        return await self._answered(work, backend.issue(_order(work)), backend)

    async def _answered(self, work: Work, call: Awaitable[CaAnswer], backend: CaBackend) -> Outcome:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = await call
        except BackendUnavailable as error:
            LOG.warning("backend.unavailable %s: %s", backend.name, error.detail or error)
            if backend.retry is RetryClass.NEITHER:
                work = await self._mark(work, NOT_ACTED)
            return await self._later(work, error)
        except (BackendInDoubt, TimeoutError) as error:
            return await self._lost(work, backend, error)
        except Exception as error:
            # A plug-in may fail with anything; whether the CA acted is then not known.
            LOG.exception("backend.fault %s", backend.name)
            return await self._lost(work, backend, error)
        return await self._close(work, answer)

    async def _lost(self, work: Work, backend: CaBackend, error: BaseException) -> Outcome:
        LOG.warning("backend.in-doubt %s: %r", backend.name, error)
        if backend.retry is RetryClass.NEITHER:
            return await self._in_doubt(work, "the CA's answer was lost")
        return await self._later(work, BackendUnavailable("the CA did not answer in time"))

    async def _later(self, work: Work, error: RetryLater) -> Outcome:
        """Let the job that would have taken over after a crash try again soon."""
        unit = Unit()
        jobs.hasten(unit, SETTLE_JOB, work.row.id, self._clock.now() + timedelta(seconds=error.retry_after_s))
        await self._store.recorder.commit(unit)
        return _unavailable(work, error)

    async def _in_doubt(self, work: Work, why: str) -> Outcome:
        unit = Unit()
        row = self._move(unit, work, State.IN_DOUBT)
        unit.audit(record.event(row, "request.in-doubt", "failed", why=why))
        await self._store.recorder.commit(unit)
        return in_doubt(row)

    async def _mark(self, work: Work, handle: str | None) -> Work:
        unit = Unit()
        row = self._move(unit, work, work.row.state, ca_handle=handle)
        await self._store.recorder.commit(unit)
        return replace(work, row=row)

    async def _close(self, work: Work, answer: CaAnswer) -> Outcome:
        """Record the CA's answer; the outcome leaves after COMMIT."""
        match answer:
            case CaIssued():
                return await self._issued(work, answer)
            case CaPending(handle, retry_after_s):
                return await self._pending(work, handle, retry_after_s)
            case CaRefused(code, message):
                reason = Reason(ReasonCode.BACKEND_REFUSED, "the CA refused this request")
                return await self._refused(work, reason, ca_code=code, ca_message=message)
            case _:
                assert_never(answer)

    async def _issued(self, work: Work, answer: CaIssued) -> Outcome:
        try:
            issued = parse_certificate(answer.certificate_der)
        except MalformedMessage as error:
            reason = Reason(ReasonCode.BACKEND_MISMATCH, "the CA gave something that is no certificate")
            return await self._refused(work, reason, what=str(error))
        found = differences(work.plan, issued, answer.chain_der)
        if found:
            return await self._mismatch(work, issued, answer.chain_der, found)
        if not self._backends.get(work.row.backend or "").signs_in_process:
            self._backends.adopt_chain(work.row.backend or "", work.row.profile, answer.chain_der)
        issuer = issuer_of(answer.chain_der)
        now = self._clock.now()
        unit = work.also or Unit()
        row = self._move(
            unit,
            work,
            State.ISSUED,
            certificate_sha256=issued.sha256,
            answers_until=now + timedelta(seconds=self._grace_s(work.row.protocol, work.row.endpoint)),
        )
        stored = record.certificate_record(row, issued, answer.chain_der, issuer.certificate.spki_sha256)
        certificates.insert(unit, stored, answer.chain_der)
        unit.audit(
            record.event(
                row,
                "certificate.issue",
                serial=stored.serial_hex,
                sha256=stored.sha256,
                issued_subject=stored.subject,
                issued_sans=list(stored.sans[:20]),
                predecessor=stored.predecessor_sha256,
            )
        )
        await self._store.recorder.commit(unit)
        return Issued(RequestId(row.id), answer.certificate_der, answer.chain_der)

    async def _mismatch(
        self, work: Work, issued: ParsedCertificate, chain_der: tuple[bytes, ...], found: tuple[str, ...]
    ) -> Outcome:
        """Quarantine: kept in the record as revoked, revoked at the CA if it can, never handed out."""
        LOG.error("certificate.mismatch request %s: %s", work.row.id, "; ".join(found))
        backend = self._backends.get(work.row.backend or "")
        if isinstance(backend, CanRevoke):
            try:
                await backend.revoke(issued.serial, RevocationReason.UNSPECIFIED)
            except RetryLater:
                LOG.exception("certificate.mismatch could not be revoked at the CA")
        issuer = await self._backends.issuer(work.row.backend or "", work.row.profile)
        quarantined = record.certificate_record(
            work.row,
            issued,
            chain_der,
            issuer.certificate.spki_sha256,
            quarantined_at=self._clock.now(),
        )
        reason = Reason(
            ReasonCode.BACKEND_MISMATCH, "the CA gave a certificate that is not the one decided on; try again"
        )
        unit = work.also or Unit()
        certificates.insert(unit, quarantined, chain_der)
        return await self._refused(
            replace(work, also=unit), reason, sha256=issued.sha256, differences=list(found)
        )

    async def _pending(self, work: Work, handle: str, retry_after_s: int) -> Outcome:
        unit = work.also or Unit()
        row = self._move(unit, work, State.AWAITING_CA, ca_handle=handle, retry_after_s=retry_after_s)
        jobs.hasten(unit, SETTLE_JOB, row.id, self._clock.now() + timedelta(seconds=retry_after_s))
        unit.audit(record.event(row, "request.await-ca"))
        await self._store.recorder.commit(unit)
        return Pending(RequestId(row.id), "ca", retry_after_s)

    async def _refused(self, work: Work, reason: Reason, **details: object) -> Outcome:
        unit = work.also or Unit()
        decision = {**(work.row.decision or {}), "reasons": record.reasons_json((reason,))}
        row = self._move(
            unit,
            work,
            State.REFUSED,
            reason_id=reason_id(work.row.id),
            decision=decision,
            answers_until=self._clock.now(),
        )
        unit.audit(record.event(row, "request.refuse", "failed", codes=[reason.code.value], facts=details))
        await self._store.recorder.commit(unit)
        return Refused(RequestId(row.id), (reason,))

    def _move(self, unit: Unit, work: Work, state: State, **changes: object) -> RequestRow:
        """Insert or move the row; gives it as it then stands in the database."""
        now = self._clock.now()
        closed_at = now if state in CLOSED else None
        if not work.stored:
            row = replace(work.row, state=state, updated_at=now, closed_at=closed_at, **changes)  # type: ignore[arg-type]
            requests.insert(unit, row)
            return row
        if state is not work.row.state:
            check_move(work.row.state, state)
        requests.move(
            unit,
            work.row.id,
            work.row.version,
            state,
            from_state=work.row.state,
            at=now,
            **changes,  # type: ignore[arg-type]
        )
        return replace(
            work.row,
            state=state,
            version=work.row.version + 1,
            updated_at=now,
            closed_at=closed_at,
            **changes,  # type: ignore[arg-type]
        )


def _order(work: Work) -> IssuanceOrder:
    return IssuanceOrder(work.row.id, work.plan, work.row.csr_der, work.row.profile)


def _unavailable(work: Work, error: RetryLater) -> Unavailable:
    reason = Reason(ReasonCode.BACKEND_UNAVAILABLE, "the CA is not available; ask again later")
    return Unavailable(reason, error.retry_after_s, RequestId(work.row.id))


def in_doubt(row: RequestRow) -> Unavailable:
    reason = Reason(
        ReasonCode.BACKEND_UNAVAILABLE,
        "the CA's answer to this request was lost and it cannot be asked; an operator must settle it",
    )
    return Unavailable(reason, IN_DOUBT_RETRY_S, RequestId(row.id))
