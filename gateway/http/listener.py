"""What a listener is: address, what it serves, TLS material and bounds (decisions: "Listeners")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from gateway.http.message import TlsPeer


class ClientCertificateMode(StrEnum):
    """Whether the TLS handshake asks for a client certificate.

    ``request`` takes any certificate, or none, so that the route can answer with words; ``require`` refuses
    the handshake without one.
    """

    NONE = "none"
    REQUEST = "request"
    REQUIRE = "require"


class CertificateHeader(StrEnum):
    """The header by which a trusted proxy hands on the client certificate that it saw."""

    NONE = "none"
    RFC9440 = "rfc9440"  # Client-Cert, Client-Cert-Chain
    NGINX = "nginx"  # X-SSL-Cert: $ssl_client_escaped_cert
    HAPROXY = "haproxy"  # X-SSL-Client-DER: %[ssl_c_der,base64]
    ENVOY = "envoy"  # X-Forwarded-Client-Cert


@dataclass(frozen=True, slots=True)
class TlsCredentials:
    """A server certificate with its key. ``chain`` is leaf first."""

    chain: tuple[x509.Certificate, ...]
    key: CertificateIssuerPrivateKeyTypes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS of one listener. ``load`` gives the credentials at start and again at every reload.

    ``client_roots`` (DER) are used only with ``require``: then OpenSSL itself judges the client's chain and
    refuses with an alert. Without them every client certificate reaches the routes, which judge it.
    """

    load: Callable[[], TlsCredentials]
    client_roots: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one connection; times in seconds."""

    handshake_s: float = 10.0
    head_bytes: int = 32 * 1024
    head_fields: int = 100
    target_bytes: int = 8 * 1024
    head_s: float = 10.0
    body_s: float = 30.0
    body_gap_s: float = 10.0  # a sender from whom no byte comes for so long is given up
    keep_alive_s: float = 75.0
    write_s: float = 30.0  # a reader who takes no byte for so long is given up
    linger_s: float = 2.0  # reads and forgets what still comes, so that the answer is not reset away
    connections: int = 10_000
    pipelined: int = 32
    drain_idle_s: float = 1.0  # how long a draining server waits for an idle connection's next request


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """One listener. ``serves`` holds services ("est", "crl"); ``flag`` is the CLI option of its port."""

    name: str
    address: str
    port: int
    serves: frozenset[str]
    tls: TlsSettings | None = None
    client_certificate: ClientCertificateMode = ClientCertificateMode.NONE
    client_certificate_header: CertificateHeader = CertificateHeader.NONE
    limits: HttpLimits = field(default_factory=HttpLimits)
    flag: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What the protocol tells the edge about the connection, in ``scope["pkigate.connection"]``."""

    listener: ListenerSpec
    peer_address: str  # of the real TCP peer
    tls: TlsPeer | None = None


CONNECTION_KEY = "pkigate.connection"
