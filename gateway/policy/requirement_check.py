"""Holds verified credentials against what `authenticate` asks beside their being right: groups, what a
challenge is bound to, and the list of those who may ask."""

from __future__ import annotations

from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import (
    ACME_ACCOUNT,
    BASIC,
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    MAC,
    Evidence,
    VerifiedCredential,
)
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.name_syntax import shown
from gateway.policy.authentication_rules import (
    AllowListRule,
    AuthenticationRule,
    ChallengeRule,
    GroupsRule,
)
from gateway.policy.facts import Facts
from gateway.policy.rules import AdmissionPolicy
from gateway.policy.template import TemplateFault
from gateway.policy.vocabulary import request_words

_MAX_TOLD = 5


def group_reasons(policy: AdmissionPolicy, evidence: Evidence) -> list[Reason]:
    """Credentials in none of the groups that their rule names, and accounts bound to nobody."""
    found = []
    for credential in evidence.credentials:
        rule = policy.authenticate.acme
        if credential.kind == ACME_ACCOUNT and rule is not None and credential.credential_id is None:
            if rule.bound or rule.groups is not None:
                text = (
                    "this account is bound to no external account, and only accounts that are may ask here; "
                    "open another one with an external account binding"
                )
                key = "acme-account.eab" if rule.groups is None else rule.groups.key
                where = rule.groups.where if rule.groups is not None else policy.authenticate.where
                found.append(_reason(policy, text, "presented", key, where))
            continue
        groups = _groups_of(policy.authenticate, credential)
        if groups is not None and set(groups.allowed).isdisjoint(credential.groups):
            text = (
                f"this credential is in the groups {_told(credential.groups)}, and one of "
                f"{_told(groups.allowed)} may ask here; ask with one that is in such a group"
            )
            found.append(_reason(policy, text, "presented", groups.key, groups.where))
    return found


def requirement_reasons(
    policy: AdmissionPolicy, request: EnrolmentRequest, evidence: Evidence, facts: Facts
) -> list[Reason]:
    """What a challenge is bound to and this subject is not, and who does not stand in the list."""
    rule = policy.authenticate
    found: list[Reason] = []
    if rule.challenge is not None and rule.challenge.bound:
        for credential in evidence.credentials:
            if credential.kind in (CHALLENGE_DYNAMIC, CHALLENGE_STATIC):
                found += _unbound(policy, rule.challenge, request, credential)
    if rule.allow_list is not None:
        found += _unlisted(policy, rule.allow_list, request, evidence, facts)
    return found


def _groups_of(rule: AuthenticationRule, credential: VerifiedCredential) -> GroupsRule | None:
    match credential.kind:
        case kind if kind == BASIC:
            return rule.basic.groups if rule.basic is not None else None
        case kind if kind == MAC:
            return rule.mac.groups if rule.mac is not None else None
        case kind if kind == ACME_ACCOUNT:
            return rule.acme.groups if rule.acme is not None else None
        case kind if kind in (CHALLENGE_DYNAMIC, CHALLENGE_STATIC):
            return rule.challenge.groups if rule.challenge is not None else None
        case _:
            return None


def _unbound(
    policy: AdmissionPolicy, rule: ChallengeRule, request: EnrolmentRequest, credential: VerifiedCredential
) -> list[Reason]:
    """Each label must be there and equal the one value of its attribute, character by character."""
    labels = dict(credential.labels)
    found = []
    for name, oid in rule.bound:
        asked = request.identity.subject.values(oid)
        bound = labels.get(name)
        if bound is None:
            text = (
                f"this challenge password is bound to no {name}, and here it must be; ask for one that was "
                f"made with the label {name}"
            )
        elif asked == (bound,):
            continue
        elif not asked:
            text = f"this challenge password is bound to a {name}, and the subject has none; ask for it"
        else:
            told = _told(tuple(map(shown, asked)))
            text = (
                f"this challenge password is bound to another {name} than {told}; ask for the subject that "
                "it was made for"
            )
        found.append(_reason(policy, text, f"identity.subject.{name}", "challenge.bind", rule.bound_where))
    return found


def _unlisted(
    policy: AdmissionPolicy,
    rule: AllowListRule,
    request: EnrolmentRequest,
    evidence: Evidence,
    facts: Facts,
) -> list[Reason]:
    value = rule.word.render(request_words(request, evidence, facts))
    if isinstance(value, TemplateFault):
        text = f"{value}, so it cannot be looked up in the list {rule.name}"
    elif facts.lists.contains(rule.name, value):
        return []
    elif not facts.lists.available(rule.name):
        text = f"the list {rule.name} of those who may ask is not known now, so nobody may; try again later"
    else:
        text = f"{rule.fact} {shown(value)} does not stand in the list {rule.name} of those who may ask here"
    return [_reason(policy, text, "presented", "allow_list", rule.where)]


def _told(words: tuple[str, ...]) -> str:
    if not words:
        return "none"
    more = f" and {len(words) - _MAX_TOLD} more" if len(words) > _MAX_TOLD else ""
    return ", ".join(words[:_MAX_TOLD]) + more


def _reason(policy: AdmissionPolicy, text: str, path: str, key: str, where: str) -> Reason:
    rule = f"{policy.name}.authenticate.{key}"
    return Reason(ReasonCode.AUTH_REQUIREMENT, text, path, rule, where)
