"""What the rules for names say of other parts of a policy and of other documents: lists, words, ACME."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.policy.complaints import Path
from gateway.policy.credential_words import unknown_word
from gateway.policy.document import Policy
from gateway.policy.name_documents import NamesRules
from gateway.policy.name_kinds import KINDS, DirectoryRules
from gateway.policy.name_ways import (
    AllowedValues,
    DirectoryNamesAllowed,
    OtherNamesAllowed,
    OtherNameValues,
)
from gateway.policy.rules import AttributeSource
from gateway.policy.strict_model import StrictModel
from gateway.policy.template import Form, compile_template
from gateway.policy.yaml_marks import ComplaintList, Document

_FIRST_DNS = "the subject is made of these names (first-dns); use another word, such as csr.subject.CN"
_ORDERED = "an order names its names before its subject is known; use another word, such as account.label"
_ADDED = (
    "a name that nobody has proven to control cannot be added to an ACME order (RFC 8555 section 7.4); "
    "remove it, and let clients order the name"
)


def check_names(policy: Policy, document: Document, found: ComplaintList) -> None:
    """Complain of templates whose words are not known in time, and of names added to ACME orders."""
    names, acme = policy.names, policy.authenticate.acme_account is not None
    if acme:
        for path in _added(names):
            found.add(document, ("names", *path), _ADDED)
    subject = _FIRST_DNS if names.subject == "first-dns" else _ORDERED if acme else ""
    for path, source, form in _templates(names):
        for words in compile_template(source, form).words:
            of_subject = subject if words[0] == "subject" else ""
            text = of_subject or unknown_word(policy.authenticate, words)
            if text:
                found.add(document, ("names", *path), text)
    for path, source in _of_subject(names):
        for words in compile_template(source, Form.TEXT).words:
            text = unknown_word(policy.authenticate, words)
            if text:
                found.add(document, ("names", *path), text)


def lists_named(names: NamesRules) -> Iterator[tuple[Path, str]]:
    """Every List that a rule for names asks, with the place where it is named."""
    for path, part in _parts(names):
        for index, name in enumerate(getattr(part, "lists", ())):
            yield ("names", *path, "list", index), name
        for at, values in _values(part):
            for index, name in enumerate(values.lists):
                yield ("names", *path, *at, "list", index), name
    for attribute, rule in names.subject.items() if not isinstance(names.subject, str) else ():
        for index, name in enumerate(rule.allow.lists if rule.allow is not None else ()):
            yield ("names", "subject", attribute, "allow", "list", index), name


def _added(names: NamesRules) -> Iterator[Path]:
    for kind in KINDS:
        rules = getattr(names, kind)
        for index in range(len(rules.add) if rules is not None else 0):
            yield (kind, "add", index)


def _of_subject(names: NamesRules) -> Iterator[tuple[Path, str]]:
    """Every template of the subject, with its place below ``names``."""
    for attribute, rule in names.subject.items() if not isinstance(names.subject, str) else ():
        if rule.source is AttributeSource.TEMPLATE and rule.value is not None:
            yield ("subject", attribute, "value"), rule.value
        for index, source in enumerate(rule.allow.template if rule.allow is not None else ()):
            yield ("subject", attribute, "allow", "template", index), source


def _templates(names: NamesRules) -> Iterator[tuple[Path, str, Form]]:
    """Every template of alternative names, with its place below ``names``."""
    for path, part in _parts(names):
        kind = path[2] if path[0] == "groups" else path[0]
        form = {"dns": Form.DNS, "ip": Form.IP, "uri": Form.URI}.get(str(kind), Form.EMAIL)
        for key in ("template", "add") if kind != "registered_id" else ():
            for index, source in enumerate(getattr(part, key, ())):
                if isinstance(source, Mapping):
                    of = Form.TEXT if isinstance(part, DirectoryRules) else form
                    for name, text in source.items():
                        yield (*path, key, index, name), text, of
                else:
                    yield (*path, key, index), source, form
        for at, values in _values(part):
            of = form if isinstance(values, OtherNameValues) else Form.TEXT
            for index, source in enumerate(values.template):
                yield (*path, *at, "template", index), source, of


def _parts(names: NamesRules) -> Iterator[tuple[Path, StrictModel]]:
    """Every part that holds ways, with its place below ``names``."""
    for kind in KINDS:
        rules = getattr(names, kind)
        if rules is not None:
            yield (kind,), rules
            if kind != "other" and rules.allow is not None:
                yield (kind, "allow"), rules.allow
    for index, group in enumerate(names.groups):
        for kind in KINDS:
            if (allowed := getattr(group, kind)) is not None:
                yield ("groups", index, kind), allowed


def _values(part: StrictModel) -> Iterator[tuple[Path, AllowedValues | OtherNameValues]]:
    if isinstance(part, DirectoryNamesAllowed):
        for name, values in part.attributes.items():
            yield ("attributes", name), values
    elif isinstance(part, OtherNamesAllowed):
        for name, other in part.allow.items():
            yield ("allow", name), other
