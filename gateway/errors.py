"""The one error tree. Expected refusals are values (``model.outcome``); these are what cannot go on.

GatewayError                 carries a Reason: code and a public text that is safe to show
  MalformedMessage           the bytes are not what the protocol says
  PayloadTooLarge            over the bound of this operation
  RequestTimeout             the sender was too slow
  NotFound                   no such endpoint, operation or object
  Overloaded                 queue full: 503 with Retry-After
  StoreUnavailable           database out of reach, read-only or full: 503 with Retry-After
  Conflict                   somebody else was first (unique key, compare-and-set)
  BackendUnavailable         CA out of reach; the call is known not to have acted, or may be repeated
  BackendInDoubt             the CA may have acted
  ConfigurationError         file:line:column, what is wrong, what would be right
  SecretUnavailable          a passphrase or key file is missing or wrong
"""

from __future__ import annotations

from enum import StrEnum

from gateway.model.reasons import Reason, ReasonCode


class GatewayError(Exception):
    """Base of all our errors. ``str(error)`` is the public text; ``detail`` is for the log only."""

    default_code = ReasonCode.SERVER_FAULT

    def __init__(
        self, public_text: str, *, code: ReasonCode | None = None, detail: str = "", path: str = ""
    ) -> None:
        super().__init__(public_text)
        self.code = code or self.default_code
        self.detail = detail
        self.path = path

    @property
    def reason(self) -> Reason:
        return Reason(self.code, str(self), self.path)


class MalformedMessage(GatewayError):
    default_code = ReasonCode.MESSAGE_ASN1


class PayloadTooLarge(GatewayError):
    default_code = ReasonCode.HTTP_TOO_LARGE


class RequestTimeout(GatewayError):
    default_code = ReasonCode.HTTP_TIMEOUT


class NotFound(GatewayError):
    default_code = ReasonCode.HTTP_NOT_FOUND


class RetryLater(GatewayError):
    """Base of the faults that pass; ``retry_after_s`` goes into Retry-After."""

    def __init__(
        self,
        public_text: str,
        *,
        retry_after_s: int = 5,
        code: ReasonCode | None = None,
        detail: str = "",
        path: str = "",
    ) -> None:
        super().__init__(public_text, code=code, detail=detail, path=path)
        self.retry_after_s = retry_after_s


class Overloaded(RetryLater):
    default_code = ReasonCode.OVERLOADED


class StoreUnavailable(RetryLater):
    default_code = ReasonCode.OVERLOADED


class NotActed(StrEnum):
    """How it is known that a CA did not act on an order, nor ever will: another one may then be asked."""

    CONNECT_ERROR = "connect-error"  # nothing was sent: no connection came about
    CA_OFFLINE = "ca-offline"  # it took no order, or signs in this process and did not
    SERVER_ERROR = "5xx"  # it answered with a fault, and is known to have issued nothing


class BackendUnavailable(RetryLater):
    """``not_acted``: None says no more than that the order may be sent to the same CA again."""

    default_code = ReasonCode.BACKEND_UNAVAILABLE

    def __init__(
        self,
        public_text: str,
        *,
        retry_after_s: int = 5,
        code: ReasonCode | None = None,
        detail: str = "",
        not_acted: NotActed | None = None,
    ) -> None:
        super().__init__(public_text, retry_after_s=retry_after_s, code=code, detail=detail)
        self.not_acted = not_acted


class BackendInDoubt(RetryLater):
    default_code = ReasonCode.BACKEND_UNAVAILABLE


class Conflict(GatewayError):
    default_code = ReasonCode.SERVER_FAULT


class ConfigurationError(GatewayError):
    """``str()`` is a list of lines, each ``file:line:column: what is wrong; what would be right``."""


class SecretUnavailable(GatewayError):
    pass


class ClientGone(Exception):
    """The client went away before its request was whole: nobody is left to answer. The edge catches it."""
