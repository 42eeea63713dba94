"""ACME's errors: problem documents (RFC 8555 section 6.7, RFC 7807).

``AcmeError`` is raised wherever a request cannot go on; ``routes`` words it. What policy and CA refuse comes
as Reasons, which one table maps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.errors import GatewayError
from gateway.model.evidence import CredentialKind
from gateway.model.outcome import Refused
from gateway.model.reasons import Reason, ReasonCode

URN = "urn:ietf:params:acme:error:"


class Context(Enum):
    """What a reason is about: the names of an order, or the CSR that finalizes it."""

    ORDER = 0
    FINALIZE = 1


@dataclass(frozen=True, slots=True)
class Subproblem:
    """What is wrong with one identifier, ``kind`` and ``value`` (RFC 8555 section 6.7.1)."""

    type: str
    detail: str
    kind: str
    value: str


class AcmeError(GatewayError):
    """``type`` is the part behind the URN, ``status`` the HTTP status. ``members`` go into the document.

    ``recorded``: whether it is worth a line in the record; noise that every client makes is not, nor what is
    recorded already, as ``request_id``.
    """

    def __init__(
        self,
        type_: str,
        detail: str,
        *,
        status: int = 400,
        code: ReasonCode = ReasonCode.MESSAGE_JSON,
        headers: tuple[tuple[str, str], ...] = (),
        subproblems: tuple[Subproblem, ...] = (),
        members: Mapping[str, object] | None = None,
        recorded: bool = True,
        log_detail: str = "",
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, code=code, detail=log_detail)
        self.type = type_
        self.status = status
        self.headers = headers
        self.subproblems = subproblems
        self.members = dict(members or {})
        self.recorded = recorded
        self.request_id = request_id


def malformed(detail: str, *, status: int = 400, code: ReasonCode = ReasonCode.MESSAGE_JSON) -> AcmeError:
    """``malformed``: the message is not what RFC 8555 says."""
    return AcmeError("malformed", detail, status=status, code=code)


def unauthorized(
    detail: str, *, status: int = 403, code: ReasonCode = ReasonCode.AUTH_ACCOUNT, log_detail: str = ""
) -> AcmeError:
    """``unauthorized``: this account or key may not."""
    return AcmeError("unauthorized", detail, status=status, code=code, log_detail=log_detail)


def not_found(what: str) -> AcmeError:
    """There is no such object of this account here; somebody else's look the same."""
    return AcmeError("malformed", what, status=404, code=ReasonCode.HTTP_NOT_FOUND)


# A reason's problem type and HTTP status: for the names of an order, then for the CSR that finalizes it.
_MALFORMED = (("malformed", 400),) * 2
_UNAUTHORIZED = (("unauthorized", 403),) * 2
_INTERNAL = (("serverInternal", 500),) * 2
_BUSY = (("serverInternal", 503),) * 2
_TOO_FAST = (("rateLimited", 429),) * 2
_KEY = (("badPublicKey", 400), ("badCSR", 400))
_NAME = (("rejectedIdentifier", 403), ("badCSR", 400))
_CSR = (("malformed", 400), ("badCSR", 400))
PROBLEMS: dict[ReasonCode, tuple[tuple[str, int], ...]] = {
    ReasonCode.HTTP_NOT_FOUND: (("malformed", 404),) * 2,
    ReasonCode.HTTP_METHOD: (("malformed", 405),) * 2,
    ReasonCode.HTTP_MEDIA_TYPE: (("malformed", 415),) * 2,
    ReasonCode.HTTP_TOO_LARGE: (("malformed", 413),) * 2,
    ReasonCode.HTTP_TIMEOUT: (("malformed", 408),) * 2,
    ReasonCode.HTTP_PLAIN: (("malformed", 403),) * 2,
    ReasonCode.HTTP_PROXY_HEADER: _MALFORMED,
    ReasonCode.MESSAGE_EMPTY: _MALFORMED,
    ReasonCode.MESSAGE_BASE64: _MALFORMED,
    ReasonCode.MESSAGE_PEM: _CSR,
    ReasonCode.MESSAGE_ASN1: _CSR,
    ReasonCode.MESSAGE_JSON: _MALFORMED,
    ReasonCode.MESSAGE_UNSUPPORTED: _CSR,
    ReasonCode.MESSAGE_INTEGRITY: _CSR,
    ReasonCode.MESSAGE_ALGORITHM: _CSR,
    ReasonCode.MESSAGE_TIME: _CSR,
    ReasonCode.TRANSACTION_IN_USE: _CSR,
    ReasonCode.TRANSACTION_UNKNOWN: _CSR,
    ReasonCode.CERTIFICATE_UNKNOWN: _CSR,
    ReasonCode.CSR_SIGNATURE: _CSR,
    ReasonCode.CSR_POSSESSION: _CSR,
    ReasonCode.CSR_LINKING: _CSR,
    ReasonCode.AUTH_MISSING: _UNAUTHORIZED,
    ReasonCode.AUTH_FAILED: _UNAUTHORIZED,
    ReasonCode.AUTH_KIND: _UNAUTHORIZED,
    ReasonCode.AUTH_THROTTLED: _TOO_FAST,
    ReasonCode.AUTH_CREDENTIAL_SCOPE: _UNAUTHORIZED,
    ReasonCode.AUTH_REQUIREMENT: _UNAUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_UNTRUSTED: _UNAUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_EXPIRED: _UNAUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID: _UNAUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_REVOKED: _UNAUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_USAGE: _UNAUTHORIZED,
    ReasonCode.AUTH_SIGNATURE: _UNAUTHORIZED,
    ReasonCode.AUTH_REPLAY: (("badNonce", 400),) * 2,
    ReasonCode.AUTH_ACCOUNT: _UNAUTHORIZED,
    ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN: _UNAUTHORIZED,
    ReasonCode.POLICY_NO_MATCH: _UNAUTHORIZED,
    ReasonCode.POLICY_UNACCOUNTED: _CSR,
    ReasonCode.POLICY_CRASH: _INTERNAL,
    ReasonCode.KEY_TYPE: _KEY,
    ReasonCode.KEY_SIZE: _KEY,
    ReasonCode.KEY_CURVE: _KEY,
    ReasonCode.KEY_WEAK: _KEY,
    ReasonCode.KEY_REUSE: _KEY,
    ReasonCode.KEY_SIGNATURE_HASH: _KEY,
    ReasonCode.NAME_KIND: (("unsupportedIdentifier", 400), ("badCSR", 400)),
    ReasonCode.NAME_NOT_ALLOWED: _NAME,
    ReasonCode.NAME_MALFORMED: (("malformed", 400), ("badCSR", 400)),
    ReasonCode.NAME_WILDCARD: _NAME,
    ReasonCode.NAME_COUNT: _NAME,
    ReasonCode.NAME_MISSING: _NAME,
    ReasonCode.NAME_UNPROVEN: _UNAUTHORIZED,
    ReasonCode.NAME_CAA: (("caa", 403),) * 2,
    ReasonCode.PROFILE_UNKNOWN: (("invalidProfile", 400),) * 2,
    ReasonCode.ORDER_STATE: (("orderNotReady", 403),) * 2,
    ReasonCode.REVOCATION: _MALFORMED,
    ReasonCode.SUBJECT_ATTRIBUTE: _CSR,
    ReasonCode.SUBJECT_CN: _CSR,
    ReasonCode.EXTENSION_NOT_ALLOWED: _CSR,
    ReasonCode.EXTENSION_CA: _CSR,
    ReasonCode.VALIDITY: _MALFORMED,
    ReasonCode.RENEWAL_NAMES_DIFFER: _MALFORMED,
    ReasonCode.RENEWAL_NOT_OURS: _UNAUTHORIZED,
    ReasonCode.RENEWAL_WINDOW: _UNAUTHORIZED,
    ReasonCode.CHECK_NAME: _NAME,
    ReasonCode.CHECK_KEY: _KEY,
    ReasonCode.CHECK_CLIENT: _UNAUTHORIZED,
    ReasonCode.CHECK_REQUEST: _NAME,
    ReasonCode.CHECK_ERROR: _UNAUTHORIZED,
    ReasonCode.APPROVAL_REJECTED: _UNAUTHORIZED,
    ReasonCode.APPROVAL_EXPIRED: _UNAUTHORIZED,
    ReasonCode.LIMIT_EXCEEDED: _TOO_FAST,
    ReasonCode.BACKEND_REFUSED: _UNAUTHORIZED,
    ReasonCode.BACKEND_MISMATCH: _INTERNAL,
    ReasonCode.BACKEND_UNAVAILABLE: _BUSY,
    ReasonCode.OVERLOADED: _BUSY,
    ReasonCode.SERVER_FAULT: _INTERNAL,
}

# The part of a reason's path that points to a name of the request, as in ``identity.sans[2]``.
_NAME_PATH = re.compile(r"identity\.sans\[([0-9]{1,4})\]")
_MAX_REASONS = 5
_MOST_NAMES = 1000  # of an order, more than any policy allows


def problem_of(code: ReasonCode, context: Context = Context.ORDER) -> tuple[str, int]:
    """The problem type (behind the URN) and the HTTP status of a reason."""
    return PROBLEMS[code][context.value]


def refusal(outcome: Refused, context: Context, identifiers: Sequence[tuple[str, str]] = ()) -> AcmeError:
    """What to raise for a refusal by policy or CA.

    ``identifiers``: type and value of the order's, in the order of the request's names; each reason that
    points to one becomes a subproblem (RFC 8555 section 6.7.1). A refusal with a request id is recorded.
    """
    reasons = outcome.reasons
    if not reasons:
        return AcmeError(
            "unauthorized", "the request was refused", status=403, code=ReasonCode.POLICY_NO_MATCH
        )
    type_, status = _judged(reasons[0], context, identifiers)
    subproblems = tuple(
        Subproblem(_judged(reason, context, identifiers)[0], reason.message, *named)
        for reason in reasons
        if (named := _identifier(reason, identifiers)) is not None
    )
    return AcmeError(
        type_,
        joined(reasons),
        status=status,
        code=reasons[0].code,
        headers=_retry_after(outcome),
        subproblems=subproblems,
        recorded=outcome.request_id is None,
        request_id=outcome.request_id,
    )


def refusal_words(
    reasons: Sequence[Reason],
    *,
    accepts: Sequence[CredentialKind],  # noqa: ARG001  as RefusalWords says
    names_only: bool,
) -> Mapping[str, str]:
    """What policies' own tests expect of a refusal: the problem type, and the HTTP status with it."""
    context = Context.ORDER if names_only else Context.FINALIZE
    fault = refusal(Refused(None, tuple(reasons)), context, (("", ""),) * _MOST_NAMES)
    return {"acme_error": fault.type, "http": str(fault.status)}


def _retry_after(outcome: Refused) -> tuple[tuple[str, str], ...]:
    """RFC 8555 section 6.6: when the limit is exceeded no more."""
    return () if outcome.retry_after_s is None else (("Retry-After", str(max(1, outcome.retry_after_s))),)


def joined(reasons: Sequence[Reason]) -> str:
    """The messages of reasons as one text, without repeats and bounded in number."""
    messages = list(dict.fromkeys(reason.message for reason in reasons))
    more = f"; and {len(messages) - _MAX_REASONS} more" if len(messages) > _MAX_REASONS else ""
    return "; ".join(messages[:_MAX_REASONS]) + more


def _judged(reason: Reason, context: Context, identifiers: Sequence[tuple[str, str]]) -> tuple[str, int]:
    type_, status = problem_of(reason.code, context)
    if context is Context.ORDER and type_ == "unauthorized" and _identifier(reason, identifiers):
        # A name that this account may not ask for: RFC 8555 6.7, rejectedIdentifier
        return "rejectedIdentifier", status
    return type_, status


def _identifier(reason: Reason, identifiers: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    found = _NAME_PATH.match(reason.path)
    if found is None:
        return None
    place = int(found[1])
    return identifiers[place] if place < len(identifiers) else None
