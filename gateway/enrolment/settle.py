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
from gateway.enrolment.fallback import (
    before_any_order,
    bounded,
    falls_back,
    first_place,
    next_work,
    stand_ins,
)
from gateway.enrolment.plan_json import asked_dates_from_json, plan_from_json, plan_to_json
from gateway.enrolment.waited import date_reasons, shifted, stored_reasons
from gateway.errors import BackendInDoubt, BackendUnavailable, NotActed, RetryLater
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
        """Take a new, granted request to its first answer. Raises Conflict if the same is there already, and
        BackendUnavailable if no CA can be asked; then nothing is recorded."""
        try:
            work, backend = await self._ready(work)
            answer = await backend.issue(_order(work)) if backend.signs_in_process else None
        except BackendUnavailable as error:
            # Nothing was sent, and what a CA in this process did not sign has not left it.
            onward = await next_work(work, before_any_order(error, NotActed.CA_OFFLINE), self._backends)
            if onward is None:
                raise
            return await self.start(onward)
        if answer is not None:
            return await self._closing.close(work, answer)
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
        if row.state is State.AWAITING_APPROVAL:
            if len(row.approvals) < row.approvals_required:
                return None
            return await self._approved(row, work.plan)
        backend = self._backends.get(work.backend)
        if row.state is State.SUBMITTING:
            return await self._send(work, backend, again=True)
        if row.state is State.AWAITING_CA and isinstance(backend, CanPoll):
            return await self._poll(work, backend)
        return None

    async def _ready(self, work: Work) -> tuple[Work, CaBackend]:
        """The backend of a request that was never sent; its end, which bounds the plan, may not have been
        known where others stand in for it. Raises BackendUnavailable."""
        backend = self._backends.get(work.backend)
        if stand_ins(work.row) is None:
            return work, backend
        plan = await bounded(work, self._backends)
        if plan is None:
            raise BackendUnavailable("the CA's own certificate ends before the requested notAfter")
        if plan is not work.plan:
            stored = plan_to_json(plan, asked_dates_from_json(work.row.plan or {}))
            work = replace(work, plan=plan, row=replace(work.row, plan=stored))
        return work, backend

    async def _approved(self, row: RequestRow, plan: CertificatePlan) -> Outcome:
        reasons = await self._reasons_against(row)
        if reasons:
            return await self._closing.refuse(Work(row, plan, stored=True), reasons)
        asked, now = asked_dates_from_json(row.plan or {}), self._clock.now()
        work = Work(row, shifted(plan, asked, row.received_at, now, None), stored=True)
        try:
            backend = self._backends.get(work.backend)
            latest = (await self._backends.issuer(work.backend, row.profile)).not_after
            plan = shifted(plan, asked, row.received_at, now, latest)
            work = Work(row, plan, stored=True)
            reasons = date_reasons(plan, asked, now, latest)
            if reasons:
                return await self._closing.refuse(work, reasons)
            answer = await backend.issue(_order(work)) if backend.signs_in_process else None
        except BackendUnavailable as error:
            onward = await next_work(work, before_any_order(error, NotActed.CA_OFFLINE), self._backends)
            if onward is None:
                raise
            return await self._go_on(work, onward)
        if answer is not None:
            return await self._closing.close(work, answer)
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
        # Only then may another CA be asked: what was sent before may still be carried out.
        first_send = never_sent or not again
        known = never_sent and stand_ins(work.row) is not None  # where others stand in, every CA has said so
        if again and not known and backend.retry is RetryClass.FINDABLE and isinstance(backend, CanFind):
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
        if backend.retry is RetryClass.NEITHER and not first_send:
            return await self._closing.in_doubt(work, "the gateway stopped while the CA was being asked")
        if work.row.ca_handle == NOT_ACTED and (backend.retry is RetryClass.NEITHER or stand_ins(work.row)):
            # From here on the call may act: that must be durable before it is made.
            work = await self._closing.mark(work, None)
        return await self._issue(work, backend, first_send=first_send)

    async def _issue(self, work: Work, backend: CaBackend, *, first_send: bool) -> Outcome:
        try:
            answer = await call(backend, "issue", backend.issue(_order(work)))
        except BackendUnavailable as error:
            proven = before_any_order(error, NotActed.CA_OFFLINE) if backend.signs_in_process else error
            if first_send and falls_back(work.row, proven):
                return await self._instead(work, proven)
            if backend.retry is RetryClass.NEITHER:
                work = await self._closing.mark(work, NOT_ACTED)
            return await self._closing.later(work, error)
        except BackendInDoubt as error:
            if backend.retry is RetryClass.NEITHER:
                return await self._closing.in_doubt(work, "the CA's answer was lost")
            return await self._closing.later(work, error)
        return await self._closing.close(work, answer)

    async def _instead(self, work: Work, error: BackendUnavailable) -> Outcome:
        """Ask the CAs that stand in, and once nobody could be asked, all of them again later."""
        onward = await next_work(work, error, self._backends)
        if onward is not None:
            return await self._go_on(work, onward)
        work = await self._closing.mark(work, NOT_ACTED, **first_place(work.row))
        return await self._closing.later(work, error)

    async def _go_on(self, work: Work, onward: Work) -> Outcome:
        """Make the request that of another CA, durably, and ask it."""
        unit, to = Unit(), onward.row
        row = self._closing.move(
            unit,
            work,
            State.SUBMITTING,
            backend=to.backend,
            profile=to.profile,
            ca_handle=None,
            plan=to.plan,
            decision=to.decision,
        )
        unit.audit(record.event(row, "request.fallback", backend=row.backend, instead_of=work.backend))
        # What takes over after a crash must not come while this CA is being asked.
        jobs.postpone(unit, SETTLE_JOB, row.id, self._clock.now() + TAKE_OVER_AFTER)
        await self._store.recorder.commit(unit)
        return await self._send(
            Work(row, onward.plan, stored=True), self._backends.get(onward.backend), again=False
        )

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
