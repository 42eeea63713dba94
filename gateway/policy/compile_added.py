"""Names that a policy puts in (``add``): what makes them of the texts that their templates give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gateway.model.names import AttributeTypeAndValue, DistinguishedName, GeneralName, NameKind
from gateway.pki.names import dns_name, ip_address_name, registered_id
from gateway.pki.other_names import smtp_utf8_name, upn_name
from gateway.policy.general_names import checked_idna, normal_directory, normal_email, normal_uri
from gateway.policy.name_documents import NamesRules
from gateway.policy.name_rules import AddedName
from gateway.policy.template import Form, compile_template
from gateway.policy.terms import attribute_oid
from gateway.policy.yaml_marks import Document

_Build = Callable[[Sequence[str]], GeneralName]


def _one(make: Callable[[str], GeneralName]) -> _Build:
    return lambda texts: make(texts[0])


_TEXTS: tuple[tuple[NameKind, str, Form, _Build], ...] = (
    (NameKind.DNS, "dns", Form.DNS, _one(lambda text: checked_idna(dns_name(text)))),
    (NameKind.IP, "ip", Form.IP, _one(ip_address_name)),
    (NameKind.EMAIL, "email", Form.EMAIL, _one(normal_email)),
    (NameKind.URI, "uri", Form.URI, _one(normal_uri)),
)
_OTHER_TYPES = {"upn": _one(upn_name), "smtpUTF8Mailbox": _one(smtp_utf8_name)}


def added_names(rules: NamesRules, document: Document) -> tuple[AddedName, ...]:
    """Every name that is put in, in the order of the kinds."""
    return tuple(_added(rules, document))


def _added(rules: NamesRules, document: Document) -> Iterator[AddedName]:
    for kind, key, form, build in _TEXTS:
        part = getattr(rules, key)
        for index, source in enumerate(part.add if part is not None else ()):
            where = document.where(("names", key, "add", index))
            yield AddedName(kind, (compile_template(source, form),), build, f"{key}.add[{index}]", where)
    for index, name in enumerate(rules.directory.add if rules.directory is not None else ()):
        where = document.where(("names", "directory", "add", index))
        templates = tuple(compile_template(source, Form.TEXT) for source in name.values())
        oids = tuple(attribute_oid(attribute) or attribute for attribute in name)
        yield AddedName(NameKind.DIRECTORY, templates, _directory(oids), f"directory.add[{index}]", where)
    for index, name in enumerate(rules.other.add if rules.other is not None else ()):
        where = document.where(("names", "other", "add", index))
        for word, source in name.items():
            templates = (compile_template(source, Form.EMAIL),)
            yield AddedName(NameKind.OTHER, templates, _OTHER_TYPES[word], f"other.add[{index}]", where)
    for index, oid in enumerate(rules.registered_id.add if rules.registered_id is not None else ()):
        where = document.where(("names", "registered_id", "add", index))
        rule = f"registered_id.add[{index}]"
        yield AddedName(NameKind.REGISTERED_ID, (), _constant(registered_id(oid)), rule, where)


def _directory(oids: tuple[str, ...]) -> _Build:
    def build(texts: Sequence[str]) -> GeneralName:
        pairs = zip(oids, texts, strict=True)
        return normal_directory(
            DistinguishedName(tuple((AttributeTypeAndValue(oid, text),) for oid, text in pairs))
        )

    return build


def _constant(name: GeneralName) -> _Build:
    return lambda _: name
