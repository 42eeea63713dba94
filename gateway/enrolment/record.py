"""How a request and what came of it are written down: rows and audit events, in one unit each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from gateway.enrolment.asked_json import ASKED, asked_json
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason
from gateway.model.decision import Allow, Decision
from gateway.model.enrolment import BadMessage, EnrolmentRequest
from gateway.model.evidence import (
    Evidence,
    PresentedAccount,
    PresentedMac,
    PresentedPassword,
    RemoteInfo,
)
from gateway.model.ids import RequestId, new_id, reason_id
from gateway.model.keys import ClientKey
from gateway.model.outcome import State
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.certificate import ParsedCertificate
from gateway.policy.facts import Facts
from gateway.policy.render import decision_json
from gateway.store import certificates
from gateway.store.requests import RequestRow
from gateway.store.unit import AuditEvent

MAX_TEXT = 1000
MAX_USER_AGENT = 200
MAX_NAMES = 1000  # as many as a policy can allow
MAX_UNVERIFIED_NAMES = 20
MAX_UNVERIFIED_CSR = 2048
BEHIND = "stored_credentials"  # in a request's decision
REVOKE_PREVIOUS = "revoke_previous_s"  # in a request's decision: ``Allow.revoke_previous_s``
_BEHIND_BEFORE = "external_accounts"  # what it was called while no other credentials were in it


@dataclass(frozen=True, slots=True)
class Judged:
    """A request together with what verification and policy made of it."""

    request: EnrolmentRequest
    request_id: RequestId
    now: datetime
    evidence: Evidence
    decision: Decision | None = None
    correlation: str | None = None
    facts: Facts | None = None


def request_row(judged: Judged, state: State, **columns: Any) -> RequestRow:
    """The row of a request in its first state; ``columns`` are further fields of RequestRow."""
    request, decision = judged.request, judged.decision
    key = request.key
    # Whoever has shown nothing yet must not be able to fill the disk with what he sends.
    verified = bool(judged.evidence.credentials)
    csr_kept = request.csr_der is not None and (verified or len(request.csr_der) <= MAX_UNVERIFIED_CSR)
    most_names = MAX_NAMES if verified else MAX_UNVERIFIED_NAMES
    fields: dict[str, Any] = {
        "correlation": judged.correlation,
        "identity": judged.evidence.identity[:MAX_TEXT],
        "identity_label": judged.evidence.label[:MAX_TEXT],
        "spki_sha256": key.public_key.spki_sha256 if isinstance(key, ClientKey) else None,
        "profile": request.profile,
    }
    if request.correlation.grace_s is not None and state is not State.REFUSED:
        fields["answers_until"] = judged.now + timedelta(seconds=request.correlation.grace_s)
    if request.transaction_id:
        fields["transaction_id"] = request.transaction_id[:MAX_TEXT]
    if request.correlation.content_sha256:
        fields["content_sha256"] = request.correlation.content_sha256
    if request.confirm_within_s is not None:
        fields["confirm_within_s"] = request.confirm_within_s
    if request.renews_der is not None:
        fields["renews_sha256"] = hashlib.sha256(request.renews_der).hexdigest()
    if decision is not None:
        fields["policy"] = decision.policy
        fields["bundle_sha256"] = decision.bundle_sha256
        fields["decision"] = _decision(judged, decision, csr_kept=csr_kept, verified=verified)
        if isinstance(decision, Allow):
            if decision.revoke_previous_s is not None:
                fields["decision"][REVOKE_PREVIOUS] = decision.revoke_previous_s
            fields["backend"] = decision.route.backend
            fields["profile"] = decision.route.profile
    fields.update(columns)
    return RequestRow(
        id=judged.request_id,
        state=state,
        protocol=request.protocol,
        endpoint=request.endpoint,
        operation=request.operation,
        received_at=judged.now,
        updated_at=judged.now,
        subject=str(request.identity.subject)[:MAX_TEXT],
        sans=tuple([str(name) for name in request.identity.sans[:most_names]]),
        csr_der=request.csr_der if csr_kept else None,
        remote=remote_json(request.remote, linking=request.linking),
        **fields,
    )


def _decision(judged: Judged, decision: Decision, *, csr_kept: bool, verified: bool) -> dict[str, object]:
    """The decision with everything that it was made of and no other column holds."""
    most_names = MAX_NAMES if verified else MAX_UNVERIFIED_NAMES
    names_kept = len(judged.request.identity.sans) <= most_names
    asked = asked_json(
        judged.request, judged.facts, csr_kept=csr_kept, names_kept=names_kept, verified=verified
    )
    return {**decision_json(decision, judged.evidence), **_behind(judged.evidence), ASKED: asked}


def with_taken(row: RequestRow, taken: Mapping[str, object]) -> RequestRow:
    """The row with what its grant took of limits, to be given back if it is refused after all."""
    return replace(row, decision={**(row.decision or {}), **taken}) if taken else row


def _behind(evidence: Evidence) -> dict[str, object]:
    """The stored credentials behind a request: none may be revoked before a wait for approval ends."""
    found = [one.credential_id for one in evidence.credentials if one.credential_id is not None]
    return {BEHIND: found} if found else {}


def credentials_behind(row: RequestRow) -> tuple[str, ...]:
    """Ids of the stored credentials behind a stored request."""
    decision = row.decision or {}
    found = decision.get(BEHIND, decision.get(_BEHIND_BEFORE))
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def grace_of(row: RequestRow) -> timedelta | None:
    """How long an open request, once closed, answers repeats; None: the endpoint's setting.

    Until it is closed ``answers_until`` holds this span, counted from its arrival.
    """
    return None if row.answers_until is None else row.answers_until - row.received_at


def refused_row(judged: Judged, reasons: Sequence[Reason]) -> RequestRow:
    """A refused request. It has no correlation: the same message is judged anew when it comes again."""
    columns: dict[str, object] = {"reason_id": reason_id(judged.request_id), "correlation": None}
    if judged.decision is None:
        columns["decision"] = {"verdict": "refused", "reasons": reasons_json(reasons)}
    if not judged.evidence.credentials:
        columns["identity_label"] = claimed_label(judged.request)
    return request_row(judged, State.REFUSED, **columns)


def bad_message_row(bad: BadMessage, now: datetime) -> RequestRow:
    """The row of a message that never became a request."""
    request_id = new_id()
    return RequestRow(
        id=request_id,
        state=State.REFUSED,
        protocol=bad.protocol,
        endpoint=bad.endpoint[:100],
        operation=bad.operation[:100],
        received_at=now,
        updated_at=now,
        reason_id=reason_id(request_id),
        identity=bad.identity,
        identity_label=bad.identity,
        sans=bad.names,
        remote=remote_json(bad.remote),
        decision={"verdict": "refused", "reasons": reasons_json((bad.reason,))},
    )


def remote_json(remote: RemoteInfo, **more: str) -> dict[str, object]:
    """Where a message came from, bounded in size."""
    return {
        "address": remote.address,
        "listener": remote.listener,
        "tls_version": remote.tls_version,
        "cipher": remote.cipher,
        "via_proxy": remote.via_proxy,
        "user_agent": remote.user_agent[:MAX_USER_AGENT],
        "message": remote.message,
        "transport_id": remote.transport_id,
        **more,
    }


def reasons_json(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [
        {
            "code": reason.code.value,
            "message": reason.message[:MAX_TEXT],
            "path": reason.path,
            "rule": reason.rule,
            "where": reason.where,
        }
        for reason in reasons
    ]


def reasons_of(row: RequestRow) -> tuple[Reason, ...]:
    """The reasons of a refused request, read back."""
    stored: Any = (row.decision or {}).get("reasons", ())
    return tuple(
        Reason(
            ReasonCode(item["code"]),
            item["message"],
            item.get("path", ""),
            item.get("rule", ""),
            item.get("where", ""),
        )
        for item in stored
    )


def certificate_record(
    row: RequestRow,
    issued: ParsedCertificate,
    chain_der: tuple[bytes, ...],
    issuer_key_sha256: str,
    *,
    quarantined_at: datetime | None = None,
) -> CertificateRecord:
    """The record of an issued certificate; one in quarantine is stored as revoked from the start."""
    return CertificateRecord(
        sha256=issued.sha256,
        issuer_key_sha256=issuer_key_sha256,
        serial_hex=f"{issued.serial:x}",
        subject=str(issued.subject),
        sans=tuple(str(name) for name in issued.sans),
        spki_sha256=issued.spki_sha256,
        not_before=issued.not_before,
        not_after=issued.not_after,
        certificate_der=issued.certificate_der,
        chain_sha256=certificates.chain_sha256(chain_der),
        request_id=row.id,
        protocol=row.protocol,
        endpoint=row.endpoint,
        identity=row.identity,
        policy=row.policy or "",
        bundle_sha256=row.bundle_sha256 or "",
        backend=row.backend or "",
        status=CertificateStatus.GOOD if quarantined_at is None else CertificateStatus.REVOKED,
        revoked_at=quarantined_at,
        revocation_reason=None if quarantined_at is None else RevocationReason.UNSPECIFIED,
        predecessor_sha256=row.renews_sha256,
    )


def event(
    row: RequestRow, action: str, outcome: str = "ok", *, actor: str | None = None, **details: object
) -> AuditEvent:
    """An audit event about a request, with what an auditor asks first."""
    facts: dict[str, object] = {
        "protocol": row.protocol,
        "endpoint": row.endpoint,
        "operation": row.operation,
        "subject": row.subject,
        "sans": list(row.sans[:20]),
        "policy": row.policy,
        "bundle": row.bundle_sha256,
        "address": (row.remote or {}).get("address"),
        **details,
    }
    return AuditEvent(
        actor=actor or row.identity, action=action, object_id=row.id, outcome=outcome, details=facts
    )


def refusal_event(row: RequestRow, reasons: Sequence[Reason]) -> AuditEvent:
    codes = [reason.code.value for reason in reasons]
    return event(row, "request.refuse", "refused", codes=codes, reason_id=row.reason_id)


def claimed_label(request: EnrolmentRequest) -> str:
    """Who an unverified requester said to be, for the operator's eyes."""
    for given in request.presented:
        if isinstance(given, PresentedPassword):
            return f"unverified:{given.user[:100]}"
        if isinstance(given, PresentedAccount):
            return given.label[:MAX_TEXT]  # its signature was verified, only its credential failed
        if isinstance(given, PresentedMac):
            return given.name[:MAX_TEXT]  # likewise
    return "anonymous"
