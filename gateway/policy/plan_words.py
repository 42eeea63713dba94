"""The words of a plan: what is known of the request, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import Evidence
from gateway.model.keys import PublicKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.policy.facts import Facts
from gateway.policy.vocabulary import Vocabulary, key_words, request_words, san_words, subject_words

_NONE: frozenset[str] = frozenset()


def plan_words(
    wanted: frozenset[str],
    request: EnrolmentRequest,
    evidence: Evidence,
    facts: Facts,
    names: tuple[DistinguishedName | None, Iterable[GeneralName], PublicKey | None],
) -> Vocabulary:
    """``subject``, ``san``, ``key`` and ``limits`` beside the words of the request, as far as they are
    wanted. ``names``: subject, alternative names and key of the plan; None where it is not known yet."""
    subject, sans, key = names
    words = request_words(request, evidence, facts, wanted)
    if "subject" in wanted and subject is not None:
        words["subject"] = subject_words(subject)
    if "san" in wanted:
        words["san"] = san_words(sans)
    if "key" in wanted and key is not None:
        words["key"] = key_words(key)
    words["limits"] = {"exceeded": facts.limits_exceeded}
    return words


def validity_words(not_before: datetime, not_after: datetime) -> Vocabulary:
    return {"validity": {"not_before": not_before, "not_after": not_after}}


def unknown_words(
    evidence: Evidence, subject: DistinguishedName | None, key: PublicKey | None
) -> frozenset[str]:
    """What a preview cannot know yet: the CSR with its key, the subject that it may name, who asks."""
    if key is not None:
        return _NONE
    return frozenset(
        {
            *("csr", "key"),
            *(("subject",) if subject is None else ()),
            *(() if evidence.credentials else ("client", "account", "challenge")),
        }
    )
