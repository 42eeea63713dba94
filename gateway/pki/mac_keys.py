"""Makes and checks password-based MACs, with keys derived from secrets (RFC 9810 section 5.1.3.1, RFC 8018
section 7.1), and remembers those keys for a short time.

A key is remembered only once a message proved that its sender has the secret. So time tells nobody without
it which secrets exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import Overloaded
from gateway.model.evidence import SecretBytes
from gateway.pki.message_mac import Gmac, MacFunction, MacParameters, PbmParameters

# So many take about half a millisecond and are not worth a thread.
INLINE_ITERATIONS = 2_000
_SLOW_AT_ONCE = 2
_SLOW_WAITING = 64


class MacKeys:
    """Derives keys, each for one secret and one choice of salt, function and count.

    ``most`` keys are remembered, each for ``lifetime_s`` seconds, in this process and in memory only. Long
    derivations run in threads, two at a time.
    """

    def __init__(
        self,
        *,
        most: int = 2_048,
        lifetime_s: float = 120.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.derived_count = 0
        self._most = most
        self._lifetime_s = lifetime_s
        self._monotonic = monotonic
        self._remembered: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._name_key = os.urandom(32)
        self._slow = asyncio.Semaphore(_SLOW_AT_ONCE)
        self._waiting = 0

    async def mac(self, parameters: MacParameters, secret: SecretBytes, message: bytes) -> bytes:
        """The MAC of a message. Raises Overloaded while too many long derivations wait."""
        name = self._name(parameters, secret)
        key = self._recall(name) or await self._derive(parameters, secret)
        return _mac(parameters.mac, key, message)

    async def is_right(
        self, parameters: MacParameters, secret: SecretBytes, message: bytes, mac: bytes
    ) -> bool:
        """Whether this is the message's MAC; compared in constant time. Raises Overloaded as ``mac`` does."""
        name = self._name(parameters, secret)
        key = self._recall(name) or await self._derive(parameters, secret)
        if not hmac.compare_digest(_mac(parameters.mac, key, message), mac):
            return False
        self._remembered[name] = (self._monotonic() + self._lifetime_s, key)
        self._remembered.move_to_end(name)
        while len(self._remembered) > self._most:
            self._remembered.popitem(last=False)
        return True

    def _recall(self, name: bytes) -> bytes | None:
        found = self._remembered.get(name)
        if found is None:
            return None
        if found[0] <= self._monotonic():
            del self._remembered[name]
            return None
        return found[1]

    def _name(self, parameters: MacParameters, secret: SecretBytes) -> bytes:
        """What a key is remembered by: a keyed hash, so that no secret lies in memory a second time."""
        if isinstance(parameters, PbmParameters):
            choice = f"pbm {parameters.owf} {parameters.iterations} {_key_octets(parameters.mac)}"
        else:
            choice = f"pbmac1 {parameters.prf} {parameters.iterations} {parameters.key_octets}"
        hashed = hashlib.blake2b(
            f"{choice} {len(parameters.salt)} ".encode(), key=self._name_key, digest_size=32
        )
        hashed.update(parameters.salt)
        hashed.update(secret.reveal())
        return hashed.digest()

    async def _derive(self, parameters: MacParameters, secret: SecretBytes) -> bytes:
        if parameters.iterations <= INLINE_ITERATIONS:
            self.derived_count += 1
            return _derived_key(parameters, secret.reveal())
        if self._waiting >= _SLOW_WAITING:
            raise Overloaded("too many messages with high iteration counts are being checked; try again soon")
        self._waiting += 1
        try:
            async with self._slow:
                self.derived_count += 1
                return await asyncio.to_thread(_derived_key, parameters, secret.reveal())
        finally:
            self._waiting -= 1


def _derived_key(parameters: MacParameters, secret: bytes) -> bytes:
    if not isinstance(parameters, PbmParameters):
        return hashlib.pbkdf2_hmac(
            parameters.prf, secret, parameters.salt, parameters.iterations, parameters.key_octets
        )
    one_way = _ONE_WAY[parameters.owf]
    key = secret + parameters.salt
    for _ in range(parameters.iterations):
        key = one_way(key).digest()
    wanted = _key_octets(parameters.mac)
    if wanted is None:
        return key
    # RFC 9810 5.1.3.1: where the key must be longer than the hash, OWF("1" || BASEKEY) and so on follow
    expanded, number = key, 1
    while len(expanded) < wanted:
        expanded += one_way(b"%d" % number + key).digest()
        number += 1
    return expanded[:wanted]


def _key_octets(mac: MacFunction) -> int | None:
    """The length that the MAC asks for; HMAC takes the hash as it is."""
    return mac.key_octets if isinstance(mac, Gmac) else None


def _mac(function: MacFunction, key: bytes, message: bytes) -> bytes:
    if isinstance(function, Gmac):
        return AESGCM(key).encrypt(function.nonce, b"", message)
    return hmac.digest(key, message, function.hash)


# The constructors themselves: hashlib.new looks its name up each time and takes two to three times as long
_ONE_WAY = {
    "sha1": hashlib.sha1,
    "sha224": hashlib.sha224,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "sha3_224": hashlib.sha3_224,
    "sha3_256": hashlib.sha3_256,
    "sha3_384": hashlib.sha3_384,
    "sha3_512": hashlib.sha3_512,
}
