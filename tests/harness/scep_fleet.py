"""SCEP clients: PKCSReq with the static challenge, and polls while it waits (RFC 8894)."""

from __future__ import annotations

import asyncio
import hashlib
from itertools import count

from bench.rsa_keys import RsaKeys
from bench.scep_stream import Transaction, begin, find_server, open_reply, poll
from gateway.scep.message import PkiStatus
from tests.harness.fleet import HURRY_S, Client, EnrolmentEnded, Fleet, StreamClient

KEYS_AT_HAND = 5000  # a long run makes more


class ScepFleet(Fleet):
    """Every request has another RSA key."""

    protocol = "SCEP"

    async def open(self) -> None:
        self.server = await find_server(self.gateway.quickstart["scep"])
        self._keys, self._numbers = RsaKeys(KEYS_AT_HAND), count()

    def client(self, number: int) -> Client:
        return _ScepClient(self, number, self.server.port)

    def transaction(self, name: str) -> Transaction:
        return begin(self._keys[next(self._numbers)], name, self.server)


class _ScepClient(StreamClient):
    fleet: ScepFleet

    async def enrol(self, name: str) -> None:
        transaction = self.fleet.transaction(name)
        self.sent(hashlib.sha256(transaction.spki_der).hexdigest())
        self.got(await self._issued(transaction))
        if self.repeats():
            self.got(await self._issued(transaction))

    async def _issued(self, transaction: Transaction) -> bytes:
        """The certificate; the first message is the PKCSReq, the same octets each time."""
        server, message = self.fleet.server, transaction.message
        while True:
            answer = await self.until_answered(server.post(message.octets))
            reply = open_reply(answer.body, message, transaction.identity, server.ra)
            self.fleet.count(reply.status.name)
            match reply.status:
                case PkiStatus.SUCCESS:
                    return reply.certificates_der[0]
                case PkiStatus.PENDING:
                    self.doing = "PENDING"
                    await asyncio.sleep(HURRY_S)
                    message = poll(transaction, server)
                case PkiStatus.FAILURE:
                    raise EnrolmentEnded(f"CertRep FAILURE {reply.fail_info} {reply.fail_info_text}")
