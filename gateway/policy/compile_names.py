"""The ``names`` part of a policy to matchers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.model.names import NameKind
from gateway.policy.compile_added import added_names
from gateway.policy.compile_ways import (
    compile_directory,
    compile_dns,
    compile_email,
    compile_ip,
    compile_other,
    compile_registered,
    compile_uri,
    compile_values,
    listed,
)
from gateway.policy.general_names import Matcher, NameGroup
from gateway.policy.name_documents import AttributeRules, GroupRules, NamesRules
from gateway.policy.name_kinds import Bounds
from gateway.policy.name_rules import AddedName, KindRule, TextWays, ValueRule
from gateway.policy.rules import AttributeRule, AttributeSource, NamesRule, SubjectForm
from gateway.policy.template import Form, Template, compile_template
from gateway.policy.terms import attribute_oid
from gateway.policy.yaml_marks import Document

__all__ = ["compile_names", "listed"]

_UTF8_STRING = 12
_SET_BY_POLICY = (AttributeSource.FIXED, AttributeSource.TEMPLATE)
KEYS: Mapping[NameKind, str] = {
    NameKind.DNS: "dns",
    NameKind.IP: "ip",
    NameKind.EMAIL: "email",
    NameKind.URI: "uri",
    NameKind.DIRECTORY: "directory",
    NameKind.OTHER: "other",
    NameKind.REGISTERED_ID: "registered_id",
}


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
    groups, added = _groups(rules, document, lab=lab), added_names(rules, document)
    return NamesRule(
        subject=form,
        attributes=attributes,
        fixed=tuple(rule for rule in attributes.values() if rule.source in _SET_BY_POLICY),
        required=tuple(rule for rule in attributes.values() if rule.required),
        groups=groups,
        kinds={kind: _bounds(rules, kind, document) for kind in KEYS},
        total_max=rules.total_max,
        cn_in_san=rules.cn_in_san,
        drop_extra=rules.on_extra == "drop",
        where=document.where(("names",)),
        added=added,
        same_as_previous=rules.same_as_previous_on_renew,
        needs_words=any(template.words for template in _templates(attributes, groups, added)),
    )


def _attribute(name: str, rule: AttributeRules, where: str, *, lab: bool) -> AttributeRule:
    made = rule.source is AttributeSource.TEMPLATE and rule.value is not None
    return AttributeRule(
        oid=attribute_oid(name) or name,
        label=name,
        source=rule.source,
        required=rule.required,
        value=rule.value or "",
        tag=_UTF8_STRING,
        allow=compile_values(rule.allow, lab=lab) if rule.allow is not None else None,
        where=where,
        template=compile_template(rule.value or "", Form.TEXT) if made else None,
    )


def _groups(rules: NamesRules, document: Document, *, lab: bool) -> tuple[NameGroup, ...]:
    if rules.groups:
        return tuple(
            NameGroup(group.name, _matchers(group, lab=lab), document.where(("names", "groups", index)))
            for index, group in enumerate(rules.groups)
        )
    return (NameGroup("", _matchers(rules, lab=lab), document.where(("names",))),)


def _matchers(rules: NamesRules | GroupRules, *, lab: bool) -> Mapping[NameKind, Matcher]:
    """One for each kind of which a rule lets names through. ``allow`` and the short form mean the same."""
    found: dict[NameKind, Matcher | None] = {
        NameKind.DNS: compile_dns(getattr(rules.dns, "allow", None) or rules.dns),
        NameKind.IP: compile_ip(getattr(rules.ip, "allow", None) or rules.ip, lab=lab),
        NameKind.EMAIL: compile_email(getattr(rules.email, "allow", None) or rules.email),
        NameKind.URI: compile_uri(getattr(rules.uri, "allow", None) or rules.uri),
        NameKind.DIRECTORY: compile_directory(
            getattr(rules.directory, "allow", None) or rules.directory, lab=lab
        ),
        NameKind.OTHER: compile_other(rules.other),
        NameKind.REGISTERED_ID: compile_registered(
            getattr(rules.registered_id, "allow", None) or rules.registered_id
        ),
    }
    return {kind: matcher for kind, matcher in found.items() if matcher is not None}


def _bounds(rules: NamesRules, kind: NameKind, document: Document) -> KindRule:
    key = KEYS[kind]
    where = document.where(("names", key))
    bounds: Bounds | None = getattr(rules, key)
    if bounds is None:
        return KindRule(rules.total_max, required=False, drop_extra=rules.on_extra == "drop", where=where)
    return KindRule(
        max=bounds.max,
        required=bounds.required,
        drop_extra=(bounds.on_extra or rules.on_extra) == "drop",
        where=where,
    )


def _templates(
    attributes: Mapping[str, AttributeRule], groups: tuple[NameGroup, ...], added: tuple[AddedName, ...]
) -> Iterator[Template]:
    """Every template that a request may have to be rendered for."""
    for attribute in attributes.values():
        if attribute.template is not None:
            yield attribute.template
        yield from _of_values(attribute.allow)
    for name in added:
        yield from name.templates
    for group in groups:
        for matcher in group.matchers.values():
            yield from _of_ways(getattr(matcher, "ways", None))
            for values in getattr(matcher, "attributes", {}).values():
                yield from _of_values(values)
            for rule in getattr(matcher, "types", {}).values():
                yield from _of_ways(getattr(rule, "ways", None))
                yield from _of_values(getattr(rule, "serials", None))


def _of_values(values: ValueRule | None) -> tuple[Template, ...]:
    return _of_ways(values.ways) if values is not None else ()


def _of_ways(ways: TextWays | None) -> tuple[Template, ...]:
    return ways.templates if ways is not None else ()
