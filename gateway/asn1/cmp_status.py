"""PKIStatusInfo (RFC 9810 section 5.2.3) for both sides of CMP."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from cryptography.hazmat import asn1

from gateway.asn1 import cmp, der, typed
from gateway.errors import MalformedMessage

_MAX_FAILURE_OCTETS = 8


class PkiStatus(IntEnum):
    """What became of a request."""

    ACCEPTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3
    REVOCATION_WARNING = 4
    REVOCATION_NOTIFICATION = 5
    KEY_UPDATE_WARNING = 6


class PkiFailureInfo(IntFlag):
    """Why it failed: bit n of the BIT STRING is ``1 << n``. Bits that we have no name for are kept."""

    NONE = 0
    BAD_ALG = 1 << 0
    BAD_MESSAGE_CHECK = 1 << 1
    BAD_REQUEST = 1 << 2
    BAD_TIME = 1 << 3
    BAD_CERT_ID = 1 << 4
    BAD_DATA_FORMAT = 1 << 5
    WRONG_AUTHORITY = 1 << 6
    INCORRECT_DATA = 1 << 7
    MISSING_TIME_STAMP = 1 << 8
    BAD_POP = 1 << 9
    CERT_REVOKED = 1 << 10
    CERT_CONFIRMED = 1 << 11
    WRONG_INTEGRITY = 1 << 12
    BAD_RECIPIENT_NONCE = 1 << 13
    TIME_NOT_AVAILABLE = 1 << 14
    UNACCEPTED_POLICY = 1 << 15
    UNACCEPTED_EXTENSION = 1 << 16
    ADD_INFO_NOT_AVAILABLE = 1 << 17
    BAD_SENDER_NONCE = 1 << 18
    BAD_CERT_TEMPLATE = 1 << 19
    SIGNER_NOT_TRUSTED = 1 << 20
    TRANSACTION_ID_IN_USE = 1 << 21
    UNSUPPORTED_VERSION = 1 << 22
    NOT_AUTHORIZED = 1 << 23
    SYSTEM_UNAVAIL = 1 << 24
    SYSTEM_FAILURE = 1 << 25
    DUPLICATE_CERT_REQ = 1 << 26


@dataclass(frozen=True, slots=True)
class PkiStatusInfo:
    """A status with its reasons; ``failure`` NONE stands for an absent failInfo."""

    status: PkiStatus
    texts: tuple[str, ...] = ()
    failure: PkiFailureInfo = PkiFailureInfo.NONE


@asn1.sequence
class StatusInfoFields:
    """PKIStatusInfo as the typed reader gives it, for use within other structures."""

    status: int
    texts: list[str] | None
    failure: asn1.BitString | None


def read_status_info(fields: StatusInfoFields) -> PkiStatusInfo:
    """Check what the typed reader gave. Raises MalformedMessage."""
    try:
        status = PkiStatus(fields.status)
    except ValueError as exc:
        raise MalformedMessage("the status is none of 0 to 6", path="status") from exc
    return PkiStatusInfo(status, cmp.read_free_text(fields.texts, "statusString"), _failure(fields.failure))


def decode_status_info(status_der: bytes) -> PkiStatusInfo:
    """Read one PKIStatusInfo. Raises MalformedMessage."""
    return read_status_info(typed.decode(StatusInfoFields, status_der, "PKIStatusInfo"))


def encode_status_info(info: PkiStatusInfo) -> bytes:
    """Write one PKIStatusInfo; a BIT STRING of named bits ends with its last one (X.690 section 11.2.2)."""
    parts = [der.integer(info.status)]
    if info.texts:
        parts.append(cmp.encode_free_text(info.texts))
    if info.failure:
        size = info.failure.bit_length()
        octets = (size + 7) // 8
        mirrored = int(f"{int(info.failure):b}"[::-1], 2) << (octets * 8 - size)
        parts.append(der.tlv(der.BIT_STRING, bytes((octets * 8 - size,)) + mirrored.to_bytes(octets, "big")))
    return der.sequence(*parts)


def _failure(bits: asn1.BitString | None) -> PkiFailureInfo:
    if bits is None:
        return PkiFailureInfo.NONE
    octets = bits.as_bytes()
    if len(octets) > _MAX_FAILURE_OCTETS:
        raise MalformedMessage("the failInfo has more bits than there are reasons", path="failInfo")
    return PkiFailureInfo(int(f"{int.from_bytes(octets, 'big'):0{len(octets) * 8}b}"[::-1] or "0", 2))
