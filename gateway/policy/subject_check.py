"""Makes the subject of the plan by the policy's rules (RFC 5280 section 4.1.2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import MalformedMessage
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
from gateway.pki.name_syntax import folded, shown
from gateway.pki.names import encode_name
from gateway.policy.facts import PreviousCertificate
from gateway.policy.name_rules import Verdict
from gateway.policy.rules import AttributeRule, AttributeSource, CompiledPolicy, SubjectForm
from gateway.policy.san_check import JudgedNames

MAX_ATTRIBUTES = 50
_PATH = "identity.subject"
_USUAL_MAX_CHARACTERS = 64  # RFC 5280 appendix A.1: ub-common-name and most others
# RFC 5280 appendix A.1, and RFC 4519's attributes in their usual bounds
_MAX_CHARACTERS = {
    ATTRIBUTE_OIDS[name]: longest
    for name, longest in (
        *(("C", 2), ("L", 128), ("ST", 128), ("SN", 128), ("pseudonym", 128), ("emailAddress", 255)),
        *(("DC", 255), ("UID", 256), ("unstructuredName", 255), ("unstructuredAddress", 255)),
        *(("street", 128), ("description", 1024)),
    )
}
_KEPT_TAGS = frozenset({12, 19, 22})  # UTF8String, PrintableString, IA5String
# These have one string type only, so that not every text can be written (RFC 5280 appendix A.1).
_NARROW = frozenset(
    ATTRIBUTE_OIDS[name] for name in ("C", "serialNumber", "dnQualifier", "DC", "emailAddress")
)
_CHARACTER_STRINGS = frozenset({12, 18, 19, 20, 22, 26, 28, 30})  # ASN.1 tags of DirectoryString and its kin


@dataclass(slots=True)
class JudgedSubject:
    """The subject as it will be signed, what is wrong with the requested one, and what was left out."""

    subject: DistinguishedName = field(default_factory=DistinguishedName)
    reasons: list[Reason] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def judge_subject(
    policy: CompiledPolicy,
    requested: DistinguishedName,
    names: JudgedNames,
    previous: PreviousCertificate | None,
) -> JudgedSubject:
    """Make the subject from the request, the alternative names of the plan or the previous certificate.

    A CN is not called missing among alternative names if it was just refused as one of them.
    """
    judged = JudgedSubject()
    match policy.names.subject:
        case SubjectForm.FIRST_DNS:
            _first_dns(policy, requested, names, judged)
        case SubjectForm.KEEP_FROM_PREVIOUS:
            judged.subject = previous.subject if previous is not None else DistinguishedName()
        case SubjectForm.RULES:
            _by_rules(policy, requested, judged)
            if policy.names.cn_in_san:
                _hold_cn_against_sans(policy, names, judged)
    return judged


def _first_dns(
    policy: CompiledPolicy, requested: DistinguishedName, given: JudgedNames, judged: JudgedSubject
) -> None:
    names = [name.value for name in given.sans if name.kind is NameKind.DNS]
    for value in requested.values(CN_OID):
        # RFC 8555 section 7.4: a CN is a name that is asked for, like any alternative name
        if not _is_among(value, (*given.sans, *given.refused)):
            text = f"the CN {shown(value)} is not among the names that will be in the certificate"
            judged.reasons.append(
                _reason(policy, ReasonCode.SUBJECT_CN, f"{text}; add it there or leave it out")
            )
    judged.dropped += [
        ATTRIBUTE_NAMES.get(attribute.oid, attribute.oid)
        for rdn in requested.rdns
        for attribute in rdn
        if attribute.oid != CN_OID
    ][:MAX_ATTRIBUTES]
    if not given.sans and not given.refused:
        text = "an alternative name must be asked for; the first DNS name becomes the CN"
        judged.reasons.append(_reason(policy, ReasonCode.NAME_MISSING, text))
    # A certificate for addresses alone has an empty subject: an address is no CN, and clients fail on one.
    if names and len(names[0]) <= _USUAL_MAX_CHARACTERS:
        judged.subject = DistinguishedName(((AttributeTypeAndValue(CN_OID, names[0]),),))


def _is_among(value: str, names: Sequence[GeneralName]) -> bool:
    """Whether a CN is one of the DNS names or addresses; older clients put both there."""
    return any(
        folded(value) == folded(name.value) for name in names if name.kind in (NameKind.DNS, NameKind.IP)
    )


def _by_rules(policy: CompiledPolicy, requested: DistinguishedName, judged: JudgedSubject) -> None:
    if sum(map(len, requested.rdns)) > MAX_ATTRIBUTES:
        text = f"the subject has more than {MAX_ATTRIBUTES} attributes"
        judged.reasons.append(_reason(policy, ReasonCode.SUBJECT_ATTRIBUTE, text))
        return
    seen: set[str] = set()
    rdns = []
    for rdn in requested.rdns:
        kept = [made for asked in rdn if (made := _attribute(policy, asked, seen, judged)) is not None]
        if kept:
            rdns.append(tuple(kept))
    for rule in policy.names.fixed:
        if rule.oid not in seen:
            seen.add(rule.oid)
            rdns.append((AttributeTypeAndValue(rule.oid, rule.value, rule.tag),))
    judged.subject = DistinguishedName(tuple(rdns))
    for rule in policy.names.required:
        if not judged.subject.values(rule.oid) and not _refused(judged, rule):
            text = f"the subject must have {rule.label}"
            judged.reasons.append(_reason(policy, ReasonCode.NAME_MISSING, text, rule))
    _hold_against_encoding(policy, judged)


def _attribute(
    policy: CompiledPolicy, asked: AttributeTypeAndValue, seen: set[str], judged: JudgedSubject
) -> AttributeTypeAndValue | None:
    rule = policy.names.attributes.get(asked.oid)
    if rule is None:
        label = ATTRIBUTE_NAMES.get(asked.oid, asked.oid)
        if policy.names.drop_extra:
            judged.dropped.append(label)
        else:
            allowed = ", ".join(known.label for known in policy.names.attributes.values()) or "none"
            text = f"the subject attribute {label} is not allowed here; allowed are: {allowed}"
            judged.reasons.append(_reason(policy, ReasonCode.SUBJECT_ATTRIBUTE, text, label=label))
        return None
    if rule.source is AttributeSource.DROP:
        judged.dropped.append(rule.label)
        return None
    if rule.source is AttributeSource.FIXED:
        if asked.oid in seen:
            return None
        seen.add(asked.oid)
        return AttributeTypeAndValue(rule.oid, rule.value, rule.tag)
    fault = _value_fault(policy, rule, asked, seen)
    seen.add(asked.oid)
    if fault is None:
        # RFC 5280 4.1.2.4: T61String, BMPString and the like are not to be used in new certificates
        return asked if asked.tag in _KEPT_TAGS else AttributeTypeAndValue(asked.oid, asked.value)
    if policy.names.drop_extra and fault.code is not ReasonCode.NAME_MALFORMED:
        judged.dropped.append(rule.label)
    else:
        judged.reasons.append(fault)
    return None


def _value_fault(
    policy: CompiledPolicy, rule: AttributeRule, asked: AttributeTypeAndValue, seen: set[str]
) -> Reason | None:
    value = asked.value
    longest = _MAX_CHARACTERS.get(rule.oid, _USUAL_MAX_CHARACTERS)
    code = ReasonCode.SUBJECT_CN if rule.oid == CN_OID else ReasonCode.SUBJECT_ATTRIBUTE
    if asked.tag not in _CHARACTER_STRINGS or not value.isprintable() or not value.strip():
        text = f"the value of {rule.label} is no printable text"
        return _reason(policy, ReasonCode.NAME_MALFORMED, text, rule)
    if asked.oid in seen:
        text = f"the subject has {rule.label} more than once; send it once"
        return _reason(policy, code, text, rule)
    if len(value) > longest:
        text = f"{rule.label} {shown(value)} has {len(value)} characters; at most {longest} are allowed"
        return _reason(policy, code, text, rule)
    verdict = Verdict.YES if rule.allow is None else rule.allow.judge(value)
    if verdict is Verdict.YES or rule.allow is None:
        return None
    text = f"{rule.label} {shown(value)} is not allowed here; allowed are {rule.allow.allowed_text}"
    if verdict is Verdict.WILDCARD:
        return _reason(policy, ReasonCode.NAME_WILDCARD, text, rule)
    return _reason(policy, code, text, rule)


def _hold_cn_against_sans(policy: CompiledPolicy, names: JudgedNames, judged: JudgedSubject) -> None:
    for value in judged.subject.values(CN_OID):
        if all(folded(value) != folded(name.value) for name in (*names.sans, *names.refused)):
            text = f"the CN {shown(value)} is not among the alternative names; add it there or leave it out"
            judged.reasons.append(
                _reason(policy, ReasonCode.SUBJECT_CN, text, policy.names.attributes.get(CN_OID))
            )


def _hold_against_encoding(policy: CompiledPolicy, judged: JudgedSubject) -> None:
    """A subject that cannot be written must be refused now, not by the CA."""
    if _NARROW.isdisjoint(attribute.oid for rdn in judged.subject.rdns for attribute in rdn):
        return
    try:
        encode_name(judged.subject)
    except MalformedMessage as error:
        judged.reasons.append(_reason(policy, ReasonCode.NAME_MALFORMED, str(error)))


def _refused(judged: JudgedSubject, rule: AttributeRule) -> bool:
    return any(reason.path == f"{_PATH}.{rule.label}" for reason in judged.reasons)


def _reason(
    policy: CompiledPolicy, code: ReasonCode, text: str, rule: AttributeRule | None = None, *, label: str = ""
) -> Reason:
    key = rule.label if rule is not None else label
    return Reason(
        code,
        text,
        f"{_PATH}.{key}" if key else _PATH,
        f"{policy.name}.names.subject" + (f".{rule.label}" if rule is not None else ""),
        rule.where if rule is not None and rule.where else policy.names.where,
    )
