"""Holds requested alternative names against the policy, puts in its own, and makes those of the plan.

The DER of every name is made anew from the text that was compared, so that nothing else can be signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import MalformedMessage
from gateway.model.names import GeneralName, NameKind
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.name_syntax import shown
from gateway.pki.names import san_sets_match
from gateway.policy.general_names import Matcher, NameGroup, judge_name, normal_name
from gateway.policy.name_rules import NOTHING_KNOWN, AddedName, Known, Verdict
from gateway.policy.rules import CompiledPolicy
from gateway.policy.template import TemplateFault

MAX_REASONS = 50
_RARE = frozenset({NameKind.DIRECTORY, NameKind.OTHER, NameKind.REGISTERED_ID})


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


def judge_sans(
    policy: CompiledPolicy,
    requested: Sequence[GeneralName],
    known: Known = NOTHING_KNOWN,
    previous: Sequence[GeneralName] | None = None,
    *,
    subject_refused: bool = False,
) -> JudgedNames:
    """Judge names in the order of the request; a name that is asked for twice counts once.

    Then come the names that the policy puts in. ``previous``: those of the certificate that is renewed; where
    the policy says so, they alone are taken. ``subject_refused``: a template that wants a word of the subject
    has nothing more to tell.
    """
    judged = JudgedNames()
    rule = policy.names
    if len(requested) > rule.total_max:
        # Judged no further: work and answer stay bounded whatever is sent.
        text = f"{len(requested)} alternative names are asked for; at most {rule.total_max} are allowed"
        judged.reasons.append(_reason(policy, ReasonCode.NAME_COUNT, text, "identity.sans", "total_max"))
        judged.refused += requested
        return judged
    if rule.same_as_previous and previous is not None:
        kept = _as_before(policy, requested, previous, judged)
    else:
        added = _added(policy, known, judged, subject_refused=subject_refused) if rule.added else []
        asked = _in_normal_form(policy, requested, judged, frozenset(map(_key, added)))
        if len(rule.groups) == 1:
            kept = _fitting(policy, rule.groups[0], asked, known, judged)
        else:
            kept = _in_one_group(policy, asked, known, judged)
        kept += [AskedName(name, "identity.sans") for name in added]
    judged.kept = tuple(kept)
    judged.sans = tuple(one.name for one in kept)
    _count(policy, judged)
    return judged


def _key(name: GeneralName) -> tuple[NameKind, str | bytes]:
    """What makes two names in normal form the same."""
    return name.kind, name.der if name.kind in _RARE else name.value


def _as_before(
    policy: CompiledPolicy,
    requested: Sequence[GeneralName],
    previous: Sequence[GeneralName],
    judged: JudgedNames,
) -> list[AskedName]:
    """The names of the certificate that is renewed, whatever the rules say of them now."""
    kept = _in_normal_form(policy, previous, judged, frozenset(), every_kind=True)
    asked = _in_normal_form(policy, requested, judged, frozenset(), every_kind=True)
    if (
        requested
        and not judged.reasons
        and not san_sets_match([one.name for one in asked], [one.name for one in kept])
    ):
        listed = ", ".join(str(one.name) for one in kept[:MAX_REASONS]) or "none"
        text = f"the alternative names differ from those of the certificate to renew: {listed}"
        code = ReasonCode.RENEWAL_NAMES_DIFFER
        judged.reasons.append(_reason(policy, code, text, "identity.sans", "same_as_previous_on_renew"))
        judged.refused += requested
    return kept


def _added(
    policy: CompiledPolicy, known: Known, judged: JudgedNames, *, subject_refused: bool
) -> list[GeneralName]:
    """The names that the policy puts in; one that cannot be made refuses the request."""
    found: dict[tuple[NameKind, str | bytes], GeneralName] = {}
    for one in policy.names.added:
        made = _made(one, known)
        if isinstance(made, GeneralName):
            found.setdefault(_key(made), made)
            continue
        if subject_refused and isinstance(made, TemplateFault) and made.word.startswith("subject."):
            continue
        missing = isinstance(made, TemplateFault) and made.missing
        code = ReasonCode.NAME_MISSING if missing else ReasonCode.NAME_MALFORMED
        text = f"an alternative name of the kind {one.kind} cannot be made: {made}"
        judged.reasons.append(_reason(policy, code, text, "identity.sans", one.rule, one.where))
    return list(found.values())


def _made(one: AddedName, known: Known) -> GeneralName | TemplateFault | str:
    texts = []
    for template in one.templates:
        text = template.render(known.words)
        if isinstance(text, TemplateFault):
            return text
        texts.append(text)
    try:
        return one.build(texts)
    except MalformedMessage as error:
        return str(error)


def _in_normal_form(
    policy: CompiledPolicy,
    requested: Sequence[GeneralName],
    judged: JudgedNames,
    given: frozenset[tuple[NameKind, str | bytes]],
    *,
    every_kind: bool = False,
) -> list[AskedName]:
    """Names without those that are ``given`` anyway. A rare kind is read only where a rule speaks of it."""
    asked: dict[tuple[NameKind, str | bytes], AskedName] = {}
    for index, name in enumerate(requested):
        path = f"identity.sans[{index}]"
        try:
            made = normal_name(name) if every_kind or _is_known(policy, name.kind) else None
        except MalformedMessage as error:
            judged.reasons.append(_reason(policy, ReasonCode.NAME_MALFORMED, str(error), path))
            judged.refused.append(name)
            continue
        if made is None:
            _refuse_kind(policy, name, path, judged)
            continue
        key = _key(made)
        if key not in given:
            asked.setdefault(key, AskedName(made, path))
    return list(asked.values())


def _is_known(policy: CompiledPolicy, kind: NameKind) -> bool:
    """Usual kinds are known even without a rule, so that a malformed name is told as such."""
    if kind not in _RARE:
        return True
    return any(kind in group.matchers for group in policy.names.groups) or any(
        one.kind is kind for one in policy.names.added
    )


def _refuse_kind(policy: CompiledPolicy, name: GeneralName, path: str, judged: JudgedNames) -> None:
    bounds = policy.names.kinds.get(name.kind)
    if policy.names.drop_extra if bounds is None else bounds.drop_extra:
        judged.dropped.append(f"{name.kind}:{shown(name.value)}")
        return
    text = f"alternative names of the kind {name.kind} are not allowed here"
    judged.reasons.append(_reason(policy, ReasonCode.NAME_KIND, text, path))
    judged.refused.append(name)


def _fitting(
    policy: CompiledPolicy,
    group: NameGroup,
    asked: Sequence[AskedName],
    known: Known,
    judged: JudgedNames,
) -> list[AskedName]:
    kept = []
    matchers, kinds = group.matchers, policy.names.kinds
    for one in asked:
        matcher = matchers.get(one.name.kind)
        verdict = Verdict.NO if matcher is None else judge_name(matcher, one.name, known)
        if verdict is Verdict.YES:
            kept.append(one)
        elif kinds[one.name.kind].drop_extra:
            judged.dropped.append(str(one.name))
        else:
            judged.reasons.append(_refused_name(policy, one, matcher, verdict))
            judged.refused.append(one.name)
    return kept


def _in_one_group(
    policy: CompiledPolicy, asked: Sequence[AskedName], known: Known, judged: JudgedNames
) -> list[AskedName]:
    groups = policy.names.groups
    fits = {group.name: [_fits(group, one, known) for one in asked] for group in groups}
    for group in groups:
        if all(fits[group.name]):
            judged.group = group.name
            return list(asked)
    homeless = [one for index, one in enumerate(asked) if not any(fit[index] for fit in fits.values())]
    for one in homeless:
        matchers = [found for group in groups if (found := group.matchers.get(one.name.kind))]
        verdicts = [judge_name(matcher, one.name, known) for matcher in matchers]
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


def _fits(group: NameGroup, one: AskedName, known: Known) -> bool:
    matcher = group.matchers.get(one.name.kind)
    return matcher is not None and judge_name(matcher, one.name, known) is Verdict.YES


def _refused_name(
    policy: CompiledPolicy,
    one: AskedName,
    matcher: Matcher | None,
    verdict: Verdict,
    matchers: Sequence[Matcher] = (),
) -> Reason:
    kind, value = one.name.kind, shown(one.name.value)
    key = _written(kind)
    where = policy.names.kinds[kind].where
    if matcher is None:
        text = f"{value} is not allowed here: no alternative name of the kind {kind} is"
        return _reason(policy, ReasonCode.NAME_KIND, text, one.path, key, where)
    allowed = "; or ".join(found.allowed_text for found in matchers) or matcher.allowed_text
    if verdict is Verdict.WILDCARD:
        text = f"{value} is not allowed here: the wildcard rule refuses it; allowed are {allowed}"
        return _reason(policy, ReasonCode.NAME_WILDCARD, text, one.path, f"{key}.wildcard", where)
    text = f"{value} is not allowed here; allowed are {allowed}"
    return _reason(policy, ReasonCode.NAME_NOT_ALLOWED, text, one.path, key, where)


def _count(policy: CompiledPolicy, judged: JudgedNames) -> None:
    counts: dict[NameKind, int] = {}
    refused = {name.kind for name in judged.refused}
    for name in judged.sans:
        counts[name.kind] = counts.get(name.kind, 0) + 1
    for kind, bounds in policy.names.kinds.items():
        count = counts.get(kind, 0)
        if count > bounds.max:
            text = f"the certificate would have {count} {kind} names; at most {bounds.max} are allowed"
            judged.reasons.append(
                _reason(
                    policy,
                    ReasonCode.NAME_COUNT,
                    text,
                    "identity.sans",
                    f"{_written(kind)}.max",
                    bounds.where,
                )
            )
        if bounds.required and not count and kind not in refused:
            text = f"at least one {kind} name must be among the alternative names"
            judged.reasons.append(
                _reason(
                    policy,
                    ReasonCode.NAME_MISSING,
                    text,
                    "identity.sans",
                    f"{_written(kind)}.required",
                    bounds.where,
                )
            )
    if len(judged.sans) > policy.names.total_max:
        text = f"the certificate would have {len(judged.sans)} alternative names"
        text += f"; at most {policy.names.total_max} are allowed"
        judged.reasons.append(_reason(policy, ReasonCode.NAME_COUNT, text, "identity.sans", "total_max"))


def _written(kind: NameKind) -> str:
    """A kind as the document has it."""
    return kind.value.replace("-", "_")


def _reason(
    policy: CompiledPolicy, code: ReasonCode, text: str, path: str, key: str = "", where: str = ""
) -> Reason:
    rule = f"{policy.name}.names.{key}" if key else f"{policy.name}.names"
    return Reason(code, text, path, rule, where or policy.names.where)
