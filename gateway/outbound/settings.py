"""Facts of this host and lab switches for the way out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Facts of this host, from pkigate.yaml. ``resolvers``: address and port, empty for the system's own.

    The others are lab switches: ports of http-01 and tls-alpn-01 instead of 80 and 443, whether loopback
    targets are allowed, and DNS suffixes (``test``, ``localhost``) whose names are taken to be this host
    without asking any resolver for addresses (TXT and CAA are asked for all the same).
    """

    resolvers: tuple[tuple[str, int], ...] = ()
    http_port: int = 80
    tls_port: int = 443
    allow_loopback: bool = False
    loopback_suffixes: tuple[str, ...] = ()
