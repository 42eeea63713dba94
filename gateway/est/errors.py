"""Reason codes in EST's words: one table of HTTP statuses, and the text that a client sees.

RFC 7030 section 4.2.3: an error is a 4xx or 5xx with, at best, a short human-readable text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.http.message import HttpResponse
from gateway.model.evidence import BASIC, CredentialKind
from gateway.model.ids import reason_id
from gateway.model.outcome import Refused, Unavailable
from gateway.model.reasons import Reason, ReasonCode

TEXT = "text/plain; charset=utf-8"

# 400: another CSR would do. 401: Basic is taken here. 403: this client is not entitled, whatever the CSR.
STATUS: dict[ReasonCode, int] = {
    ReasonCode.HTTP_NOT_FOUND: 404,
    ReasonCode.HTTP_METHOD: 405,
    ReasonCode.HTTP_MEDIA_TYPE: 415,
    ReasonCode.HTTP_TOO_LARGE: 413,
    ReasonCode.HTTP_TIMEOUT: 408,
    ReasonCode.HTTP_PLAIN: 403,
    ReasonCode.HTTP_PROXY_HEADER: 400,
    ReasonCode.MESSAGE_EMPTY: 400,
    ReasonCode.MESSAGE_BASE64: 400,
    ReasonCode.MESSAGE_PEM: 400,
    ReasonCode.MESSAGE_ASN1: 400,
    ReasonCode.MESSAGE_JSON: 400,
    ReasonCode.MESSAGE_UNSUPPORTED: 400,
    ReasonCode.MESSAGE_INTEGRITY: 400,
    ReasonCode.MESSAGE_ALGORITHM: 400,
    ReasonCode.MESSAGE_TIME: 400,
    ReasonCode.TRANSACTION_IN_USE: 403,
    ReasonCode.TRANSACTION_UNKNOWN: 404,
    ReasonCode.CERTIFICATE_UNKNOWN: 404,
    ReasonCode.CSR_SIGNATURE: 400,
    ReasonCode.CSR_POSSESSION: 400,
    ReasonCode.CSR_LINKING: 400,
    ReasonCode.AUTH_MISSING: 401,
    ReasonCode.AUTH_FAILED: 401,
    ReasonCode.AUTH_KIND: 401,
    ReasonCode.AUTH_THROTTLED: 429,
    ReasonCode.AUTH_CREDENTIAL_SCOPE: 403,
    ReasonCode.AUTH_REQUIREMENT: 403,
    ReasonCode.AUTH_CERTIFICATE_UNTRUSTED: 403,
    ReasonCode.AUTH_CERTIFICATE_EXPIRED: 403,
    ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID: 403,
    ReasonCode.AUTH_CERTIFICATE_REVOKED: 403,
    ReasonCode.AUTH_CERTIFICATE_USAGE: 403,
    ReasonCode.AUTH_SIGNATURE: 403,
    ReasonCode.AUTH_REPLAY: 403,
    ReasonCode.AUTH_ACCOUNT: 403,
    ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN: 403,
    ReasonCode.POLICY_NO_MATCH: 403,
    ReasonCode.POLICY_UNACCOUNTED: 400,
    ReasonCode.POLICY_CRASH: 500,
    ReasonCode.KEY_TYPE: 400,
    ReasonCode.KEY_SIZE: 400,
    ReasonCode.KEY_CURVE: 400,
    ReasonCode.KEY_WEAK: 400,
    ReasonCode.KEY_REUSE: 400,
    ReasonCode.KEY_SIGNATURE_HASH: 400,
    ReasonCode.NAME_KIND: 400,
    ReasonCode.NAME_NOT_ALLOWED: 400,
    ReasonCode.NAME_MALFORMED: 400,
    ReasonCode.NAME_WILDCARD: 400,
    ReasonCode.NAME_COUNT: 400,
    ReasonCode.NAME_MISSING: 400,
    ReasonCode.NAME_UNPROVEN: 403,
    ReasonCode.NAME_CAA: 403,
    ReasonCode.PROFILE_UNKNOWN: 400,
    ReasonCode.ORDER_STATE: 403,
    ReasonCode.REVOCATION: 400,
    ReasonCode.SUBJECT_ATTRIBUTE: 400,
    ReasonCode.SUBJECT_CN: 400,
    ReasonCode.EXTENSION_NOT_ALLOWED: 400,
    ReasonCode.EXTENSION_CA: 400,
    ReasonCode.VALIDITY: 400,
    ReasonCode.RENEWAL_NAMES_DIFFER: 400,
    ReasonCode.RENEWAL_NOT_OURS: 403,
    ReasonCode.RENEWAL_WINDOW: 403,
    ReasonCode.CHECK_NAME: 400,
    ReasonCode.CHECK_KEY: 400,
    ReasonCode.CHECK_CLIENT: 403,
    ReasonCode.CHECK_REQUEST: 400,
    ReasonCode.CHECK_ERROR: 403,
    ReasonCode.APPROVAL_REJECTED: 403,
    ReasonCode.APPROVAL_EXPIRED: 403,
    ReasonCode.LIMIT_EXCEEDED: 429,
    ReasonCode.BACKEND_REFUSED: 403,
    ReasonCode.BACKEND_MISMATCH: 502,
    ReasonCode.BACKEND_UNAVAILABLE: 503,
    ReasonCode.OVERLOADED: 503,
    ReasonCode.SERVER_FAULT: 500,
}

# What the finding is about, by the first word of its code.
_SUBJECTS = {
    "http": "request",
    "message": "body",
    "transaction": "transaction",
    "certificate": "certificate",
    "csr": "CSR",
    "auth": "authentication",
    "policy": "policy",
    "key": "key",
    "name": "names",
    "subject": "subject",
    "extension": "extensions",
    "validity": "validity",
    "renewal": "renewal",
    "check": "check",
    "approval": "approval",
    "limit": "limit",
    "profile": "profile",
    "order": "order",
    "revocation": "revocation",
    "backend": "CA",
    "overloaded": "server",
    "server": "server",
}
_MAX_LINES = 8
_MAX_LINE_CHARACTERS = 480


def refusal(
    refused: Refused,
    *,
    realm: str,
    accepts: Sequence[CredentialKind],
    headers: tuple[tuple[str, str], ...] = (),
) -> HttpResponse:
    """The answer to a refused request: status by the first reason, one line of text per reason.

    A 401 is given only where Basic is among ``accepts``; elsewhere it would send the client into an endless
    loop, so it becomes 403.
    """
    status = STATUS[refused.reasons[0].code] if refused.reasons else 403
    if status == 401:
        if BASIC in accepts:
            headers = (*headers, ("WWW-Authenticate", f'Basic realm="{realm}"'))
        else:
            status = 403
    if refused.retry_after_s is not None:
        headers = (*headers, _retry_after(refused.retry_after_s))
    return HttpResponse(
        status,
        refusal_text(refused.reasons, refused.request_id),
        TEXT,
        headers,
        close=status in (408, 413),  # the rest of the body is not read
    )


def refusal_words(
    reasons: Sequence[Reason],
    *,
    accepts: Sequence[CredentialKind],
    names_only: bool,  # noqa: ARG001  as RefusalWords says
) -> Mapping[str, str]:
    """What policies' own tests expect of a refusal: the HTTP status."""
    return {"http": str(refusal(Refused(None, tuple(reasons)), realm="", accepts=accepts).status)}


def unavailable(outcome: Unavailable) -> HttpResponse:
    """503, or 429 for a requester who is too fast, with Retry-After in whole seconds (RFC 9110 10.2.3)."""
    body = refusal_text((outcome.reason,), outcome.request_id)
    status = 429 if STATUS[outcome.reason.code] == 429 else 503
    return HttpResponse(status, body, TEXT, (_retry_after(outcome.retry_after_s),))


def _retry_after(seconds: int) -> tuple[str, str]:
    return "Retry-After", str(max(1, seconds))


def refusal_text(reasons: Sequence[Reason], request_id: str | None) -> bytes:
    """``subject: message [code, PG-XXXXXXXX]``, one line per reason, as UTF-8 without control characters."""
    lines = [_line(reason, request_id) for reason in reasons[:_MAX_LINES]]
    if len(reasons) > _MAX_LINES:
        lines.append(f"and {len(reasons) - _MAX_LINES} more")
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _line(reason: Reason, request_id: str | None) -> str:
    message = "".join(c if c.isprintable() else " " for c in reason.message[:_MAX_LINE_CHARACTERS])
    tail = f"{reason.code}, {reason_id(request_id)}" if request_id else str(reason.code)
    return f"{_SUBJECTS[reason.code.split('.')[0]]}: {message} [{tail}]"
