"""The guarded way out: resolve once, check every address, connect to the checked one."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.outbound.addresses import NetworkRange
from gateway.outbound.http_fetch import Fetched, fetch
from gateway.outbound.resolver import Resolver
from gateway.outbound.rooms import Rooms
from gateway.outbound.settings import NetworkSettings
from gateway.outbound.tls_probe import Probed, probe

__all__ = ["Network", "NetworkSettings"]


class Network:
    """Resolver, fetcher and TLS probe over one set of settings. Faults are ``gateway.outbound.faults``."""

    def __init__(self, settings: NetworkSettings, *, per_target: int = 8) -> None:
        """``per_target``: connections that are open at once to one IPv4 address or IPv6 /64."""
        self.settings = settings
        self.resolver = Resolver(settings)
        self._targets = Rooms(per_target)

    async def fetch(self, url: str, *, allowed: Sequence[NetworkRange], timeout_s: float) -> Fetched:
        """GET an http or https URL, following redirects; certificates are not verified.

        ``allowed``: private networks that it may lead into. Raises NameFault, ForbiddenAddress, ConnectFault,
        TlsFault, HttpFault, TargetBusy.
        """
        return await fetch(
            self.settings, self.resolver, self._targets, url, allowed=allowed, timeout_s=timeout_s
        )

    async def probe_tls(
        self,
        host: str,
        *,
        server_name: str,
        protocol: str,
        allowed: Sequence[NetworkRange],
        timeout_s: float,
    ) -> Probed:
        """Shake hands with ``host`` (name or address) and see its certificate (see ``tls_probe.probe``)."""
        return await probe(
            self.settings,
            self.resolver,
            self._targets,
            host,
            server_name=server_name,
            protocol=protocol,
            allowed=allowed,
            timeout_s=timeout_s,
        )
