"""What a certificate would hold beside the key: names, extensions, times, and what bounds all policies."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.model.decision import TraceStep
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import Evidence
from gateway.model.keys import PublicKey
from gateway.model.names import DistinguishedName
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.checks import words_of
from gateway.policy.conditions import PlanConditions, plan_conditions
from gateway.policy.credential_check import is_renewed_by_itself, scope_reasons
from gateway.policy.extension_check import JudgedExtensions, judge_extensions
from gateway.policy.facts import Facts
from gateway.policy.guardrail_check import Granted, judge_checks, judge_guardrails
from gateway.policy.guardrail_rules import CompiledGuardrail
from gateway.policy.name_check import judge_names
from gateway.policy.plan_words import plan_words, unknown_words, validity_words
from gateway.policy.renewal_check import RENEWING, renewal_reasons
from gateway.policy.rules import CompiledPolicy
from gateway.policy.san_check import JudgedNames
from gateway.policy.terms import duration_text
from gateway.policy.validity_check import JudgedValidity, judge_validity

MAX_LISTED = 20
MAX_REASONS = 50  # of one step; more would only swell the answer and the record


@dataclass(slots=True)
class Judgement:
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
class Content:
    """What the plan will hold beside the key."""

    subject: DistinguishedName
    names: JudgedNames
    extensions: JudgedExtensions
    validity: JudgedValidity
    conditions: PlanConditions


def judge_content(judgement: Judgement, key: PublicKey | None) -> Content:
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
    content = Content(subject or DistinguishedName(), names, extensions, validity, conditions)
    if judgement.guardrails:
        _judge_guardrails(judgement, content, key)
        if len(judgement.reasons) == refused_before:
            _judge_guardrail_checks(judgement, content, subject, key)
    if policy.conditions.checks and len(judgement.reasons) == refused_before:
        found = conditions.check(validity.not_before, validity.not_after)
        judgement.note("checks", policy.conditions.where, found, "")
    return content


def _judge_guardrails(judgement: Judgement, content: Content, key: PublicKey | None) -> None:
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
    most = None if judgement.names_only else MAX_REASONS
    reasons, steps = judge_guardrails(judgement.guardrails, granted, most=most)
    content.validity.not_after = granted.not_after
    judgement.reasons += reasons
    judgement.trace += steps


def _judge_guardrail_checks(
    judgement: Judgement, content: Content, subject: DistinguishedName | None, key: PublicKey | None
) -> None:
    """Once nothing else is wrong. ``subject`` is None where a preview does not know it."""
    if not any(one.checks for one in judgement.guardrails):
        return
    wanted = frozenset().union(*(words_of(one.checks) for one in judgement.guardrails))
    names = (subject, content.names.sans, key)
    words = {
        **plan_words(wanted, judgement.request, judgement.evidence, judgement.facts, names),
        **validity_words(content.validity.not_before, content.validity.not_after),
    }
    unknown = unknown_words(judgement.evidence, subject, key)
    reasons, steps = judge_checks(judgement.guardrails, words, judgement.facts.lists, unknown)
    judgement.reasons += reasons
    judgement.trace += steps


def _judge_names(judgement: Judgement) -> tuple[DistinguishedName | None, JudgedNames]:
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
