"""What of a granted request each limit counts, and what is said where one is exceeded.

Pure: the windows themselves are read and reserved by ``gateway.enrolment.reserve``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.model.enrolment import CertificatePlan, EnrolmentRequest
from gateway.model.evidence import ACME_ACCOUNT, Evidence
from gateway.model.names import NameKind
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.name_syntax import registered_domain, shown
from gateway.policy.limit_rules import LimitRule, LimitScope
from gateway.token_buckets import source_of

_TOLD = frozenset({LimitScope.SUBJECT, LimitScope.NAME, LimitScope.REGISTERED_DOMAIN})
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One use of one limit. ``scope`` is the SHA-256 of what is counted, in hex: the key of its windows.

    ``value`` is what is counted, for the client's eyes; empty where it says nothing new to it.
    """

    rule: LimitRule
    scope: str
    value: str = ""


def limit_uses(
    rules: Sequence[LimitRule],
    policy: str,
    request: EnrolmentRequest,
    evidence: Evidence,
    plan: CertificatePlan,
) -> tuple[LimitUse, ...]:
    """The uses that a grant takes, each once. A limit by something that the request does not have (an
    account, a DNS name) counts nothing."""
    found: dict[LimitUse, None] = {}
    for rule in rules:
        for value in _values(rule.per, policy, request, evidence, plan):
            told = shown(value)[:_SHOWN_CHARACTERS] if rule.per in _TOLD else ""
            found[LimitUse(rule, _scope(rule, value), told)] = None
    return tuple(found)


def exceeded_reason(use: LimitUse, now: datetime, retry_after_s: int) -> Reason:
    """Why a request is refused: what is allowed, and when to come again."""
    rule, free_at = use.rule, now + timedelta(seconds=retry_after_s)
    of = f" ({use.value})" if use.value else ""
    if rule.window_s is None:
        text = f"only {rule.text} are allowed{of}; revoke one, or come again after one has expired"
    else:
        text = f"only {rule.text} are allowed{of}; the next one is possible at {free_at:%Y-%m-%dT%H:%M:%SZ}"
    return Reason(ReasonCode.LIMIT_EXCEEDED, text, "", rule.rule, rule.where)


def _scope(rule: LimitRule, value: str) -> str:
    if rule.window_s is None:
        key = f"active\0{rule.per}\0{value}"
    else:
        key = f"{rule.owner}\0{rule.per}\0{rule.window_s}\0{value}"
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _values(
    per: LimitScope, policy: str, request: EnrolmentRequest, evidence: Evidence, plan: CertificatePlan
) -> Iterable[str]:
    match per:
        case LimitScope.ACCOUNT | LimitScope.CLIENT | LimitScope.CREDENTIAL:
            return _of_credentials(per, evidence)
        case LimitScope.SUBJECT | LimitScope.NAME | LimitScope.REGISTERED_DOMAIN:
            return _of_names(per, plan)
        case LimitScope.SOURCE_IP:
            return [source_of(request.remote.address)]
        case LimitScope.POLICY:
            return [policy]
        case LimitScope.ENDPOINT:
            return [f"{request.protocol}/{request.endpoint}"]
        case LimitScope.GLOBAL:
            return [""]


def _of_credentials(per: LimitScope, evidence: Evidence) -> list[str]:
    if per is LimitScope.ACCOUNT:
        return [one.identity for one in evidence.credentials if one.kind == ACME_ACCOUNT]
    if per is LimitScope.CREDENTIAL:
        stored = [one.credential_id for one in evidence.credentials if one.credential_id is not None]
        return stored or [evidence.identity]
    # A certificate counts by its subject: with a renewed key it is the same client.
    return [
        f"cert:{one.label}" if one.certificate_der is not None else one.identity
        for one in evidence.credentials[:1]
    ]


def _of_names(per: LimitScope, plan: CertificatePlan) -> list[str]:
    if per is LimitScope.SUBJECT:
        return [str(plan.subject)] if plan.subject else []
    if per is LimitScope.NAME:
        return [str(name) for name in plan.sans]
    return [registered_domain(name.value) for name in plan.sans if name.kind is NameKind.DNS]
