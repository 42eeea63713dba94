"""Bounds per source address or other key, in one process's memory and bounded in number.

The counters of several workers are independent.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many at once, refilled at this rate."""

    burst: int
    per_s: float


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
