"""The one path (RFC-independent): select, authenticate, decide, record, issue, record, answer.

``EnrolmentService`` is what front ends see as ``frontend.Enrolments``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from gateway.authn.authenticate import Authenticator, check_new_request
from gateway.authn.claims import Claims
from gateway.authn.refusal import CredentialRefused
from gateway.authn.trust import TrustStore, TrustStores
from gateway.clock import Clock
from gateway.enrolment import record
from gateway.enrolment.approval import EXPIRE_JOB
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.closing import COMPROMISED_KEY, Work
from gateway.enrolment.correlation import transaction_hash
from gateway.enrolment.gather import Earlier, Gathered, find_earlier, gather
from gateway.enrolment.key_history import known_to_others
from gateway.enrolment.plan_json import asked_dates, plan_to_json
from gateway.enrolment.record import Judged
from gateway.enrolment.refusals import Refusals
from gateway.enrolment.repeat import answer_again, outcomes_by_correlation, under_work
from gateway.enrolment.settle import Recheck, Settlement
from gateway.errors import BackendUnavailable, Conflict, MalformedMessage
from gateway.model.decision import Allow, Deny, TraceStep
from gateway.model.enrolment import BadMessage, EnrolmentRequest, Operation
from gateway.model.evidence import BASIC, CredentialKind, Evidence, PresentedPassword
from gateway.model.ids import EndpointName, ProtocolName, RequestId, new_id
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.preview import Preview
from gateway.model.reasons import Reason, ReasonCode
from gateway.model.wanted import Wanted
from gateway.pki.certificate import parse_certificate
from gateway.policy.credential_check import credential_reasons
from gateway.policy.engine import (
    NotSelected,
    Selected,
    accepted_kinds,
    describe,
    evaluate,
    preview,
    profiles,
    select,
)
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import Bundle
from gateway.store import credentials, jobs, requests
from gateway.store.store import Store
from gateway.store.unit import Unit

_NO_CSR = Reason(
    ReasonCode.MESSAGE_UNSUPPORTED,
    "the CA behind this endpoint takes certificate requests (PKCS#10) only, and this message brings none "
    "that may be sent on",
    "csr",
)

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
    ) -> None:
        """``observe(protocol, outcome, code)`` is called once for each outcome. ``rechecks`` may be filled
        later, when front ends are mounted."""
        self._store = store
        self._bundle = bundle
        self._backends = backends
        self._authenticator = authenticator
        self._clock = clock
        self._observe = observe
        self._under_way = 0
        store.recorder.under_way = lambda: self._under_way
        self._trust = TrustStores(backends.certificates, backends.own_names)
        self._refusals = Refusals(store, monotonic)
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
            found, evidence = await self._authenticated(bundle, selected, request)
        except CredentialRefused as refusal:
            return Preview((_placed(refusal.reason, selected),), selected.policy.name)
        facts = await self._facts(selected, request, found, evidence)
        return preview(bundle, selected, request, evidence, facts)

    async def _authenticated(
        self, bundle: Bundle, selected: Selected, request: EnrolmentRequest
    ) -> tuple[Gathered, Evidence]:
        """Verify what was presented as for a new request. Raises CredentialRefused."""
        now = self._clock.now()
        claims = self._authenticator.read_claims(selected.policy.authenticate, request)
        found = await self._gather(request, claims, selected)
        trust = await self._trust_store(bundle, claims)
        evidence = await self._authenticator.verify(claims, found.looked, request, trust, now)
        check_new_request(claims, found.looked, now)
        return found, evidence

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

    async def _submit(self, request: EnrolmentRequest) -> Outcome:
        self._under_way += 1
        try:
            outcome = await self._judge(request)
        finally:
            self._under_way -= 1
        match outcome:
            case Issued():
                self._observe(request.protocol, "issued", "")
            case Pending(_, waits_for, _):
                self._observe(request.protocol, "pending", waits_for)
            case Refused(_, reasons, _):
                self._observe(request.protocol, "refused", reasons[0].code if reasons else "")
            case Unavailable(reason, _, _):
                self._observe(request.protocol, "unavailable", reason.code)
        return outcome

    async def _judge(self, request: EnrolmentRequest) -> Outcome:
        bundle, now = self._bundle.current, self._clock.now()
        judged = Judged(request, new_id(), now, Evidence())
        selected = select(bundle, request)
        if isinstance(selected, NotSelected):
            denied = Deny(None, bundle.sha256, selected.reasons, selected.trace)
            return await self._refuse(replace(judged, decision=denied), selected.reasons, selected.accepts)
        try:
            claims = self._authenticator.read_claims(selected.policy.authenticate, request)
            found = await self._gather(request, claims, selected)
            trust = await self._trust_store(bundle, claims)
            evidence = await self._authenticator.verify(claims, found.looked, request, trust, now)
            judged = replace(judged, evidence=evidence, correlation=found.correlation)
            answered = await self._answer_again(judged, selected, found)
            if answered is not None:
                return answered
            check_new_request(claims, found.looked, now)
        except CredentialRefused as refusal:
            return await self._refuse_credential(judged, bundle, selected, refusal)
        except BackendUnavailable as error:
            return Unavailable(error.reason, error.retry_after_s)
        return await self._decide(judged, bundle, selected, found)

    async def _answer_again(self, judged: Judged, selected: Selected, found: Gathered) -> Outcome | None:
        """The answer to a repeat. Its link to the TLS session is its own (RFC 7030 section 3.5): a wrong one
        is left to the judgement of a new request, which refuses it."""
        if found.earlier is None or credential_reasons(selected.policy, judged.request, judged.evidence):
            return None
        return await self._again(judged, found.earlier)

    async def _again(self, judged: Judged, earlier: Earlier | None) -> Outcome | None:
        transaction = not judged.request.correlation.with_identity
        return await answer_again(self._store, earlier, judged.now, transaction=transaction)

    async def _decide(self, judged: Judged, bundle: Bundle, selected: Selected, found: Gathered) -> Outcome:
        request = judged.request
        if found.key_compromised:
            denied = _denied(bundle, selected, "keys", COMPROMISED_KEY)
            return await self._refuse(replace(judged, decision=denied), denied.reasons)
        try:
            facts = await self._facts(selected, request, found, judged.evidence)
        except BackendUnavailable as error:
            return Unavailable(error.reason, error.retry_after_s)
        decision = evaluate(bundle, selected, request, judged.evidence, facts)
        judged = replace(judged, decision=decision)
        if isinstance(decision, Deny):
            return await self._refuse(judged, decision.reasons)
        if request.csr_der is None and self._needs_csr(decision):
            denied = _denied(bundle, selected, "route", _NO_CSR)
            return await self._refuse(replace(judged, decision=denied), denied.reasons)
        try:
            if decision.approval is not None:
                return await self._park(judged, decision, found.earlier)
            return await self._issue(judged, decision, found.earlier)
        except BackendUnavailable as error:
            return Unavailable(error.reason, error.retry_after_s)
        except Conflict:
            # The same request came twice at once, or a one-time credential was just used up.
            return await self._winner(judged)

    def _needs_csr(self, decision: Allow) -> bool:
        backend = decision.route.backend
        return backend in self._backends and self._backends.get(backend).needs_csr

    async def _issue(self, judged: Judged, decision: Allow, earlier: Earlier | None) -> Outcome:
        assert decision.plan is not None
        row = record.request_row(judged, State.SUBMITTING)
        if not self._backends.get(decision.route.backend).signs_in_process:
            row = replace(row, plan=plan_to_json(decision.plan, asked_dates(judged.request)))
        unit = self._acceptance(judged, earlier)
        return await self.settlement.start(Work(row, decision.plan, stored=False, also=unit))

    async def _park(self, judged: Judged, decision: Allow, earlier: Earlier | None) -> Outcome:
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
        requests.insert(unit, row)
        unit.audit(record.event(row, "request.park", required=rule.required))
        expires_at = judged.now + timedelta(seconds=rule.expires_s + 1)
        jobs.enqueue(unit, EXPIRE_JOB, row.id, {"request_id": row.id}, expires_at)
        await self._store.recorder.commit(unit)
        return Pending(judged.request_id, "approval", rule.retry_after_s)

    def _acceptance(self, judged: Judged, earlier: Earlier | None) -> Unit:
        """What must be written in the unit that accepts the request."""
        unit = Unit()
        if earlier is not None:
            requests.retire(unit, earlier.row.id)
        for credential in judged.evidence.credentials:
            if credential.credential_id is not None and credential.counted:
                credentials.use(unit, credential.credential_id, judged.now)
        return unit

    async def _winner(self, judged: Judged) -> Outcome:
        correlation = judged.correlation or ""
        earlier = await self._store.reader.read(lambda connection: find_earlier(connection, correlation))
        return await self._again(judged, earlier) or under_work()

    async def _refuse_credential(
        self, judged: Judged, bundle: Bundle, selected: Selected, refusal: CredentialRefused
    ) -> Outcome:
        reason = _placed(refusal.reason, selected)
        if refusal.code is ReasonCode.AUTH_THROTTLED:
            return Unavailable(reason, refusal.retry_after_s)
        detail = refusal.detail
        if refusal.code is ReasonCode.AUTH_FAILED:
            detail += await self._revoked_credential(judged.request)
        denied = _denied(bundle, selected, "authenticate", reason, detail)
        accepts = accepted_kinds(
            bundle, judged.request.protocol, judged.request.endpoint, judged.request.operation
        )
        return await self._refuse(replace(judged, decision=denied), (reason,), accepts)

    async def _revoked_credential(self, request: EnrolmentRequest) -> str:
        """For the operator: that the user name was once good. Read whatever was wrong, so that the time it
        takes tells a guesser nothing."""
        for presented in request.presented:
            if isinstance(presented, PresentedPassword):
                look_up = partial(credentials.revoked_by_name, kind=BASIC, name=presented.user)
                row = await self._store.reader.read(look_up)
                if row is not None:
                    return (
                        f"; credential {row.id} of that name was revoked at {row.revoked_at:%Y-%m-%d %H:%MZ}"
                    )
        return ""

    async def _refuse(
        self, judged: Judged, reasons: tuple[Reason, ...], accepts: tuple[CredentialKind, ...] = ()
    ) -> Refused:
        # A first try without credentials is how libest asks for the challenge: counted, not recorded.
        if judged.request.presented == () and reasons[0].code is ReasonCode.AUTH_MISSING:
            return Refused(None, reasons, accepts)
        row = record.refused_row(judged, reasons)
        recorded = await self._refusals.record(row, reasons, judged.request.remote.address)
        return Refused(judged.request_id if recorded else None, reasons, accepts)

    async def _gather(self, request: EnrolmentRequest, claims: Claims, selected: Selected) -> Gathered:
        with_key_history = selected.policy.needs_key_history
        return await self._store.reader.read(
            lambda connection: gather(connection, request, claims, with_key_history=with_key_history)
        )

    async def _facts(
        self, selected: Selected, request: EnrolmentRequest, found: Gathered | None, evidence: Evidence
    ) -> Facts:
        route = selected.policy.route
        issuer = await self._backends.issuer(route.backend, route.profile)
        previous: PreviousCertificate | None = None
        # An ACME order that says what it replaces is no renewal: that certificate counts for nothing here.
        if request.renews_der is not None and request.operation in RENEWING:
            try:
                old = parse_certificate(request.renews_der)
            except MalformedMessage:
                old = None
            if old is not None:
                previous = PreviousCertificate(
                    subject=old.subject,
                    sans=old.sans,
                    spki_sha256=old.spki_sha256,
                    not_before=old.not_before,
                    not_after=old.not_after,
                    issued_here=found is not None and found.renewed is not None,
                )
        return Facts(
            now=self._clock.now(),
            issuer_not_after=issuer.not_after,
            previous=previous,
            key_known_to_others=found is not None
            and known_to_others(found.same_key, evidence, previous, found.renewed),
        )

    async def _trust_store(self, bundle: Bundle, claims: Claims) -> TrustStore | None:
        if claims.certificate is None:
            return None
        return await self._trust.get(bundle.trust_stores[claims.certificate.rule.trust])


def _placed(reason: Reason, selected: Selected) -> Reason:
    """The reason of a refused credential, with the rule that looked at it."""
    return replace(reason, rule=selected.policy.name, where=selected.policy.authenticate.where)


def _denied(bundle: Bundle, selected: Selected, step: str, reason: Reason, detail: str = "") -> Deny:
    """A refusal before the rules were asked. ``detail`` is for the operator's trace, never for the client."""
    message = f"{reason.message} ({detail})" if detail else reason.message
    told = TraceStep(step, reason.rule, "refused", message, reason.where)
    return Deny(selected.policy.name, bundle.sha256, (reason,), (*selected.trace, told))
