"""A message whose protection and header stood up: what the operations work on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from gateway.asn1.cmp import BodyType, PkiHeader, PkiMessage
from gateway.asn1.crmf import MAX_REQUESTS
from gateway.cmp.exchange import Exchange
from gateway.cmp.header import HeaderFacts
from gateway.cmp.options import CMP
from gateway.cmp.sender import Sender
from gateway.model.evidence import RemoteInfo

P10CR_ID = -1  # stands for the one request of a p10cr, and for a whole message (RFC 9810 section 5.3.22)


@dataclass(frozen=True, slots=True)
class Received:
    """``begun_by`` is the body that its transaction began with: its own, or an earlier one's."""

    exchange: Exchange
    message: PkiMessage
    octets: bytes = field(repr=False)
    sender: Sender
    facts: HeaderFacts
    begun_by: BodyType

    @property
    def header(self) -> PkiHeader:
        return self.message.header

    @property
    def remote(self) -> RemoteInfo:
        return self.exchange.request.remote(self.message.body_type.rfc_name)

    @property
    def content_sha256(self) -> str:
        """What the message is known by in a repeat."""
        return hashlib.sha256(self.octets).hexdigest()

    def parts(self, cert_req_id: int) -> tuple[bytes, ...]:
        """What one request of the transaction is known by. A p10cr's counts as the first of all."""
        number = max(cert_req_id, 0).to_bytes(8, "big")
        return self.sender.key, self.header.transaction_id or b"", number


async def known_requests(received: Received) -> tuple[int, ...]:
    """The certReqIds of all requests of the transaction. Raises StoreUnavailable."""
    if received.begun_by is BodyType.P10CR:
        return (P10CR_ID,)
    exchange = received.exchange
    outcomes = await exchange.services.enrolments.outcomes_of(
        CMP, exchange.endpoint, [received.parts(number) for number in range(MAX_REQUESTS)]
    )
    return tuple(number for number, outcome in enumerate(outcomes) if outcome is not None)
