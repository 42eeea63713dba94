"""A TLS handshake that only looks at the other side's certificate (as RFC 8737 section 3 needs)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.outbound.addresses import NetworkRange
from gateway.outbound.connect import TlsChannel, connect
from gateway.outbound.resolver import Resolver
from gateway.outbound.rooms import Rooms
from gateway.outbound.settings import NetworkSettings


@dataclass(frozen=True, slots=True)
class Probed:
    """``protocol`` is what was agreed on by ALPN, None if nothing was; ``peer`` is address and port."""

    leaf_der: bytes
    protocol: str | None
    tls_version: str
    peer: str
    server: str


@lru_cache(maxsize=8)
def unverified_context(protocol: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later with anybody: the peer proves nothing by its certificate here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    return context


async def probe(
    settings: NetworkSettings,
    resolver: Resolver,
    targets: Rooms,
    host: str,
    *,
    server_name: str,
    protocol: str,
    allowed: Sequence[NetworkRange],
    timeout_s: float,
) -> Probed:
    """Shake hands on the TLS port with ``server_name`` as SNI and ``protocol`` alone as ALPN.

    No application data is sent. Raises NameFault, ForbiddenAddress, ConnectFault, TlsFault, TargetBusy.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    found = await resolver.host(host, deadline)
    channel = await connect(
        found.addresses,
        settings.tls_port,
        allowed=allowed,
        allow_loopback=settings.allow_loopback,
        told=found.owner == host,
        targets=targets,
        deadline=deadline,
    )
    try:
        session = TlsChannel(channel, unverified_context(protocol), server_name)
        await session.handshake()
        return Probed(
            leaf_der=session.tls.getpeercert(binary_form=True) or b"",
            protocol=session.tls.selected_alpn_protocol(),
            tls_version=session.tls.version() or "",
            peer=channel.peer,
            server=found.server,
        )
    finally:
        channel.close()
