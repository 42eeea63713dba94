"""What a look at a challenge comes to: evidence, or why the name is not proven (RFC 8555 section 8.2)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from gateway.acme.errors import AcmeError
from gateway.model.reasons import ReasonCode
from gateway.outbound.faults import ConnectFault, ForbiddenAddress, HttpFault, NameFault, OutboundFault

Evidence = dict[str, object]
Networks = Sequence[IPv4Network | IPv6Network]


class ValidationFault(AcmeError):
    """``passing``: whether a later look may go better. The detail tells what was looked at, what was found
    there and what to do, and never the body of an answer."""

    def __init__(
        self, type_: str, detail: str, *, passing: bool, code: ReasonCode = ReasonCode.NAME_UNPROVEN
    ) -> None:
        super().__init__(type_, detail, status=403 if type_ in ("unauthorized", "caa") else 400, code=code)
        self.passing = passing


def incorrect(detail: str) -> ValidationFault:
    """``incorrectResponse``: there is an answer, and it is the wrong one."""
    return ValidationFault("incorrectResponse", detail, passing=False)


def from_outbound(fault: OutboundFault, looked_at: str) -> ValidationFault:
    """``dns``, ``connection``, ``tls`` or ``incorrectResponse``; ``looked_at`` begins the sentence."""
    match fault:
        case NameFault():
            type_ = "dns"
        case ConnectFault() | ForbiddenAddress():
            type_ = "connection"
        case HttpFault():
            type_ = "incorrectResponse"
        case _:
            type_ = "tls"
    return ValidationFault(type_, f"{looked_at}: {fault}", passing=fault.passing)
