"""Compiled matchers for names: suffix, exact, wildcard, networks, plain words.

All DNS comparison is label-aligned on lower-case A-labels: the suffix ``example.test`` holds that name and
everything below it, never ``badexample.test``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from gateway.errors import MalformedMessage
from gateway.model.names import NameKind
from gateway.pki.name_syntax import normal_dns

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
class DnsMatcher:
    """``suffixes`` and ``exact`` are lower-case A-labels without dots at their ends."""

    suffixes: frozenset[str]
    exact: frozenset[str]
    wildcard: Wildcard
    max_labels: int
    allowed_text: str

    def judge(self, name: str) -> Verdict:
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
        return Verdict.NO


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

    def judge(self, name: str) -> Verdict:
        address = normal_address(name)
        return Verdict.YES if any(address in network for network in self.networks) else Verdict.NO


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
class EmailMatcher:
    """Mailboxes whose domain is one of ``suffixes`` or below it."""

    suffixes: frozenset[str]
    allowed_text: str

    def judge(self, name: str) -> Verdict:
        domain = name.rpartition("@")[2].lower()
        return Verdict.YES if under_suffix(domain, self.suffixes) else Verdict.NO


@dataclass(frozen=True, slots=True)
class UriMatcher:
    """URIs that begin with one of ``prefixes``, octet by octet; a prefix covers whole path segments."""

    prefixes: tuple[str, ...]
    allowed_text: str

    def judge(self, name: str) -> Verdict:
        if ".." in name or "%2e" in name.lower():
            # A path that climbs up again is not below its prefix for whoever resolves it (RFC 3986, 5.2.4).
            return Verdict.NO
        return Verdict.YES if any(_begins(name, prefix) for prefix in self.prefixes) else Verdict.NO


def _begins(uri: str, prefix: str) -> bool:
    if not uri.startswith(prefix):
        return False
    rest = uri[len(prefix) :]
    return not rest or prefix[-1] in "/:#?" or rest[0] in "/?#"


Matcher = DnsMatcher | IpMatcher | EmailMatcher | UriMatcher


@dataclass(frozen=True, slots=True)
class NameGroup:
    """Names that may stand together in one certificate; a kind without matcher is not allowed."""

    name: str
    matchers: Mapping[NameKind, Matcher]
    where: str = ""


@dataclass(frozen=True, slots=True)
class KindRule:
    """Bounds for one kind of name."""

    max: int
    required: bool
    drop_extra: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class ValueRule:
    """Which values a subject attribute may have; a value passes if one of the ways lets it through."""

    any: bool
    plain: bool
    exact: frozenset[str]
    dns: DnsMatcher | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    allowed_text: str

    def judge(self, value: str) -> Verdict:
        if self.any or value in self.exact or (self.plain and _PLAIN.fullmatch(value)):
            return Verdict.YES
        if self.networks and _in_networks(value, self.networks):
            return Verdict.YES
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
