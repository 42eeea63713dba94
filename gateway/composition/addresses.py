"""From configured listeners to specs, ports and the URLs that are written into certificates."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ca_backend.api import PublishedUrls
from gateway.config import Config, Listener, require_public_urls, split_resolver
from gateway.config.validation import LAB_SUFFIXES
from gateway.datadir import DataDirectory, settle_ports
from gateway.http.edge import APP_SERVICE as API_SERVICE
from gateway.http.edge import TLS_ONLY_SERVICES
from gateway.http.listener import (
    CertificateHeader,
    ClientCertificateMode,
    HttpLimits,
    ListenerSpec,
    TlsCredentials,
    TlsSettings,
)
from gateway.http.metrics import METRICS_SERVICE
from gateway.outbound.network import NetworkSettings

METRICS_LISTENER = "metrics"
HTTP01, TLS_ALPN01 = "http-01", "tls-alpn-01"  # in ports.json: where lab mode looks at challenges
_FLAGS = {"https": "--https-port", "http": "--http-port", METRICS_LISTENER: "--metrics-port"}
# SCEP's pkiMessages also come in the URL (RFC 8894 section 4.1): an RSA-4096 key with a chain makes 6 KiB of
# base64, and some clients percent-encode every "+", "/" and "=" of it.
SCEP_TARGET_BYTES, SCEP_HEAD_BYTES = 32 * 1024, 64 * 1024
LoadCredentials = Callable[[Listener], TlsCredentials]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this gateway can be reached; ``ports`` by listener name, base URLs without a slash at the end."""

    ports: Mapping[str, int]
    https: str | None
    http: str | None

    def urls(self, ca_name: str) -> PublishedUrls:
        """What is written into the certificates of one CA: plain HTTP, since relying parties fetch it."""
        base = self.http or self.https or ""
        return PublishedUrls(
            crl=f"{base}/crl/{ca_name}.crl",
            ca_issuers=f"{base}/ca/{ca_name}.cer",
            ocsp=f"{base}/ocsp/{ca_name}",
        )


def service_url(config: Config, addresses: Addresses, service: str) -> str | None:
    """The base URL by which clients reach a service, plain HTTP before TLS; None: no listener serves it.

    For SCEP and CMP, which protect their messages themselves (RFC 8894 section 2.1, RFC 6712 section 2).
    """
    for url, plain in ((addresses.http, True), (addresses.https, False)):
        if url and any(one.plain is plain and service in one.serves for one in config.listeners):
            return url
    return None


def settle_addresses(config: Config, data: DataDirectory) -> Addresses:
    """Settle every port (0 picks one once) and the base URLs. Raises ConfigurationError."""
    require_public_urls(config)
    wanted = {listener.name: (listener.address, listener.port) for listener in config.listeners}
    if config.metrics.enabled:
        wanted[METRICS_LISTENER] = (config.metrics.address, config.metrics.port)
    if config.lab.enabled:
        wanted[HTTP01] = ("127.0.0.1", config.lab.http01_port)
        wanted[TLS_ALPN01] = ("127.0.0.1", config.lab.tls_alpn01_port)
    ports = settle_ports(data, wanted)
    return Addresses(ports, _base_url(config, ports, plain=False), _base_url(config, ports, plain=True))


def _base_url(config: Config, ports: Mapping[str, int], *, plain: bool) -> str | None:
    scheme = "http" if plain else "https"
    for url in config.public_urls:
        if url.startswith(f"{scheme}://"):
            return url
    for listener in config.listeners:
        if listener.plain is plain:
            return f"{scheme}://{_host(listener.address)}:{ports[listener.name]}"
    return None


def _host(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified or str(parsed) in {"127.0.0.1", "::1"}:
        return "localhost"  # of a listener on every address only people on this host are told
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)


def listener_specs(config: Config, addresses: Addresses, load: LoadCredentials) -> tuple[ListenerSpec, ...]:
    """One spec per listener, metrics last."""
    specs = [_spec(config, listener, addresses.ports[listener.name], load) for listener in config.listeners]
    if config.metrics.enabled:
        specs.append(
            ListenerSpec(
                METRICS_LISTENER,
                config.metrics.address,
                addresses.ports[METRICS_LISTENER],
                frozenset((METRICS_SERVICE,)),
                flag=_FLAGS[METRICS_LISTENER],
            )
        )
    return tuple(specs)


def tls_only_services(config: Config) -> frozenset[str]:
    """What is never served over plain HTTP: EST (RFC 7030 section 3.3), and the API, whose tokens go over the
    wire in clear; but in lab mode the API is, if no other machine can listen."""
    plain = [one.address for one in config.listeners if one.plain and API_SERVICE in one.serves]
    if config.lab.enabled and plain and all(ipaddress.ip_address(one).is_loopback for one in plain):
        return TLS_ONLY_SERVICES
    return TLS_ONLY_SERVICES | {API_SERVICE}


def _spec(config: Config, listener: Listener, port: int, load: LoadCredentials) -> ListenerSpec:
    return ListenerSpec(
        name=listener.name,
        address=listener.address,
        port=port,
        serves=frozenset(listener.serves),
        tls=None if listener.plain else TlsSettings(load=lambda: load(listener)),
        client_certificate=ClientCertificateMode(listener.client_certificate.value),
        client_certificate_header=CertificateHeader(listener.client_certificate_header.value),
        limits=_limits(config, listener),
        flag=_FLAGS.get(listener.name, ""),
    )


def _limits(config: Config, listener: Listener) -> HttpLimits:
    connections = config.limits.connections
    if "scep" in listener.serves:
        return HttpLimits(connections=connections, head_bytes=SCEP_HEAD_BYTES, target_bytes=SCEP_TARGET_BYTES)
    return HttpLimits(connections=connections)


def network_settings(config: Config, addresses: Addresses) -> NetworkSettings:
    """How validation goes out from this host: as anybody would, or as lab mode bends it."""
    resolvers = tuple(split_resolver(text) for text in config.validation.resolvers)
    if not config.lab.enabled:
        return NetworkSettings(resolvers=resolvers)
    names = config.lab.loopback_names
    if names is None:
        names = () if resolvers else LAB_SUFFIXES
    return NetworkSettings(
        resolvers=resolvers,
        http_port=addresses.ports[HTTP01],
        tls_port=addresses.ports[TLS_ALPN01],
        allow_loopback=config.lab.loopback_targets,
        loopback_suffixes=names,
    )
