"""Bounds on failed authentication attempts, per user and per source address.

Only failures cost a token, so a fleet behind one address is never slowed by its successes. Buckets live in
the process's memory and are bounded in number; the counters of several workers are independent.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many failures at once, refilled at this rate."""

    burst: int
    per_s: float


PER_USER_AND_ADDRESS = Allowance(burst=10, per_s=10 / 60)
PER_USER = Allowance(burst=100, per_s=100 / 60)
PER_ADDRESS = Allowance(burst=100, per_s=1.0)


@lru_cache(maxsize=4096)
def source_of(address: str) -> str:
    """The key of a source address: of IPv6 the /64, since that is what one host or site is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


class TokenBuckets:
    """Token buckets by key, least recently used ones forgotten beyond ``size``."""

    def __init__(self, monotonic: Callable[[], float], allowance: Allowance, *, size: int = 20_000) -> None:
        self._monotonic = monotonic
        self._allowance = allowance
        self._size = size
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def retry_after_s(self, key: str) -> int:
        """0 if a token is left, else the whole seconds until one is."""
        level = self._level(key)
        return 0 if level >= 1 else int((1 - level) / self._allowance.per_s) + 1

    def take(self, key: str) -> None:
        self._levels[key] = (self._level(key) - 1, self._monotonic())
        self._levels.move_to_end(key)
        while len(self._levels) > self._size:
            self._levels.popitem(last=False)

    def give_back(self, key: str) -> None:
        """Undo one ``take``; a bucket that is full again is forgotten."""
        level = self._level(key) + 1
        if level >= self._allowance.burst:
            self._levels.pop(key, None)
        else:
            self._levels[key] = (level, self._monotonic())

    def _level(self, key: str) -> float:
        known = self._levels.get(key)
        if known is None:
            return float(self._allowance.burst)
        level, at = known
        return min(float(self._allowance.burst), level + (self._monotonic() - at) * self._allowance.per_s)


class FailureThrottle:
    """Charges its buckets before a secret is looked at, and gives back after a success.

    So attempts that run at the same time count against each other.
    """

    def __init__(self, monotonic: Callable[[], float], *, per_user: bool = True) -> None:
        """``per_user``: bound the attempts on one user over all addresses too. Anybody can lock a user out
        by that, so it is for secrets that may be guessed from many addresses, not for random keys."""
        self._pair = TokenBuckets(monotonic, PER_USER_AND_ADDRESS)
        self._user = TokenBuckets(monotonic, PER_USER) if per_user else None
        self._address = TokenBuckets(monotonic, PER_ADDRESS)

    def charge(self, user: str, address: str) -> int:
        """Take one attempt, and 0; or take nothing and tell the whole seconds to wait."""
        buckets = self._buckets(user, address)
        wait_s = max(bucket.retry_after_s(key) for bucket, key in buckets)
        if not wait_s:
            for bucket, key in buckets:
                bucket.take(key)
        return wait_s

    def give_back(self, user: str, address: str) -> None:
        """The attempt was a success, or was none."""
        for bucket, key in self._buckets(user, address):
            bucket.give_back(key)

    def _buckets(self, user: str, address: str) -> tuple[tuple[TokenBuckets, str], ...]:
        name, source = _canonical(user), source_of(address)
        charged = ((self._pair, f"{name}\n{source}"), (self._address, source))
        return charged if self._user is None else (*charged, (self._user, name))


def _canonical(user: str) -> str:
    # Case and blanks must not give an attacker fresh buckets.
    return user.strip().casefold()[:256]
