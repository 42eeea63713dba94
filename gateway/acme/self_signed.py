"""A bound on messages that bring their own key (newAccount, revocation by a certificate's key).

Anybody can make such keys, and each message uses up a nonce, which must be remembered for an hour. So a flood
from one place is stopped before that, or it would push everybody else's nonces out of the memory.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from gateway.acme.errors import AcmeError
from gateway.model.reasons import ReasonCode

BURST = 300
PER_S = 20.0
_MOST_SOURCES = 20_000
_IPV6_SITE_BITS = 64


class SelfSignedBound:
    """So many at once from one source address, refilled evenly, in this process's memory."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._whole_at: OrderedDict[str, float] = OrderedDict()  # when nothing of an allowance is spent

    def take(self, address: str) -> None:
        """Count one message. Raises AcmeError rateLimited, which takes nothing."""
        source, now = source_of(address), self._monotonic()
        whole_at = max(self._whole_at.get(source, now), now)
        spent = round((whole_at - now) * PER_S, 3)  # sums of binary fractions are a little off
        if spent > BURST - 1:
            raise _too_fast(source, wait_s=int((spent - BURST + 1) / PER_S) + 1)
        self._whole_at[source] = whole_at + 1 / PER_S
        self._whole_at.move_to_end(source)
        if len(self._whole_at) > _MOST_SOURCES:
            self._whole_at.popitem(last=False)


@lru_cache(maxsize=4096)
def source_of(address: str) -> str:
    """One IPv4 address, or the /64 that one IPv6 user has."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    site = int(found) >> _IPV6_SITE_BITS << _IPV6_SITE_BITS
    return f"{IPv6Address(site)}/{_IPV6_SITE_BITS}"


def _too_fast(source: str, *, wait_s: int) -> AcmeError:
    return AcmeError(
        "rateLimited",
        f"too many requests from {source} that are signed by a key of their own: {BURST} at once and "
        f"{PER_S:g} a second are taken",
        status=429,
        code=ReasonCode.LIMIT_EXCEEDED,
        headers=(("Retry-After", str(wait_s)),),
        recorded=False,
    )
