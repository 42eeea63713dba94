"""Whether the addresses that are written into certificates can be told at all."""

from __future__ import annotations

from gateway.config.model import Config
from gateway.config.values import WILDCARD_ADDRESSES
from gateway.errors import ConfigurationError


def require_public_urls(config: Config) -> None:
    """Refuse a gateway on every address of its host without a public URL for CRLs and CA certificates.

    Those URLs stand in every certificate for its whole life (RFC 5280 sections 4.2.1.13 and 4.2.2.1), and a
    container's own host name is nobody's way to it. Raises ConfigurationError.
    """
    if any(url.startswith("http://") for url in config.public_urls):
        return
    plain = [listener for listener in config.listeners if listener.plain]
    if not plain and config.public_urls:
        return
    listener = (plain or config.listeners)[0]
    if listener.address not in WILDCARD_ADDRESSES:
        return
    scheme = "http" if plain else "https"
    url = f"{scheme}://pki.example.com:{listener.port}" if listener.port else f"{scheme}://pki.example.com"
    raise ConfigurationError(
        f"public_urls: the listener {listener.name!r} is bound to {listener.address}, so nobody can tell at "
        "which address clients reach it, and every certificate names it for its CRL; write for example "
        f"public_urls: [{url}] or PKIGATE_PUBLIC_URLS={url}"
    )
