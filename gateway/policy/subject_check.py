"""Makes the subject of the plan by the policy's rules (RFC 5280 section 4.1.2.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from gateway.policy.attribute_values import (
    MAX_ATTRIBUTES,
    USUAL_MAX_CHARACTERS,
    as_signed,
    is_text,
    length_fault,
)
from gateway.policy.facts import PreviousCertificate
from gateway.policy.name_rules import NOTHING_KNOWN, Known, Verdict
from gateway.policy.rules import AttributeRule, AttributeSource, CompiledPolicy, SubjectForm
from gateway.policy.san_check import JudgedNames
from gateway.policy.template import TemplateFault

_PATH = "identity.subject"
# These have one string type only, so that not every text can be written (RFC 5280 appendix A.1).
_NARROW = frozenset(
    ATTRIBUTE_OIDS[name] for name in ("C", "serialNumber", "dnQualifier", "DC", "emailAddress")
)


@dataclass(slots=True)
class JudgedSubject:
    """The subject as it will be signed, what is wrong with the requested one, and what was left out."""

    subject: DistinguishedName = field(default_factory=DistinguishedName)
    reasons: list[Reason] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def make_subject(
    policy: CompiledPolicy,
    requested: DistinguishedName,
    previous: PreviousCertificate | None,
    known: Known = NOTHING_KNOWN,
) -> JudgedSubject:
    """Make the subject from the request or the previous certificate, before the alternative names are known.

    The form ``first-dns`` is made of those: here it is empty.
    """
    judged = JudgedSubject()
    match policy.names.subject:
        case SubjectForm.FIRST_DNS:
            pass
        case SubjectForm.KEEP_FROM_PREVIOUS:
            judged.subject = previous.subject if previous is not None else DistinguishedName()
        case SubjectForm.RULES:
            _by_rules(policy, requested, known, judged)
    return judged


def hold_against_names(
    policy: CompiledPolicy, requested: DistinguishedName, names: JudgedNames, judged: JudgedSubject
) -> None:
    """Make the subject of the alternative names, or hold its CN against them, as the policy says.

    A CN is not called missing among alternative names if it was just refused as one of them.
    """
    if policy.names.subject is SubjectForm.FIRST_DNS:
        _first_dns(policy, requested, names, judged)
    elif policy.names.subject is SubjectForm.RULES and policy.names.cn_in_san:
        _hold_cn_against_sans(policy, names, judged)


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
    if names and len(names[0]) <= USUAL_MAX_CHARACTERS:
        judged.subject = DistinguishedName(((AttributeTypeAndValue(CN_OID, names[0]),),))


def _is_among(value: str, names: Sequence[GeneralName]) -> bool:
    """Whether a CN is one of the DNS names or addresses; older clients put both there."""
    return any(
        folded(value) == folded(name.value) for name in names if name.kind in (NameKind.DNS, NameKind.IP)
    )


def _by_rules(
    policy: CompiledPolicy, requested: DistinguishedName, known: Known, judged: JudgedSubject
) -> None:
    if sum(map(len, requested.rdns)) > MAX_ATTRIBUTES:
        text = f"the subject has more than {MAX_ATTRIBUTES} attributes"
        judged.reasons.append(_reason(policy, ReasonCode.SUBJECT_ATTRIBUTE, text))
        return
    seen: set[str] = set()
    rdns = []
    given = _given(policy, known, judged)
    for rdn in requested.rdns:
        found = [_attribute(policy, asked, given, seen, known, judged) for asked in rdn]
        kept = tuple(attribute for attribute in found if attribute is not None)
        if kept:
            rdns.append(kept)
    rdns += [(attribute,) for oid, attribute in given.items() if oid not in seen]
    judged.subject = DistinguishedName(tuple(rdns))
    for rule in policy.names.required:
        if not judged.subject.values(rule.oid) and not _refused(judged, rule):
            text = f"the subject must have {rule.label}"
            judged.reasons.append(_reason(policy, ReasonCode.NAME_MISSING, text, rule))
    _hold_against_encoding(policy, judged)


def _given(policy: CompiledPolicy, known: Known, judged: JudgedSubject) -> dict[str, AttributeTypeAndValue]:
    """The attributes that the policy sets itself; one that cannot be made refuses the request."""
    found = {}
    for rule in policy.names.fixed:
        made: str | TemplateFault = rule.value
        if rule.template is not None:
            made = rule.template.render(known.words)
        if isinstance(made, TemplateFault):
            code = ReasonCode.NAME_MISSING if made.missing else ReasonCode.NAME_MALFORMED
            text = f"{rule.label} cannot be made: {made}"
            judged.reasons.append(_reason(policy, code, text, rule))
            continue
        attribute = AttributeTypeAndValue(rule.oid, made, rule.tag)
        fault = length_fault(attribute, rule.label) if rule.template is not None else None
        if fault is not None:
            judged.reasons.append(_reason(policy, ReasonCode.NAME_MALFORMED, fault, rule))
            continue
        found[rule.oid] = attribute
    return found


def _attribute(
    policy: CompiledPolicy,
    asked: AttributeTypeAndValue,
    given: Mapping[str, AttributeTypeAndValue],
    seen: set[str],
    known: Known,
    judged: JudgedSubject,
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
    if rule.source is not AttributeSource.CSR:
        first = asked.oid not in seen
        seen.add(asked.oid)
        return given.get(asked.oid) if first else None
    fault = _value_fault(policy, rule, asked, seen, known)
    seen.add(asked.oid)
    if fault is None:
        return as_signed(asked)
    if policy.names.drop_extra and fault.code is not ReasonCode.NAME_MALFORMED:
        judged.dropped.append(rule.label)
    else:
        judged.reasons.append(fault)
    return None


def _value_fault(
    policy: CompiledPolicy, rule: AttributeRule, asked: AttributeTypeAndValue, seen: set[str], known: Known
) -> Reason | None:
    value = asked.value
    code = ReasonCode.SUBJECT_CN if rule.oid == CN_OID else ReasonCode.SUBJECT_ATTRIBUTE
    if not is_text(asked):
        text = f"the value of {rule.label} is no printable text"
        return _reason(policy, ReasonCode.NAME_MALFORMED, text, rule)
    if asked.oid in seen:
        text = f"the subject has {rule.label} more than once; send it once"
        return _reason(policy, code, text, rule)
    text = length_fault(asked, rule.label) or ""
    if text:
        return _reason(policy, code, text, rule)
    verdict = Verdict.YES if rule.allow is None else rule.allow.judge(value, known)
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
