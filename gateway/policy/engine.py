"""The decision: judge a request by the selected policy and build what will be signed.

Pure and synchronous: times and facts come in. Nothing of a request reaches the plan unless a rule names it;
what no rule speaks for is refused. Every step writes a line of the trace.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from gateway.model.decision import Allow, Decision, Deny, TraceStep
from gateway.model.enrolment import CertificatePlan, EnrolmentRequest, Operation
from gateway.model.evidence import Evidence
from gateway.model.keys import ClientKey
from gateway.model.names import GeneralName
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
from gateway.policy.conditions import Ending
from gateway.policy.content_check import Content, Judgement, judge_content
from gateway.policy.credential_check import (
    credential_reasons,
    profile_reasons,
)
from gateway.policy.describe import describe, profiles
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.key_check import key_reasons, reuse_reasons
from gateway.policy.lists import AskedLists
from gateway.policy.proof_check import (
    prevalidated_names,
    proof_text,
    proving,
    unprovable_reasons,
    unproven_reasons,
)
from gateway.policy.renewal_check import RENEWING
from gateway.policy.requirement_check import group_reasons, requirement_reasons
from gateway.policy.rules import (
    AdmissionPolicy,
    Bundle,
    CompiledPolicy,
)
from gateway.policy.selection import (
    Admitted,
    NotSelected,
    Selected,
    accepted_kinds,
    select,
    select_revocation,
    select_shadow,
)

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
MAX_LABEL = 200
_ENROLLING = frozenset({Operation.ENROLL, *RENEWING})


def evaluate(
    bundle: Bundle, selected: Selected, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> Decision:
    """Decide on a request. An Allow carries the plan of exactly what will be signed. Never raises."""
    asked = AskedLists(facts.lists, bundle.lists) if bundle.lists else None
    known = facts if asked is None else replace(facts, lists=asked)
    judgement = Judgement(selected.policy, request, evidence, known, [*selected.trace])
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
    judgement = Judgement(policy, request, evidence, facts, [*selected.trace], names_only=True)
    judgement.guardrails = bundle.guardrails_at(request.protocol, request.endpoint)
    try:
        return _previewed(judgement)
    except Exception:  # as in evaluate
        LOG.exception("policy.crash policy=%s bundle=%s", policy.name, bundle.sha256)
        return Preview(_crashed(bundle, policy, judgement.trace).reasons, policy.name)


def _previewed(judgement: Judgement) -> Preview:
    policy, request, evidence = judgement.policy, judgement.request, judgement.evidence
    rule = policy.authenticate.acme
    found = profile_reasons(policy, request, evidence) + group_reasons(policy, evidence)
    if evidence.credentials and not found:
        found = requirement_reasons(policy, request, evidence, judgement.facts)
    judgement.note("authenticate", policy.authenticate.where, found, evidence.label[:MAX_LABEL])
    _judge_request(judgement)
    prevalidated: tuple[GeneralName, ...] = ()
    if not judgement.reasons:
        names = judge_content(judgement, None).names.kept
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


def _evaluated(bundle: Bundle, judgement: Judgement) -> Decision:
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
    content = judge_content(judgement, key.public_key)
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


def _judge_request(judgement: Judgement) -> None:
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


def _refuse_unaccounted(judgement: Judgement, text: str, path: str) -> None:
    policy = judgement.policy
    reason = Reason(ReasonCode.POLICY_UNACCOUNTED, text, path, policy.name, policy.where)
    judgement.note("select", policy.where, [reason], "")


def _ending(judgement: Judgement, content: Content) -> Ending | None:
    """How a request goes on that nothing is said against; None: it is refused."""
    if judgement.reasons:
        return None
    ending = content.conditions.ending(content.validity.not_before, content.validity.not_after)
    if isinstance(ending, Ending):
        return ending
    judgement.note("approval", ending.where, [ending], "")
    return None


def _allowed(bundle: Bundle, judgement: Judgement, plan: CertificatePlan, ending: Ending) -> Allow:
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


def _denied(bundle: Bundle, judgement: Judgement) -> Deny:
    return Deny(judgement.policy.name, bundle.sha256, tuple(judgement.reasons), tuple(judgement.trace))


def _crashed(bundle: Bundle, policy: AdmissionPolicy, trace: Sequence[TraceStep]) -> Deny:
    text = "the request could not be judged because of a fault in the gateway; its log says more"
    reason = Reason(ReasonCode.POLICY_CRASH, text, "", policy.name, policy.where)
    step = TraceStep("fault", policy.name, "refused", text, policy.where)
    return Deny(policy.name, bundle.sha256, (reason,), (*trace, step))
