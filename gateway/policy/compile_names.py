"""The ``names`` part of a policy to matchers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.model.names import NameKind
from gateway.policy.name_documents import (
    AllowedValues,
    AttributeRules,
    DnsNamesAllowed,
    EmailAddressesAllowed,
    GroupRules,
    IpAddressesAllowed,
    NamesRules,
    UrisAllowed,
)
from gateway.policy.name_rules import (
    LOOPBACK,
    DnsMatcher,
    EmailMatcher,
    IpMatcher,
    KindRule,
    Matcher,
    NameGroup,
    UriMatcher,
    ValueRule,
    Wildcard,
)
from gateway.policy.rules import AttributeRule, AttributeSource, NamesRule, SubjectForm
from gateway.policy.terms import attribute_oid
from gateway.policy.yaml_marks import Document

_UTF8_STRING = 12
_LISTED = 8
_KINDS = (NameKind.DNS, NameKind.IP, NameKind.EMAIL, NameKind.URI)


def compile_names(rules: NamesRules, document: Document, *, lab: bool) -> NamesRule:
    """Make matchers; ``lab`` adds the loopback networks where the rules say ``lab_loopback``."""
    attributes: dict[str, AttributeRule] = {}
    form = SubjectForm.RULES
    if isinstance(rules.subject, str):
        form = SubjectForm(rules.subject)
    else:
        for name, rule in rules.subject.items():
            where = document.where(("names", "subject", name))
            attributes[attribute_oid(name) or name] = _attribute(name, rule, where, lab=lab)
    return NamesRule(
        subject=form,
        attributes=attributes,
        fixed=tuple(rule for rule in attributes.values() if rule.source is AttributeSource.FIXED),
        required=tuple(rule for rule in attributes.values() if rule.required),
        groups=_groups(rules, document, lab=lab),
        kinds={kind: _bounds(rules, kind, document) for kind in _KINDS},
        total_max=rules.total_max,
        cn_in_san=rules.cn_in_san,
        drop_extra=rules.on_extra == "drop",
        where=document.where(("names",)),
    )


def _attribute(name: str, rule: AttributeRules, where: str, *, lab: bool) -> AttributeRule:
    return AttributeRule(
        oid=attribute_oid(name) or name,
        label=name,
        source=rule.source,
        required=rule.required,
        value=rule.value or "",
        tag=_UTF8_STRING,
        allow=_values(rule.allow, lab=lab) if rule.allow is not None else None,
        where=where,
    )


def _values(rules: AllowedValues, *, lab: bool) -> ValueRule:
    networks = LOOPBACK if lab and rules.lab_loopback else ()
    dns = None
    texts = [listed(rules.exact)] if rules.exact else []
    if rules.suffix:
        dns = DnsMatcher(frozenset(rules.suffix), frozenset(), rules.wildcard, rules.max_labels, "")
        texts.append(f"names under {listed(rules.suffix)}{_wildcard_text(rules.wildcard)}")
    if rules.plain:
        texts.append("plain words of letters, digits, '-', '_' and blanks")
    if networks:
        texts.append(listed([str(network) for network in networks]))
    return ValueRule(
        any=rules.any,
        plain=rules.plain,
        exact=frozenset(rules.exact),
        dns=dns,
        networks=networks,
        allowed_text=" or ".join(texts) or "nothing",
    )


def _groups(rules: NamesRules, document: Document, *, lab: bool) -> tuple[NameGroup, ...]:
    if rules.groups:
        return tuple(
            NameGroup(group.name, _matchers(group, lab=lab), document.where(("names", "groups", index)))
            for index, group in enumerate(rules.groups)
        )
    return (NameGroup("", _matchers(rules, lab=lab), document.where(("names",))),)


def _matchers(rules: NamesRules | GroupRules, *, lab: bool) -> Mapping[NameKind, Matcher]:
    found: dict[NameKind, Matcher] = {}
    if rules.dns is not None and (rules.dns.suffix or rules.dns.exact):
        found[NameKind.DNS] = _dns(rules.dns)
    if rules.ip is not None:
        matcher = _ip(rules.ip, lab=lab)
        if matcher.networks:
            found[NameKind.IP] = matcher
    if rules.email is not None and rules.email.suffix:
        found[NameKind.EMAIL] = _email(rules.email)
    if rules.uri is not None and rules.uri.prefix:
        found[NameKind.URI] = _uri(rules.uri)
    return found


def _dns(rules: DnsNamesAllowed) -> DnsMatcher:
    texts = [f"names under {listed(rules.suffix)}"] if rules.suffix else []
    if rules.exact:
        texts.append(listed(rules.exact))
    text = " and ".join(texts) + _wildcard_text(rules.wildcard)
    if rules.max_labels < 127:
        text += f", at most {rules.max_labels} labels"
    return DnsMatcher(frozenset(rules.suffix), frozenset(rules.exact), rules.wildcard, rules.max_labels, text)


def _ip(rules: IpAddressesAllowed, *, lab: bool) -> IpMatcher:
    networks = (*rules.cidr, *(LOOPBACK if lab and rules.lab_loopback else ()))
    return IpMatcher(networks, f"addresses in {listed([str(network) for network in networks])}")


def _email(rules: EmailAddressesAllowed) -> EmailMatcher:
    return EmailMatcher(frozenset(rules.suffix), f"addresses at {listed(rules.suffix)} and below")


def _uri(rules: UrisAllowed) -> UriMatcher:
    return UriMatcher(rules.prefix, f"URIs under {listed(rules.prefix)}")


def _bounds(rules: NamesRules, kind: NameKind, document: Document) -> KindRule:
    where = document.where(("names", kind.value))
    bounds = {"dns": rules.dns, "ip": rules.ip, "email": rules.email, "uri": rules.uri}[kind.value]
    if bounds is None:
        return KindRule(rules.total_max, required=False, drop_extra=rules.on_extra == "drop", where=where)
    return KindRule(
        max=bounds.max,
        required=bounds.required,
        drop_extra=(bounds.on_extra or rules.on_extra) == "drop",
        where=where,
    )


def listed(words: Sequence[str]) -> str:
    """The first words of a list, and how many more there are."""
    more = len(words) - _LISTED
    return ", ".join(words[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _wildcard_text(wildcard: Wildcard) -> str:
    return {
        Wildcard.DENY: "",
        Wildcard.ALLOW: ", also with a wildcard",
        Wildcard.ONLY: ", with a wildcard only",
    }[wildcard]
