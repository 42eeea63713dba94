"""Bounds on failed authentication attempts, per user and per source address.

Only failures cost a token, so a fleet behind one address is never slowed by its successes. Buckets live in
the process's memory and are bounded in number; the counters of several workers are independent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many failures at once, refilled at this rate."""

    burst: int
    per_s: float


PER_USER_AND_ADDRESS = Allowance(burst=10, per_s=10 / 60)
PER_USER = Allowance(burst=100, per_s=100 / 60)
PER_ADDRESS = Allowance(burst=100, per_s=1.0)


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

    def _level(self, key: str) -> float:
        known = self._levels.get(key)
        if known is None:
            return float(self._allowance.burst)
        level, at = known
        return min(float(self._allowance.burst), level + (self._monotonic() - at) * self._allowance.per_s)


class FailureThrottle:
    """Asks three buckets before a secret is looked at, charges them after a failure."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._pair = TokenBuckets(monotonic, PER_USER_AND_ADDRESS)
        self._user = TokenBuckets(monotonic, PER_USER)
        self._address = TokenBuckets(monotonic, PER_ADDRESS)

    def retry_after_s(self, user: str, address: str) -> int:
        name = _canonical(user)
        return max(
            self._pair.retry_after_s(f"{name}\n{address}"),
            self._user.retry_after_s(name),
            self._address.retry_after_s(address),
        )

    def failed(self, user: str, address: str) -> None:
        name = _canonical(user)
        self._pair.take(f"{name}\n{address}")
        self._user.take(name)
        self._address.take(address)


def _canonical(user: str) -> str:
    # Case and blanks must not give an attacker fresh buckets.
    return user.strip().casefold()[:256]
