"""The subject: built from rules, never copied; a CN that is kept stands among the alternative names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import MalformedMessage
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import Evidence
from gateway.model.names import (
    ATTRIBUTE_NAMES,
    ATTRIBUTE_OIDS,
    CN_OID,
    AttributeTypeAndValue,
    DistinguishedName,
    GeneralName,
    NameKind,
)
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.certificate import parse_certificate
from gateway.pki.name_syntax import normal_dns
from gateway.pki.names import names_match
from gateway.policy.facts import Facts
from gateway.policy.judge_sans import own_names
from gateway.policy.name_rules import Verdict, normal_address, under_suffix
from gateway.policy.rules import AttributeRule, AttributeSource, CompiledPolicy, SubjectForm

_UTF8, _PRINTABLE, _IA5 = 12, 19, 22
_KEPT_TAGS = frozenset({_UTF8, _PRINTABLE, _IA5})
# Upper bounds of RFC 5280 appendix A.1
_MAX_CHARACTERS = {
    ATTRIBUTE_OIDS["C"]: 2,
    ATTRIBUTE_OIDS["L"]: 128,
    ATTRIBUTE_OIDS["ST"]: 128,
    ATTRIBUTE_OIDS["emailAddress"]: 255,
    ATTRIBUTE_OIDS["DC"]: 255,
    ATTRIBUTE_OIDS["SN"]: 128,
    ATTRIBUTE_OIDS["pseudonym"]: 128,
    ATTRIBUTE_OIDS["UID"]: 256,
    ATTRIBUTE_OIDS["unstructuredName"]: 255,
    ATTRIBUTE_OIDS["unstructuredAddress"]: 255,
    ATTRIBUTE_OIDS["description"]: 1024,
}
_USUAL_MAX = 64


@dataclass(frozen=True, slots=True)
class JudgedSubject:
    """``subject`` is what the plan will hold; ``reasons`` is empty if the request stands."""

    subject: DistinguishedName
    reasons: tuple[Reason, ...]
    dropped: tuple[str, ...] = ()


def judge_subject(
    policy: CompiledPolicy,
    request: EnrolmentRequest,
    sans: Sequence[GeneralName],
    evidence: Evidence,
    facts: Facts,
) -> JudgedSubject:
    """Build the subject in the form that the policy says."""
    form = policy.names.subject
    if form is SubjectForm.FIRST_DNS:
        first = next((name.value for name in sans if name.kind is NameKind.DNS), "")
        fits = first and len(first) <= _USUAL_MAX
        return JudgedSubject(
            _name([AttributeTypeAndValue(CN_OID, first)]) if fits else DistinguishedName(), ()
        )
    if form is SubjectForm.KEEP_FROM_PREVIOUS:
        previous = facts.previous
        # judge_renewal has refused a request that renews nothing.
        return JudgedSubject(previous.subject if previous is not None else DistinguishedName(), ())
    judged = _by_rules(policy, request.identity.subject)
    reasons = [*judged.reasons]
    if not reasons:
        reasons += _judge_common_name(policy, judged.subject, sans)
    reasons += _credential_bounds(policy, judged.subject, evidence)
    if not judged.subject and not sans and not reasons:
        text = "the request names nothing that may be certified; ask for a subject or an alternative name"
        reasons.append(
            Reason(ReasonCode.NAME_MISSING, text, "identity", f"{policy.name}.names", policy.names.where)
        )
    return JudgedSubject(judged.subject, tuple(reasons), judged.dropped)


def _by_rules(policy: CompiledPolicy, requested: DistinguishedName) -> JudgedSubject:
    rule = policy.names
    reasons: list[Reason] = []
    dropped: list[str] = []
    rdns: list[tuple[AttributeTypeAndValue, ...]] = []
    seen: set[str] = set()
    for rdn in requested.rdns:
        kept: list[AttributeTypeAndValue] = []
        for attribute in rdn:
            by = rule.attributes.get(attribute.oid)
            if by is None or by.source is AttributeSource.DROP:
                label = ATTRIBUTE_NAMES.get(attribute.oid, attribute.oid)
                if by is None and not rule.drop_extra:
                    reasons.append(_unknown_attribute(policy, label))
                dropped.append(label)
            elif by.source is AttributeSource.CSR:
                fault = _value_fault(by, attribute)
                if fault is not None:
                    reasons.append(_attribute_reason(policy, by, fault))
                elif attribute.oid == CN_OID and CN_OID in seen:
                    reasons.append(_attribute_reason(policy, by, "more than one CN is asked for; send one"))
                else:
                    seen.add(attribute.oid)
                    kept.append(_storable(attribute))
        if kept:
            rdns.append(tuple(kept))
    rdns += [(AttributeTypeAndValue(by.oid, by.value, by.tag),) for by in rule.fixed]
    for by in rule.required:
        if by.oid not in seen and not reasons:
            text = f"the subject must hold {by.label}"
            reasons.append(
                Reason(ReasonCode.NAME_MISSING, text, "identity.subject", _rule(policy, by), by.where)
            )
    return JudgedSubject(DistinguishedName(tuple(rdns)), tuple(reasons), tuple(dropped))


def _value_fault(rule: AttributeRule, attribute: AttributeTypeAndValue) -> str | None:
    value = attribute.value
    longest = _MAX_CHARACTERS.get(attribute.oid, _USUAL_MAX)
    shown = f'{rule.label} "{value[:120]}"'
    if not value or len(value) > longest:
        return f"{shown} has {len(value)} characters; 1 to {longest} are possible"
    if not value.isprintable():
        return f"{rule.label} holds a control character; remove it"
    if rule.allow is None:
        return None
    verdict = rule.allow.judge(value)
    if verdict is Verdict.YES:
        return None
    wildcard = " as a wildcard" if verdict is Verdict.WILDCARD else ""
    return f"{shown} is not allowed here{wildcard}; allowed are {rule.allow.allowed_text}"


def _judge_common_name(
    policy: CompiledPolicy, subject: DistinguishedName, sans: Sequence[GeneralName]
) -> list[Reason]:
    if not policy.names.cn_in_san:
        return []
    return [
        Reason(
            ReasonCode.SUBJECT_CN,
            f'CN "{value[:120]}" is not among the alternative names; add it there or leave the CN out',
            "identity.subject.CN",
            f"{policy.name}.names.cn_in_san",
            policy.names.where,
        )
        for value in subject.values(CN_OID)
        if not _among(value, sans)
    ]


def _among(value: str, sans: Sequence[GeneralName]) -> bool:
    for name in sans:
        if name.kind is NameKind.DNS and name.value == value.lower():
            return True
        if name.kind is NameKind.IP:
            try:
                if normal_address(value) == normal_address(name.value):
                    return True
            except ValueError:
                continue
        elif name.value == value:
            return True
    return False


def _credential_bounds(
    policy: CompiledPolicy, subject: DistinguishedName, evidence: Evidence
) -> list[Reason]:
    reasons: list[Reason] = []
    for credential in evidence.credentials:
        if credential.names is not None:
            for value in subject.values(CN_OID):
                if not _under(value, frozenset(credential.names)):
                    text = (
                        f'CN "{value[:120]}" is not for this credential, which is bound to DNS names under '
                        f"{', '.join(credential.names)}"
                    )
                    reasons.append(_bound(policy, text, "credential.names"))
        if own_names(policy, credential) is not None and credential.certificate_der is not None:
            own = parse_certificate(credential.certificate_der).subject
            if not names_match(subject, own):
                text = f"the subject {subject} is not that of the client certificate, {own}"
                reasons.append(_bound(policy, text, "authenticate.mtls.names"))
    return reasons


def _under(value: str, suffixes: frozenset[str]) -> bool:
    try:
        return under_suffix(normal_dns(value).removeprefix("*."), suffixes)
    except MalformedMessage:
        return False


def _storable(attribute: AttributeTypeAndValue) -> AttributeTypeAndValue:
    """T61String, BMPString and the like are written as UTF8String (RFC 5280 section 4.1.2.4)."""
    if attribute.tag in _KEPT_TAGS:
        return attribute
    return AttributeTypeAndValue(attribute.oid, attribute.value, _UTF8)


def _name(attributes: Sequence[AttributeTypeAndValue]) -> DistinguishedName:
    return DistinguishedName(tuple((attribute,) for attribute in attributes))


def _rule(policy: CompiledPolicy, by: AttributeRule) -> str:
    return f"{policy.name}.names.subject.{by.label}"


def _unknown_attribute(policy: CompiledPolicy, label: str) -> Reason:
    known = ", ".join(sorted(by.label for by in policy.names.attributes.values())) or "no attribute at all"
    return Reason(
        ReasonCode.SUBJECT_ATTRIBUTE,
        f"the subject attribute {label} is not allowed here; allowed are {known}",
        f"identity.subject.{label}",
        f"{policy.name}.names.subject",
        policy.names.where,
    )


def _attribute_reason(policy: CompiledPolicy, by: AttributeRule, text: str) -> Reason:
    code = ReasonCode.SUBJECT_CN if by.oid == CN_OID else ReasonCode.SUBJECT_ATTRIBUTE
    return Reason(code, text, f"identity.subject.{by.label}", _rule(policy, by), by.where)


def _bound(policy: CompiledPolicy, text: str, rule: str) -> Reason:
    return Reason(
        ReasonCode.NAME_NOT_ALLOWED,
        text,
        "identity.subject",
        f"{policy.name}.{rule}",
        policy.authenticate.where,
    )
