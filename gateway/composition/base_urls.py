"""By which base URLs clients come (decisions: "Listeners, addresses, links")."""

from __future__ import annotations

import ipaddress

from gateway.composition.addresses import Addresses
from gateway.config import Config
from gateway.config.values import WILDCARD_ADDRESSES
from gateway.http.message import HttpRequest

_DEFAULT_PORT = {"https": ":443", "http": ":80"}


class KnownBaseUrls:
    """``frontend.BaseUrls``: the public URLs; without any, the names that the TLS listeners' own certificate
    bears, each with the listener's port. Never what a client says in its Host field alone."""

    def __init__(self, config: Config, addresses: Addresses) -> None:
        found = [url for url in config.public_urls if url.startswith("https://")]
        if not found:
            found = [
                _base(name, addresses.ports[listener.name])
                for listener in config.listeners
                if not listener.plain
                for name in config.tls_names()
                if name not in WILDCARD_ADDRESSES
            ]
        self.known = frozenset(found)
        self._default = addresses.https or (found[0] if found else addresses.http or "")

    def of(self, request: HttpRequest) -> str:
        """The known one that the Host field names, else the first."""
        host = (request.header(b"host") or "").lower()
        base = f"{request.scheme}://{host.removesuffix(_DEFAULT_PORT.get(request.scheme, ''))}"
        return base if base in self.known else self._default


def _base(name: str, port: int) -> str:
    try:
        host = f"[{name}]" if ipaddress.ip_address(name).version == 6 else name
    except ValueError:
        host = name
    return f"https://{host.lower()}" + (f":{port}" if port != 443 else "")
