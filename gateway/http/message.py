"""HTTP requests and responses as front ends see them: no framework, no sockets (RFC 9110)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import PayloadTooLarge
from gateway.model.evidence import RemoteInfo

_MAX_USER_AGENT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """What the transport knows of the other side. Possession of the leaf's key is proven, trust is not.

    ``chain_der`` is leaf first, empty without a client certificate. ``channel_bindings`` maps ``tls-unique``
    (RFC 5929) and ``tls-exporter`` (RFC 9266) to bytes where the transport has them; both are computed only
    when asked for. ``source`` is ``tls`` or ``proxy``.
    """

    version: str  # "TLSv1.2", "TLSv1.3"
    cipher: str
    chain_der: tuple[bytes, ...] = ()
    server_name: str | None = None
    source: str = "tls"
    binding: Callable[[str], bytes | None] = field(default=lambda _name: None, compare=False)


class BodyStream(Protocol):
    """Gives the body's parts until ``b""``; raises RequestTimeout or ClientGone."""

    def __call__(self) -> Awaitable[bytes]: ...


@dataclass(slots=True)
class HttpRequest:
    """One request. Header names are lower-case; ``headers`` keeps order and repeats.

    ``path`` is percent-decoded, ``raw_path`` as received without the query. ``client_address`` is judged by
    the real TCP peer: X-Forwarded-For counts only from a trusted proxy.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    http_version: str
    headers: tuple[tuple[bytes, bytes], ...]
    client_address: str
    listener: str
    scheme: str
    tls: TlsPeer | None
    request_id: str
    receive_body: BodyStream
    via_proxy: bool = False
    log: dict[str, object] = field(default_factory=dict)  # goes into this request's one log record

    def header(self, name: bytes) -> str | None:
        """The first value of a header (name in lower case), decoded as Latin-1, or None."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1").strip()
        return None

    def header_values(self, name: bytes) -> list[str]:
        return [value.decode("latin-1").strip() for key, value in self.headers if key == name]

    def remote(self, message: str) -> RemoteInfo:
        """Where it came from, for policy and for the record. ``message`` is what its protocol calls it."""
        return RemoteInfo(
            address=self.client_address,
            listener=self.listener,
            tls_version=self.tls.version if self.tls else "",
            cipher=self.tls.cipher if self.tls else "",
            via_proxy=self.via_proxy,
            user_agent=(self.header(b"user-agent") or "")[:_MAX_USER_AGENT_CHARACTERS],
            message=message,
            transport_id=self.request_id,
        )

    async def body(self, max_bytes: int) -> bytes:
        """Read it all. Raises PayloadTooLarge, before reading by Content-Length, else while reading."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > max_bytes:
            raise PayloadTooLarge(f"the body has {declared} bytes; at most {max_bytes} are read here")
        parts: list[bytes] = []
        received = 0
        while part := await self.receive_body():
            received += len(part)
            if received > max_bytes:
                raise PayloadTooLarge(f"the body is larger than the {max_bytes} bytes that are read here")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One response. The edge adds Content-Length, Date and the request id, and writes names in Title-Case."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class PathRoute:
    """Requests whose path equals ``prefix``, or begins with it if it ends in "/", go to ``handler``.

    ``service`` is the word that a listener's ``serves`` list holds ("est", "scep", "crl").
    """

    prefix: str
    service: str
    handler: Handler


PathRoutes = tuple[PathRoute, ...]
