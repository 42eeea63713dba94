"""Anti-replay nonces (RFC 8555 section 6.5): made without state, redeemed once.

A nonce is a time, randomness and a MAC over both, so any process that shares the server key knows it for its
own; only what was redeemed is remembered, and only as long as a nonce lives.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Callable
from datetime import timedelta

from gateway.acme import base64url
from gateway.acme.errors import AcmeError, malformed
from gateway.clock import from_epoch_s
from gateway.frontend import Services
from gateway.model.reasons import ReasonCode

LIFETIME = timedelta(hours=1)
_TIME_OCTETS, _RANDOM_OCTETS, _MAC_OCTETS = 6, 12, 16
_BODY_OCTETS = _TIME_OCTETS + _RANDOM_OCTETS
# A nonce of another replica may seem to come from the future by the difference of the clocks.
_CLOCK_SKEW_MS = 120_000
_LIFETIME_MS = LIFETIME // timedelta(milliseconds=1)


class Nonces:
    """Makes and redeems the nonces of every endpoint; all processes with the same server key share them."""

    def __init__(self, services: Services, *, now_ms: Callable[[], int] | None = None) -> None:
        self._services = services
        self._now_ms = now_ms or _now_ms
        self._keyed = hashlib.blake2b(digest_size=_MAC_OCTETS, key=services.shared_key("acme nonce"))

    def make(self) -> str:
        """A new nonce in base64url, 46 characters."""
        body = self._now_ms().to_bytes(_TIME_OCTETS, "big") + os.urandom(_RANDOM_OCTETS)
        return base64url.encode(body + self._mac(body))

    async def redeem(self, nonce: str) -> None:
        """Use up a nonce; call it only once the signature over it was found right.

        Raises AcmeError: malformed if it is not base64url, badNonce if it is not ours, too old or used;
        StoreUnavailable.
        """
        try:
            octets = base64url.decode(nonce)
        except ValueError as exc:
            # RFC 8555 6.5.2
            raise malformed(
                "the nonce is not base64url without padding", code=ReasonCode.MESSAGE_BASE64
            ) from exc
        body, mac = octets[:_BODY_OCTETS], octets[_BODY_OCTETS:]
        if len(octets) != _BODY_OCTETS + _MAC_OCTETS or not hmac.compare_digest(mac, self._mac(body)):
            raise _bad_nonce("the nonce is not one of this server")
        made_ms = int.from_bytes(body[:_TIME_OCTETS], "big")
        now_ms = self._now_ms()
        until_ms = made_ms + _LIFETIME_MS
        if now_ms >= until_ms or made_ms > now_ms + _CLOCK_SKEW_MS:
            raise _bad_nonce("the nonce is too old")
        once_only = self._services.once_only
        if made_ms < once_only.since.timestamp() * 1000:
            raise _bad_nonce("the nonce is older than this server's memory")
        # Rounded up to whole seconds, so that it is not forgotten while it is still taken.
        until = from_epoch_s(until_ms // 1000 + 1)
        if not await once_only.redeem(body, until):
            raise _bad_nonce("the nonce was used already")

    def _mac(self, body: bytes) -> bytes:
        mac = self._keyed.copy()
        mac.update(body)
        return mac.digest()


def _now_ms() -> int:
    """Finer than a Clock's seconds: what was made in the second of a start must not count as older."""
    return time.time_ns() // 1_000_000


def _bad_nonce(detail: str) -> AcmeError:
    return AcmeError(
        "badNonce",
        f"{detail}; try again with the nonce of this answer",
        code=ReasonCode.AUTH_REPLAY,
        recorded=False,
    )
