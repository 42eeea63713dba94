"""The decision: judge a request by the selected policy and build what will be signed.

Pure and synchronous: times and facts come in. Nothing of a request reaches the plan unless a rule names it;
what no rule speaks for is refused. Every step writes a line of the trace.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.model.decision import Allow, Decision, Deny, TraceStep
from gateway.model.enrolment import CertificatePlan, EnrolmentRequest, Operation
from gateway.model.evidence import Evidence
from gateway.model.keys import ClientKey, PublicKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.preview import Preview
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.authentication_rules import (
    AcmeAccountRule,
    AuthenticationRule,
    BasicRule,
    CertificateRule,
    ChallengeRule,
    MacRule,
    PopLinking,
    Require,
)
from gateway.policy.conditions import Ending, PlanConditions, plan_conditions
from gateway.policy.credential_check import (
    credential_reasons,
    is_renewed_by_itself,
    profile_reasons,
    scope_reasons,
)
from gateway.policy.describe import describe, profiles
from gateway.policy.extension_check import JudgedExtensions, judge_extensions
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.guardrail_check import Granted, judge_guardrails
from gateway.policy.guardrail_rules import CompiledGuardrail
from gateway.policy.key_check import key_reasons, reuse_reasons
from gateway.policy.lists import AskedLists
from gateway.policy.name_check import judge_names
from gateway.policy.proof_check import (
    prevalidated_names,
    proof_text,
    proving,
    unprovable_reasons,
    unproven_reasons,
)
from gateway.policy.renewal_check import RENEWING, renewal_reasons
from gateway.policy.requirement_check import group_reasons, requirement_reasons
from gateway.policy.rules import (
    AdmissionPolicy,
    Bundle,
    CompiledPolicy,
)
from gateway.policy.san_check import JudgedNames
from gateway.policy.selection import (
    Admitted,
    NotSelected,
    Selected,
    accepted_kinds,
    select,
    select_revocation,
    select_shadow,
)
from gateway.policy.terms import duration_text
from gateway.policy.validity_check import JudgedValidity, judge_validity

__all__ = [
    "AcmeAccountRule",
    "AdmissionPolicy",
    "Admitted",
    "AuthenticationRule",
    "BasicRule",
    "Bundle",
    "CertificateRule",
    "ChallengeRule",
    "CompiledPolicy",
    "Facts",
    "MacRule",
    "NotSelected",
    "PopLinking",
    "PreviousCertificate",
    "Require",
    "Selected",
    "accepted_kinds",
    "authorize",
    "describe",
    "evaluate",
    "preview",
    "profiles",
    "select",
    "select_revocation",
    "select_shadow",
]

LOG = logging.getLogger(__name__)
MAX_LISTED = 20
MAX_LABEL = 200
MAX_REASONS = 50  # of one step; more would only swell the answer and the record
_ENROLLING = frozenset({Operation.ENROLL, *RENEWING})


@dataclass(slots=True)
class _Judgement:
    """What has been found so far, step by step. ``names_only``: neither subject nor key are known yet."""

    policy: CompiledPolicy
    request: EnrolmentRequest
    evidence: Evidence
    facts: Facts
    trace: list[TraceStep]
    reasons: list[Reason] = field(default_factory=list)
    names_only: bool = False
    guardrails: tuple[CompiledGuardrail, ...] = ()

    def note(self, step: str, where: str, reasons: list[Reason], message: str, verdict: str = "ok") -> None:
        """Write one line of the trace if all is well, else one for every reason."""
        if not reasons:
            self.trace.append(TraceStep(step, f"{self.policy.name}.{step}", verdict, message, where))
            return
        # Nothing of a preview is recorded, and its client is to hear of every name.
        told = reasons if self.names_only else reasons[:MAX_REASONS]
        self.reasons += told
        self.trace += [
            TraceStep(step, reason.rule, "refused", f"{reason.code}: {reason.message}", reason.where)
            for reason in told
        ]


@dataclass(frozen=True, slots=True)
class _Content:
    """What the plan will hold beside the key."""

    subject: DistinguishedName
    names: JudgedNames
    extensions: JudgedExtensions
    validity: JudgedValidity
    conditions: PlanConditions


def evaluate(
    bundle: Bundle, selected: Selected, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> Decision:
    """Decide on a request. An Allow carries the plan of exactly what will be signed. Never raises."""
    asked = AskedLists(facts.lists, bundle.lists) if bundle.lists else None
    known = facts if asked is None else replace(facts, lists=asked)
    judgement = _Judgement(selected.policy, request, evidence, known, [*selected.trace])
    judgement.guardrails = bundle.guardrails_at(request.protocol, request.endpoint)
    try:
        decision = _evaluated(bundle, judgement)
        return decision if asked is None else _with_lists(decision, asked)
    except Exception:  # a check that fails must let nothing pass, nor take the request path down
        LOG.exception("policy.crash policy=%s bundle=%s", selected.policy.name, bundle.sha256)
        return _crashed(bundle, selected.policy, judgement.trace)


def authorize(
    bundle: Bundle, admitted: Admitted, request: EnrolmentRequest, evidence: Evidence
) -> Deny | None:
    """Whether verified credentials may ask for a revocation; None: they may. Nothing else is looked at.

    Never raises.
    """
    policy = admitted.policy
    try:
        found = credential_reasons(policy, request, evidence)
    except Exception:  # as in evaluate
        LOG.exception("policy.crash policy=%s bundle=%s", policy.name, bundle.sha256)
        return _crashed(bundle, policy, admitted.trace)
    if not found:
        return None
    steps = [
        TraceStep("authenticate", reason.rule, "refused", f"{reason.code}: {reason.message}", reason.where)
        for reason in found
    ]
    return Deny(policy.name, bundle.sha256, tuple(found), (*admitted.trace, *steps))


def preview(
    bundle: Bundle, selected: Selected, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> Preview:
    """Say what would come of names whose key is not known yet (RFC 8555 section 7.4: newOrder).

    Credentials and proofs are not asked for: ``evidence`` may be empty, but what it holds bounds the names.
    Every name is judged, whatever is found against another. A subject is judged only if one is asked for.
    Never raises.
    """
    policy = selected.policy
    judgement = _Judgement(policy, request, evidence, facts, [*selected.trace], names_only=True)
    judgement.guardrails = bundle.guardrails_at(request.protocol, request.endpoint)
    try:
        return _previewed(judgement)
    except Exception:  # as in evaluate
        LOG.exception("policy.crash policy=%s bundle=%s", policy.name, bundle.sha256)
        return Preview(_crashed(bundle, policy, judgement.trace).reasons, policy.name)


def _previewed(judgement: _Judgement) -> Preview:
    policy, request, evidence = judgement.policy, judgement.request, judgement.evidence
    rule = policy.authenticate.acme
    found = profile_reasons(policy, request, evidence) + group_reasons(policy, evidence)
    if evidence.credentials and not found:
        found = requirement_reasons(policy, request, evidence, judgement.facts)
    judgement.note("authenticate", policy.authenticate.where, found, evidence.label[:MAX_LABEL])
    _judge_request(judgement)
    prevalidated: tuple[GeneralName, ...] = ()
    if not judgement.reasons:
        names = _judge_content(judgement, None).names.kept
        found = unprovable_reasons(policy, evidence, names)
        judgement.note("proof", policy.authenticate.where, found, "to be given")
        prevalidated = prevalidated_names(policy, evidence, names)
    return Preview(
        reasons=tuple(judgement.reasons),
        policy=policy.name,
        challenges=rule.challenges if rule is not None else (),
        reuse_s=rule.reuse_s if rule is not None else 0,
        prevalidated=prevalidated,
    )


def _evaluated(bundle: Bundle, judgement: _Judgement) -> Decision:
    policy, request, key = judgement.policy, judgement.request, judgement.request.key
    evidence = judgement.evidence
    found = (
        credential_reasons(policy, request, evidence)
        or profile_reasons(policy, request, evidence)
        or requirement_reasons(policy, request, evidence, judgement.facts)
    )
    judgement.note("authenticate", policy.authenticate.where, found, evidence.label[:MAX_LABEL])
    if found:
        return _denied(bundle, judgement)
    _judge_request(judgement)
    if judgement.reasons:
        return _denied(bundle, judgement)
    if not isinstance(key, ClientKey):
        _refuse_unaccounted(judgement, "the request brings no key of its own, and no rule makes keys", "key")
        return _denied(bundle, judgement)
    found = key_reasons(policy, key, judgement.facts, evidence)
    judgement.note("keys", policy.keys.where, found, str(key.public_key))
    content = _judge_content(judgement, key.public_key)
    found = reuse_reasons(policy, judgement.facts, content.subject, content.names.sans)
    if found:
        judgement.note("keys", policy.keys.where, found, "")
    if proving(evidence):
        found = unproven_reasons(policy, evidence, content.subject, content.names.kept)
        judgement.note("proof", policy.authenticate.where, found, proof_text(evidence, content.names.kept))
    ending = _ending(judgement, content)
    if ending is None:
        return _denied(bundle, judgement)
    plan = CertificatePlan(
        subject=content.subject,
        sans=content.names.sans,
        spki_der=key.public_key.spki_der,
        not_before=content.validity.not_before,
        not_after=content.validity.not_after,
        key_usage=content.extensions.key_usage,
        extended_key_usage=policy.extensions.extended_key_usage,
        extensions=content.extensions.extensions,
        without=policy.extensions.without,
    )
    return _allowed(bundle, judgement, plan, ending)


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
    elif (
        request.renews_der is not None
        and request.operation not in RENEWING
        # RFC 9773 section 5: an ACME order only tells what it replaces; its names are proven all the same.
        and policy.authenticate.acme is None
    ):
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
    subject, names = _judge_names(judgement)
    known = subject is not None and len(judgement.reasons) == refused_before

    extensions = judge_extensions(policy, request.identity.extensions, key)
    text = ", ".join(extensions.key_usage) or "no key usage"
    if extensions.ignored:
        text += f"; not taken from the CSR: {', '.join(extensions.ignored[:MAX_LISTED])}"
    judgement.note("extensions", policy.extensions.where, extensions.reasons, text, "set")

    conditions = plan_conditions(
        policy.conditions, request, judgement.evidence, facts, (subject, names.sans, key)
    )
    if conditions.reasons and known:
        judgement.note("route", policy.conditions.routing.where, conditions.reasons, "")
    validity = judge_validity(policy, request, conditions.facts)
    text = f"until {validity.not_after.isoformat(' ')}"
    if validity.capped:
        text += ", the end of the CA's own certificate"
    elif validity.shortened:
        text += f", {duration_text(validity.shortened)} less by jitter"
    judgement.note("validity", policy.validity.where, validity.reasons, text, "set")

    if request.operation in RENEWING:
        proven = is_renewed_by_itself(request, judgement.evidence)
        planned = (subject, names.sans) if subject is not None and known else None
        found = renewal_reasons(policy, request, facts, planned, proven=proven)
        text = "by the certificate itself" if proven else "of a certificate that was issued here"
        judgement.note("renewal", policy.renewal.where, found, text)
    content = _Content(subject or DistinguishedName(), names, extensions, validity, conditions)
    if judgement.guardrails:
        _judge_guardrails(judgement, content, key)
    if policy.conditions.checks and len(judgement.reasons) == refused_before:
        found = conditions.check(validity.not_before, validity.not_after)
        judgement.note("checks", policy.conditions.where, found, "")
    return content


def _judge_guardrails(judgement: _Judgement, content: _Content, key: PublicKey | None) -> None:
    """What holds for every policy: it can refuse what this one grants, or shorten its life."""
    granted = Granted(
        subject=content.subject,
        names=content.names.kept,
        key=key,
        key_usage=content.extensions.key_usage,
        extended_key_usage=judgement.policy.extensions.extended_key_usage,
        extensions=content.extensions.extensions,
        not_before=content.validity.not_before,
        not_after=content.validity.not_after,
        end_is_asked=judgement.request.not_after is not None,
        now=judgement.facts.now,
    )
    reasons, steps = judge_guardrails(judgement.guardrails, granted)
    content.validity.not_after = granted.not_after
    judgement.reasons += reasons
    judgement.trace += steps


def _judge_names(judgement: _Judgement) -> tuple[DistinguishedName | None, JudgedNames]:
    """The subject is None where a preview asks for none: the CSR may still bring one."""
    policy, request = judgement.policy, judgement.request
    # Nothing of an earlier certificate counts where only its successor is announced (RFC 9773 section 5).
    previous = judgement.facts.previous if request.operation in RENEWING else None
    requested = request.identity.sans
    if not requested and policy.renewal.copy_missing_san and previous:
        requested = previous.sans
    unknown = judgement.names_only and not request.identity.subject
    subject, names = judge_names(
        policy, request, judgement.evidence, judgement.facts, requested, previous, subject_unknown=unknown
    )
    found = names.reasons + subject.reasons
    # A subject that is refused anyway is told of once.
    held = subject.subject if not found else DistinguishedName()
    found += scope_reasons(policy, judgement.evidence, held, names.kept)
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
    return None if unknown else subject.subject, names


def _ending(judgement: _Judgement, content: _Content) -> Ending | None:
    """How a request goes on that nothing is said against; None: it is refused."""
    if judgement.reasons:
        return None
    ending = content.conditions.ending(content.validity.not_before, content.validity.not_after)
    if isinstance(ending, Ending):
        return ending
    judgement.note("approval", ending.where, [ending], "")
    return None


def _allowed(bundle: Bundle, judgement: _Judgement, plan: CertificatePlan, ending: Ending) -> Allow:
    policy = judgement.policy
    trace = (*judgement.trace, *ending.steps)
    span = policy.renewal.revoke_previous if judgement.request.operation in RENEWING else None
    revoke_previous_s = None if span is None else int(span.total_seconds())
    return Allow(
        policy.name,
        bundle.sha256,
        plan,
        ending.route,
        ending.approval,
        trace,
        revoke_previous_s=revoke_previous_s,
    )


def _with_lists(decision: Decision, asked: AskedLists) -> Decision:
    """The decision with what names the content of every list that it rests on."""
    trace = (*decision.trace, *asked.trace())
    if isinstance(decision, Allow):
        return replace(decision, trace=trace, consumes=asked.consumed)
    return replace(decision, trace=trace)


def _denied(bundle: Bundle, judgement: _Judgement) -> Deny:
    return Deny(judgement.policy.name, bundle.sha256, tuple(judgement.reasons), tuple(judgement.trace))


def _crashed(bundle: Bundle, policy: AdmissionPolicy, trace: Sequence[TraceStep]) -> Deny:
    text = "the request could not be judged because of a fault in the gateway; its log says more"
    reason = Reason(ReasonCode.POLICY_CRASH, text, "", policy.name, policy.where)
    step = TraceStep("fault", policy.name, "refused", text, policy.where)
    return Deny(policy.name, bundle.sha256, (reason,), (*trace, step))
