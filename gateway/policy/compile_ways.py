"""The ways by which rules let names through, from documents to matchers; the texts for messages too."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model.names import AttributeTypeAndValue, DistinguishedName
from gateway.pki.name_syntax import normal_dns
from gateway.pki.names import comparable_name, ip_address_name
from gateway.pki.other_names import HARDWARE_MODULE_NAME, OTHER_NAME_TYPES
from gateway.policy.general_names import (
    DirectoryMatcher,
    HardwareRule,
    OtherNameMatcher,
    OtherRule,
    RegisteredIdMatcher,
    normal_email,
    normal_uri,
)
from gateway.policy.name_rules import (
    LOOPBACK,
    DnsMatcher,
    IpMatcher,
    MailboxMatcher,
    TextWays,
    UriMatcher,
    ValueRule,
    Wildcard,
)
from gateway.policy.name_ways import (
    AllowedValues,
    DirectoryNamesAllowed,
    DnsNamesAllowed,
    EmailAddressesAllowed,
    IpAddressesAllowed,
    OtherNamesAllowed,
    OtherNameValues,
    RegisteredIdsAllowed,
    UrisAllowed,
    other_name_type,
    read_directory_text,
    read_value_der,
)
from gateway.policy.patterns import compile_dns_glob, compile_regex, compile_text_glob
from gateway.policy.template import Form, compile_template
from gateway.policy.terms import attribute_oid

_LISTED = 8


def compile_values(rules: AllowedValues, *, lab: bool) -> ValueRule:
    """Values of a subject attribute."""
    networks = (*rules.cidr, *(LOOPBACK if lab and rules.lab_loopback else ()))
    dns = None
    texts = [listed(rules.exact)] if rules.exact else []
    if rules.suffix:
        dns = DnsMatcher(frozenset(rules.suffix), frozenset(), rules.wildcard, rules.max_labels, "")
        texts.append(f"names under {listed(rules.suffix)}{_wildcard_text(rules.wildcard)}")
    ways = TextWays(
        globs=tuple(map(compile_text_glob, rules.glob)),
        regexes=tuple(map(compile_regex, rules.regex)),
        templates=tuple(compile_template(source, Form.TEXT) for source in rules.template),
        lists=rules.lists,
    )
    texts += _texts(rules.glob, rules.regex, rules.template, rules.lists)
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
        ways=_some(ways),
        wildcard=rules.wildcard,
    )


def compile_dns(rules: DnsNamesAllowed | None) -> DnsMatcher | None:
    """DNS names; None: no rule lets one through."""
    if rules is None:
        return None
    ways = TextWays(
        globs=tuple(map(compile_dns_glob, rules.glob)),
        regexes=tuple(compile_regex(source, dns=True) for source in rules.regex),
        templates=tuple(compile_template(source, Form.DNS) for source in rules.template),
        lists=rules.lists,
        normal=normal_dns,
    )
    texts = [f"names under {listed(rules.suffix)}"] if rules.suffix else []
    if rules.exact:
        texts.append(listed(rules.exact))
    texts += _texts(rules.glob, rules.regex, rules.template, rules.lists)
    if not texts:
        return None
    text = " and ".join(texts) + _wildcard_text(rules.wildcard)
    if rules.max_labels < 127:
        text += f", at most {rules.max_labels} labels"
    suffixes, exact = frozenset(rules.suffix), frozenset(rules.exact)
    return DnsMatcher(suffixes, exact, rules.wildcard, rules.max_labels, text, _some(ways))


def compile_ip(rules: IpAddressesAllowed | None, *, lab: bool) -> IpMatcher | None:
    """IP addresses; ``lab`` adds the loopback networks where the rules say ``lab_loopback``."""
    if rules is None:
        return None
    networks = (*rules.cidr, *(LOOPBACK if lab and rules.lab_loopback else ()))
    ways = TextWays(
        templates=tuple(compile_template(source, Form.IP) for source in rules.template),
        lists=rules.lists,
        normal=lambda text: ip_address_name(text).value,
    )
    texts = [f"addresses in {listed([str(network) for network in networks])}"] if networks else []
    texts += _texts((), (), rules.template, rules.lists)
    return IpMatcher(networks, " and ".join(texts), _some(ways)) if texts else None


def compile_email(rules: EmailAddressesAllowed | None) -> MailboxMatcher | None:
    """E-mail addresses."""
    return _mailboxes(rules, "addresses at") if rules is not None else None


def _mailboxes(rules: EmailAddressesAllowed | OtherNameValues, what: str) -> MailboxMatcher | None:
    email = isinstance(rules, EmailAddressesAllowed)
    ways = TextWays(
        globs=tuple(map(compile_text_glob, rules.glob)),
        regexes=tuple(map(compile_regex, rules.regex)),
        templates=tuple(compile_template(source, Form.EMAIL) for source in rules.template),
        lists=rules.lists,
        normal=(lambda text: normal_email(text).value) if email else _folded_domain,
    )
    texts = [f"{what} {listed(rules.suffix)} and below"] if rules.suffix else []
    if rules.exact:
        texts.append(listed(rules.exact))
    texts += _texts(rules.glob, rules.regex, rules.template, rules.lists)
    exact = frozenset(map(_folded_domain, rules.exact))
    if not texts:
        return None
    return MailboxMatcher(frozenset(rules.suffix), " and ".join(texts), exact, _some(ways))


def _folded_domain(text: str) -> str:
    local, _, domain = text.rpartition("@")
    return f"{local}@{domain.lower()}"


def compile_uri(rules: UrisAllowed | None) -> UriMatcher | None:
    """URIs."""
    if rules is None:
        return None
    ways = TextWays(
        regexes=tuple(map(compile_regex, rules.regex)),
        templates=tuple(compile_template(source, Form.URI) for source in rules.template),
        lists=rules.lists,
        normal=lambda text: normal_uri(text).value,
    )
    texts = [f"URIs under {listed(rules.prefix)}"] if rules.prefix else []
    if rules.exact:
        texts.append(listed(rules.exact))
    texts += _texts((), rules.regex, rules.template, rules.lists)
    if not texts:
        return None
    exact = frozenset(normal_uri(uri).value for uri in rules.exact)
    text = " and ".join(texts) + ("" if rules.userinfo else ", without user information (user@host)")
    return UriMatcher(rules.prefix, text, exact, _some(ways), rules.userinfo)


def compile_directory(rules: DirectoryNamesAllowed | None, *, lab: bool) -> DirectoryMatcher | None:
    """Directory names."""
    if rules is None or not (rules.under or rules.attributes):
        return None
    bases = tuple(
        comparable_name(
            DistinguishedName(
                tuple(
                    tuple(AttributeTypeAndValue(oid, value) for oid, value in rdn)
                    for rdn in read_directory_text(text)
                )
            )
        )
        for text in rules.under
    )
    texts = [f"directory names under {listed(rules.under)}"] if rules.under else ["directory names"]
    texts += [f"with {listed(list(rules.attributes))}"] if rules.attributes else []
    attributes = {
        attribute_oid(name) or name: compile_values(values, lab=lab)
        for name, values in rules.attributes.items()
    }
    return DirectoryMatcher(bases, attributes, " ".join(texts))


def compile_other(rules: OtherNamesAllowed | None) -> OtherNameMatcher | None:
    """otherNames."""
    if rules is None or not rules.allow:
        return None
    types: dict[str, OtherRule] = {}
    texts = []
    for name, values in rules.allow.items():
        type_id = other_name_type(name)
        rule, text = _other(type_id, values)
        types[type_id] = rule
        texts.append(f"{name}: {text}")
    return OtherNameMatcher(types, "; ".join(texts))


def _other(type_id: str, values: OtherNameValues) -> tuple[OtherRule, str]:
    if type_id not in OTHER_NAME_TYPES:
        return frozenset(read_value_der(text) for text in values.der), "certain values"
    if type_id == HARDWARE_MODULE_NAME:
        ways = TextWays(
            globs=tuple(map(compile_text_glob, values.glob)),
            regexes=tuple(map(compile_regex, values.regex)),
            templates=tuple(compile_template(source, Form.EMAIL) for source in values.template),
            lists=values.lists,
        )
        texts = [listed(values.exact)] if values.exact else []
        texts += _texts(values.glob, values.regex, values.template, values.lists)
        text = " or ".join(texts) or "any serial number"
        every = values.any or not texts
        serials = ValueRule(every, False, frozenset(values.exact), None, (), text, _some(ways))
        of = f" of the hardware {listed(values.hw_type)}" if values.hw_type else ""
        return HardwareRule(frozenset(values.hw_type), serials), f"{text}{of}"
    if values.any:
        return MailboxMatcher(frozenset(), "any", ways=TextWays(regexes=(compile_regex("(?s).*"),))), "any"
    matcher = _mailboxes(values, "names at")
    if matcher is None:
        raise AssertionError("a type of otherName without ways")  # the model asks for one
    return matcher, matcher.allowed_text


def compile_registered(rules: RegisteredIdsAllowed | None) -> RegisteredIdMatcher | None:
    """Registered ids."""
    if rules is None or not (rules.exact or rules.under):
        return None
    texts = [listed(rules.exact)] if rules.exact else []
    texts += [f"those below {listed(rules.under)}"] if rules.under else []
    return RegisteredIdMatcher(frozenset(rules.exact), tuple(rules.under), " and ".join(texts))


def listed(words: Sequence[str]) -> str:
    """The first words of a list, and how many more there are."""
    more = len(words) - _LISTED
    return ", ".join(words[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _texts(
    globs: Sequence[str], regexes: Sequence[str], templates: Sequence[str], lists: Sequence[str]
) -> list[str]:
    found = []
    if globs:
        found.append(f"names like {listed(globs)}")
    if regexes:
        found.append(f"names that match {listed(regexes)}")
    if templates:
        found.append(f"what {listed(templates)} makes")
    if lists:
        found.append(f"names in the list {listed(lists)}")
    return found


def _some(ways: TextWays) -> TextWays | None:
    return ways if ways.globs or ways.regexes or ways.templates or ways.lists else None


def _wildcard_text(wildcard: Wildcard) -> str:
    return {
        Wildcard.DENY: "",
        Wildcard.ALLOW: ", also with a wildcard",
        Wildcard.ONLY: ", with a wildcard only",
    }[wildcard]
