"""Makes notBefore and notAfter of the plan (RFC 5280 section 4.1.2.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gateway.model.enrolment import EnrolmentRequest
from gateway.model.keys import ClientKey
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.facts import Facts
from gateway.policy.rules import CompiledPolicy
from gateway.policy.terms import duration_text

_JITTER_DIGITS = 16  # of the key's SHA-256 in hex


@dataclass(slots=True)
class JudgedValidity:
    """The times as they will be signed; ``capped`` says that the issuer's own end cut them short,
    ``shortened`` by how much the life is shorter so that not everything ends at once."""

    not_before: datetime
    not_after: datetime
    capped: bool = False
    shortened: timedelta = timedelta(0)
    reasons: list[Reason] = field(default_factory=list)


def judge_validity(policy: CompiledPolicy, request: EnrolmentRequest, facts: Facts) -> JudgedValidity:
    """Begin and end by the rules; what the client asks for counts only where the policy says so."""
    rule, now = policy.validity, facts.now
    judged = JudgedValidity(now - rule.backdate, now + rule.default)
    if rule.jitter and request.not_after is None:
        judged.shortened = jitter_of(rule.jitter, request)
    if request.not_before is not None or request.not_after is not None:
        _as_requested(policy, request, judged, now)
    judged.not_after -= judged.shortened
    end = facts.issuer_not_after
    if end is not None and judged.not_after > end:
        if end <= now or end <= judged.not_before:
            _refuse(policy, judged, f"the issuing CA's own certificate ends at {end:%Y-%m-%dT%H:%M:%SZ}", "")
        elif request.not_after is not None:
            # RFC 8555 section 7.4: a notAfter is kept as it was asked for, or refused
            text = f"it lies after the end of the issuing CA's own certificate, {end:%Y-%m-%dT%H:%M:%SZ}"
            _refuse(policy, judged, f"{text}; ask for an earlier notAfter", "not_after")
        else:
            judged.not_after, judged.capped = end, True
    return judged


def jitter_of(most: timedelta, request: EnrolmentRequest) -> timedelta:
    """Whole seconds from none to ``most``, the same for every request with this key: a repeat, and whoever
    decides once more, plans the same. Before the key is known: none."""
    if not isinstance(request.key, ClientKey):
        return timedelta(0)
    part = int(request.key.public_key.spki_sha256[:_JITTER_DIGITS], 16)
    seconds = int(most.total_seconds())
    return timedelta(seconds=part * (seconds + 1) >> 4 * _JITTER_DIGITS)


def _as_requested(
    policy: CompiledPolicy, request: EnrolmentRequest, judged: JudgedValidity, now: datetime
) -> None:
    rule = policy.validity
    if not rule.client_may_request:
        path = "not_after" if request.not_after is not None else "not_before"
        _refuse(policy, judged, "begin and end are set here; leave them out of the request", path)
        return
    if request.not_before is not None:
        judged.not_before = request.not_before
        judged.not_after = max(request.not_before, now) + rule.default
        if request.not_before < now - rule.backdate:
            earliest = duration_text(rule.backdate)
            _refuse(policy, judged, f"notBefore lies more than {earliest} before now", "not_before")
        elif request.not_before > now + rule.max:
            _refuse(policy, judged, f"notBefore lies more than {duration_text(rule.max)} ahead", "not_before")
    if request.not_after is not None:
        judged.not_after = request.not_after
        if request.not_after <= max(judged.not_before, now):
            _refuse(policy, judged, "notAfter does not lie after now and after notBefore", "not_after")
        elif request.not_after - max(judged.not_before, now) > rule.max:
            text = f"it would live longer than {duration_text(rule.max)}; ask for an earlier notAfter"
            _refuse(policy, judged, text, "not_after")


def _refuse(policy: CompiledPolicy, judged: JudgedValidity, text: str, path: str) -> None:
    rule = policy.validity
    judged.reasons.append(Reason(ReasonCode.VALIDITY, text, path, f"{policy.name}.validity", rule.where))
