"""One HTTP request to a SCEP endpoint, and what its message is called in the record."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.frontend import Services
from gateway.http.message import HttpRequest
from gateway.model.ids import EndpointName
from gateway.scep.message import MessageType, SignedMessage
from gateway.scep.options import ScepOptions

_NAMES: dict[int, str] = {
    MessageType.CERT_REP: "CertRep",
    MessageType.RENEWAL_REQ: "RenewalReq",
    MessageType.UPDATE_REQ: "UpdateReq",
    MessageType.PKCS_REQ: "PKCSReq",
    MessageType.CERT_POLL: "CertPoll",
    MessageType.GET_CERT: "GetCert",
    MessageType.GET_CRL: "GetCRL",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """``options`` are those of the endpoint as they count for this client."""

    services: Services
    request: HttpRequest
    endpoint: EndpointName
    options: ScepOptions


def message_name(message_type: int | None) -> str:
    """The name of RFC 8894 table 3 for the record; a number that it does not know as it is."""
    if message_type is None:
        return "no messageType"
    return _NAMES.get(message_type, f"messageType {message_type}")


def printable_transaction(message: SignedMessage) -> str:
    """The transactionID for people: as text where it is printable ASCII, else in hex."""
    octets = message.transaction_id
    text = octets.decode("latin-1")
    return text if text.isascii() and text.isprintable() else octets.hex()


def transaction_parts(message: SignedMessage) -> tuple[bytes, bytes]:
    """What a transaction is known by: its id and the key that signs its messages.

    Ids are chosen by clients and often made from the key (RFC 8894 section 3.2.1.1): without the key they
    would be a way to other people's certificates. A poll has nothing else to go by.
    """
    return message.transaction_id, bytes.fromhex(message.signer.spki_sha256)
