"""Compiled matchers for names: suffix, exact, wildcard, networks, plain words, patterns, templates, lists.

Each way that a rule names is one way to let a name through. All DNS comparison is label-aligned on lower-case
A-labels: the suffix ``example.test`` holds that name and everything below it, never ``badexample.test``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from gateway.errors import MalformedMessage
from gateway.model.names import GeneralName, NameKind
from gateway.pki.name_syntax import normal_dns
from gateway.policy.lists import EMPTY_LISTS, ListLookup
from gateway.policy.patterns import DnsGlob, Pattern
from gateway.policy.template import Template

LOOPBACK: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

# One to 64 characters (RFC 5280 appendix A.1, ub-common-name) that nobody can take for a host name.
_PLAIN = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_ -]{0,62}[A-Za-z0-9_-])?")


class Wildcard(StrEnum):
    """Whether names like ``*.example.test`` may, may not or must be used."""

    DENY = "deny"
    ALLOW = "allow"
    ONLY = "only"


class Verdict(StrEnum):
    """What a matcher says of one name."""

    YES = "yes"
    NO = "no"
    WILDCARD = "wildcard"  # the name would do but for the wildcard rule


@dataclass(frozen=True, slots=True)
class Known:
    """What rules may ask beside a name: the words of the request, for templates, and the lists."""

    words: Mapping[str, object]
    lists: ListLookup


NOTHING_KNOWN = Known({}, EMPTY_LISTS)


@dataclass(frozen=True, slots=True)
class TextWays:
    """Ways that look at a whole name as text. ``normal`` gives the normal form of what a template makes, or
    raises MalformedMessage or ValueError; a template that makes no name lets none through."""

    globs: tuple[DnsGlob | Pattern, ...] = ()
    regexes: tuple[Pattern, ...] = ()
    templates: tuple[Template, ...] = ()
    lists: tuple[str, ...] = ()
    normal: Callable[[str], str] = str

    def hold(self, text: str, known: Known) -> bool:
        """Whether one of the ways lets this name through."""
        return (
            any(glob.holds(text) for glob in self.globs)
            or any(regex.holds(text) for regex in self.regexes)
            or any(known.lists.contains(name, text) for name in self.lists)
            or any(self._made(template, known) == text for template in self.templates)
        )

    def _made(self, template: Template, known: Known) -> str | None:
        made = template.render(known.words)
        if not isinstance(made, str):
            return None
        try:
            return self.normal(made)
        except (MalformedMessage, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class DnsMatcher:
    """``suffixes`` and ``exact`` are lower-case A-labels without dots at their ends."""

    suffixes: frozenset[str]
    exact: frozenset[str]
    wildcard: Wildcard
    max_labels: int
    allowed_text: str
    ways: TextWays | None = None

    def judge(self, name: str, known: Known = NOTHING_KNOWN) -> Verdict:
        """Judge a DNS name in normal form."""
        bare = name
        if name[:2] == "*.":
            if self.wildcard is Wildcard.DENY:
                return Verdict.WILDCARD
            bare = name[2:]
        elif self.wildcard is Wildcard.ONLY:
            return Verdict.WILDCARD
        if name.count(".") >= self.max_labels:
            return Verdict.NO
        if name in self.exact or under_suffix(bare, self.suffixes):
            return Verdict.YES
        return Verdict.YES if self.ways is not None and self.ways.hold(name, known) else Verdict.NO


def under_suffix(name: str, suffixes: frozenset[str]) -> bool:
    """Whether ``name`` is one of ``suffixes`` or below one, label by label."""
    while True:
        if name in suffixes:
            return True
        _, dot, name = name.partition(".")
        if not dot:
            return False


@dataclass(frozen=True, slots=True)
class IpMatcher:
    """Networks of both versions; ``loopback`` is set by ``lab_loopback`` in lab mode only."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    allowed_text: str
    ways: TextWays | None = None

    def judge(self, name: str, known: Known = NOTHING_KNOWN) -> Verdict:
        address = normal_address(name)
        if any(address in network for network in self.networks):
            return Verdict.YES
        return Verdict.YES if self.ways is not None and self.ways.hold(str(address), known) else Verdict.NO


def normal_address(text: str) -> IPv4Address | IPv6Address:
    """The address of a text; an IPv4-mapped IPv6 address counts as the IPv4 address. Raises ValueError.

    A zone (RFC 4007) is refused: it is free text that no comparison with a network would ever see.
    """
    if "%" in text:
        raise ValueError("an address with a zone names nothing outside its own host")
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class MailboxMatcher:
    """Names of the form ``local@domain``: the domain is one of ``suffixes`` or below it, or the whole is one
    of ``exact``. Local parts count letter by letter, domains are in lower case."""

    suffixes: frozenset[str]
    allowed_text: str
    exact: frozenset[str] = frozenset()
    ways: TextWays | None = None

    def judge(self, name: str, known: Known = NOTHING_KNOWN) -> Verdict:
        local, _, domain = name.rpartition("@")
        domain = domain.lower()
        if under_suffix(domain, self.suffixes):
            return Verdict.YES
        text = f"{local}@{domain}"
        if text in self.exact or (self.ways is not None and self.ways.hold(text, known)):
            return Verdict.YES
        return Verdict.NO


@dataclass(frozen=True, slots=True)
class UriMatcher:
    """URIs that begin with one of ``prefixes``, octet by octet; a prefix covers whole path segments."""

    prefixes: tuple[str, ...]
    allowed_text: str
    exact: frozenset[str] = frozenset()
    ways: TextWays | None = None
    userinfo: bool = False

    def judge(self, name: str, known: Known = NOTHING_KNOWN) -> Verdict:
        if ".." in name or "%2e" in name.lower():
            # A path that climbs up again is not below its prefix for whoever resolves it (RFC 3986, 5.2.4).
            return Verdict.NO
        if not self.userinfo and "@" in _authority(name):
            # RFC 3986 7.6: what stands before the @ is often taken for the host
            return Verdict.NO
        if name in self.exact or any(_begins(name, prefix) for prefix in self.prefixes):
            return Verdict.YES
        return Verdict.YES if self.ways is not None and self.ways.hold(name, known) else Verdict.NO


def _authority(uri: str) -> str:
    """What stands between ``//`` and the path (RFC 3986 section 3.2); empty where there is none."""
    _, _, rest = uri.partition(":")
    return re.split(r"[/?#]", rest[2:], maxsplit=1)[0] if rest.startswith("//") else ""


def _begins(uri: str, prefix: str) -> bool:
    if not uri.startswith(prefix):
        return False
    rest = uri[len(prefix) :]
    return not rest or prefix[-1] in "/:#?" or rest[0] in "/?#"


@dataclass(frozen=True, slots=True)
class KindRule:
    """Bounds for one kind of name."""

    max: int
    required: bool
    drop_extra: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class AddedName:
    """A name that the administrator puts in. ``build`` makes it of what the templates gave, one text each,
    and raises MalformedMessage where that is no name; ``rule`` is its place within ``names``."""

    kind: NameKind
    templates: tuple[Template, ...]
    build: Callable[[Sequence[str]], GeneralName]
    rule: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class ValueRule:
    """Which values a subject attribute may have; a value passes if one of the ways lets it through.

    A value that looks like a wildcard name passes patterns, templates and lists only where ``wildcard`` does
    not deny it.
    """

    any: bool
    plain: bool
    exact: frozenset[str]
    dns: DnsMatcher | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    allowed_text: str
    ways: TextWays | None = None
    wildcard: Wildcard = Wildcard.DENY

    def judge(self, value: str, known: Known = NOTHING_KNOWN) -> Verdict:
        if self.any or value in self.exact or (self.plain and _PLAIN.fullmatch(value)):
            return Verdict.YES
        if self.networks and _in_networks(value, self.networks):
            return Verdict.YES
        verdict = self._as_dns(value)
        if verdict is Verdict.YES or self.ways is None or not self.ways.hold(value, known):
            return verdict
        return Verdict.WILDCARD if "*" in value and self.wildcard is Wildcard.DENY else Verdict.YES

    def _as_dns(self, value: str) -> Verdict:
        if self.dns is None:
            return Verdict.NO
        try:
            return self.dns.judge(normal_dns(value))
        except MalformedMessage:
            return Verdict.NO


def _in_networks(value: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        address = normal_address(value)
    except ValueError:
        return False
    return any(address in network for network in networks)
