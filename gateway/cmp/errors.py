"""Reason codes in CMP's words: PKIFailureInfo (RFC 9810 section 5.2.3) and statusString."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.asn1.cmp_status import PkiFailureInfo
from gateway.errors import GatewayError
from gateway.http.message import HttpResponse
from gateway.model.evidence import CredentialKind
from gateway.model.ids import reason_id
from gateway.model.reasons import Reason, ReasonCode


class CmpRefusal(GatewayError):
    """A message that gets an ``error`` body (or a rejection in its own body), with the bit that says why.

    ``code`` and ``detail`` are for the record.
    """

    def __init__(
        self,
        failure: PkiFailureInfo,
        public_text: str,
        *,
        code: ReasonCode = ReasonCode.MESSAGE_UNSUPPORTED,
        detail: str = "",
        path: str = "",
    ) -> None:
        super().__init__(public_text, code=code, detail=detail, path=path)
        self.failure = failure


FAILURE_INFO: dict[ReasonCode, PkiFailureInfo] = {
    ReasonCode.HTTP_NOT_FOUND: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_METHOD: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_MEDIA_TYPE: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_TOO_LARGE: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_TIMEOUT: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_PLAIN: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.HTTP_PROXY_HEADER: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_EMPTY: PkiFailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_BASE64: PkiFailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_PEM: PkiFailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_ASN1: PkiFailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_JSON: PkiFailureInfo.BAD_DATA_FORMAT,
    ReasonCode.MESSAGE_UNSUPPORTED: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.MESSAGE_INTEGRITY: PkiFailureInfo.BAD_MESSAGE_CHECK,
    ReasonCode.MESSAGE_ALGORITHM: PkiFailureInfo.BAD_ALG,
    ReasonCode.MESSAGE_TIME: PkiFailureInfo.BAD_TIME,
    ReasonCode.TRANSACTION_IN_USE: PkiFailureInfo.TRANSACTION_ID_IN_USE,
    ReasonCode.TRANSACTION_UNKNOWN: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.CERTIFICATE_UNKNOWN: PkiFailureInfo.BAD_CERT_ID,
    ReasonCode.CSR_SIGNATURE: PkiFailureInfo.BAD_POP,
    ReasonCode.CSR_POSSESSION: PkiFailureInfo.BAD_POP,
    ReasonCode.CSR_LINKING: PkiFailureInfo.BAD_POP,
    ReasonCode.AUTH_MISSING: PkiFailureInfo.NOT_AUTHORIZED,
    # Unknown reference and wrong secret are not told apart, nor from broken protection.
    ReasonCode.AUTH_FAILED: PkiFailureInfo.BAD_MESSAGE_CHECK,
    ReasonCode.AUTH_KIND: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.AUTH_THROTTLED: PkiFailureInfo.SYSTEM_UNAVAIL,
    ReasonCode.AUTH_CREDENTIAL_SCOPE: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.AUTH_REQUIREMENT: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_UNTRUSTED: PkiFailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.AUTH_CERTIFICATE_EXPIRED: PkiFailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID: PkiFailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.AUTH_CERTIFICATE_REVOKED: PkiFailureInfo.CERT_REVOKED,
    ReasonCode.AUTH_CERTIFICATE_USAGE: PkiFailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.AUTH_SIGNATURE: PkiFailureInfo.BAD_MESSAGE_CHECK,
    ReasonCode.AUTH_REPLAY: PkiFailureInfo.BAD_SENDER_NONCE,
    ReasonCode.AUTH_ACCOUNT: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN: PkiFailureInfo.SIGNER_NOT_TRUSTED,
    ReasonCode.POLICY_NO_MATCH: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.POLICY_UNACCOUNTED: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.POLICY_CRASH: PkiFailureInfo.SYSTEM_FAILURE,
    ReasonCode.KEY_TYPE: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_SIZE: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_CURVE: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_WEAK: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_REUSE: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.KEY_SIGNATURE_HASH: PkiFailureInfo.BAD_ALG,
    ReasonCode.NAME_KIND: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_NOT_ALLOWED: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_MALFORMED: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_WILDCARD: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_COUNT: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_MISSING: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.NAME_UNPROVEN: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.NAME_CAA: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.PROFILE_UNKNOWN: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.ORDER_STATE: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.REVOCATION: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.SUBJECT_ATTRIBUTE: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.SUBJECT_CN: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.EXTENSION_NOT_ALLOWED: PkiFailureInfo.UNACCEPTED_EXTENSION,
    ReasonCode.EXTENSION_CA: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.VALIDITY: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.RENEWAL_NAMES_DIFFER: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.RENEWAL_NOT_OURS: PkiFailureInfo.BAD_CERT_ID,
    ReasonCode.RENEWAL_WINDOW: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.CHECK_NAME: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.CHECK_KEY: PkiFailureInfo.BAD_CERT_TEMPLATE,
    ReasonCode.CHECK_CLIENT: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.CHECK_REQUEST: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.CHECK_ERROR: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.APPROVAL_REJECTED: PkiFailureInfo.NOT_AUTHORIZED,
    ReasonCode.APPROVAL_EXPIRED: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.LIMIT_EXCEEDED: PkiFailureInfo.SYSTEM_UNAVAIL,
    ReasonCode.BACKEND_REFUSED: PkiFailureInfo.BAD_REQUEST,
    ReasonCode.BACKEND_MISMATCH: PkiFailureInfo.SYSTEM_FAILURE,
    ReasonCode.BACKEND_UNAVAILABLE: PkiFailureInfo.SYSTEM_UNAVAIL,
    ReasonCode.OVERLOADED: PkiFailureInfo.SYSTEM_UNAVAIL,
    ReasonCode.SERVER_FAULT: PkiFailureInfo.SYSTEM_FAILURE,
}
# HTTP status where no PKIMessage is given.
HTTP_STATUS: dict[ReasonCode, int] = {
    ReasonCode.HTTP_NOT_FOUND: 404,
    ReasonCode.HTTP_METHOD: 405,
    ReasonCode.HTTP_MEDIA_TYPE: 415,
    ReasonCode.HTTP_TOO_LARGE: 413,
    ReasonCode.HTTP_TIMEOUT: 408,
}
TEXT = "text/plain; charset=utf-8"
_MAX_LINES = 8
_MAX_CHARACTERS = 480


def failure_of(fault: GatewayError) -> PkiFailureInfo:
    """The bit of an error, its own where it brings one."""
    return fault.failure if isinstance(fault, CmpRefusal) else FAILURE_INFO[fault.code]


def failure_info(reasons: Sequence[Reason]) -> PkiFailureInfo:
    """The bit of a refused request, whose sender was proven before: its first reason decides."""
    if not reasons:
        return PkiFailureInfo.BAD_REQUEST
    code = reasons[0].code
    # The protection was right, so it is not that: the secret is used up, or has expired.
    return PkiFailureInfo.NOT_AUTHORIZED if code is ReasonCode.AUTH_FAILED else FAILURE_INFO[code]


def refusal_words(
    reasons: Sequence[Reason],
    *,
    accepts: Sequence[CredentialKind],  # noqa: ARG001  as RefusalWords says
    names_only: bool,  # noqa: ARG001
) -> Mapping[str, str]:
    """What policies' own tests expect of a refusal: the PKIFailureInfo as RFC 9810 spells it."""
    first, *others = (failure_info(reasons).name or "").lower().split("_")
    return {"cmp_fail": first + "".join(map(str.capitalize, others))}


def status_strings(reasons: Sequence[Reason], request_id: str | None) -> tuple[str, ...]:
    """PKIFreeText: one ``message [code, PG-XXXXXXXX]`` per reason, no control characters, bounded."""
    lines = [_line(reason, request_id) for reason in reasons[:_MAX_LINES]]
    if len(reasons) > _MAX_LINES:
        lines.append(f"and {len(reasons) - _MAX_LINES} more")
    return tuple(lines)


def retry_strings(reason: Reason, retry_after_s: int, request_id: str | None = None) -> tuple[str, ...]:
    """PKIFreeText of what passes: why, and when to come again, since CMP's clients show no HTTP header."""
    return (*status_strings((reason,), request_id), again_string(retry_after_s))


def again_string(retry_after_s: int) -> str:
    """When to come again, for the eyes of people."""
    return f"nothing is lost: send the message again in {max(1, retry_after_s)} s"


def retry_after(retry_after_s: int) -> tuple[str, str]:
    """The header Retry-After, in whole seconds and at least one (RFC 9110 section 10.2.3)."""
    return "Retry-After", str(max(1, retry_after_s))


def plain(
    reason: Reason, request_id: str | None, *, headers: tuple[tuple[str, str], ...] = ()
) -> HttpResponse:
    """An answer without PKIMessage: 400 unless the code says otherwise."""
    status = HTTP_STATUS.get(reason.code, 400)
    body = (_line(reason, request_id) + "\n").encode("utf-8", "backslashreplace")
    return HttpResponse(status, body, TEXT, headers, close=status in (408, 413))  # the rest is not read


def unavailable(reason: Reason, retry_after_s: int) -> HttpResponse:
    """503 with Retry-After in whole seconds: nothing is lost by sending the same message again."""
    body = (_line(reason, None) + "\n").encode("utf-8", "backslashreplace")
    return HttpResponse(503, body, TEXT, (retry_after(retry_after_s),))


def _line(reason: Reason, request_id: str | None) -> str:
    message = "".join(c if c.isprintable() else " " for c in reason.message[:_MAX_CHARACTERS])
    tail = f"{reason.code}, {reason_id(request_id)}" if request_id else str(reason.code)
    return f"{message} [{tail}]"
