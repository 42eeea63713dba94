"""A bound on messages that bring their own key (newAccount, revocation by a certificate's key).

Anybody can make such keys, and each message uses up a nonce, which must be remembered for an hour. So a flood
from one place is stopped before that, or it would push everybody else's nonces out of the memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.acme.errors import AcmeError
from gateway.model.reasons import ReasonCode
from gateway.token_buckets import Allowance, TokenBuckets, source_of

BURST = 300
PER_S = 20.0


class SelfSignedBound:
    """So many at once from one source address, refilled evenly, in this process's memory."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._buckets = TokenBuckets(monotonic, Allowance(BURST, PER_S))

    def take(self, address: str) -> None:
        """Count one message. Raises AcmeError rateLimited, which takes nothing."""
        source = source_of(address)
        if wait_s := self._buckets.retry_after_s(source):
            raise _too_fast(source, wait_s=wait_s)
        self._buckets.take(source)


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
