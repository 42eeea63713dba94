"""From a granted plan to an answer of the CA, whatever interrupts it; ``closing`` writes down what it was.

A backend in this process is called first and then written once (docs/adr/0002); for every other one the
intent is durable before the call, and a job takes over whatever was interrupted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection

from ca_backend.api import CaBackend, CanFind, CanPoll, IssuanceOrder, RetryClass
from gateway.clock import Clock
from gateway.enrolment import record
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.calls import CALL_TIMEOUT_S, call
from gateway.enrolment.closing import COMPROMISED_KEY, SETTLE_JOB, Closing, Work
from gateway.enrolment.plan_json import asked_dates_from_json, plan_from_json, plan_to_json
from gateway.enrolment.waited import date_reasons, shifted, stored_reasons
from gateway.errors import BackendInDoubt, BackendUnavailable, RetryLater
from gateway.model.enrolment import CertificatePlan
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.outcome import Outcome, State
from gateway.model.reasons import Reason
from gateway.store import certificates, credentials, jobs, requests
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

# ``frontend.Recheck``: reasons, by endpoint and transaction, why a request that waited must not be sent.
Recheck = Callable[[EndpointName, str], Awaitable[tuple[Reason, ...]]]
TAKE_OVER_AFTER = timedelta(seconds=CALL_TIMEOUT_S + 15)
NOT_ACTED = "not-acted"  # in ca_handle: the last call is known not to have reached the CA


class Settlement:
    """Calls CAs."""

    def __init__(
        self,
        store: Store,
        backends: BackendSet,
        clock: Clock,
        grace_s: Callable[[str, str], int],
        rechecks: Mapping[ProtocolName, Recheck] | None = None,
    ) -> None:
        """``grace_s`` tells, by protocol and endpoint, how long a closed request answers repeats.
        ``rechecks`` may be filled later: front ends are mounted after this is made."""
        self._store = store
        self._backends = backends
        self._clock = clock
        self._closing = Closing(store, backends, clock, grace_s)
        self._rechecks = {} if rechecks is None else rechecks

    async def start(self, work: Work) -> Outcome:
        """Take a new, granted request to its first answer. Raises Conflict if the same is there already."""
        backend = self._backends.get(work.backend)
        if backend.signs_in_process:
            return await self._closing.close(work, await backend.issue(_order(work)))
        row = replace(work.row, state=State.SUBMITTING)
        unit = work.also or Unit()
        requests.insert(unit, row)
        unit.audit(record.event(row, "request.submit", backend=row.backend))
        jobs.enqueue(unit, SETTLE_JOB, row.id, {"request_id": row.id}, self._clock.now() + TAKE_OVER_AFTER)
        await self._store.recorder.commit(unit)
        return await self._send(Work(row, work.plan, stored=True), backend, again=False)

    async def resume(self, row: RequestRow) -> Outcome | None:
        """Go on with a stored request, from a job; None where there is nothing to do now."""
        work = Work(row, plan_from_json(row.plan or {}), stored=True)
        backend = self._backends.get(work.backend)
        if row.state is State.AWAITING_APPROVAL:
            if len(row.approvals) < row.approvals_required:
                return None
            return await self._approved(row, work.plan, backend)
        if row.state is State.SUBMITTING:
            return await self._send(work, backend, again=True)
        if row.state is State.AWAITING_CA and isinstance(backend, CanPoll):
            return await self._poll(work, backend)
        return None

    async def _approved(self, row: RequestRow, plan: CertificatePlan, backend: CaBackend) -> Outcome:
        reasons = await self._reasons_against(row)
        if reasons:
            return await self._closing.refuse(Work(row, plan, stored=True), reasons)
        issuer = await self._backends.issuer(row.backend or "", row.profile)
        asked, now = asked_dates_from_json(row.plan or {}), self._clock.now()
        plan = shifted(plan, asked, row.received_at, now, issuer.not_after)
        work = Work(row, plan, stored=True)
        reasons = date_reasons(plan, asked, now, issuer.not_after)
        if reasons:
            return await self._closing.refuse(work, reasons)
        if backend.signs_in_process:
            return await self._closing.close(work, await backend.issue(_order(work)))
        unit = Unit()
        # The plan as it will be sent: after a lost answer the certificate is held against this one.
        row = self._closing.move(unit, work, State.SUBMITTING, plan=plan_to_json(plan, asked))
        await self._store.recorder.commit(unit)
        return await self._send(Work(row, plan, stored=True), backend, again=False)

    async def _reasons_against(self, row: RequestRow) -> tuple[Reason, ...]:
        """What has happened while the request waited, so that it must not go to the CA any more."""

        def found(connection: Connection) -> tuple[Reason, ...]:
            if row.spki_sha256 is not None and certificates.key_compromised(connection, row.spki_sha256):
                return (COMPROMISED_KEY,)
            behind = [credentials.get(connection, one) for one in record.credentials_behind(row)]
            return stored_reasons(behind, self._clock.now())

        reasons = await self._store.reader.read(found)
        recheck = self._rechecks.get(ProtocolName(row.protocol))
        if reasons or recheck is None or row.transaction_id is None:
            return reasons
        return await recheck(EndpointName(row.endpoint), row.transaction_id)

    async def _send(self, work: Work, backend: CaBackend, *, again: bool) -> Outcome:
        """Send the order. ``again``: it may have been sent before; the retry class decides."""
        never_sent = again and work.row.ca_handle == NOT_ACTED
        if again and backend.retry is RetryClass.FINDABLE and isinstance(backend, CanFind):
            try:
                found = await call(backend, "find", backend.find(work.row.id, work.plan.spki_der))
            except RetryLater as error:
                return await self._closing.later(work, error)
            if found is not None:
                return await self._closing.close(work, found)
            never_sent = True
        if never_sent:
            # An order that may have reached its CA goes on whatever happened since: the certificate is there.
            asked = asked_dates_from_json(work.row.plan or {})
            reasons = await self._reasons_against(work.row)
            reasons = reasons or date_reasons(work.plan, asked, self._clock.now(), None)
            if reasons:
                return await self._closing.refuse(work, reasons)
        if backend.retry is RetryClass.NEITHER:
            if again and work.row.ca_handle != NOT_ACTED:
                return await self._closing.in_doubt(work, "the gateway stopped while the CA was being asked")
            if work.row.ca_handle == NOT_ACTED:
                # From here on the call may act: that must be durable before it is made.
                work = await self._closing.mark(work, None)
        return await self._issue(work, backend)

    async def _issue(self, work: Work, backend: CaBackend) -> Outcome:
        try:
            answer = await call(backend, "issue", backend.issue(_order(work)))
        except BackendUnavailable as error:
            if backend.retry is RetryClass.NEITHER:
                work = await self._closing.mark(work, NOT_ACTED)
            return await self._closing.later(work, error)
        except BackendInDoubt as error:
            if backend.retry is RetryClass.NEITHER:
                return await self._closing.in_doubt(work, "the CA's answer was lost")
            return await self._closing.later(work, error)
        return await self._closing.close(work, answer)

    async def _poll(self, work: Work, backend: CaBackend) -> Outcome:
        """Ask what became of the order. A poll may always be repeated, so that a lost one is no harm."""
        assert isinstance(backend, CanPoll)
        try:
            answer = await call(backend, "poll", backend.poll(work.row.ca_handle or ""))
        except RetryLater as error:
            return await self._closing.later(work, error)
        return await self._closing.close(work, answer)


def _order(work: Work) -> IssuanceOrder:
    return IssuanceOrder(work.row.id, work.plan, work.row.csr_der, work.row.profile)
