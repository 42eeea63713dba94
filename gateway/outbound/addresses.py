"""Which addresses may be connected to, after the IANA special-purpose registries (RFC 6890, 8190).

An address that carries an IPv4 address in itself (mapped, NAT64, 6to4, Teredo, ISATAP) is judged by that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
NetworkRange = IPv4Network | IPv6Network


class Scope(StrEnum):
    """How far an address reaches, as far as it matters for whether to connect to it."""

    GLOBAL = "global"
    PRIVATE = "private"  # only inside ranges that the operator names
    LOOPBACK = "loopback"  # only by the lab switch
    NEVER = "never"


def _ranges(scope: Scope, *rows: tuple[str, str]) -> list[tuple[NetworkRange, Scope, str]]:
    return [(ip_network(text), scope, name) for text, name in rows]


# The first range that holds an address decides. Metadata services answer to whoever runs on the same cloud.
_IPV4 = (
    *_ranges(
        Scope.NEVER,
        ("0.0.0.0/8", "this network"),
        ("169.254.0.0/16", "link-local"),
        ("100.100.100.200/32", "metadata service"),
        ("168.63.129.16/32", "metadata service"),
        ("192.0.0.0/24", "IETF protocol assignments"),
        ("192.88.99.0/24", "6to4 relays"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    ),
    *_ranges(Scope.LOOPBACK, ("127.0.0.0/8", "loopback")),
    *_ranges(
        Scope.PRIVATE,
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "shared address space"),
        ("192.0.2.0/24", "documentation"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
    ),
)
_IPV6 = (
    *_ranges(Scope.LOOPBACK, ("::1/128", "loopback")),
    *_ranges(
        Scope.NEVER,
        ("::/128", "unspecified"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("64:ff9b:1::/48", "local-use translation"),
        ("100::/64", "discard-only"),
        ("100:0:0:1::/64", "dummy prefix"),
        ("fd00:ec2::/32", "metadata service"),
        ("fd20:ce::254/128", "metadata service"),
        ("5f00::/16", "segment routing"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    ),
    *_ranges(
        Scope.PRIVATE,
        ("2001:2::/48", "benchmarking"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "unique local"),
        ("fec0::/10", "site-local"),
    ),
)
_IETF = IPv6Network("2001::/23")
_TEREDO = IPv6Network("2001::/32")
_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_SITE_BITS = 64
_MAX_REMEMBERED = 4096


def permitted(address: Address, allowed: Iterable[NetworkRange], *, allow_loopback: bool) -> bool:
    """Whether to connect. ``allowed``: ranges that hold for private addresses, and for nothing else."""
    ranges = tuple(allowed)
    return all(_judge(one, ranges, allow_loopback) for one in _parts(address))


def scope_of(address: Address) -> tuple[Scope, str]:
    """The strictest scope that is found in an address, and what its range is called."""
    found = [_plain_scope(one) for one in _parts(address)]
    return max(found, key=lambda one: _ORDER.index(one[0]))


def connectable(address: Address) -> Address:
    """The address to hand to the kernel: an IPv4-mapped one is the IPv4 address itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def target_of(address: Address) -> Address | IPv6Network:
    """What is one target, however many addresses it has: an IPv4 address, or the /64 that one host may own.

    An address that only carries another one is the same target as that one.
    """
    *_, last = _parts(address)
    if isinstance(last, IPv4Address):
        return last
    return IPv6Network((int(last) >> _SITE_BITS << _SITE_BITS, 128 - _SITE_BITS))


_ORDER = (Scope.GLOBAL, Scope.PRIVATE, Scope.LOOPBACK, Scope.NEVER)


def _judge(address: Address, allowed: Sequence[NetworkRange], allow_loopback: bool) -> bool:
    scope = _plain_scope(address)[0]
    if scope is Scope.PRIVATE:
        return any(address in network for network in allowed)
    return scope is Scope.GLOBAL or (scope is Scope.LOOPBACK and allow_loopback)


def _parts(address: Address) -> Iterator[Address]:
    """The IPv4 addresses that it carries, or itself; of ISATAP, whose prefix may be any, both."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
        return
    if address.sixtofour is not None:
        yield address.sixtofour
        return
    if address in _TEREDO:
        yield from address.teredo or ()
        return
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    yield address


@lru_cache(maxsize=_MAX_REMEMBERED)
def _plain_scope(address: Address) -> tuple[Scope, str]:
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return Scope.NEVER, "bound to an interface"
    for network, scope, name in _IPV4 if isinstance(address, IPv4Address) else _IPV6:
        if address in network:
            return scope, name
    if isinstance(address, IPv6Address) and (address not in _UNICAST or address in _IETF):
        return Scope.NEVER, "not for general use"
    return Scope.GLOBAL, "global"
