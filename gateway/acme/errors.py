"""ACME's errors: problem documents (RFC 8555 section 6.7, RFC 7807).

``AcmeError`` is raised wherever a request cannot go on; ``routes`` words it. What policy and CA refuse comes
as Reasons, which one table maps (``problems``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.model.reasons import ReasonCode

URN = "urn:ietf:params:acme:error:"


@dataclass(frozen=True, slots=True)
class Subproblem:
    """What is wrong with one identifier, ``kind`` and ``value`` (RFC 8555 section 6.7.1)."""

    type: str
    detail: str
    kind: str
    value: str


class AcmeError(GatewayError):
    """``type`` is the part behind the URN, ``status`` the HTTP status. ``members`` go into the document.

    ``recorded``: whether it is worth a line in the record; noise that every client makes is not.
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
    ) -> None:
        super().__init__(detail, code=code, detail=log_detail)
        self.type = type_
        self.status = status
        self.headers = headers
        self.subproblems = subproblems
        self.members = dict(members or {})
        self.recorded = recorded


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
