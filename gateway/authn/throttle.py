"""Bounds on failed authentication attempts, per user and per source address.

Only failures cost a token, so a fleet behind one address is never slowed by its successes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from gateway.token_buckets import Allowance, TokenBuckets, source_of

PER_USER_AND_ADDRESS = Allowance(burst=10, per_s=10 / 60)
PER_USER = Allowance(burst=100, per_s=100 / 60)
PER_ADDRESS = Allowance(burst=100, per_s=1.0)


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


class Attempts:
    """Attempts that take their time to be judged, charged to a throttle.

    What would be refused only because others from its address are still being judged waits for their verdict:
    a fleet behind one address whose secret is right is no guesser, however many come at the same time.
    """

    def __init__(self, throttle: FailureThrottle) -> None:
        self._throttle = throttle
        self._judged_now: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def begin(self, user: str, address: str) -> int:
        """Take one attempt, and 0, which ``end`` must follow; or tell the whole seconds to wait."""
        source = source_of(address)
        while wait_s := self._throttle.charge(user, address):
            if not self._judged_now[source]:
                return wait_s
            turn = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(source, deque()).append(turn)
            await turn
        self._judged_now[source] += 1
        return 0

    def end(self, user: str, address: str, *, failed: bool) -> None:
        """The attempt was judged: ``failed`` if somebody may have guessed, else it costs nothing."""
        if not failed:
            self._throttle.give_back(user, address)
        source = source_of(address)
        self._judged_now[source] -= 1
        if self._judged_now[source]:
            self._call_in(source, 1)
        else:
            del self._judged_now[source]
            self._call_in(source, len(self._waiting.get(source, ())))

    def _call_in(self, source: str, count: int) -> None:
        waiting = self._waiting.get(source)
        while waiting and count:
            turn = waiting.popleft()
            if not turn.done():  # else whoever waited has gone
                turn.set_result(None)
                count -= 1
        if not waiting:
            self._waiting.pop(source, None)


def _canonical(user: str) -> str:
    # Case and blanks must not give an attacker fresh buckets.
    return user.strip().casefold()[:256]
