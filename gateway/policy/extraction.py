"""What a policy reads in a certificate that authenticates, and what it asks of it beside trust.

Both are compiled here at load and held against a certificate whose path has been proven; a certificate that
does not hold what is asked for is no credential.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.asn1 import der
from gateway.errors import GatewayError, MalformedMessage
from gateway.model.names import ATTRIBUTE_NAMES, ATTRIBUTE_OIDS, DistinguishedName, NameKind
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.name_syntax import shown
from gateway.pki.oids import read_oid
from gateway.pki.other_names import HARDWARE_MODULE_NAME, UPN, other_name_of, read_hardware_module, read_upn
from gateway.policy.complaints import Misfit, did_you_mean
from gateway.policy.patterns import Pattern, compile_regex

MAX_FACTS = 20
MAX_FACT_CHARACTERS = 255
# What gateway.policy.vocabulary says of every credential, so no fact may be called that.
RESERVED_FACTS = frozenset({"kind", "identity", "name", "groups", "label", "attrs"})
FACT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
SOURCES = (
    "subject.ATTRIBUTE, issuer.ATTRIBUTE, san.dns, san.ip, san.email, san.uri, san.upn, "
    "san.hardwareModuleName.type, san.hardwareModuleName.serial, serial, spki_sha256 or extension.OID"
)
_SAN_KINDS = {"dns": NameKind.DNS, "ip": NameKind.IP, "email": NameKind.EMAIL, "uri": NameKind.URI}
_SAN_OTHERS = ("upn", "hardwareModuleName.type", "hardwareModuleName.serial")
_WHOLE = ("serial", "spki_sha256")
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,30}")
_CERTIFICATE_POLICIES = "2.5.29.32"
_TEXTS = {  # of an extension, by the tag of its value
    der.UTF8_STRING: "utf-8",
    der.PRINTABLE_STRING: "ascii",
    der.IA5_STRING: "ascii",
}
_NO_TEXT = "#"  # an attribute that is no character string begins so (gateway.pki.names)
_MAX_TOLD = 3
# How attributes are called elsewhere, so that the right spelling can be said.
_LONG_NAMES = {
    "commonName": "CN",
    "surname": "SN",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "givenName": "GN",
}


class NotAsAsked(GatewayError):
    """The certificate does not hold what a rule asks for. ``key`` leads from the kind of credential to the
    rule: ``extract.serial``."""

    default_code = ReasonCode.AUTH_REQUIREMENT

    def __init__(self, text: str, key: str, where: str) -> None:
        super().__init__(text, path="credential")
        self.key = key
        self.where = where


@dataclass(frozen=True, slots=True)
class FactSource:
    """A place in a certificate: ``subject.CN`` is ("subject", "2.5.4.3")."""

    written: str
    part: str
    which: str = ""


@dataclass(frozen=True, slots=True)
class FactRule:
    """One fact. ``pattern`` must match all of a value; the fact is its group, or the whole without one."""

    name: str
    source: FactSource
    pattern: Pattern | None
    required: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class AskedOfCertificate:
    """One of ``extended_key_usage`` and one of ``policies`` (OIDs; empty: nothing is asked); every value of
    each attribute of ``issuer`` must match, and there must be one."""

    extended_key_usage: frozenset[str] = frozenset()
    policies: frozenset[str] = frozenset()
    issuer: tuple[tuple[str, Pattern], ...] = ()
    where: str = ""


def read_source(text: str) -> FactSource:
    """Raises Misfit."""
    part, _, which = text.partition(".")
    match part:
        case "subject" | "issuer":
            return FactSource(text, part, read_attribute(which))
        case "san" if which in _SAN_KINDS or which in _SAN_OTHERS:
            return FactSource(text, part, which)
        case "extension" if _OID.fullmatch(which):
            return FactSource(text, part, which)
        case _ if text in _WHOLE:
            return FactSource(text, text)
    known = [*(f"san.{word}" for word in (*_SAN_KINDS, *_SAN_OTHERS)), *_WHOLE, "subject.CN", "issuer.CN"]
    hint = did_you_mean(text, known) if text != "extension" else ""
    hint = hint if hint.startswith("did you") else f"write {SOURCES}"
    raise Misfit(f"{text!r} is nothing that can be read in a certificate; {hint}")


def read_attribute(name: str) -> str:
    """The OID of a subject attribute, from its name or its OID. Raises Misfit."""
    if name in ATTRIBUTE_OIDS:
        return ATTRIBUTE_OIDS[name]
    if _OID.fullmatch(name):
        return name
    hint = f"write {_LONG_NAMES[name]}" if name in _LONG_NAMES else did_you_mean(name, ATTRIBUTE_OIDS)
    raise Misfit(f"{name!r} is no attribute of a subject; {hint}")


def read_fact_pattern(source: str) -> Pattern:
    """A regular expression with one group at most. Raises Misfit."""
    pattern = compile_regex(source)
    groups = pattern.program.groups
    if groups > 1:
        raise Misfit(
            f"{source!r} has {groups} groups, and one at most can be meant; write (?:...) for the others"
        )
    return pattern


def check_fact_name(name: str) -> None:
    """Raises Misfit."""
    if name in RESERVED_FACTS:
        raise Misfit(
            f"{name!r} is a word of every credential ({', '.join(sorted(RESERVED_FACTS))}); choose another "
            "name",
            (name,),
        )
    if not FACT_NAME.fullmatch(name):
        raise Misfit(
            f"{name!r} cannot name a fact; write a letter and up to 39 letters, digits or _, for example "
            "serial",
            (name,),
        )


def check_asked(asked: AskedOfCertificate, certificate: ParsedCertificate) -> None:
    """Raises NotAsAsked for the first thing that the certificate does not have."""
    usages = certificate.extended_key_usage
    if asked.extended_key_usage and asked.extended_key_usage.isdisjoint(usages):
        wanted, has = _told(sorted(asked.extended_key_usage)), _told(usages)
        text = f"the certificate must carry an extended key usage of {wanted}; it has {has}"
        raise NotAsAsked(text, "require.extended_key_usage", asked.where)
    if asked.policies:
        policies = _policies(certificate)
        if asked.policies.isdisjoint(policies):
            wanted, has = _told(sorted(asked.policies)), _told(policies)
            text = f"the certificate must be issued under the policy {wanted}; it has {has}"
            raise NotAsAsked(text, "require.policies", asked.where)
    for oid, pattern in asked.issuer:
        values = _texts(certificate.issuer, oid)
        if not values or not all(map(pattern.holds, values)):
            label = ATTRIBUTE_NAMES.get(oid, oid)
            text = (
                f"the certificate must come from an issuer whose {label} matches {pattern.source}; its is "
                f"{_told([shown(value) for value in values])}"
            )
            raise NotAsAsked(text, f"require.issuer.{label}", asked.where)


def extracted(rules: tuple[FactRule, ...], certificate: ParsedCertificate) -> tuple[tuple[str, str], ...]:
    """The facts by their names. Raises NotAsAsked where one is missing, or is not one value."""
    found = ((rule.name, _fact(rule, certificate)) for rule in rules)
    return tuple((name, value) for name, value in found if value is not None)


def _fact(rule: FactRule, certificate: ParsedCertificate) -> str | None:
    source, key = rule.source.written, f"extract.{rule.name}"
    values = tuple(dict.fromkeys(_values(rule.source, certificate)))
    facts = tuple(dict.fromkeys(fact for value in values for fact in _matched(rule.pattern, value)))
    if len(facts) > 1:
        told = _told([shown(fact) for fact in facts])
        text = f"{source} of the certificate has several values ({told}), and {rule.name} can only be one"
        raise NotAsAsked(text, key, rule.where)
    if not facts:
        if not rule.required:
            return None
        if not values:
            text = f"the certificate has no {source}, from which {rule.name} is to be read"
        else:
            assert rule.pattern is not None
            told = _told([shown(value) for value in values])
            text = f"{source} of the certificate is {told}, which does not match {rule.pattern.source}"
        raise NotAsAsked(text, key, rule.where)
    (fact,) = facts
    if not fact.strip() or not fact.isprintable() or len(fact) > MAX_FACT_CHARACTERS:
        text = (
            f"{rule.name} from {source} of the certificate is {shown(fact)}; it must be 1 to "
            f"{MAX_FACT_CHARACTERS} printable characters"
        )
        raise NotAsAsked(text, key, rule.where)
    return fact


def _matched(pattern: Pattern | None, value: str) -> Iterator[str]:
    if pattern is None:
        yield value
    elif len(value) <= pattern.longest:
        try:
            found = pattern.program.fullmatch(value)
        except UnicodeEncodeError:  # lone surrogates are no text
            return
        fact = found[pattern.program.groups] if found is not None else None
        if fact is not None:
            yield str(fact)


def _values(source: FactSource, certificate: ParsedCertificate) -> Iterator[str]:
    match source.part:
        case "subject":
            yield from _texts(certificate.subject, source.which)
        case "issuer":
            yield from _texts(certificate.issuer, source.which)
        case "san":
            yield from _san_values(source.which, certificate)
        case "extension":
            yield from _extension_texts(source.which, certificate)
        case "serial":
            yield f"{certificate.serial:x}"
        case "spki_sha256":
            yield certificate.spki_sha256


def _texts(name: DistinguishedName, oid: str) -> tuple[str, ...]:
    return tuple(value for value in name.values(oid) if not value.startswith(_NO_TEXT))


def _san_values(which: str, certificate: ParsedCertificate) -> Iterator[str]:
    kind = _SAN_KINDS.get(which)
    if kind is not None:
        yield from (name.value for name in certificate.sans if name.kind is kind)
        return
    wanted = UPN if which == "upn" else HARDWARE_MODULE_NAME
    for name in certificate.sans:
        if name.kind is not NameKind.OTHER:
            continue
        try:
            other = other_name_of(name)
            if other.type_id != wanted:
                continue
            if wanted == UPN:
                yield read_upn(other.value_der)
                continue
            module = read_hardware_module(other.value_der)
        except MalformedMessage:
            continue  # a name of that type that cannot be read is none
        yield module.hw_type if which == "hardwareModuleName.type" else module.serial_text


def _extension_texts(oid: str, certificate: ParsedCertificate) -> Iterator[str]:
    """The value of an extension that is one character string."""
    for extension in certificate.extensions:
        if extension.oid != oid:
            continue
        try:
            tag, start, end = der.read_tlv(extension.value_der)
            codec = _TEXTS.get(tag)
            if codec is not None and end == len(extension.value_der):
                yield extension.value_der[start:end].decode(codec)
        except (MalformedMessage, UnicodeDecodeError):
            continue


def _policies(certificate: ParsedCertificate) -> tuple[str, ...]:
    """certificatePolicies ::= SEQUENCE OF PolicyInformation, each begins with an OID (RFC 5280 4.2.1.4)."""
    found: list[str] = []
    for extension in certificate.extensions:
        if extension.oid != _CERTIFICATE_POLICIES:
            continue
        value = extension.value_der
        try:
            tag, start, end = der.read_tlv(value)
            for part_tag, _, begin, stop in der.children(value, start, end):
                oid_tag, oid_start, oid_end = der.read_tlv(value, begin, stop)
                if (tag, part_tag, oid_tag) == (der.SEQUENCE, der.SEQUENCE, der.OID):
                    found.append(read_oid(value[oid_start:oid_end]))
        except MalformedMessage:
            return ()
    return tuple(found)


def _told(values: tuple[str, ...] | list[str]) -> str:
    """The first few of them."""
    if not values:
        return "none"
    more = f" and {len(values) - _MAX_TOLD} more" if len(values) > _MAX_TOLD else ""
    return " or ".join(values[:_MAX_TOLD]) + more
