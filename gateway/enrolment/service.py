"""The one path (RFC-independent): select, authenticate, decide, record, issue, record, answer.

``EnrolmentService`` is what front ends see as ``frontend.Enrolments``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from gateway.authn.authenticate import Authenticator
from gateway.authn.refusal import CredentialRefused
from gateway.clock import Clock
from gateway.enrolment import record
from gateway.enrolment.approval import EXPIRE_JOB
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.closing import COMPROMISED_KEY, Work
from gateway.enrolment.confirmation import confirm
from gateway.enrolment.correlation import transaction_hash
from gateway.enrolment.gather import Earlier, Gathered, find_recorded, renews_in_transaction
from gateway.enrolment.plan_json import asked_dates, plan_to_json
from gateway.enrolment.record import Judged
from gateway.enrolment.refusals import NO_CSR, Refusals, denial, placed
from gateway.enrolment.repeat import (
    answer_again,
    outcomes_by_correlation,
    transaction_reason,
    unconfirmed_reason,
    under_work,
    what_became,
)
from gateway.enrolment.reserve import Beyond, Reservation, reserve
from gateway.enrolment.settle import Recheck, Settlement
from gateway.enrolment.shadow import ObserveShadow, ShadowTrials, unobserved
from gateway.enrolment.verification import AccountKeys, Verification
from gateway.errors import BackendUnavailable, Conflict
from gateway.model.certificate import CertificateRecord
from gateway.model.decision import Allow, Deny
from gateway.model.enrolment import BadMessage, EnrolmentRequest, Operation
from gateway.model.evidence import CredentialKind, Evidence
from gateway.model.ids import EndpointName, ProtocolName, RequestId, new_id
from gateway.model.outcome import Confirmation, Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.preview import Preview
from gateway.model.reasons import Reason, ReasonCode
from gateway.model.renewal_advice import RenewalAdvice
from gateway.model.wanted import Wanted
from gateway.policy.credential_check import credential_reasons
from gateway.policy.engine import (
    Admitted,
    NotSelected,
    Selected,
    accepted_kinds,
    authorize,
    describe,
    evaluate,
    preview,
    profiles,
    select,
    select_revocation,
)
from gateway.policy.renewal_advice import renewal_advice
from gateway.policy.rules import Bundle
from gateway.store import credentials, jobs, renewals, requests
from gateway.store.store import Store
from gateway.store.unit import Unit

_JUDGEMENTS = 3  # of one request; the second finds who was first, unless that one has a successor already

Observe = Callable[[str, str, str], None]


class EnrolmentService:
    """``frontend.Enrolments`` over policy, store and backends."""

    def __init__(
        self,
        *,
        store: Store,
        bundle: ActiveBundle,
        backends: BackendSet,
        authenticator: Authenticator,
        clock: Clock,
        monotonic: Callable[[], float],
        observe: Observe,
        rechecks: Mapping[ProtocolName, Recheck] | None = None,
        observe_shadow: ObserveShadow = unobserved,
        account_keys: Mapping[ProtocolName, AccountKeys] | None = None,
    ) -> None:
        """``observe(protocol, outcome, code)`` is called once for each outcome. ``rechecks`` and
        ``account_keys`` may be filled later, when front ends are mounted."""
        self._store = store
        self._bundle = bundle
        self._backends = backends
        self._clock = clock
        self._observe = observe
        self._under_way = 0
        store.recorder.under_way = lambda: self._under_way
        self._verification = Verification(store, backends, authenticator, clock, account_keys)
        self._refusals = Refusals(store, monotonic)
        self._shadows = ShadowTrials(bundle, self._verification, observe_shadow)
        self.settlement = Settlement(store, backends, clock, bundle.grace_s, rechecks)

    async def submit(self, requests_: Sequence[EnrolmentRequest]) -> tuple[Outcome, ...]:
        """One outcome per request, in order, each durable. Raises Overloaded and StoreUnavailable."""
        return tuple([await self._submit(request) for request in requests_])

    async def preview(self, request: EnrolmentRequest) -> Preview:
        """What policy would say now, without key and without recording; presented accounts are checked.

        Raises StoreUnavailable, and BackendUnavailable since the CA's own end bounds the validity.
        """
        bundle = self._bundle.current
        selected = select(bundle, request)
        if isinstance(selected, NotSelected):
            return Preview(selected.reasons)
        try:
            verified = await self._verification.verify(bundle, selected.policy, request)
            self._verification.check_new_request(verified)
        except CredentialRefused as refusal:
            return Preview((placed(refusal, selected.policy),), selected.policy.name)
        evidence = verified.evidence
        lists = self._bundle.lists.at(bundle.lists, self._clock.now())
        facts = await self._verification.facts(selected.policy, request, verified.found, evidence, lists)
        return preview(bundle, selected, request, evidence, facts)

    async def authorize(self, request: EnrolmentRequest) -> Evidence | Refused | Unavailable:
        """Who asks for something else than a certificate; see ``frontend.Enrolments``."""
        bundle = self._bundle.current
        judged = Judged(request, new_id(), self._clock.now(), Evidence())
        found = await self._authorized(judged, bundle)
        if not isinstance(found, Evidence):
            self._observed(request.protocol, found)
        return found

    async def confirm(
        self,
        protocol: ProtocolName,
        endpoint: EndpointName,
        parts: tuple[bytes, ...],
        *,
        accepted: bool,
        content_sha256: str,
    ) -> Confirmation:
        """Confirm, or decline and so withdraw, the certificate of the request with this correlation."""
        correlation = transaction_hash(protocol, endpoint, parts)
        return await confirm(
            self._store, self._clock, correlation, accepted=accepted, content_sha256=content_sha256
        )

    async def outcome_of(
        self, protocol: ProtocolName, endpoint: EndpointName, parts: tuple[bytes, ...]
    ) -> Outcome | None:
        """What became of the request with this correlation (one without identity); None: there is none."""
        (outcome,) = await self.outcomes_of(protocol, endpoint, (parts,))
        return outcome

    async def outcomes_of(
        self, protocol: ProtocolName, endpoint: EndpointName, many: Sequence[tuple[bytes, ...]]
    ) -> tuple[Outcome | None, ...]:
        """As ``outcome_of`` for many, in one read."""
        hashes = [transaction_hash(protocol, endpoint, parts) for parts in many]
        return await outcomes_by_correlation(self._store, hashes, self._clock.now())

    async def record_bad_message(self, bad: BadMessage) -> Refused:
        """Record a message that never became a request; bounded per source address."""
        row = record.bad_message_row(bad, self._clock.now())
        recorded = await self._refusals.record(row, (bad.reason,), bad.remote.address)
        self._observe(bad.protocol, "refused", bad.reason.code)
        return Refused(RequestId(row.id) if recorded else None, (bad.reason,))

    def accepted_credentials(
        self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation
    ) -> tuple[CredentialKind, ...]:
        return accepted_kinds(self._bundle.current, protocol, endpoint, operation)

    def profiles(self, protocol: ProtocolName, endpoint: EndpointName) -> Mapping[str, str]:
        """Profiles that some policy of this endpoint is for, with what its owner says of each."""
        return profiles(self._bundle.current, protocol, endpoint)

    def wanted(self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation) -> Wanted | None:
        return describe(self._bundle.current, protocol, endpoint, operation)

    def renewal_advice(self, record: CertificateRecord) -> RenewalAdvice:
        return renewal_advice(self._bundle.current, record)

    async def _submit(self, request: EnrolmentRequest) -> Outcome:
        self._under_way += 1
        try:
            outcome = await self._judged(request)
        finally:
            self._under_way -= 1
        self._observed(request.protocol, outcome)
        return outcome

    def _observed(self, protocol: ProtocolName, outcome: Outcome) -> None:
        match outcome:
            case Issued():
                self._observe(protocol, "issued", "")
            case Pending(_, waits_for, _):
                self._observe(protocol, "pending", waits_for)
            case Refused(_, reasons, _):
                self._observe(protocol, "refused", reasons[0].code if reasons else "")
            case Unavailable(reason, _, _):
                self._observe(protocol, "unavailable", reason.code)

    async def _judged(self, request: EnrolmentRequest) -> Outcome:
        """Judge a request, and judge it anew where another one was first: the same message at the same time,
        or one that used up the one-time credential. What is recorded by then decides."""
        for _ in range(_JUDGEMENTS):
            request_id = new_id()
            try:
                return await self._judge(request, request_id)
            except Conflict:
                find = partial(find_recorded, request_id=request_id)
                recorded = await self._store.reader.read(find)
                if recorded is not None:  # a job was faster than this call of the CA
                    return await what_became(self._store, recorded, self._clock.now())
        return under_work()

    async def _judge(self, request: EnrolmentRequest, request_id: RequestId) -> Outcome:
        """Raises Conflict where somebody else has written meanwhile what decides about this request."""
        bundle, now = self._bundle.current, self._clock.now()
        judged = Judged(request, request_id, now, Evidence())
        selected = select(bundle, request)
        if isinstance(selected, NotSelected):
            denied = Deny(None, bundle.sha256, selected.reasons, selected.trace)
            return await self._refuse(replace(judged, decision=denied), selected.reasons, selected.accepts)
        try:
            verified = await self._verification.verify(bundle, selected.policy, request)
            found = verified.found
            judged = replace(judged, evidence=verified.evidence, correlation=found.correlation)
            # A repeat's link to the TLS session is its own (RFC 7030 section 3.5): a wrong one is left to the
            # judgement of a new request, which refuses it.
            if not credential_reasons(selected.policy, request, judged.evidence):
                answered = await self._again(judged, bundle, selected, found.earlier)
                if answered is not None:
                    return answered
            self._verification.check_new_request(verified)
        except CredentialRefused as refusal:
            return await self._refuse_credential(judged, bundle, selected, refusal)
        except BackendUnavailable as error:
            return Unavailable(error.reason, error.retry_after_s)
        return await self._decide(judged, bundle, selected, found)

    async def _again(
        self, judged: Judged, bundle: Bundle, selected: Selected, earlier: Earlier | None
    ) -> Outcome | None:
        """What a message with the correlation of an earlier one is told; None: it is a new request."""
        correlation = judged.request.correlation
        reason = transaction_reason(earlier, correlation, judged.now)
        if reason is not None:
            return await self._deny(judged, bundle, selected, "transaction", reason)
        return await answer_again(self._store, earlier, correlation, judged.now)

    async def _decide(self, judged: Judged, bundle: Bundle, selected: Selected, found: Gathered) -> Outcome:
        request = judged.request
        if found.key_compromised:
            return await self._deny(judged, bundle, selected, "keys", COMPROMISED_KEY)
        if found.unconfirmed_until is not None:
            reason = unconfirmed_reason(found.unconfirmed_until)
            return await self._deny(judged, bundle, selected, "transaction", reason)
        try:
            lists = self._bundle.lists.at(bundle.lists, judged.now)
            facts = await self._verification.facts(selected.policy, request, found, judged.evidence, lists)
        except BackendUnavailable as error:
            return Unavailable(error.reason, error.retry_after_s)
        decision = evaluate(bundle, selected, request, judged.evidence, facts)
        judged = replace(judged, decision=decision, facts=facts)
        if isinstance(decision, Deny):
            return await self._refuse(judged, decision.reasons)
        if request.csr_der is None and self._needs_csr(decision):
            return await self._deny(judged, bundle, selected, "route", NO_CSR)
        judge_again = partial(evaluate, bundle, selected, request, judged.evidence)
        judged, reserved = await reserve(self._store, bundle, selected.policy, judged, judge_again)
        if isinstance(reserved, Beyond):
            refused = await self._refuse(judged, reserved.reasons)
            return replace(refused, retry_after_s=reserved.retry_after_s)
        return await self._grant(judged, found.earlier, reserved)

    async def _grant(self, judged: Judged, earlier: Earlier | None, reserved: Reservation) -> Outcome:
        judged = await self._shadows.beside(judged)
        decision = judged.decision
        assert isinstance(decision, Allow)
        try:
            self._verification.check_issuer(decision.route, judged.facts)
            if decision.approval is not None:
                return await self._park(judged, decision, earlier, reserved.waiting)
            return await self._issue(judged, decision, earlier, reserved)
        except BackendUnavailable as error:
            return Unavailable(error.reason, error.retry_after_s)

    async def _authorized(self, judged: Judged, bundle: Bundle) -> Evidence | Refused | Unavailable:
        request = judged.request
        admitted = select_revocation(bundle, request)
        if isinstance(admitted, NotSelected):
            denied = Deny(None, bundle.sha256, admitted.reasons, admitted.trace)
            return await self._refuse(replace(judged, decision=denied), admitted.reasons, admitted.accepts)
        try:
            verified = await self._verification.verify(bundle, admitted.policy, request)
            judged = replace(judged, evidence=verified.evidence)
            self._verification.check_new_request(verified)
        except CredentialRefused as refusal:
            return await self._refuse_credential(judged, bundle, admitted, refusal)
        except BackendUnavailable as error:
            return Unavailable(error.reason, error.retry_after_s)
        refused = authorize(bundle, admitted, request, judged.evidence)
        if refused is not None:
            return await self._refuse(replace(judged, decision=refused), refused.reasons)
        return judged.evidence

    def _needs_csr(self, decision: Allow) -> bool:
        backend = decision.route.backend
        return backend in self._backends and self._backends.get(backend).needs_csr

    async def _issue(
        self, judged: Judged, decision: Allow, earlier: Earlier | None, reserved: Reservation
    ) -> Outcome:
        assert decision.plan is not None
        unit = self._acceptance(judged, earlier)
        row = record.with_taken(record.request_row(judged, State.SUBMITTING), reserved.write(unit, judged))
        route = decision.route
        if route.fallbacks or not self._backends.get(route.backend).signs_in_process:
            row = replace(row, plan=plan_to_json(decision.plan, asked_dates(judged.request)))
        return await self.settlement.start(Work(row, decision.plan, stored=False, also=unit))

    async def _park(
        self, judged: Judged, decision: Allow, earlier: Earlier | None, reserved: Reservation
    ) -> Outcome:
        assert decision.plan is not None
        assert decision.approval is not None
        rule = decision.approval
        row = record.request_row(
            judged,
            State.AWAITING_APPROVAL,
            plan=plan_to_json(decision.plan, asked_dates(judged.request)),
            approvals_required=rule.required,
            retry_after_s=rule.retry_after_s,
            expires_at=judged.now + timedelta(seconds=rule.expires_s),
        )
        unit = self._acceptance(judged, earlier)
        row = record.with_taken(row, reserved.write(unit, judged))
        requests.insert(unit, row)
        unit.audit(record.event(row, "request.park", required=rule.required))
        expires_at = judged.now + timedelta(seconds=rule.expires_s + 1)
        jobs.enqueue(unit, EXPIRE_JOB, row.id, {"request_id": row.id}, expires_at)
        await self._store.recorder.commit(unit)
        return Pending(judged.request_id, "approval", rule.retry_after_s)

    def _acceptance(self, judged: Judged, earlier: Earlier | None) -> Unit:
        """What must be written in the unit that accepts the request."""
        unit = Unit()
        request = judged.request
        if earlier is not None:
            requests.retire(unit, earlier.row.id)
        if request.renews_der is not None and renews_in_transaction(request):
            renewed_sha256 = hashlib.sha256(request.renews_der).hexdigest()
            renewals.demand_no_other(unit, judged.request_id, renewed_sha256, judged.now)
        for credential in judged.evidence.credentials:
            if credential.credential_id is not None and credential.counted:
                credentials.use(unit, credential.credential_id, judged.now)
        return unit

    async def _deny(
        self, judged: Judged, bundle: Bundle, selected: Selected, step: str, reason: Reason
    ) -> Refused:
        """Refuse for something that no rule of a policy was asked about."""
        return await self._refuse(replace(judged, decision=denial(bundle, selected, step, reason)), (reason,))

    async def _refuse_credential(
        self, judged: Judged, bundle: Bundle, admitted: Admitted, refusal: CredentialRefused
    ) -> Refused | Unavailable:
        reason = placed(refusal, admitted.policy)
        if refusal.code is ReasonCode.AUTH_THROTTLED:
            return Unavailable(reason, refusal.retry_after_s)
        detail = refusal.detail
        if refusal.code is ReasonCode.AUTH_FAILED:
            detail += await self._verification.revoked_credential(judged.request)
        denied = denial(bundle, admitted, "authenticate", reason, detail)
        accepts = accepted_kinds(
            bundle, judged.request.protocol, judged.request.endpoint, judged.request.operation
        )
        return await self._refuse(replace(judged, decision=denied), (reason,), accepts)

    async def _refuse(
        self, judged: Judged, reasons: tuple[Reason, ...], accepts: tuple[CredentialKind, ...] = ()
    ) -> Refused:
        # A first try without credentials is how libest asks for the challenge: counted, not recorded.
        if judged.request.presented == () and reasons[0].code is ReasonCode.AUTH_MISSING:
            return Refused(None, reasons, accepts)
        judged = await self._shadows.beside(judged)
        row = record.refused_row(judged, reasons)
        recorded = await self._refusals.record(row, reasons, judged.request.remote.address)
        return Refused(judged.request_id if recorded else None, reasons, accepts)
