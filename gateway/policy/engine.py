"""The decision: judge a request by the selected policy and build what will be signed.

Pure and synchronous: times and facts come in. Nothing of a request reaches the plan unless a rule names it;
what no rule speaks for is refused. Every step writes a line of the trace.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from gateway.model.decision import Allow, Decision, Deny, TraceStep
from gateway.model.enrolment import CertificatePlan, EnrolmentRequest, Operation
from gateway.model.evidence import Evidence
from gateway.model.keys import ClientKey, PublicKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.credential_check import credential_reasons, is_renewed_by_itself, scope_reasons
from gateway.policy.describe import describe
from gateway.policy.extension_check import JudgedExtensions, judge_extensions
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.key_check import key_reasons
from gateway.policy.renewal_check import RENEWING, renewal_reasons
from gateway.policy.rules import (
    AuthenticationRule,
    BasicRule,
    Bundle,
    CertificateRule,
    CompiledPolicy,
    PopLinking,
    Require,
)
from gateway.policy.san_check import judge_sans
from gateway.policy.selection import NotSelected, Selected, accepted_kinds, select
from gateway.policy.subject_check import judge_subject
from gateway.policy.validity_check import JudgedValidity, judge_validity

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
MAX_LISTED = 20
MAX_REASONS = 50  # of one step; more would only swell the answer and the record
_ENROLLING = frozenset({Operation.ENROLL, *RENEWING})


@dataclass(slots=True)
class _Judgement:
    """What has been found so far, step by step."""

    policy: CompiledPolicy
    request: EnrolmentRequest
    evidence: Evidence
    facts: Facts
    trace: list[TraceStep]
    reasons: list[Reason] = field(default_factory=list)

    def note(self, step: str, where: str, reasons: list[Reason], message: str, verdict: str = "ok") -> None:
        """Write one line of the trace if all is well, else one for every reason."""
        if not reasons:
            self.trace.append(TraceStep(step, f"{self.policy.name}.{step}", verdict, message, where))
            return
        told = reasons[:MAX_REASONS]
        self.reasons += told
        self.trace += [
            TraceStep(step, reason.rule, "refused", f"{reason.code}: {reason.message}", reason.where)
            for reason in told
        ]


@dataclass(frozen=True, slots=True)
class _Content:
    """What the plan will hold beside the key."""

    subject: DistinguishedName
    sans: tuple[GeneralName, ...]
    extensions: JudgedExtensions
    validity: JudgedValidity


def evaluate(
    bundle: Bundle, selected: Selected, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> Decision:
    """Decide on a request. An Allow carries the plan of exactly what will be signed. Never raises."""
    judgement = _Judgement(selected.policy, request, evidence, facts, [*selected.trace])
    try:
        return _evaluated(bundle, judgement)
    except Exception:  # a check that fails must let nothing pass, nor take the request path down
        LOG.exception("policy.crash policy=%s bundle=%s", selected.policy.name, bundle.sha256)
        return _crashed(bundle, judgement)


def preview(
    bundle: Bundle, selected: Selected, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> Decision:
    """Say what would come of a request whose key is not known yet (RFC 8555 newOrder). An Allow has no plan.

    Credentials are not asked for: ``evidence`` may be empty, but what it holds bounds the
    names. Never raises.
    """
    judgement = _Judgement(selected.policy, request, evidence, facts, [*selected.trace])
    try:
        _judge_request(judgement)
        if not judgement.reasons:
            _judge_content(judgement, None)
        return _denied(bundle, judgement) if judgement.reasons else _allowed(bundle, judgement, None)
    except Exception:  # as in evaluate
        LOG.exception("policy.crash policy=%s bundle=%s", selected.policy.name, bundle.sha256)
        return _crashed(bundle, judgement)


def _evaluated(bundle: Bundle, judgement: _Judgement) -> Decision:
    policy, request, key = judgement.policy, judgement.request, judgement.request.key
    found = credential_reasons(policy, request, judgement.evidence)
    judgement.note("authenticate", policy.authenticate.where, found, judgement.evidence.label[:200])
    if found:
        return _denied(bundle, judgement)
    _judge_request(judgement)
    if judgement.reasons:
        return _denied(bundle, judgement)
    if not isinstance(key, ClientKey):
        _refuse_unaccounted(judgement, "the request brings no key of its own, and no rule makes keys", "key")
        return _denied(bundle, judgement)
    found = key_reasons(policy, key, judgement.facts)
    judgement.note("keys", policy.keys.where, found, str(key.public_key))
    content = _judge_content(judgement, key.public_key)
    if judgement.reasons:
        return _denied(bundle, judgement)
    plan = CertificatePlan(
        subject=content.subject,
        sans=content.sans,
        spki_der=key.public_key.spki_der,
        not_before=content.validity.not_before,
        not_after=content.validity.not_after,
        key_usage=content.extensions.key_usage,
        extended_key_usage=policy.extensions.extended_key_usage,
        extensions=content.extensions.extensions,
    )
    return _allowed(bundle, judgement, plan)


def _judge_request(judgement: _Judgement) -> None:
    """Refuse what this policy was not chosen for, and what nothing here speaks for."""
    policy, request = judgement.policy, judgement.request
    if request.operation not in _ENROLLING:
        _refuse_unaccounted(judgement, f"the operation {request.operation} is no enrolment", "operation")
    elif (
        request.operation not in policy.operations
        or request.protocol != policy.protocol
        or request.endpoint not in policy.endpoints
    ):
        _refuse_unaccounted(judgement, f"the policy {policy.name} is not for this request", "endpoint")
    elif request.renews_der is not None and request.operation not in RENEWING:
        text = "a first enrolment names a certificate to renew; send it as a renewal"
        _refuse_unaccounted(judgement, text, "renews")


def _refuse_unaccounted(judgement: _Judgement, text: str, path: str) -> None:
    policy = judgement.policy
    reason = Reason(ReasonCode.POLICY_UNACCOUNTED, text, path, policy.name, policy.where)
    judgement.note("select", policy.where, [reason], "")


def _judge_content(judgement: _Judgement, key: PublicKey | None) -> _Content:
    """Take all steps from names to renewal, so that a client sees everything that is wrong at once."""
    policy, request, facts = judgement.policy, judgement.request, judgement.facts
    refused_before = len(judgement.reasons)
    subject, sans = _judge_names(judgement)
    names = (subject, sans) if len(judgement.reasons) == refused_before else None

    extensions = judge_extensions(policy, request.identity.extensions, key)
    text = ", ".join(extensions.key_usage) or "no key usage"
    if extensions.ignored:
        text += f"; not taken from the CSR: {', '.join(extensions.ignored[:MAX_LISTED])}"
    judgement.note("extensions", policy.extensions.where, extensions.reasons, text, "set")

    validity = judge_validity(policy, request, facts)
    text = f"until {validity.not_after.isoformat(' ')}"
    if validity.capped:
        text += ", the end of the CA's own certificate"
    judgement.note("validity", policy.validity.where, validity.reasons, text, "set")

    if request.operation in RENEWING:
        proven = is_renewed_by_itself(request, judgement.evidence)
        found = renewal_reasons(policy, request, facts, names, proven=proven)
        text = "by the certificate itself" if proven else "of a certificate that was issued here"
        judgement.note("renewal", policy.renewal.where, found, text)
    return _Content(subject, sans, extensions, validity)


def _judge_names(judgement: _Judgement) -> tuple[DistinguishedName, tuple[GeneralName, ...]]:
    policy, request, previous = judgement.policy, judgement.request, judgement.facts.previous
    requested = request.identity.sans
    if not requested and policy.renewal.copy_missing_san and request.operation in RENEWING and previous:
        requested = previous.sans
    names = judge_sans(policy, requested)
    subject = judge_subject(policy, request.identity.subject, names, previous)
    found = names.reasons + subject.reasons
    if not found:
        found = scope_reasons(policy, judgement.evidence, subject.subject, names.sans)
    if not (found or names.sans or subject.subject):
        text = (
            "nothing is left to be named in the certificate; ask for an allowed subject or alternative name"
        )
        rule = f"{policy.name}.names"
        found = [Reason(ReasonCode.NAME_MISSING, text, "identity", rule, policy.names.where)]
    listed = [str(name) for name in names.sans[:MAX_LISTED]]
    text = f"{subject.subject or 'empty subject'}; {', '.join(listed) or 'no alternative names'}"
    if len(names.sans) > MAX_LISTED:
        text += f" and {len(names.sans) - MAX_LISTED} more"
    if names.group:
        text += f"; group {names.group}"
    dropped = names.dropped + subject.dropped
    if dropped:
        text += f"; left out: {', '.join(dropped[:MAX_LISTED])}"
    judgement.note("names", policy.names.where, found, text, "set")
    return subject.subject, names.sans


def _allowed(bundle: Bundle, judgement: _Judgement, plan: CertificatePlan | None) -> Allow:
    policy = judgement.policy
    trace = (*judgement.trace, *policy.closing_steps)
    return Allow(policy.name, bundle.sha256, plan, policy.route, policy.approval, trace)


def _denied(bundle: Bundle, judgement: _Judgement) -> Deny:
    return Deny(judgement.policy.name, bundle.sha256, tuple(judgement.reasons), tuple(judgement.trace))


def _crashed(bundle: Bundle, judgement: _Judgement) -> Deny:
    policy = judgement.policy
    text = "the request could not be judged because of a fault in the gateway; its log says more"
    reason = Reason(ReasonCode.POLICY_CRASH, text, "", policy.name, policy.where)
    step = TraceStep("fault", policy.name, "refused", text, policy.where)
    return Deny(policy.name, bundle.sha256, (reason,), (*judgement.trace, step))
