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
    if not _is_right(row, fetched):
        raise _wrong(row, fetched, url)
    return {
        "addresses": [hop.peer for hop in fetched.hops],
        "urls": [hop.url for hop in fetched.hops],
        "resolver": fetched.hops[-1].server,
    }


def _is_right(row: AuthorizationRow, fetched: Fetched) -> bool:
    # RFC 8555 8.3: the server SHOULD ignore white space at the end
    expected = (row.key_authorization or "").encode("ascii")
    return fetched.status == 200 and fetched.whole and hmac.compare_digest(fetched.body.rstrip(), expected)


def _wrong(row: AuthorizationRow, fetched: Fetched, url: str) -> ValidationFault:
    """What to do about it, without the body: it may be that of a server that the client cannot reach."""
    last, body = fetched.hops[-1], fetched.body
    where = f"{shown(last.url)} at {last.peer}"
    if last.url != url:
        where = f"{where}, where {url} redirects to,"
    if fetched.status != 200:
        # A moment after the client said it is there, part of a cluster may not have it yet.
        passing = fetched.status == 404 or fetched.status >= 500
        return ValidationFault(
            "unauthorized",
            f"{where} answered with status {fetched.status}; it must answer 200 with the key authorization",
            passing=passing,
        )
    if body.startswith(row.token.encode("ascii") + b"."):
        return incorrect(
            f"{where} has the right token with the thumbprint of another account key; "
            "make the key authorization with the key of the account that placed the order"
        )
    length = f"{len(body)} bytes" if fetched.whole else f"more than {len(body)} bytes"
    return incorrect(
        f"{where} answered with {length} that are not the key authorization: the token, a dot and the "
        "thumbprint of the account key"
    )
