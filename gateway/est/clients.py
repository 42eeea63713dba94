"""What families of EST clients need on the wire, as data: the first family that fits decides.

Seen with real clients: libest 3.x reads base64 only with line breaks, strongSwan's pki 5.9.8 only without
any; the Go and OpenSSL families read both.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.est.options import Wrap
from gateway.http.message import HttpRequest


@dataclass(frozen=True, slots=True)
class ClientFamily:
    """A family fits if its User-Agent prefix (lower case) fits and none of ``lacks`` is among the headers.

    ``columns`` is the length of base64 lines, None for a single line without a line break.
    """

    name: str
    columns: int | None
    user_agent_prefix: str = ""
    lacks: tuple[bytes, ...] = ()


FAMILIES = (
    ClientFamily("strongswan", None, lacks=(b"user-agent", b"accept")),
    ClientFamily("libest", 64, user_agent_prefix="libest"),
    ClientFamily("any", 64),
)


def family_of(request: HttpRequest, families: tuple[ClientFamily, ...] = FAMILIES) -> ClientFamily:
    """The first family that fits the request's headers; the last one fits always."""
    agent = (request.header(b"user-agent") or "").lower()
    for family in families[:-1]:
        lacking = all(request.header(name) is None for name in family.lacks)
        if lacking and agent.startswith(family.user_agent_prefix):
            return family
    return families[-1]


def line_columns(wrap: Wrap, request: HttpRequest) -> int | None:
    """Columns of base64 lines for this answer, None for a single line."""
    if wrap == "auto":
        return family_of(request).columns
    return None if wrap == "none" else wrap
