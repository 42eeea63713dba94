"""Holds what a policy would grant against the guardrails, which only ever refuse or shorten it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from gateway.model.decision import TraceStep
from gateway.model.enrolment import Extension
from gateway.model.keys import KeyType, PublicKey
from gateway.model.names import DistinguishedName, GeneralName, NameKind
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.name_syntax import shown
from gateway.pki.names import directory_of
from gateway.pki.oids import BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, KEY_USAGE
from gateway.policy.checks import check_reasons
from gateway.policy.compile_guardrail import host_of, normal_text
from gateway.policy.extension_values import asks_for_ca, extended_key_usage_oids, key_usage_bits
from gateway.policy.guardrail_rules import CompiledGuardrail, DeniedRule, KeyBounds
from gateway.policy.lists import ListLookup
from gateway.policy.name_rules import under_suffix
from gateway.policy.patterns import MAX_DNS_CHARACTERS, MAX_TEXT_CHARACTERS, Pattern
from gateway.policy.san_check import AskedName
from gateway.policy.terms import EXTENDED_KEY_USAGE_NAMES, duration_text

_CA_BITS = frozenset({"keyCertSign", "cRLSign"})
_SUBJECT = "identity.subject"
MAX_REASONS = 50  # of one guardrail


@dataclass(slots=True)
class Granted:
    """What a policy would grant. ``not_after`` is made earlier here where a guardrail demands it, unless the
    client asked for this very end. ``key`` is None where it is not known yet."""

    subject: DistinguishedName
    names: Sequence[AskedName]
    key: PublicKey | None
    key_usage: Sequence[str]
    extended_key_usage: Sequence[str]
    extensions: Sequence[Extension]
    not_before: datetime
    not_after: datetime
    end_is_asked: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class _NameForms:
    """A name as the rules read it: ``text`` in normal form, ``host`` the DNS name in it, if there is one."""

    text: str
    host: str
    shown: str
    path: str
    readable: bool = True


def judge_guardrails(
    guardrails: Iterable[CompiledGuardrail], granted: Granted, *, most: int | None = MAX_REASONS
) -> tuple[list[Reason], list[TraceStep]]:
    """Everything that lies beyond a guardrail, and a line of the trace for each guardrail. ``most``: reasons
    of one guardrail."""
    reasons: list[Reason] = []
    steps: list[TraceStep] = []
    forms: list[_NameForms] | None = None
    for guardrail in guardrails:
        found = list(_of_key(guardrail, granted)) + list(_of_usages(guardrail, granted))
        text = "kept"
        if guardrail.denied is not None:
            forms = list(_forms(granted)) if forms is None else forms
            found += _of_names(guardrail, guardrail.denied, forms)
        if guardrail.validity_max is not None:
            text = _bound_life(guardrail, granted, found) or text
        reasons += found[:most]
        steps += _steps(guardrail, found[:most], text)
    return reasons, steps


def judge_checks(
    guardrails: Iterable[CompiledGuardrail],
    words: Mapping[str, object],
    lists: ListLookup,
    unknown: frozenset[str],
) -> tuple[list[Reason], list[TraceStep]]:
    """As ``judge_guardrails``, of what guardrails say in expressions. ``unknown``: words that a preview
    cannot know, whose checks are left for later."""
    reasons: list[Reason] = []
    steps: list[TraceStep] = []
    for guardrail in guardrails:
        found = check_reasons(guardrail.checks, words, lists, unknown=unknown)
        reasons += found
        steps += _steps(guardrail, found, "checks hold") if guardrail.checks else []
    return reasons, steps


def _steps(guardrail: CompiledGuardrail, found: Sequence[Reason], text: str) -> list[TraceStep]:
    if not found:
        return [TraceStep("guardrail", guardrail.name, "ok", text, guardrail.where)]
    return [
        TraceStep("guardrail", one.rule, "refused", f"{one.code}: {one.message}", one.where) for one in found
    ]


def _of_key(guardrail: CompiledGuardrail, granted: Granted) -> Iterator[Reason]:
    bounds, key = guardrail.keys, granted.key
    if bounds is None or key is None:
        return
    code = _key_fault(bounds, key)
    if code is not None:
        text = (
            f"{key} keys are beyond the guardrail {guardrail.name}; it leaves {bounds.allowed_text}: make "
            "such a key"
        )
        yield Reason(code, text, "key", f"{guardrail.name}.keys", bounds.where)


def _key_fault(bounds: KeyBounds, key: PublicKey) -> ReasonCode | None:
    if key.type not in bounds.types:
        return ReasonCode.KEY_TYPE
    if key.type is KeyType.RSA and not bounds.rsa_min <= key.size_bits <= bounds.rsa_max:
        return ReasonCode.KEY_SIZE
    return ReasonCode.KEY_CURVE if key.type is KeyType.EC and key.curve not in bounds.curves else None


def _of_usages(guardrail: CompiledGuardrail, granted: Granted) -> Iterator[Reason]:
    if guardrail.forbidden_usages:
        for oid in _usages(granted):
            if oid in guardrail.forbidden_usages:
                text = (
                    f"the extended key usage {EXTENDED_KEY_USAGE_NAMES.get(oid, oid)} is forbidden by the "
                    f"guardrail {guardrail.name}; take it out of the policy"
                )
                rule = f"{guardrail.name}.forbid_eku"
                code = ReasonCode.EXTENSION_NOT_ALLOWED
                yield Reason(code, text, "identity.extensions", rule, guardrail.where_usages)
    if guardrail.deny_ca and _makes_ca(granted):
        text = f"this would be a CA certificate, which the guardrail {guardrail.name} denies"
        rule = f"{guardrail.name}.ca"
        yield Reason(ReasonCode.EXTENSION_CA, text, "identity.extensions", rule, guardrail.where_ca)


def _usages(granted: Granted) -> Iterator[str]:
    yield from granted.extended_key_usage
    for extension in granted.extensions:
        if extension.oid == EXTENDED_KEY_USAGE:
            yield from extended_key_usage_oids(extension.value_der)


def _makes_ca(granted: Granted) -> bool:
    """Values that cannot be read raise MalformedMessage: what nobody can read is not granted."""
    if not _CA_BITS.isdisjoint(granted.key_usage):
        return True
    return any(
        (one.oid == BASIC_CONSTRAINTS and asks_for_ca(one.value_der))
        or (one.oid == KEY_USAGE and not _CA_BITS.isdisjoint(key_usage_bits(one.value_der)))
        for one in granted.extensions
    )


def _bound_life(guardrail: CompiledGuardrail, granted: Granted, found: list[Reason]) -> str:
    longest = guardrail.validity_max
    assert longest is not None
    # Counted as a policy's own `max` is: what lies before now is no life that anybody can use.
    latest = max(granted.not_before, granted.now) + longest
    if granted.not_after <= latest:
        return ""
    if granted.end_is_asked:
        text = (
            f"it would live longer than {duration_text(longest)}, which the guardrail {guardrail.name} "
            "leaves; ask for an earlier notAfter"
        )
        rule = f"{guardrail.name}.validity_max"
        found.append(Reason(ReasonCode.VALIDITY, text, "not_after", rule, guardrail.where_validity))
        return ""
    granted.not_after = latest
    return f"ends earlier, after {duration_text(longest)}: {latest.isoformat(' ')}"


def _of_names(
    guardrail: CompiledGuardrail, denied: DeniedRule, forms: Iterable[_NameForms]
) -> Iterator[Reason]:
    for one in forms:
        fault = _fault(denied, one)
        if fault is not None:
            why, key, where = fault
            text = f"{one.shown} is denied by the guardrail {guardrail.name}: {why}; ask for another name"
            rule = f"{guardrail.name}.deny_names.{key}"
            yield Reason(ReasonCode.NAME_NOT_ALLOWED, text, one.path, rule, where)


def _fault(denied: DeniedRule, name: _NameForms) -> tuple[str, str, str] | None:
    """Why a name is denied, by which key, and where that stands."""
    if not name.readable and (denied.suffixes or denied.exact):
        return "its host cannot be read", "suffix", denied.where_suffix
    bare = name.host.removeprefix("*.")
    if name.text in denied.exact or (bare and bare in denied.exact):
        return "this very name is", "exact", denied.where_exact
    if bare and under_suffix(bare, denied.suffixes):
        return "it lies under a denied suffix", "suffix", denied.where_suffix
    if bare != name.host and bare in denied.covered:
        return "its wildcard would stand for a denied name", "suffix", denied.where_suffix
    longest = MAX_DNS_CHARACTERS if name.host == name.text else MAX_TEXT_CHARACTERS
    for index, pattern in enumerate(denied.patterns):
        place = f"regex[{index}]", denied.where_patterns[index]
        if len(name.text) > longest:
            return f"it is longer than {longest} characters", *place
        if _found_in(pattern, name.text):
            return f"{shown(pattern.source)} is found in it", *place
    return None


def _found_in(pattern: Pattern, text: str) -> bool:
    """Anywhere: what denies is read widely. Text that is no Unicode (lone surrogates) is denied."""
    try:
        return pattern.program.search(text) is not None
    except UnicodeEncodeError:
        return True


def _forms(granted: Granted) -> Iterator[_NameForms]:
    for asked in granted.names:
        yield from _of_general_name(asked.name, asked.path)
    yield from _of_attributes(granted.subject, _SUBJECT)


def _of_attributes(name: DistinguishedName, path: str) -> Iterator[_NameForms]:
    for rdn in name.rdns:
        for attribute in rdn:
            yield _of_text(attribute.value, path)


def _of_text(text: str, path: str) -> _NameForms:
    """A text of any kind: it counts as whatever it can be read as."""
    if "://" in text:
        return _of_uri(text, path)
    value = normal_text(text)
    return _NameForms(value, host_of(value.rpartition("@")[2]), shown(text), path)


def _of_general_name(name: GeneralName, path: str) -> Iterator[_NameForms]:
    match name.kind:
        case NameKind.DNS:
            yield _NameForms(name.value, name.value, shown(name.value), path)
        case NameKind.URI:
            yield _of_uri(name.value, path)
        case NameKind.DIRECTORY:
            yield from _of_attributes(directory_of(name), path)
        case NameKind.OTHER:
            yield _of_text(name.value.partition("=")[2] or name.value, path)
        case _:
            yield _of_text(name.value, path)


def _of_uri(value: str, path: str) -> _NameForms:
    try:
        host = urlsplit(value).hostname or ""
    except ValueError:
        return _NameForms(value.casefold(), "", shown(value), path, readable=False)
    normal = normal_text(host) if host else ""
    if not normal or host_of(normal) or ":" in normal:  # none, a DNS name or IPv4 address, IPv6
        return _NameForms(value.casefold(), normal, shown(value), path)
    return _NameForms(value.casefold(), "", shown(value), path, readable=False)
