"""Reason codes in SCEP's words: failInfo (RFC 8894 section 3.2.1.4.4) and failInfoText.

Where no CertRep is possible, since the request could not be read, HTTP says what is wrong in plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

from gateway.http.message import HttpResponse
from gateway.model.evidence import CredentialKind
from gateway.model.ids import reason_id
from gateway.model.reasons import Reason, ReasonCode

TEXT = "text/plain; charset=utf-8"


class FailInfo(IntEnum):
    """RFC 8894 table 5."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4


# None: not a matter of this request; HTTP 503 (or 500 for a fault of ours) lets the device try again.
FAIL_INFO: dict[ReasonCode, FailInfo | None] = {
    ReasonCode.HTTP_NOT_FOUND: FailInfo.BAD_REQUEST,
    ReasonCode.HTTP_METHOD: FailInfo.BAD_REQUEST,
    ReasonCode.HTTP_MEDIA_TYPE: FailInfo.BAD_REQUEST,
    ReasonCode.HTTP_TOO_LARGE: FailInfo.BAD_REQUEST,
    ReasonCode.HTTP_TIMEOUT: FailInfo.BAD_REQUEST,
    ReasonCode.HTTP_PLAIN: FailInfo.BAD_REQUEST,
    ReasonCode.HTTP_PROXY_HEADER: FailInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_EMPTY: FailInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_BASE64: FailInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_PEM: FailInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_ASN1: FailInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_JSON: FailInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_UNSUPPORTED: FailInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_INTEGRITY: FailInfo.BAD_MESSAGE_CHECK,
    ReasonCode.MESSAGE_ALGORITHM: FailInfo.BAD_ALG,
    ReasonCode.MESSAGE_TIME: FailInfo.BAD_TIME,
    ReasonCode.TRANSACTION_IN_USE: FailInfo.BAD_REQUEST,
    ReasonCode.TRANSACTION_UNKNOWN: FailInfo.BAD_CERT_ID,
    ReasonCode.CERTIFICATE_UNKNOWN: FailInfo.BAD_CERT_ID,
    ReasonCode.CSR_SIGNATURE: FailInfo.BAD_MESSAGE_CHECK,
    ReasonCode.CSR_POSSESSION: FailInfo.BAD_MESSAGE_CHECK,
    ReasonCode.CSR_LINKING: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_MISSING: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_FAILED: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_KIND: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_THROTTLED: None,
    ReasonCode.AUTH_CREDENTIAL_SCOPE: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_REQUIREMENT: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_CERTIFICATE_UNTRUSTED: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_CERTIFICATE_EXPIRED: FailInfo.BAD_TIME,
    ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID: FailInfo.BAD_TIME,
    ReasonCode.AUTH_CERTIFICATE_REVOKED: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_CERTIFICATE_USAGE: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_SIGNATURE: FailInfo.BAD_MESSAGE_CHECK,
    ReasonCode.AUTH_REPLAY: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_ACCOUNT: FailInfo.BAD_REQUEST,
    ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN: FailInfo.BAD_REQUEST,
    ReasonCode.POLICY_NO_MATCH: FailInfo.BAD_REQUEST,
    ReasonCode.POLICY_UNACCOUNTED: FailInfo.BAD_REQUEST,
    ReasonCode.POLICY_CRASH: FailInfo.BAD_REQUEST,
    ReasonCode.KEY_TYPE: FailInfo.BAD_ALG,
    ReasonCode.KEY_SIZE: FailInfo.BAD_ALG,
    ReasonCode.KEY_CURVE: FailInfo.BAD_ALG,
    ReasonCode.KEY_WEAK: FailInfo.BAD_REQUEST,
    ReasonCode.KEY_REUSE: FailInfo.BAD_REQUEST,
    ReasonCode.KEY_SIGNATURE_HASH: FailInfo.BAD_ALG,
    ReasonCode.NAME_KIND: FailInfo.BAD_REQUEST,
    ReasonCode.NAME_NOT_ALLOWED: FailInfo.BAD_REQUEST,
    ReasonCode.NAME_MALFORMED: FailInfo.BAD_REQUEST,
    ReasonCode.NAME_WILDCARD: FailInfo.BAD_REQUEST,
    ReasonCode.NAME_COUNT: FailInfo.BAD_REQUEST,
    ReasonCode.NAME_MISSING: FailInfo.BAD_REQUEST,
    ReasonCode.NAME_UNPROVEN: FailInfo.BAD_REQUEST,
    ReasonCode.NAME_CAA: FailInfo.BAD_REQUEST,
    ReasonCode.PROFILE_UNKNOWN: FailInfo.BAD_REQUEST,
    ReasonCode.ORDER_STATE: FailInfo.BAD_REQUEST,
    ReasonCode.REVOCATION: FailInfo.BAD_REQUEST,
    ReasonCode.SUBJECT_ATTRIBUTE: FailInfo.BAD_REQUEST,
    ReasonCode.SUBJECT_CN: FailInfo.BAD_REQUEST,
    ReasonCode.EXTENSION_NOT_ALLOWED: FailInfo.BAD_REQUEST,
    ReasonCode.EXTENSION_CA: FailInfo.BAD_REQUEST,
    ReasonCode.VALIDITY: FailInfo.BAD_REQUEST,
    ReasonCode.RENEWAL_NAMES_DIFFER: FailInfo.BAD_REQUEST,
    ReasonCode.RENEWAL_NOT_OURS: FailInfo.BAD_REQUEST,
    ReasonCode.RENEWAL_WINDOW: FailInfo.BAD_REQUEST,
    ReasonCode.CHECK_NAME: FailInfo.BAD_REQUEST,
    ReasonCode.CHECK_KEY: FailInfo.BAD_ALG,
    ReasonCode.CHECK_CLIENT: FailInfo.BAD_REQUEST,
    ReasonCode.CHECK_REQUEST: FailInfo.BAD_REQUEST,
    ReasonCode.CHECK_ERROR: FailInfo.BAD_REQUEST,
    ReasonCode.APPROVAL_REJECTED: FailInfo.BAD_REQUEST,
    ReasonCode.APPROVAL_EXPIRED: FailInfo.BAD_REQUEST,
    ReasonCode.LIMIT_EXCEEDED: FailInfo.BAD_REQUEST,
    ReasonCode.BACKEND_REFUSED: FailInfo.BAD_REQUEST,
    ReasonCode.BACKEND_MISMATCH: FailInfo.BAD_REQUEST,
    ReasonCode.BACKEND_UNAVAILABLE: None,
    ReasonCode.OVERLOADED: None,
    ReasonCode.SERVER_FAULT: None,
}

# HTTP status where no CertRep is given.
HTTP_STATUS: dict[ReasonCode, int] = {
    ReasonCode.HTTP_NOT_FOUND: 404,
    ReasonCode.HTTP_METHOD: 405,
    ReasonCode.HTTP_TOO_LARGE: 413,
    ReasonCode.HTTP_TIMEOUT: 408,
}
_MAX_LINES = 4
_MAX_CHARACTERS = 400


def fail_info(reasons: Sequence[Reason]) -> FailInfo:
    """The failInfo of a refused request: its first reason decides."""
    found = FAIL_INFO[reasons[0].code] if reasons else None
    return FailInfo.BAD_REQUEST if found is None else found


def refusal_words(
    reasons: Sequence[Reason],
    *,
    accepts: Sequence[CredentialKind],  # noqa: ARG001  as RefusalWords says
    names_only: bool,  # noqa: ARG001
) -> Mapping[str, str]:
    """What policies' own tests expect of a refusal: failInfo as RFC 8894 spells it."""
    first, *others = fail_info(reasons).name.lower().split("_")
    return {"scep_failinfo": first + "".join(map(str.capitalize, others))}


def fail_info_text(reasons: Sequence[Reason], request_id: str | None) -> str:
    """``message [code, PG-XXXXXXXX]``, joined by ``; ``: no control characters, bounded in length."""
    lines = [_line(reason, request_id) for reason in reasons[:_MAX_LINES]]
    if len(reasons) > _MAX_LINES:
        lines.append(f"and {len(reasons) - _MAX_LINES} more")
    return "; ".join(lines)


def plain(
    reason: Reason, request_id: str | None, *, headers: tuple[tuple[str, str], ...] = ()
) -> HttpResponse:
    """An answer without CertRep: 400 unless the code says otherwise."""
    status = HTTP_STATUS.get(reason.code, 400)
    text = _line(reason, request_id) + "\n"
    return HttpResponse(
        status,
        text.encode("utf-8", "backslashreplace"),
        TEXT,
        headers,
        close=status in (408, 413),  # the rest of the body is not read
    )


def unavailable(reason: Reason, retry_after_s: int, request_id: str | None) -> HttpResponse:
    """503 with Retry-After in whole seconds: nothing is lost by sending the same message again."""
    body = (_line(reason, request_id) + "\n").encode("utf-8", "backslashreplace")
    return HttpResponse(503, body, TEXT, (("Retry-After", str(max(1, retry_after_s))),))


def _line(reason: Reason, request_id: str | None) -> str:
    message = "".join(c if c.isprintable() else " " for c in reason.message[:_MAX_CHARACTERS])
    tail = f"{reason.code}, {reason_id(request_id)}" if request_id else str(reason.code)
    return f"{message} [{tail}]"
