"""Reason codes in CMP's words: PKIFailureInfo (RFC 9810 section 5.2.3) and statusString."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from gateway.errors import GatewayError
from gateway.model.ids import reason_id
from gateway.model.reasons import Reason, ReasonCode


class FailureInfo(IntEnum):
    """Bit numbers of PKIFailureInfo (RFC 9810 section 5.2.3)."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    BAD_DATA_FORMAT = 5
    WRONG_AUTHORITY = 6
    INCORRECT_DATA = 7
    MISSING_TIME_STAMP = 8
    BAD_POP = 9
    CERT_REVOKED = 10
    CERT_CONFIRMED = 11
    WRONG_INTEGRITY = 12
    BAD_RECIPIENT_NONCE = 13
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    BAD_SENDER_NONCE = 18
    BAD_CERT_TEMPLATE = 19
    SIGNER_NOT_TRUSTED = 20
    TRANSACTION_ID_IN_USE = 21
    UNSUPPORTED_VERSION = 22
    NOT_AUTHORIZED = 23
    SYSTEM_UNAVAIL = 24
    SYSTEM_FAILURE = 25
    DUPLICATE_CERT_REQ = 26


class CmpRefusal(GatewayError):
    """A message that gets an ``error`` body (or a rejection in its own body), with the bit that says why.

    ``code`` and ``detail`` are for the record.
    """

    def __init__(
        self,
        failure: FailureInfo,
        public_text: str,
        *,
        code: ReasonCode = ReasonCode.MESSAGE_UNSUPPORTED,
        detail: str = "",
        path: str = "",
    ) -> None:
        super().__init__(public_text, code=code, detail=detail, path=path)
        self.failure = failure


FAILURE_INFO: dict[ReasonCode, FailureInfo] = {
    ReasonCode.HTTP_NOT_FOUND: FailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_METHOD: FailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_MEDIA_TYPE: FailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_TOO_LARGE: FailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_TIMEOUT: FailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_PLAIN: FailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_PROXY_HEADER: FailureInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_EMPTY: FailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_BASE64: FailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_PEM: FailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_ASN1: FailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_JSON: FailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_UNSUPPORTED: FailureInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_INTEGRITY: FailureInfo.BAD_MESSAGE_CHECK,
    ReasonCode.MESSAGE_ALGORITHM: FailureInfo.BAD_ALG,
    ReasonCode.MESSAGE_TIME: FailureInfo.BAD_TIME,
    ReasonCode.TRANSACTION_IN_USE: FailureInfo.TRANSACTION_ID_IN_USE,
    ReasonCode.TRANSACTION_UNKNOWN: FailureInfo.BAD_REQUEST,
    ReasonCode.CERTIFICATE_UNKNOWN: FailureInfo.BAD_CERT_ID,
    ReasonCode.CSR_SIGNATURE: FailureInfo.BAD_POP,
    ReasonCode.CSR_POSSESSION: FailureInfo.BAD_POP,
    ReasonCode.CSR_LINKING: FailureInfo.BAD_POP,
    ReasonCode.AUTH_MISSING: FailureInfo.NOT_AUTHORIZED,
    # Unknown reference and wrong secret are not told apart, nor from broken protection.
    ReasonCode.AUTH_FAILED: FailureInfo.BAD_MESSAGE_CHECK,
    ReasonCode.AUTH_KIND: FailureInfo.NOT_AUTHORIZED,
    ReasonCode.AUTH_THROTTLED: FailureInfo.SYSTEM_UNAVAIL,
    ReasonCode.AUTH_CREDENTIAL_SCOPE: FailureInfo.NOT_AUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_UNTRUSTED: FailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.AUTH_CERTIFICATE_EXPIRED: FailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID: FailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.AUTH_CERTIFICATE_REVOKED: FailureInfo.CERT_REVOKED,
    ReasonCode.AUTH_CERTIFICATE_USAGE: FailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.AUTH_SIGNATURE: FailureInfo.BAD_MESSAGE_CHECK,
    ReasonCode.AUTH_REPLAY: FailureInfo.BAD_SENDER_NONCE,
    ReasonCode.AUTH_ACCOUNT: FailureInfo.NOT_AUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN: FailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.POLICY_NO_MATCH: FailureInfo.NOT_AUTHORIZED,
    ReasonCode.POLICY_UNACCOUNTED: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.POLICY_CRASH: FailureInfo.SYSTEM_FAILURE,
    ReasonCode.KEY_TYPE: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_SIZE: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_CURVE: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_WEAK: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_REUSE: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_SIGNATURE_HASH: FailureInfo.BAD_ALG,
    ReasonCode.NAME_KIND: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_NOT_ALLOWED: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_MALFORMED: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_WILDCARD: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_COUNT: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_MISSING: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_UNPROVEN: FailureInfo.NOT_AUTHORIZED,
    ReasonCode.NAME_CAA: FailureInfo.NOT_AUTHORIZED,
    ReasonCode.PROFILE_UNKNOWN: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.ORDER_STATE: FailureInfo.BAD_REQUEST,
    ReasonCode.REVOCATION: FailureInfo.BAD_REQUEST,
    ReasonCode.SUBJECT_ATTRIBUTE: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.SUBJECT_CN: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.EXTENSION_NOT_ALLOWED: FailureInfo.UNACCEPTED_EXTENSION,
    ReasonCode.EXTENSION_CA: FailureInfo.NOT_AUTHORIZED,
    ReasonCode.VALIDITY: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.RENEWAL_NAMES_DIFFER: FailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.RENEWAL_NOT_OURS: FailureInfo.BAD_CERT_ID,
    ReasonCode.RENEWAL_WINDOW: FailureInfo.BAD_REQUEST,
    ReasonCode.APPROVAL_REJECTED: FailureInfo.NOT_AUTHORIZED,
    ReasonCode.APPROVAL_EXPIRED: FailureInfo.BAD_REQUEST,
    ReasonCode.LIMIT_EXCEEDED: FailureInfo.SYSTEM_UNAVAIL,
    ReasonCode.BACKEND_REFUSED: FailureInfo.BAD_REQUEST,
    ReasonCode.BACKEND_MISMATCH: FailureInfo.SYSTEM_FAILURE,
    ReasonCode.BACKEND_UNAVAILABLE: FailureInfo.SYSTEM_UNAVAIL,
    ReasonCode.OVERLOADED: FailureInfo.SYSTEM_UNAVAIL,
    ReasonCode.SERVER_FAULT: FailureInfo.SYSTEM_FAILURE,
}
_MAX_LINES = 8
_MAX_CHARACTERS = 480


def failure_of(fault: GatewayError) -> FailureInfo:
    """The bit of an error, its own where it brings one."""
    return fault.failure if isinstance(fault, CmpRefusal) else FAILURE_INFO[fault.code]


def failure_info(reasons: Sequence[Reason]) -> FailureInfo:
    """The bit of a refused request: its first reason decides."""
    return FAILURE_INFO[reasons[0].code] if reasons else FailureInfo.BAD_REQUEST


def status_strings(reasons: Sequence[Reason], request_id: str | None) -> tuple[str, ...]:
    """PKIFreeText: one ``message [code, PG-XXXXXXXX]`` per reason, no control characters, bounded."""
    lines = [_line(reason, request_id) for reason in reasons[:_MAX_LINES]]
    if len(reasons) > _MAX_LINES:
        lines.append(f"and {len(reasons) - _MAX_LINES} more")
    return tuple(lines)


def _line(reason: Reason, request_id: str | None) -> str:
    message = "".join(c if c.isprintable() else " " for c in reason.message[:_MAX_CHARACTERS])
    tail = f"{reason.code}, {reason_id(request_id)}" if request_id else str(reason.code)
    return f"{message} [{tail}]"
