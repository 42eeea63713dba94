"""Holds requested alternative names against the policy and makes those of the plan.

The DER of every name is made anew from the text that was compared, so that nothing else can be signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import MalformedMessage
from gateway.model.names import GeneralName, NameKind
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.name_syntax import shown
from gateway.pki.names import dns_name, email_name, ip_address_name, uri_name
from gateway.policy.name_rules import Matcher, NameGroup, Verdict
from gateway.policy.rules import CompiledPolicy

MAX_REASONS = 50

_MAKE = {
    NameKind.DNS: dns_name,
    NameKind.IP: ip_address_name,
    NameKind.EMAIL: email_name,
    NameKind.URI: uri_name,
}


@dataclass(frozen=True, slots=True)
class AskedName:
    """A name in normal form, and its place in the request: ``identity.sans[2]``."""

    name: GeneralName
    path: str


@dataclass(slots=True)
class JudgedNames:
    """Names as they will be signed, what is wrong with the requested ones, and what was left out.

    ``kept`` are those that nothing was found against, ``sans`` the same without their places. ``refused`` are
    the names that ``reasons`` speak of; nothing more needs to be said for want of them.
    """

    kept: tuple[AskedName, ...] = ()
    sans: tuple[GeneralName, ...] = ()
    refused: list[GeneralName] = field(default_factory=list)
    group: str = ""
    reasons: list[Reason] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def judge_sans(policy: CompiledPolicy, requested: Sequence[GeneralName]) -> JudgedNames:
    """Judge names in the order of the request; a name that is asked for twice counts once."""
    judged = JudgedNames()
    rule = policy.names
    if len(requested) > rule.total_max:
        # Judged no further: work and answer stay bounded whatever is sent.
        text = f"{len(requested)} alternative names are asked for; at most {rule.total_max} are allowed"
        judged.reasons.append(_reason(policy, ReasonCode.NAME_COUNT, text, "identity.sans", "total_max"))
        judged.refused += requested
        return judged
    asked = _in_normal_form(policy, requested, judged)
    if len(rule.groups) == 1:
        kept = _fitting(policy, rule.groups[0], asked, judged)
    else:
        kept = _in_one_group(policy, asked, judged)
    judged.kept = tuple(kept)
    judged.sans = tuple(one.name for one in kept)
    _count(policy, judged)
    return judged


def _in_normal_form(
    policy: CompiledPolicy, requested: Sequence[GeneralName], judged: JudgedNames
) -> list[AskedName]:
    asked: dict[tuple[NameKind, str], AskedName] = {}
    for index, name in enumerate(requested):
        make = _MAKE.get(name.kind)
        path = f"identity.sans[{index}]"
        if make is None:
            bounds = policy.names
            if bounds.drop_extra:
                judged.dropped.append(f"{name.kind}:{shown(name.value)}")
                continue
            text = f"alternative names of the kind {name.kind} are not allowed here"
            judged.reasons.append(_reason(policy, ReasonCode.NAME_KIND, text, path))
            judged.refused.append(name)
            continue
        try:
            made = make(name.value)
        except MalformedMessage as error:
            judged.reasons.append(_reason(policy, ReasonCode.NAME_MALFORMED, str(error), path))
            judged.refused.append(name)
            continue
        asked.setdefault((made.kind, made.value), AskedName(made, path))
    return list(asked.values())


def _fitting(
    policy: CompiledPolicy, group: NameGroup, asked: Sequence[AskedName], judged: JudgedNames
) -> list[AskedName]:
    kept = []
    matchers, kinds = group.matchers, policy.names.kinds
    for one in asked:
        matcher = matchers.get(one.name.kind)
        verdict = Verdict.NO if matcher is None else matcher.judge(one.name.value)
        if verdict is Verdict.YES:
            kept.append(one)
        elif kinds[one.name.kind].drop_extra:
            judged.dropped.append(str(one.name))
        else:
            judged.reasons.append(_refused_name(policy, one, matcher, verdict))
            judged.refused.append(one.name)
    return kept


def _in_one_group(policy: CompiledPolicy, asked: Sequence[AskedName], judged: JudgedNames) -> list[AskedName]:
    groups = policy.names.groups
    fits = {group.name: [_fits(group, one) for one in asked] for group in groups}
    for group in groups:
        if all(fits[group.name]):
            judged.group = group.name
            return list(asked)
    homeless = [one for index, one in enumerate(asked) if not any(fit[index] for fit in fits.values())]
    for one in homeless:
        matchers = [found for group in groups if (found := group.matchers.get(one.name.kind))]
        verdicts = [matcher.judge(one.name.value) for matcher in matchers]
        verdict = Verdict.WILDCARD if Verdict.WILDCARD in verdicts else Verdict.NO
        judged.reasons.append(
            _refused_name(policy, one, matchers[0] if matchers else None, verdict, matchers)
        )
        judged.refused.append(one.name)
    if not homeless:
        text = (
            "these names are allowed, but not together; ask for one certificate for each group: "
            + "; ".join(
                f"{one.name.value} is in {', '.join(name for name, fit in fits.items() if fit[index])}"
                for index, one in enumerate(asked[:MAX_REASONS])
            )
        )
        judged.reasons.append(_reason(policy, ReasonCode.NAME_NOT_ALLOWED, text, "identity.sans", "groups"))
    return [one for one in asked if one not in homeless]


def _fits(group: NameGroup, one: AskedName) -> bool:
    matcher = group.matchers.get(one.name.kind)
    return matcher is not None and matcher.judge(one.name.value) is Verdict.YES


def _refused_name(
    policy: CompiledPolicy,
    one: AskedName,
    matcher: Matcher | None,
    verdict: Verdict,
    matchers: Sequence[Matcher] = (),
) -> Reason:
    kind, value = one.name.kind, shown(one.name.value)
    where = policy.names.kinds[kind].where
    if matcher is None:
        text = f"{value} is not allowed here: no alternative name of the kind {kind} is"
        return _reason(policy, ReasonCode.NAME_KIND, text, one.path, kind.value, where)
    allowed = "; or ".join(found.allowed_text for found in matchers) or matcher.allowed_text
    if verdict is Verdict.WILDCARD:
        text = f"{value} is not allowed here: the wildcard rule refuses it; allowed are {allowed}"
        return _reason(policy, ReasonCode.NAME_WILDCARD, text, one.path, f"{kind}.wildcard", where)
    text = f"{value} is not allowed here; allowed are {allowed}"
    return _reason(policy, ReasonCode.NAME_NOT_ALLOWED, text, one.path, kind.value, where)


def _count(policy: CompiledPolicy, judged: JudgedNames) -> None:
    counts: dict[NameKind, int] = {}
    refused = {name.kind for name in judged.refused}
    for name in judged.sans:
        counts[name.kind] = counts.get(name.kind, 0) + 1
    for kind, bounds in policy.names.kinds.items():
        count = counts.get(kind, 0)
        if count > bounds.max:
            text = f"{count} {kind} names are asked for; at most {bounds.max} are allowed"
            judged.reasons.append(
                _reason(policy, ReasonCode.NAME_COUNT, text, "identity.sans", f"{kind}.max", bounds.where)
            )
        if bounds.required and not count and kind not in refused:
            text = f"at least one {kind} name must be among the alternative names"
            judged.reasons.append(
                _reason(
                    policy, ReasonCode.NAME_MISSING, text, "identity.sans", f"{kind}.required", bounds.where
                )
            )


def _reason(
    policy: CompiledPolicy, code: ReasonCode, text: str, path: str, key: str = "", where: str = ""
) -> Reason:
    rule = f"{policy.name}.names.{key}" if key else f"{policy.name}.names"
    return Reason(code, text, path, rule, where or policy.names.where)
