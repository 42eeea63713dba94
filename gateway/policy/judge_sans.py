"""Subject alternative names: which of the requested ones will be signed, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.model.evidence import MTLS, Evidence, VerifiedCredential
from gateway.model.names import GeneralName, NameKind
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.certificate import parse_certificate
from gateway.policy.name_rules import NameGroup, Verdict, under_suffix
from gateway.policy.rules import CompiledPolicy, NamesRule


@dataclass(frozen=True, slots=True)
class JudgedSans:
    """``sans`` is what the plan will hold; ``reasons`` is empty if the request stands."""

    sans: tuple[GeneralName, ...]
    reasons: tuple[Reason, ...]
    dropped: tuple[GeneralName, ...] = ()
    group: str = ""


def judge_sans(policy: CompiledPolicy, requested: Sequence[GeneralName], evidence: Evidence) -> JudgedSans:
    """All names must fit one group; counts, needs and the bounds of the credentials hold for what is kept."""
    rule = policy.names
    unique = tuple({(name.kind, name.der): name for name in requested}.values())
    kept, refused, dropped, group = _fit(rule, unique)
    reasons = [_refusal(policy, rule, group, name, verdict, requested) for name, verdict in refused]
    if not reasons:
        reasons += _count(policy, rule, kept)
    reasons += _credential_bounds(policy, kept, evidence, requested)
    return JudgedSans(kept, tuple(reasons), dropped, group.name if group is not None else "")


_Refused = list[tuple[GeneralName, Verdict | None]]


def _fit(
    rule: NamesRule, names: Sequence[GeneralName]
) -> tuple[tuple[GeneralName, ...], _Refused, tuple[GeneralName, ...], NameGroup | None]:
    best: tuple[tuple[GeneralName, ...], _Refused, NameGroup | None] = ((), [], None)
    for position, group in enumerate(rule.groups):
        kept: list[GeneralName] = []
        refused: _Refused = []
        for name in names:
            matcher = group.matchers.get(name.kind)
            verdict = None if matcher is None else matcher.judge(name.value)
            if verdict is Verdict.YES:
                kept.append(name)
            else:
                refused.append((name, verdict))
        if position == 0 or len(kept) > len(best[0]):
            best = (tuple(kept), refused, group)
        if not refused:
            break
    kept_names, refused_names, found = best
    still: _Refused = []
    dropped: list[GeneralName] = []
    for name, verdict in refused_names:
        bounds = rule.kinds.get(name.kind)
        if rule.drop_extra if bounds is None else bounds.drop_extra:
            dropped.append(name)
        else:
            still.append((name, verdict))
    return kept_names, still, tuple(dropped), found


def _refusal(
    policy: CompiledPolicy,
    rule: NamesRule,
    group: NameGroup | None,
    name: GeneralName,
    verdict: Verdict | None,
    requested: Sequence[GeneralName],
) -> Reason:
    path = f"identity.sans[{requested.index(name)}]"
    matcher = group.matchers.get(name.kind) if group is not None else None
    rule_name = f"{policy.name}.names.{name.kind.value}"
    where = group.where if group is not None else rule.where
    shown = f'"{name.value[:120]}"'
    if matcher is None:
        kinds = sorted({kind.value for each in rule.groups for kind in each.matchers})
        text = f"{shown} is a name of kind {name.kind.value}; allowed here are {_or_none(kinds)}"
        return Reason(ReasonCode.NAME_KIND, text, path, rule_name, where)
    if verdict is Verdict.WILDCARD:
        text = f"{shown} does not fit the rule for wildcards; allowed are {matcher.allowed_text}"
        return Reason(ReasonCode.NAME_WILDCARD, text, path, rule_name, where)
    beside = f" together with the other names (group {group.name})" if group and group.name else ""
    text = f"{shown} is not allowed here{beside}; allowed are {matcher.allowed_text}"
    return Reason(ReasonCode.NAME_NOT_ALLOWED, text, path, rule_name, where)


def _or_none(words: Sequence[str]) -> str:
    return ", ".join(words) or "no alternative names at all"


def _count(policy: CompiledPolicy, rule: NamesRule, kept: Sequence[GeneralName]) -> list[Reason]:
    reasons: list[Reason] = []
    if len(kept) > rule.total_max:
        text = f"{len(kept)} alternative names are asked for; at most {rule.total_max} are allowed"
        reasons.append(
            Reason(ReasonCode.NAME_COUNT, text, "identity.sans", f"{policy.name}.names.total_max", rule.where)
        )
    for kind, bounds in rule.kinds.items():
        count = sum(name.kind is kind for name in kept)
        rule_name = f"{policy.name}.names.{kind.value}"
        if count > bounds.max:
            text = f"{count} names of kind {kind.value} are asked for; at most {bounds.max} are allowed"
            reasons.append(
                Reason(ReasonCode.NAME_COUNT, text, "identity.sans", f"{rule_name}.max", bounds.where)
            )
        if bounds.required and not count:
            text = f"an alternative name of kind {kind.value} must be asked for"
            reasons.append(
                Reason(ReasonCode.NAME_MISSING, text, "identity.sans", f"{rule_name}.required", bounds.where)
            )
    return reasons


def _credential_bounds(
    policy: CompiledPolicy,
    kept: Sequence[GeneralName],
    evidence: Evidence,
    requested: Sequence[GeneralName],
) -> list[Reason]:
    """What a credential is bound to, and, where the policy says so, the names of the client certificate."""
    reasons: list[Reason] = []
    for credential in evidence.credentials:
        if credential.names is not None:
            suffixes = frozenset(credential.names)
            reasons += [
                _bound_reason(policy, name, credential.names, requested)
                for name in kept
                if name.kind is not NameKind.DNS or not under_suffix(name.value.removeprefix("*."), suffixes)
            ]
        own = own_names(policy, credential)
        if own is not None:
            reasons += [
                Reason(
                    ReasonCode.NAME_NOT_ALLOWED,
                    f'"{name.value[:120]}" is not in the client certificate, whose names alone are allowed here',
                    f"identity.sans[{requested.index(name)}]",
                    f"{policy.name}.authenticate.mtls.names",
                    policy.authenticate.where,
                )
                for name in kept
                if (name.kind, name.value) not in own
            ]
    return reasons


def own_names(
    policy: CompiledPolicy, credential: VerifiedCredential
) -> frozenset[tuple[NameKind, str]] | None:
    """The alternative names of the client certificate, where the policy allows no others; else None."""
    rule = policy.authenticate.mtls
    if credential.kind != MTLS or credential.certificate_der is None or rule is None:
        return None
    if not rule.own_names_only:
        return None
    return frozenset((name.kind, name.value) for name in parse_certificate(credential.certificate_der).sans)


def _bound_reason(
    policy: CompiledPolicy, name: GeneralName, names: Sequence[str], requested: Sequence[GeneralName]
) -> Reason:
    text = f'"{name.value[:120]}" is not for this credential, which is bound to DNS names under {", ".join(names)}'
    return Reason(
        ReasonCode.NAME_NOT_ALLOWED,
        text,
        f"identity.sans[{requested.index(name)}]",
        f"{policy.name}.credential.names",
        policy.authenticate.where,
    )
