"""What a CA answered, written down: certificate, refusal, wait or doubt. The outcome leaves after COMMIT."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from ca_backend.api import CaAnswer, CaIssued, CaPending, CaRefused
from gateway.clock import Clock
from gateway.enrolment import record, superseding
from gateway.enrolment.backends import BackendSet, issuer_of
from gateway.enrolment.compare import differences, foreign_differences, signature_fault
from gateway.enrolment.confirmation import insure, wait_for
from gateway.enrolment.reserve import give_back
from gateway.enrolment.revocation import tell_ca
from gateway.enrolment.states import CLOSED, check_move
from gateway.errors import MalformedMessage, RetryLater
from gateway.model.certificate import CertificateRecord, RevocationReason
from gateway.model.enrolment import CertificatePlan
from gateway.model.ids import RequestId, reason_id
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.store import certificates, crl_state, jobs, requests
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

LOG = logging.getLogger(__name__)
SETTLE_JOB = "settle"
IN_DOUBT_RETRY_S = 60
COMPROMISED_KEY = Reason(
    ReasonCode.KEY_WEAK, "this key was revoked as compromised; make a new one", "key", rule="compromised-key"
)


@dataclass(frozen=True, slots=True)
class Work:
    """A request on its way to a certificate. ``stored``: its row is in the database already."""

    row: RequestRow
    plan: CertificatePlan
    stored: bool
    also: Unit | None = None  # operations that belong into the unit that records the acceptance

    @property
    def backend(self) -> str:
        return self.row.backend or ""


class Closing:
    """Moves requests by what their CA answered."""

    def __init__(
        self, store: Store, backends: BackendSet, clock: Clock, grace_s: Callable[[str, str], int]
    ) -> None:
        """``grace_s`` tells, by protocol and endpoint, how long a closed request answers repeats."""
        self._store = store
        self._backends = backends
        self._clock = clock
        self._grace_s = grace_s

    async def close(self, work: Work, answer: CaAnswer) -> Outcome:
        """Record the CA's answer; the outcome leaves after COMMIT."""
        match answer:
            case CaIssued():
                return await self._issued(work, answer)
            case CaPending(handle, retry_after_s):
                return await self._pending(work, handle, retry_after_s)
            case CaRefused(code, message):
                reason = Reason(ReasonCode.BACKEND_REFUSED, "the CA refused this request")
                return await self.refuse(work, (reason,), ca_code=code, ca_message=message)
            case _:
                assert_never(answer)

    async def in_doubt(self, work: Work, why: str) -> Outcome:
        """Leave the request to an operator: the CA may have issued, and cannot be asked."""
        LOG.error(
            "request.in-doubt request %s: %s; look at the CA %s whether it has issued, then run: "
            "pkigate request settle %s --retry (it has not) or --refuse",
            work.row.id,
            why,
            work.backend,
            work.row.id,
        )
        unit = Unit()
        row = self.move(unit, work, State.IN_DOUBT)
        unit.audit(record.event(row, "request.in-doubt", "failed", why=why))
        await self._store.recorder.commit(unit)
        return in_doubt(row)

    async def later(self, work: Work, error: RetryLater) -> Outcome:
        """Let the job that would have taken over after a crash try again soon."""
        unit = Unit()
        jobs.hasten(unit, SETTLE_JOB, work.row.id, self._clock.now() + timedelta(seconds=error.retry_after_s))
        await self._store.recorder.commit(unit)
        return unavailable(work, error)

    async def mark(self, work: Work, handle: str | None, **changes: object) -> Work:
        """Note in ``ca_handle`` how far the order has come; ``changes`` are further columns."""
        unit = Unit()
        row = self.move(unit, work, work.row.state, ca_handle=handle, **changes)
        await self._store.recorder.commit(unit)
        return replace(work, row=row)

    async def _issued(self, work: Work, answer: CaIssued) -> Outcome:
        try:
            issued = parse_certificate(answer.certificate_der)
        except MalformedMessage as error:
            reason = Reason(ReasonCode.BACKEND_MISMATCH, "the CA gave something that is no certificate")
            return await self.refuse(work, (reason,), what=str(error))
        if self._backends.get(work.backend).signs_in_process:
            found, held = differences(work.plan, issued, answer.chain_der), None
        else:
            found = foreign_differences(work.plan, issued, answer.chain_der)
            issuer_key = await self._issuer_key(work, issued, answer.chain_der, proven=not found)
            held = await self._held(work, issued, issuer_key)
            if held is not None:
                found = (f"it is, or has the serial number of, the certificate of {held.request_id}", *found)
        if found:
            return await self._mismatch(work, issued, answer.chain_der, found, held)
        return await self._recorded(work, issued, answer.chain_der)

    async def _recorded(self, work: Work, issued: ParsedCertificate, chain_der: tuple[bytes, ...]) -> Outcome:
        if not self._backends.get(work.backend).signs_in_process:
            self._backends.adopt_chain(work.backend, work.row.profile, chain_der)
        now = self._clock.now()
        unit = work.also or Unit()
        grace, confirm_by = record.grace_of(work.row) or self._grace(work.row), wait_for(work.row, now)
        if confirm_by is None:
            row = self.move(
                unit, work, State.ISSUED, certificate_sha256=issued.sha256, answers_until=now + grace
            )
            superseding.insure(unit, row, now)
        else:
            row = self.move(
                unit,
                work,
                State.UNCONFIRMED,
                certificate_sha256=issued.sha256,
                answers_until=work.row.received_at + grace,  # it is still open: see ``record.grace_of``
                confirm_by=confirm_by,
            )
            insure(unit, row, confirm_by)
        issuer = issuer_of(chain_der)
        stored = record.certificate_record(row, issued, chain_der, issuer.certificate.spki_sha256)
        certificates.insert(unit, stored, chain_der)
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
        return Issued(RequestId(row.id), issued.certificate_der, chain_der, confirm_by)

    def _grace(self, row: RequestRow) -> timedelta:
        return timedelta(seconds=self._grace_s(row.protocol, row.endpoint))

    async def _held(self, work: Work, issued: ParsedCertificate, issuer_key: str) -> CertificateRecord | None:
        """Another request's record of this certificate, or of its issuer's serial number."""
        serial_hex = f"{issued.serial:x}"
        held = await self._store.reader.read(
            lambda connection: (
                certificates.by_sha256(connection, issued.sha256)
                or certificates.by_serial(connection, issuer_key, serial_hex)
            )
        )
        return held if held is not None and held.request_id != work.row.id else None

    async def _issuer_key(
        self, work: Work, issued: ParsedCertificate, chain_der: tuple[bytes, ...], *, proven: bool
    ) -> str:
        """SHA-256 of the key that signed; a chain that proves nothing is not believed in that either."""
        if proven or (chain_der and not signature_fault(issued, chain_der)):
            return issuer_of(chain_der).certificate.spki_sha256
        return (await self._backends.issuer(work.backend, work.row.profile)).certificate.spki_sha256

    async def _mismatch(
        self,
        work: Work,
        issued: ParsedCertificate,
        chain_der: tuple[bytes, ...],
        found: tuple[str, ...],
        held: CertificateRecord | None,
    ) -> Outcome:
        """Quarantine: kept in the record as revoked, revoked at the CA if it can, never handed out.

        What another request holds is left alone, in the record and at the CA.
        """
        LOG.error("certificate.mismatch request %s: %s", work.row.id, "; ".join(found))
        unit = work.also or Unit()
        if held is None:
            issuer_key = await self._issuer_key(work, issued, chain_der, proven=False)
            now = self._clock.now()
            quarantined = record.certificate_record(
                work.row, issued, chain_der, issuer_key, quarantined_at=now
            )
            certificates.insert(unit, quarantined, chain_der)
            crl_state.bump(unit, issuer_key)
            # The CA is told by a job: asking it here would let the take-over of this very request come first.
            tell_ca(unit, quarantined, RevocationReason.UNSPECIFIED, now)
        reason = Reason(
            ReasonCode.BACKEND_MISMATCH, "the CA gave a certificate that is not the one decided on; try again"
        )
        return await self.refuse(
            replace(work, also=unit), (reason,), sha256=issued.sha256, differences=list(found)
        )

    async def _pending(self, work: Work, handle: str, retry_after_s: int) -> Outcome:
        unit = work.also or Unit()
        row = self.move(unit, work, State.AWAITING_CA, ca_handle=handle, retry_after_s=retry_after_s)
        jobs.hasten(unit, SETTLE_JOB, row.id, self._clock.now() + timedelta(seconds=retry_after_s))
        unit.audit(record.event(row, "request.await-ca"))
        await self._store.recorder.commit(unit)
        return Pending(RequestId(row.id), "ca", retry_after_s)

    async def refuse(self, work: Work, reasons: tuple[Reason, ...], **details: object) -> Outcome:
        """End a request without certificate. A device may ask anew at once, unless it brought its own grace:
        then the request is the protocol's one transaction, which stays what it has become."""
        unit = work.also or Unit()
        give_back(unit, work.row)
        decision = {**(work.row.decision or {}), "reasons": record.reasons_json(reasons)}
        row = self.move(
            unit,
            work,
            State.REFUSED,
            reason_id=reason_id(work.row.id),
            decision=decision,
            answers_until=self._clock.now() + (record.grace_of(work.row) or timedelta()),
        )
        codes = [reason.code.value for reason in reasons]
        unit.audit(record.event(row, "request.refuse", "failed", codes=codes, facts=details))
        await self._store.recorder.commit(unit)
        return Refused(RequestId(row.id), reasons)

    def move(self, unit: Unit, work: Work, state: State, **changes: object) -> RequestRow:
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


def unavailable(work: Work, error: RetryLater) -> Unavailable:
    reason = Reason(ReasonCode.BACKEND_UNAVAILABLE, "the CA is not available; ask again later")
    return Unavailable(reason, error.retry_after_s, RequestId(work.row.id))


def in_doubt(row: RequestRow) -> Unavailable:
    reason = Reason(
        ReasonCode.BACKEND_UNAVAILABLE,
        "the CA's answer to this request was lost and it cannot be asked; an operator must settle it",
    )
    return Unavailable(reason, IN_DOUBT_RETRY_S, RequestId(row.id))
