"""EST clients: simpleenroll, repeated until it is answered (RFC 7030)."""

from __future__ import annotations

import hashlib
import ssl
from urllib.parse import urlsplit

from bench.est_stream import ENROLL, basic, post
from tests.harness.fleet import Client, Fleet, StreamClient
from tests.support import pki


class EstFleet(Fleet):
    """All of them use the demo user's password."""

    protocol = "EST"

    async def open(self) -> None:
        facts = self.gateway.quickstart
        self._split = urlsplit(facts["https"])
        self._context = ssl.create_default_context(cafile=facts["root_pem"])
        self._authorization = basic(facts["est"]["user"], facts["est"]["password"])

    def client(self, number: int) -> Client:
        return _EstClient(self, number, self._split.port or 443, self._context)

    def request(self, csr_der: bytes) -> bytes:
        """The octets of a simpleenroll."""
        return post(ENROLL, self._split.netloc, csr_der, self._authorization)


class _EstClient(StreamClient):
    fleet: EstFleet

    async def enrol(self, name: str) -> None:
        private_key = pki.key()
        octets = self.fleet.request(pki.device_csr(private_key, name))
        self.sent(hashlib.sha256(pki.spki_der(private_key)).hexdigest())
        self.got((await self.until_answered(octets)).leaf_der)
        if self.repeats():
            self.got((await self.until_answered(octets)).leaf_der)
