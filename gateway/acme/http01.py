"""http-01: the key authorization lies at a URL of the host (RFC 8555 section 8.3, RFC 8738 section 4)."""

from __future__ import annotations

import hmac

from gateway.acme.proof import Evidence, Networks, ValidationFault, from_outbound, incorrect
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.outbound.faults import OutboundFault, shown
from gateway.outbound.http_fetch import Fetched
from gateway.outbound.network import Network

PATH = "/.well-known/acme-challenge/"


async def look(network: Network, row: AuthorizationRow, allowed: Networks, timeout_s: float) -> Evidence:
    """Fetch the URL and compare. Raises ValidationFault."""
    host = f"[{row.name}]" if row.kind == "ip" and ":" in row.name else row.name
    url = f"http://{host}{PATH}{row.token}"
    try:
        fetched = await network.fetch(url, allowed=allowed, timeout_s=timeout_s)
    except OutboundFault as fault:
        raise from_outbound(fault, f"fetching {url}") from fault
    last = fetched.hops[-1]
    where = f"{shown(last.url)} at {last.peer}"
    if last.url != url:
        where = f"{where}, where {url} redirects to,"
    if fetched.status != 200:
        # A moment after the client said it is there, part of a cluster may not have it yet.
        passing = fetched.status == 404 or fetched.status >= 500
        raise ValidationFault(
            "unauthorized",
            f"{where} answered with status {fetched.status}; it must answer 200 with the key authorization",
            passing=passing,
        )
    _compare(row, fetched, where)
    return {
        "addresses": [hop.peer for hop in fetched.hops],
        "urls": [hop.url for hop in fetched.hops],
        "resolver": last.server,
    }


def _compare(row: AuthorizationRow, fetched: Fetched, where: str) -> None:
    # RFC 8555 8.3: the server SHOULD ignore white space at the end
    body = fetched.body.rstrip() if fetched.whole else fetched.body
    expected = (row.key_authorization or "").encode("ascii")
    if fetched.whole and hmac.compare_digest(body, expected):
        return
    if body.startswith(row.token.encode("ascii") + b"."):
        raise incorrect(
            f"{where} has the right token with the thumbprint of another account key; "
            "make the key authorization with the key of the account that placed the order"
        )
    length = f"{len(body)} bytes" if fetched.whole else f"more than {len(body)} bytes"
    raise incorrect(
        f"{where} answered with {length} that are not the key authorization: the token, a dot and the "
        "thumbprint of the account key"
    )
