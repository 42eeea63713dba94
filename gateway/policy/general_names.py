"""Normal forms of alternative names, and matchers for the rare kinds: directory, otherName, registered id.

The DER of every name is made anew from what was compared, so that nothing else can be signed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import idna

from gateway.model.names import ATTRIBUTE_NAMES, DistinguishedName, GeneralName, NameKind
from gateway.pki.name_syntax import malformed_name, shown
from gateway.pki.names import (
    comparable_name,
    directory_name,
    directory_of,
    dns_name,
    email_name,
    ip_address_name,
    registered_id,
    registered_id_of,
    uri_name,
)
from gateway.pki.other_names import (
    HARDWARE_MODULE_NAME,
    SMTP_UTF8_MAILBOX,
    UPN,
    hardware_module_name,
    other_name,
    other_name_of,
    read_hardware_module,
    read_smtp_utf8_mailbox,
    read_upn,
    smtp_utf8_name,
    upn_name,
)
from gateway.policy.attribute_values import MAX_ATTRIBUTES, as_signed, is_text, length_fault
from gateway.policy.name_rules import (
    NOTHING_KNOWN,
    DnsMatcher,
    IpMatcher,
    Known,
    MailboxMatcher,
    UriMatcher,
    ValueRule,
    Verdict,
)

_URI_HEAD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)(?://((?:[^/?#]*@)?)([^/?#]*))?")


@dataclass(frozen=True, slots=True)
class DirectoryMatcher:
    """Directory names that begin with one of ``bases``, RDN sequences as ``comparable_name`` gives them.

    What follows must be allowed by ``attributes``, by OID, each type once; without any, all of it is.
    """

    bases: tuple[tuple[object, ...], ...]
    attributes: Mapping[str, ValueRule]
    allowed_text: str

    def judge_name(self, name: GeneralName, known: Known = NOTHING_KNOWN) -> Verdict:
        found = directory_of(name)
        compared = comparable_name(found)
        for base in self.bases or ((),):
            if compared[: len(base)] == base and self._allows(found, len(base), known):
                return Verdict.YES
        return Verdict.NO

    def _allows(self, name: DistinguishedName, behind: int, known: Known) -> bool:
        if not self.attributes:
            return bool(self.bases)
        seen: set[str] = set()
        for rdn in name.rdns[behind:]:
            for attribute in rdn:
                rule = self.attributes.get(attribute.oid)
                if rule is None or attribute.oid in seen:
                    return False
                seen.add(attribute.oid)
                if rule.judge(attribute.value, known) is not Verdict.YES:
                    return False
        return True


@dataclass(frozen=True, slots=True)
class HardwareRule:
    """Hardware modules: their types (OIDs; empty: any) and their serial numbers as text."""

    hw_types: frozenset[str]
    serials: ValueRule


OtherRule = MailboxMatcher | HardwareRule | frozenset[bytes]  # the last: exactly these values, in DER


@dataclass(frozen=True, slots=True)
class OtherNameMatcher:
    """otherNames by their type; a type without rule is not allowed."""

    types: Mapping[str, OtherRule]
    allowed_text: str

    def judge_name(self, name: GeneralName, known: Known = NOTHING_KNOWN) -> Verdict:
        found = other_name_of(name)
        match self.types.get(found.type_id):
            case None:
                allowed = False
            case MailboxMatcher() as matcher:
                read = read_upn if found.type_id == UPN else read_smtp_utf8_mailbox
                return matcher.judge(read(found.value_der), known)
            case HardwareRule() as rule:
                module = read_hardware_module(found.value_der)
                fits = not rule.hw_types or module.hw_type in rule.hw_types
                allowed = fits and rule.serials.judge(module.serial_text, known) is Verdict.YES
            case values:
                allowed = found.value_der in values
        return Verdict.YES if allowed else Verdict.NO


@dataclass(frozen=True, slots=True)
class RegisteredIdMatcher:
    """Registered ids that are one of ``exact`` or stand below one of ``arcs``."""

    exact: frozenset[str]
    arcs: tuple[str, ...]
    allowed_text: str

    def judge_name(self, name: GeneralName, known: Known = NOTHING_KNOWN) -> Verdict:  # noqa: ARG002  as others
        oid = registered_id_of(name)
        if oid in self.exact or any(oid.startswith(arc + ".") for arc in self.arcs):
            return Verdict.YES
        return Verdict.NO


Matcher = (
    DnsMatcher
    | IpMatcher
    | MailboxMatcher
    | UriMatcher
    | DirectoryMatcher
    | OtherNameMatcher
    | RegisteredIdMatcher
)


@dataclass(frozen=True, slots=True)
class NameGroup:
    """Names that may stand together in one certificate; a kind without matcher is not allowed."""

    name: str
    matchers: Mapping[NameKind, Matcher]
    where: str = ""


_BY_DER = (DirectoryMatcher, OtherNameMatcher, RegisteredIdMatcher)


def judge_name(matcher: Matcher, name: GeneralName, known: Known) -> Verdict:
    """What a matcher says of a name in normal form."""
    if isinstance(matcher, _BY_DER):
        return matcher.judge_name(name, known)
    return matcher.judge(name.value, known)


def normal_name(name: GeneralName) -> GeneralName | None:
    """The name as it would be signed; None for a kind that never is. Raises MalformedMessage."""
    match name.kind:
        case NameKind.DNS:
            return checked_idna(dns_name(name.value))
        case NameKind.IP:
            return ip_address_name(name.value)
        case NameKind.EMAIL:
            return normal_email(name.value)
        case NameKind.URI:
            return normal_uri(name.value)
        case NameKind.DIRECTORY:
            return normal_directory(directory_of(name))
        case NameKind.OTHER:
            return _normal_other(name)
        case NameKind.REGISTERED_ID:
            return registered_id(registered_id_of(name))
        case NameKind.X400 | NameKind.EDI_PARTY:
            return None


def checked_idna(name: GeneralName) -> GeneralName:
    """A DNS name whose A-labels stand for something (RFC 5890 section 2.3.2.1). Raises MalformedMessage."""
    if "xn--" in name.value:
        _check_labels(name.value)
    return name


def _check_labels(host: str) -> None:
    for label in host.split("."):
        if not label.startswith("xn--"):
            continue
        try:
            idna.ulabel(label)
        except UnicodeError as exc:  # idna.IDNAError is one
            raise malformed_name(
                f"the label {shown(label)} is no A-label of IDNA 2008; send the one of a valid name"
            ) from exc


def normal_email(text: str) -> GeneralName:
    """A mailbox with its domain in lower case; the local part stays (RFC 5280 section 7.5)."""
    checked = email_name(text).value
    local, _, domain = checked.rpartition("@")
    _check_labels(domain.lower())
    return email_name(f"{local}@{domain.lower()}")


def normal_uri(text: str) -> GeneralName:
    """A URI with scheme and host in lower case (RFC 5280 section 7.4); all else stays."""
    checked = uri_name(text).value
    head = _URI_HEAD.match(checked)
    if head is None:
        return uri_name(checked)
    authority = f"//{head[2]}{head[3].lower()}" if head[3] is not None else ""
    return uri_name(head[1].lower() + authority + checked[head.end() :])


def normal_directory(name: DistinguishedName) -> GeneralName:
    """A directory name whose values are text in string types of today. Raises MalformedMessage."""
    attributes = [attribute for rdn in name.rdns for attribute in rdn]
    if not 1 <= len(attributes) <= MAX_ATTRIBUTES:
        raise malformed_name(
            f"a directory name has {len(attributes)} attributes; it must have 1 to {MAX_ATTRIBUTES}"
        )
    for attribute in attributes:
        label = ATTRIBUTE_NAMES.get(attribute.oid, attribute.oid)
        if not is_text(attribute):
            raise malformed_name(f"the value of {label} in a directory name is no printable text")
        fault = length_fault(attribute, label)
        if fault is not None:
            raise malformed_name(fault)
    return directory_name(DistinguishedName(tuple(tuple(map(as_signed, rdn)) for rdn in name.rdns)))


def _normal_other(name: GeneralName) -> GeneralName:
    found = other_name_of(name)
    if found.type_id == UPN:
        return upn_name(read_upn(found.value_der))
    if found.type_id == SMTP_UTF8_MAILBOX:
        return smtp_utf8_name(read_smtp_utf8_mailbox(found.value_der))
    if found.type_id == HARDWARE_MODULE_NAME:
        return hardware_module_name(read_hardware_module(found.value_der))
    return other_name(found.type_id, found.value_der)
