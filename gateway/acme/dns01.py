"""dns-01: a TXT record holds the digest of the key authorization (RFC 8555 section 8.4)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac

from gateway.acme import base64url
from gateway.acme.proof import Evidence, Networks, ValidationFault, from_outbound, incorrect
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.outbound.faults import OutboundFault, shown
from gateway.outbound.network import Network

PREFIX = "_acme-challenge."
_MAX_SHOWN = 3


async def look(network: Network, row: AuthorizationRow, _allowed: Networks, timeout_s: float) -> Evidence:
    """Ask for the record, following aliases, and compare each string. Raises ValidationFault."""
    name = PREFIX + row.name
    deadline = asyncio.get_running_loop().time() + timeout_s
    try:
        found = await network.resolver.txt(name, deadline)
    except OutboundFault as fault:
        raise from_outbound(fault, f"looking up TXT of {shown(name, 300)}") from fault
    expected = digest_text(row.key_authorization or "").encode("ascii")
    where = name if found.owner == name else f"{shown(found.owner, 300)}, where {name} leads to,"
    if any(hmac.compare_digest(value, expected) for value in found.records):
        return {
            "addresses": [],
            "owner": found.owner,
            "resolver": found.server,
            "dnssec": found.authenticated,
        }
    wanted = "the base64url SHA-256 of the key authorization"
    if not found.records:
        raise ValidationFault("dns", f"{where} has no TXT record; put one there with {wanted}", passing=True)
    if found.owner != name:
        # Where an alias leads may be a zone that only this host can ask: its records are nobody else's.
        raise incorrect(f"{where} has {len(found.records)} TXT records, and none of them is {wanted}")
    values = ", ".join(shown(value.decode("latin-1"), 50) for value in found.records[:_MAX_SHOWN])
    more = f" and {len(found.records) - _MAX_SHOWN} more" if len(found.records) > _MAX_SHOWN else ""
    raise incorrect(f"{where} has TXT [{values}]{more}, and none of them is {wanted}; replace old ones")


def digest_text(key_authorization: str) -> str:
    """What the TXT record has to hold."""
    return base64url.encode(hashlib.sha256(key_authorization.encode("ascii")).digest())
