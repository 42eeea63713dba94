"""The ways by which rules let names through, as they are written in documents.

Each key is one way; a name passes if one of them lets it through.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.asn1 import der
from gateway.errors import MalformedMessage
from gateway.model.names import ATTRIBUTE_OIDS, GeneralName
from gateway.pki.other_names import (
    HARDWARE_MODULE_NAME,
    OTHER_NAME_TYPES,
    OTHER_NAMES,
    UPN,
    smtp_utf8_name,
    upn_name,
)
from gateway.policy.complaints import Misfit, Path, did_you_mean
from gateway.policy.general_names import normal_email, normal_uri
from gateway.policy.name_rules import Wildcard
from gateway.policy.patterns import compile_dns_glob, compile_regex, compile_text_glob
from gateway.policy.strict_model import StrictModel
from gateway.policy.template import Form, compile_template
from gateway.policy.terms import (
    DnsNames,
    Networks,
    ObjectName,
    Oid,
    Suffixes,
    Words,
    as_list,
    attribute_oid,
    read_oid,
)

MAX_PATTERNS = 200
MAX_TEMPLATES = 50
_WILDCARD = "Names with a wildcard: deny, allow or only"
_TEMPLATES = "Names that a template makes of the request, such as ${client.serial}.example.com"
_REGEX = "Regular expressions (RE2) that must match the whole"
_LIST = "List documents by name: their entries"


def _regex(value: str) -> str:
    compile_regex(value)
    return value


def _dns_glob(value: str) -> str:
    return compile_dns_glob(value).source


def _text_glob(value: str) -> str:
    return compile_text_glob(value).source


def _template(form: Form) -> AfterValidator:
    def read(value: str) -> str:
        compile_template(value, form)
        return value

    return AfterValidator(read)


_AsList = BeforeValidator(as_list, json_schema_input_type=str | list[str])
_Regex = Annotated[str, AfterValidator(_regex)]
_DnsGlob = Annotated[str, AfterValidator(_dns_glob)]
_TextGlob = Annotated[str, AfterValidator(_text_glob)]
Regexes = Annotated[tuple[_Regex, ...], _AsList, Field(max_length=MAX_PATTERNS)]
DnsGlobs = Annotated[tuple[_DnsGlob, ...], _AsList, Field(max_length=MAX_PATTERNS)]
TextGlobs = Annotated[tuple[_TextGlob, ...], _AsList, Field(max_length=MAX_PATTERNS)]
Lists = Annotated[tuple[ObjectName, ...], _AsList, Field(max_length=MAX_PATTERNS)]
Oids = Annotated[tuple[Oid, ...], _AsList, Field(max_length=1000)]
TextTemplate = Annotated[str, _template(Form.TEXT)]
EmailTemplate = Annotated[str, _template(Form.EMAIL)]
TextTemplates = Annotated[tuple[TextTemplate, ...], _AsList, Field(max_length=MAX_TEMPLATES)]
DnsTemplates = Annotated[
    tuple[Annotated[str, _template(Form.DNS)], ...], _AsList, Field(max_length=MAX_TEMPLATES)
]
IpTemplates = Annotated[
    tuple[Annotated[str, _template(Form.IP)], ...], _AsList, Field(max_length=MAX_TEMPLATES)
]
EmailTemplates = Annotated[tuple[EmailTemplate, ...], _AsList, Field(max_length=MAX_TEMPLATES)]
UriTemplates = Annotated[
    tuple[Annotated[str, _template(Form.URI)], ...], _AsList, Field(max_length=MAX_TEMPLATES)
]


class AllowedValues(StrictModel):
    """Which values a subject attribute may have; one of the ways must let the value through."""

    suffix: Suffixes = Field((), description="DNS names: these and everything below them")
    exact: Words = Field((), description="Exactly these values, upper and lower case as written")
    glob: TextGlobs = Field(
        (), description="Patterns: * is one or more characters, but no ./\\:;,=+@ and no white space"
    )
    regex: Regexes = Field((), description=_REGEX)
    cidr: Networks = Field((), description="IP addresses in these networks")
    template: TextTemplates = Field((), description=_TEMPLATES)
    lists: Lists = Field((), alias="list", description=_LIST)
    wildcard: Wildcard = Field(Wildcard.DENY, description="DNS names with a wildcard: deny, allow or only")
    max_labels: int = Field(127, ge=1, le=127, description="DNS names with at most so many labels")
    plain: bool = Field(
        False,
        description="Up to 64 letters, digits, hyphens, underscores and blanks, no dot, such as 'device 17'",
    )
    any: bool = Field(False, description="Every value. Think twice")
    lab_loopback: bool = Field(False, description="In lab mode also 127.0.0.0/8 and ::1")

    @model_validator(mode="after")
    def _says_something(self) -> AllowedValues:
        ways = (self.suffix, self.exact, self.glob, self.regex, self.cidr, self.template, self.lists)
        if not (any(ways) or self.plain or self.any or self.lab_loopback):
            raise Misfit("no value is allowed; name some by suffix, exact or plain, or write any: true")
        return self


class DnsNamesAllowed(StrictModel):
    """DNS names."""

    suffix: Suffixes = Field((), description="These names and everything below them, label by label")
    exact: DnsNames = Field((), description="Exactly these names")
    glob: DnsGlobs = Field(
        (), description="Patterns, label by label: * is exactly one label, web-* one that begins with web-"
    )
    regex: Regexes = Field((), description=f"{_REGEX} name; upper and lower case are the same")
    template: DnsTemplates = Field((), description=_TEMPLATES)
    lists: Lists = Field((), alias="list", description=_LIST)
    wildcard: Wildcard = Field(Wildcard.DENY, description=_WILDCARD)
    max_labels: int = Field(127, ge=1, le=127, description="At most so many labels, the wildcard counted")

    @model_validator(mode="after")
    def _exact_fits_wildcard(self) -> DnsNamesAllowed:
        for index, name in enumerate(self.exact):
            if name.startswith("*.") and self.wildcard is Wildcard.DENY:
                raise Misfit(f"{name!r} needs wildcard: allow; add it", ("exact", index))
            if not name.startswith("*.") and self.wildcard is Wildcard.ONLY:
                raise Misfit(f"{name!r} can never pass wildcard: only; remove it", ("exact", index))
        return self


class IpAddressesAllowed(StrictModel):
    """IP addresses."""

    cidr: Networks = Field((), description="Networks of both versions, such as 10.0.0.0/8")
    template: IpTemplates = Field((), description="Addresses that a template makes: ${client.address}")
    lists: Lists = Field((), alias="list", description=_LIST)
    lab_loopback: bool = Field(False, description="In lab mode also 127.0.0.0/8 and ::1")


class EmailAddressesAllowed(StrictModel):
    """E-mail addresses."""

    suffix: Suffixes = Field((), description="Domains of the addresses: these and everything below them")
    exact: Words = Field((), description="Exactly these addresses; only the domain's letter case is free")
    glob: TextGlobs = Field((), description="Patterns: * is one or more characters, but no separators")
    regex: Regexes = Field((), description=f"{_REGEX} address, its domain in lower case")
    template: EmailTemplates = Field((), description=_TEMPLATES)
    lists: Lists = Field((), alias="list", description=_LIST)

    @model_validator(mode="after")
    def _exact_are_mailboxes(self) -> EmailAddressesAllowed:
        _check_exact(self.exact, normal_email, "ops@example.com")
        return self


class UrisAllowed(StrictModel):
    """URIs."""

    prefix: Words = Field((), description="Beginnings of the URIs, such as spiffe://example.com/ns/web")
    exact: Words = Field(
        (), description="Exactly these URIs; only the letter case of scheme and host is free"
    )
    regex: Regexes = Field((), description=f"{_REGEX} URI, its scheme and host in lower case")
    template: UriTemplates = Field((), description="URIs that a template makes: urn:dev:${client.serial}")
    lists: Lists = Field((), alias="list", description=_LIST)
    userinfo: bool = Field(False, description="Also URIs with user information before the host (user@host)")

    @model_validator(mode="after")
    def _prefix_is_whole(self) -> UrisAllowed:
        for index, prefix in enumerate(self.prefix):
            scheme, colon, rest = prefix.partition(":")
            authority = rest[2:].partition("/")
            if not colon or not scheme or not rest:
                raise Misfit(
                    f"{prefix!r} is no beginning of a URI; write scheme: and more", ("prefix", index)
                )
            if rest.startswith("//") and not (authority[0] and authority[1]):
                raise Misfit(
                    f"{prefix!r} leaves the host open; write it with a slash after it", ("prefix", index)
                )
        _check_exact(self.exact, normal_uri, "urn:dev:17")
        return self


def _check_exact(texts: Sequence[str], make: Callable[[str], GeneralName], example: str) -> None:
    """A text that is no name of its kind could never match."""
    for index, text in enumerate(texts):
        try:
            make(text)
        except MalformedMessage as error:
            raise Misfit(f"{error}; write one like {example}", ("exact", index)) from error


class DirectoryNamesAllowed(StrictModel):
    """Directory names."""

    under: Words = Field(
        (), description="These names and everything below them: C=NO,O=Example, the outermost first"
    )
    attributes: dict[str, AllowedValues] = Field(
        default_factory=dict,
        max_length=50,
        description="Which attributes may follow, each once, and with which values; without it, all",
    )

    @model_validator(mode="after")
    def _is_bounded(self) -> DirectoryNamesAllowed:
        for index, text in enumerate(self.under):
            try:
                read_directory_text(text)
            except Misfit as error:
                raise Misfit(str(error), ("under", index)) from error
        for name in self.attributes:
            if attribute_oid(name) is None:
                text = f"{name!r} is no attribute of a name; {did_you_mean(name, ATTRIBUTE_OIDS)}"
                raise Misfit(text, ("attributes", name))
        return self


def read_directory_text(text: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """``C=NO,O=Example`` as RDNs of OID and value, in the order written; ``+`` joins, a backslash escapes.

    Raises Misfit.
    """
    rdns: list[tuple[tuple[str, str], ...]] = []
    for rdn in _split(text, ","):
        pairs = []
        for part in _split(rdn, "+"):
            kind, equals, value = part.partition("=")
            oid = attribute_oid(kind.strip())
            plain = _unescaped(value.strip())
            if not equals or oid is None or not plain:
                raise Misfit(f"{part.strip()!r} is no attribute and value; write names like C=NO,O=Example")
            pairs.append((oid, plain))
        rdns.append(tuple(pairs))
    return tuple(rdns)


def _split(text: str, mark: str) -> list[str]:
    found, escaped = [""], False
    for char in text:
        if char == mark and not escaped:
            found.append("")
            continue
        escaped = char == "\\" and not escaped
        found[-1] += char
    return found


def _unescaped(text: str) -> str:
    found, characters = "", iter(text)
    for char in characters:
        found += next(characters, "") if char == "\\" else char
    return found


class OtherNameValues(StrictModel):
    """Which values an otherName of one type may have."""

    suffix: Suffixes = Field((), description="Domains behind the @: these and everything below them")
    exact: Words = Field((), description="Exactly these values")
    glob: TextGlobs = Field((), description="Patterns: * is one or more characters, but no separators")
    regex: Regexes = Field((), description=_REGEX)
    template: EmailTemplates = Field((), description=_TEMPLATES)
    lists: Lists = Field((), alias="list", description=_LIST)
    any: bool = Field(False, description="Every value of this type. Think twice")
    hw_type: Oids = Field((), description="Of hardwareModuleName: the types of hardware; without it, any")
    der: Words = Field((), description="Of types without a name: exactly these values, as DER in base64")

    @model_validator(mode="after")
    def _says_something(self) -> OtherNameValues:
        ways = (self.suffix, self.exact, self.glob, self.regex, self.template, self.lists, self.der)
        if not (any(ways) or self.any or self.hw_type):
            raise Misfit("no value is allowed; name some by suffix or exact, or write any: true")
        for index, text in enumerate(self.der):
            read_value_der(text, index)
        return self


def read_value_der(text: str, index: int = 0) -> bytes:
    """One DER value in base64. Raises Misfit, its place being ``der[index]``."""
    try:
        value_der = base64.b64decode(text, validate=True)
        if der.read_tlv(value_der)[2] == len(value_der):
            return value_der
    except (binascii.Error, ValueError, MalformedMessage):
        pass
    raise Misfit(f"{text!r} is not one value in DER, as base64; write one like DAR0ZXN0", ("der", index))


class OtherNamesAllowed(StrictModel):
    """otherNames, by type."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(OTHER_NAMES, "is a type; write it below allow")

    allow: dict[str, OtherNameValues] = Field(
        default_factory=dict,
        max_length=50,
        description="upn, hardwareModuleName, smtpUTF8Mailbox, or the OID of another type, and its values",
    )

    @model_validator(mode="after")
    def _types_are_known(self) -> OtherNamesAllowed:
        seen: dict[str, str] = {}
        for name, values in self.allow.items():
            type_id = other_name_type(name, ("allow", name))
            first = seen.setdefault(type_id, name)
            if first != name:
                raise Misfit(f"{name!r} is the type {first!r} once more; keep one", ("allow", name))
            fault = _fault_of_type(type_id, name, values)
            if fault is not None:
                raise Misfit(fault[1], ("allow", name, *fault[0]))
        return self


def _fault_of_type(type_id: str, name: str, values: OtherNameValues) -> tuple[Path, str] | None:
    """What is written of a type and does not fit it, by its place."""
    if type_id not in OTHER_NAME_TYPES:
        if values.model_fields_set == {"der"}:
            return None
        return (), f"of the type {name!r} nothing is known but its values' DER; write der: [base64] alone"
    if values.der:
        return ("der",), f"{name} has values that can be read; write suffix, exact or regex"
    if type_id == HARDWARE_MODULE_NAME:
        text = "a serial number has no domain; write exact, glob, regex or list"
        return (("suffix",), text) if values.suffix else None
    if values.hw_type:
        return ("hw_type",), "only hardwareModuleName has a type of hardware; remove it"
    try:
        _check_exact(values.exact, upn_name if type_id == UPN else smtp_utf8_name, "ops@example.com")
    except Misfit as error:
        return error.at, str(error)
    return None


def other_name_type(name: str, at: tuple[str | int, ...] = ()) -> str:
    """The OID of a type of otherName by its name or OID. Raises Misfit."""
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    if name[:1].isdigit():
        try:
            return read_oid(name)
        except Misfit as error:
            raise Misfit(str(error), at) from error
    text = f"{name!r} is no type of otherName; {did_you_mean(name, OTHER_NAMES)} Or write its OID"
    raise Misfit(text, at)


class RegisteredIdsAllowed(StrictModel):
    """Registered ids."""

    exact: Oids = Field((), description="Exactly these object identifiers")
    under: Oids = Field((), description="Object identifiers below these arcs")
