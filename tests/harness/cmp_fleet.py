"""CMP clients: ir with a MAC, polls while it waits, certConf until it is answered (RFC 9810)."""

from __future__ import annotations

import asyncio
import hashlib

from bench import cmp_stream
from bench.cmp_stream import Sent, Transaction
from gateway.asn1.cmp import BodyType, PkiMessage
from gateway.asn1.cmp_bodies import decode_error
from gateway.asn1.cmp_status import PkiFailureInfo, PkiStatus, PkiStatusInfo
from tests.harness.fleet import HURRY_S, Client, EnrolmentEnded, Fleet, StreamClient
from tests.support import pki

_GRANTED = frozenset({PkiStatus.ACCEPTED, PkiStatus.GRANTED_WITH_MODS})


class CmpFleet(Fleet):
    """All of them use the demo reference and secret. Nobody asks for implicitConfirm."""

    protocol = "CMP"

    async def open(self) -> None:
        self.server = cmp_stream.find_server(self.gateway.quickstart["cmp"])

    def client(self, number: int) -> Client:
        return _CmpClient(self, number, self.server.port)


class _CmpClient(StreamClient):
    fleet: CmpFleet

    async def enrol(self, name: str) -> None:
        transaction = cmp_stream.begin(pki.key(), name, self.fleet.server)
        self.sent(hashlib.sha256(transaction.spki_der).hexdigest())
        answered, certificate_der = await self._issued(transaction)
        confirmation = cmp_stream.confirm(self.fleet.server, transaction, answered, certificate_der)
        await self._confirmed(transaction, confirmation, certificate_der)
        if self.repeats():
            # As if all the answers had been lost: the same octets once more.
            await self._issued(transaction)
            await self._confirmed(transaction, confirmation, certificate_der)

    async def _issued(self, transaction: Transaction) -> tuple[PkiMessage, bytes]:
        """The ip and its certificate; the first message is the ir, the same octets each time."""
        sent = transaction.request
        while True:
            answered = await self._answer(transaction, sent)
            if answered.body_type is not BodyType.POLLREP:
                found = cmp_stream.response(answered)
                if found.status.status in _GRANTED and found.certificate_der is not None:
                    self.got(found.certificate_der)
                    return answered, found.certificate_der
                if found.status.status is not PkiStatus.WAITING:
                    await self._once_more(found.status)
                    continue
            await asyncio.sleep(HURRY_S)
            sent = cmp_stream.poll(self.fleet.server, transaction, answered)

    async def _confirmed(self, transaction: Transaction, confirmation: Sent, certificate_der: bytes) -> None:
        answered = await self._answer(transaction, confirmation)
        if answered.body_type is not BodyType.PKICONF:
            raise EnrolmentEnded(f"certConf is answered by {answered.body_type.rfc_name}")
        self.fleet.journal.confirmed(self.spki, certificate_der)

    async def _answer(self, transaction: Transaction, sent: Sent) -> PkiMessage:
        """The answer to a message, with its MAC verified; repeated while the gateway says systemUnavail."""
        server = self.fleet.server
        while True:
            octets = (await self.until_answered(server.post(sent.octets))).body
            answered = cmp_stream.read(octets, transaction, sent)
            self.fleet.count(answered.body_type.rfc_name)
            cmp_stream.check_mac(answered, server)
            if answered.body_type is not BodyType.ERROR:
                return answered
            await self._once_more(decode_error(answered.body_der).status)

    async def _once_more(self, status: PkiStatusInfo) -> None:
        """Wait a little where the gateway says so. Raises EnrolmentEnded for all other refusals."""
        self.doing = str(status)
        if status.failure is not PkiFailureInfo.SYSTEM_UNAVAIL:
            raise EnrolmentEnded(self.doing)
        await asyncio.sleep(HURRY_S)
