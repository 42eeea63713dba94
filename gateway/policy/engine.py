"""The decision: select a policy, judge the request by it, build what will be signed.

Pure and synchronous: times and facts come in. Nothing of a request reaches the plan unless a rule names it;
what no rule speaks for is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway.model.decision import Allow, Decision, Deny, TraceStep
from gateway.model.enrolment import CertificatePlan, EnrolmentRequest
from gateway.model.evidence import Evidence
from gateway.model.keys import ClientKey
from gateway.model.names import GeneralName
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.names import names_match, san_sets_match
from gateway.policy.describe import describe
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.judge_extensions import (
    judge_extensions,
    judge_validity,
    planned_extensions,
    planned_key_usage,
)
from gateway.policy.judge_keys import RENEWING, judge_key, judge_linking, judge_renewal
from gateway.policy.judge_sans import JudgedSans, judge_sans
from gateway.policy.judge_subject import JudgedSubject, judge_subject
from gateway.policy.rules import (
    AuthenticationRule,
    BasicRule,
    Bundle,
    CertificateRule,
    CompiledPolicy,
    PopLinking,
    Require,
)
from gateway.policy.selection import NotSelected, Selected, accepted_kinds, select

__all__ = [
    "AuthenticationRule",
    "BasicRule",
    "Bundle",
    "CertificateRule",
    "CompiledPolicy",
    "Facts",
    "NotSelected",
    "PopLinking",
    "PreviousCertificate",
    "Require",
    "Selected",
    "accepted_kinds",
    "describe",
    "evaluate",
    "preview",
    "select",
]

LOG = logging.getLogger(__name__)


def evaluate(
    bundle: Bundle, selected: Selected, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> Decision:
    """Judge a request whose credentials have stood up, and build the plan. Never raises: a fault is a Deny."""
    try:
        return _evaluate(bundle, selected, request, evidence, facts)
    except Exception:  # a check that fails must never let anything pass
        LOG.exception("policy.crash %s", selected.policy.name)
        text = "the policy could not be applied because of a fault; tell the operator"
        reason = Reason(ReasonCode.POLICY_CRASH, text, "", selected.policy.name, selected.policy.where)
        step = TraceStep("fault", selected.policy.name, "refused", text, selected.policy.where)
        return Deny(selected.policy.name, bundle.sha256, (reason,), (*selected.trace, step))


def preview(
    bundle: Bundle, selected: Selected, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> Decision:
    """What would be said of the names alone, before there is a key (RFC 8555 newOrder): no plan is made."""
    decision = evaluate(bundle, selected, request, evidence, facts)
    if isinstance(decision, Deny) or decision.plan is None:
        return decision
    return Allow(
        decision.policy, decision.bundle_sha256, None, decision.route, decision.approval, decision.trace
    )


def _evaluate(
    bundle: Bundle, selected: Selected, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> Decision:
    policy = selected.policy
    judging = _Judging(policy, [*selected.trace])
    judging.note(
        "authenticate", policy.authenticate.where, judge_linking(policy, request), evidence.label[:200]
    )
    judging.note("keys", policy.keys.where, judge_key(policy, request, facts), _key_text(request))
    judging.note("renewal", policy.renewal.where, judge_renewal(policy, request, facts), "", quiet=True)
    wanted, missing = _wanted_sans(policy, request, facts)
    sans = judge_sans(policy, wanted, evidence)
    subject = judge_subject(policy, request, sans.sans, evidence, facts)
    reasons = [*missing, *sans.reasons, *subject.reasons]
    if not reasons:
        reasons += _name_change(policy, request, subject, sans, facts)
    judging.note("names", policy.names.where, reasons, _names_text(subject, sans))
    usages = ", ".join(planned_key_usage(policy, request)) or "no key usage"
    judging.note("extensions", policy.extensions.where, judge_extensions(policy, request), usages)
    not_before, not_after, late = judge_validity(policy, request, facts)
    until = f"until {not_after:%Y-%m-%d %H:%M}Z"
    judging.note("validity", policy.validity.where, late, until)
    if judging.reasons:
        return Deny(policy.name, bundle.sha256, tuple(judging.reasons), tuple(judging.trace))
    plan = None
    if isinstance(request.key, ClientKey):
        plan = CertificatePlan(
            subject=subject.subject,
            sans=sans.sans,
            spki_der=request.key.public_key.spki_der,
            not_before=not_before,
            not_after=not_after,
            key_usage=planned_key_usage(policy, request),
            extended_key_usage=policy.extensions.extended_key_usage,
            extensions=planned_extensions(policy, request),
        )
    trace = (*judging.trace, *policy.closing_steps)
    return Allow(policy.name, bundle.sha256, plan, policy.route, policy.approval, trace)


class _Judging:
    """Collects the reasons and the trace of one decision: every step is judged, so that all faults are told."""

    __slots__ = ("_policy", "reasons", "trace")

    def __init__(self, policy: CompiledPolicy, trace: list[TraceStep]) -> None:
        self._policy = policy
        self.reasons: list[Reason] = []
        self.trace = trace

    def note(self, step: str, where: str, reasons: list[Reason], text: str, *, quiet: bool = False) -> None:
        """One line if all is well (none if ``quiet``), else a line for each reason."""
        if reasons:
            self.reasons += reasons
            self.trace += [
                TraceStep(step, reason.rule, "refused", f"{reason.code}: {reason.message}", reason.where)
                for reason in reasons
            ]
        elif not quiet:
            self.trace.append(TraceStep(step, f"{self._policy.name}.{step}", "ok", text, where))


def _wanted_sans(
    policy: CompiledPolicy, request: EnrolmentRequest, facts: Facts
) -> tuple[tuple[GeneralName, ...], list[Reason]]:
    """The requested names; at a renewal that names none, those of the old certificate if the policy copies."""
    sans, previous = request.identity.sans, facts.previous
    if sans or request.operation not in RENEWING or previous is None or not previous.sans:
        return sans, []
    if policy.renewal.copy_missing_san:
        return previous.sans, []
    text = "the certificate that is renewed has alternative names and the CSR has none; put them into it"
    rule = f"{policy.name}.renewal.missing_san"
    return sans, [Reason(ReasonCode.RENEWAL_NAMES_DIFFER, text, "identity.sans", rule, policy.renewal.where)]


def _name_change(
    policy: CompiledPolicy, request: EnrolmentRequest, subject: JudgedSubject, sans: JudgedSans, facts: Facts
) -> list[Reason]:
    previous = facts.previous
    if request.operation not in RENEWING or previous is None or not policy.renewal.deny_name_change:
        return []
    rule, where = f"{policy.name}.renewal.name_change", policy.renewal.where
    reasons: list[Reason] = []
    if not names_match(subject.subject, previous.subject):
        text = f"the subject {subject.subject} is not that of the renewed certificate, {previous.subject}"
        reasons.append(Reason(ReasonCode.RENEWAL_NAMES_DIFFER, text, "identity.subject", rule, where))
    if not san_sets_match(sans.sans, previous.sans):
        old = ", ".join(str(name) for name in previous.sans[:10]) or "none"
        text = f"the alternative names are not those of the renewed certificate ({old})"
        reasons.append(Reason(ReasonCode.RENEWAL_NAMES_DIFFER, text, "identity.sans", rule, where))
    return reasons


def _key_text(request: EnrolmentRequest) -> str:
    return str(request.key.public_key) if isinstance(request.key, ClientKey) else "no key yet"


def _names_text(subject: JudgedSubject, sans: JudgedSans) -> str:
    names: Sequence[str] = [str(name) for name in sans.sans[:10]]
    text = f"{subject.subject or 'empty subject'}; {', '.join(names) or 'no alternative names'}"
    if sans.group:
        text += f" (group {sans.group})"
    dropped = [*subject.dropped, *(str(name) for name in sans.dropped)]
    return f"{text}; dropped {', '.join(dropped[:10])}" if dropped else text
