"""Why a target could not be looked at. The texts are for clients: plain ASCII, and never an answer's body.

OutboundFault        ``passing``: whether a later look may go better
  NameFault          DNS: no answer, a failure, or nothing there
  ForbiddenAddress   the addresses are such as must not be connected to
  ConnectFault       no connection, or it broke or took too long
  TlsFault           no TLS session as it was asked for
  HttpFault          what came back is no HTTP, or leads to where it must not
TargetBusy           nothing was looked at: too much is under way at that address already
"""

from __future__ import annotations

from gateway.errors import GatewayError, RetryLater
from gateway.model.reasons import ReasonCode

# Some clients put what a server says into a shell (acme.md E12).
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:/_=+%@?-[]")


def shown(text: str, limit: int = 120) -> str:
    """Text that somebody else chose, safe to show: other signs than harmless ones become ``%XX``."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    return "".join(
        char if char in _SAFE else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in cut
    )


class OutboundFault(GatewayError):
    """``str()`` is safe to show to whoever asked for the look."""

    default_code = ReasonCode.NAME_UNPROVEN

    def __init__(self, public_text: str, *, passing: bool) -> None:
        super().__init__(public_text)
        self.passing = passing


class NameFault(OutboundFault):
    pass


class ForbiddenAddress(OutboundFault):
    def __init__(self, public_text: str) -> None:
        super().__init__(public_text, passing=False)


class ConnectFault(OutboundFault):
    pass


class TlsFault(OutboundFault):
    def __init__(self, public_text: str) -> None:
        super().__init__(public_text, passing=False)


class HttpFault(OutboundFault):
    def __init__(self, public_text: str, *, passing: bool = False) -> None:
        super().__init__(public_text, passing=passing)


class TargetBusy(RetryLater):
    """No fault of the target's: we would harm it."""
