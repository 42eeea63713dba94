"""The names of a plan: subject first, then the alternative names, which templates may make of it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import Evidence
from gateway.model.names import GeneralName
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.lists import EMPTY_LISTS
from gateway.policy.name_rules import NOTHING_KNOWN, Known
from gateway.policy.rules import CompiledPolicy
from gateway.policy.san_check import JudgedNames, judge_sans
from gateway.policy.subject_check import JudgedSubject, hold_against_names, make_subject
from gateway.policy.vocabulary import request_words, subject_words


def judge_names(
    policy: CompiledPolicy,
    request: EnrolmentRequest,
    evidence: Evidence,
    facts: Facts,
    requested: Sequence[GeneralName],
    previous: PreviousCertificate | None,
    *,
    subject_unknown: bool = False,
) -> tuple[JudgedSubject, JudgedNames]:
    """Make subject and alternative names. ``requested``: those asked for, or taken over from ``previous``.

    ``subject_unknown``: the CSR may still bring one, so that none is judged now. The vocabulary is built only
    where a template of the policy reads it.
    """
    if policy.names.needs_words or facts.lists is not EMPTY_LISTS:
        words = request_words(request, evidence, facts) if policy.names.needs_words else {}
        known = Known(words, facts.lists)
    else:
        words, known = {}, NOTHING_KNOWN
    wanted = request.identity.subject
    subject = JudgedSubject()
    if not subject_unknown:
        subject = make_subject(policy, wanted, previous, known)
        if policy.names.needs_words:
            words["subject"] = subject_words(subject.subject)
    before = previous.sans if previous is not None else None
    names = judge_sans(policy, requested, known, before, subject_refused=bool(subject.reasons))
    if not subject_unknown:
        hold_against_names(policy, wanted, names, subject)
    return subject, names
