"""The signed attributes of pkiMessages (RFC 8894 section 3.2.1), role-neutral."""

from __future__ import annotations

from gateway.asn1 import der
from gateway.asn1.ber import BerReader, to_der
from gateway.errors import MalformedMessage

# RFC 8894 table 2
TRANSACTION_ID = "2.16.840.1.113733.1.9.7"
MESSAGE_TYPE = "2.16.840.1.113733.1.9.2"
PKI_STATUS = "2.16.840.1.113733.1.9.3"
FAIL_INFO = "2.16.840.1.113733.1.9.4"
SENDER_NONCE = "2.16.840.1.113733.1.9.5"
RECIPIENT_NONCE = "2.16.840.1.113733.1.9.6"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"

MAX_TRANSACTION_ID_OCTETS = 255
MAX_NONCE_OCTETS = 255
NONCE_OCTETS = 16
# PrintableString is what RFC 8894 has; clients also write UTF8String, IA5String, T61String and others
_STRINGS = frozenset({0x04, 0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A, 0x1B, 0x1C, 0x1E})
_MAX_DIGITS = 6


def printable(text: str) -> bytes:
    """A PrintableString as DER. The caller knows that the text fits."""
    return der.tlv(der.PRINTABLE_STRING, text.encode("ascii"))


def read_transaction_id(value: bytes) -> tuple[bytes, bytes]:
    """Content octets and whole DER of a transactionID, of any type of string. Raises MalformedMessage."""
    value_der = to_der(value)
    tag, start, end = der.read_tlv(value_der)
    if tag not in _STRINGS or not 1 <= end - start <= MAX_TRANSACTION_ID_OCTETS:
        raise MalformedMessage(
            f"the transactionID must be a string of 1 to {MAX_TRANSACTION_ID_OCTETS} characters"
        )
    return value_der[start:end], value_der


def read_number(value: bytes | None) -> int | None:
    """A decimal number written as a string; None where it is missing or something else."""
    if value is None:
        return None
    try:
        value_der = to_der(value)
    except MalformedMessage:
        return None
    tag, start, end = der.read_tlv(value_der)
    digits = value_der[start:end]
    if tag not in _STRINGS or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        return None
    return int(digits)


def read_nonce(value: bytes | None) -> bytes | None:
    """The octets of a nonce, 16 of them if its sender keeps to the standard; None where it is none."""
    if value is None:
        return None
    reader = BerReader(value)
    try:
        nonce = reader.octets(reader.whole(), der.OCTET_STRING)
    except MalformedMessage:
        return None
    return nonce if 1 <= len(nonce) <= MAX_NONCE_OCTETS else None
