"""A GET that is told by strangers where to go (RFC 9110 section 9.3.1, RFC 8555 section 8.3).

Every hop is resolved anew and its addresses are checked; http and https on the usual ports only; certificates
are not verified; no proxy, no cookies, no decompression; only the first part of a body is read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

import h11

from gateway.outbound.addresses import NetworkRange
from gateway.outbound.connect import Channel, TlsChannel, connect
from gateway.outbound.faults import HttpFault, shown
from gateway.outbound.resolver import Host, Resolver
from gateway.outbound.rooms import Rooms
from gateway.outbound.settings import NetworkSettings
from gateway.outbound.tls_probe import unverified_context

MAX_REDIRECTS = 10
MAX_BODY_BYTES = 1024
_MAX_URL_CHARACTERS = 2000
_MAX_HEADER_BYTES = 16 * 1024
_MAX_EVENTS = 1000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
# Written by hand, since nothing in it changes but what ``target_of`` has let through.
_HEAD = (
    "GET {path} HTTP/1.1\r\nHost: {authority}\r\n"
    "User-Agent: pkigate (certificate enrolment gateway; looks for an ACME challenge)\r\n"
    "Accept: */*\r\nConnection: close\r\n\r\n"
)
_ANY_REQUEST = h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Connection", "close")])
# Visible ASCII without what URLs cannot hold: urljoin would silently drop or change some of it.
_PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,254})"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?",
)
_USER = re.compile(r"//[^/?#]*@")  # user and password, which no error text repeats


@dataclass(frozen=True, slots=True)
class Hop:
    """One request of a chain: its URL, the address and port it went to, and who resolved the name."""

    url: str
    peer: str
    server: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The last answer of a chain. ``body``: its first MAX_BODY_BYTES at most; ``whole`` if that is all."""

    status: int
    body: bytes
    whole: bool
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. ``host`` is without brackets, ``authority`` as the Host field has it."""

    scheme: str
    host: str
    authority: str
    port: int
    path: str

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    location: str | None
    body: bytes
    whole: bool


async def fetch(
    settings: NetworkSettings,
    resolver: Resolver,
    targets: Rooms,
    url: str,
    *,
    allowed: Sequence[NetworkRange],
    timeout_s: float,
) -> Fetched:
    """GET a URL, following redirects, all within ``timeout_s``.

    Raises NameFault, ForbiddenAddress, ConnectFault, TlsFault, HttpFault; a redirect's faults name its
    URL. TargetBusy if one of the targets has enough to do with us already.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    target = target_of(url)
    hops: list[Hop] = []
    while True:
        port = _port(settings, target)
        found = await resolver.host(target.host, deadline)
        channel = await connect(
            found.addresses,
            port,
            allowed=allowed,
            allow_loopback=settings.allow_loopback,
            targets=targets,
            deadline=deadline,
            told=not hops and found.owner == target.host,
        )
        try:
            answer = await _exchange(target, channel)
        finally:
            channel.close()
        hops.append(_hop(target, channel, found))
        if answer.location is None:
            return Fetched(answer.status, answer.body, answer.whole, tuple(hops))
        target = _next(target, answer.location, hops)


def target_of(url: str) -> Target:
    """Take an absolute http or https URL apart. Raises HttpFault."""
    parts = _URL.fullmatch(url) if len(url) <= _MAX_URL_CHARACTERS and _PLAIN.fullmatch(url) else None
    if parts is None:
        told = _USER.sub("//", url[:_MAX_URL_CHARACTERS])
        raise HttpFault(f"{shown(told)} is no http or https URL that can be followed")
    scheme, port = parts["scheme"], int(parts["port"] or _PORTS[parts["scheme"]])
    host = parts["host"]
    authority = host if port == _PORTS[scheme] else f"{host}:{port}"
    return Target(
        scheme, host.strip("[]").rstrip("."), authority, port, (parts["path"] or "/") + (parts["query"] or "")
    )


def _next(target: Target, location: str, hops: Sequence[Hop]) -> Target:
    """Where a redirect leads (RFC 9110 section 15.4)."""
    if len(hops) > MAX_REDIRECTS:
        raise HttpFault(f"more than {MAX_REDIRECTS} redirects, the last one from {shown(target.url)}")
    if len(location) > _MAX_URL_CHARACTERS or not _PLAIN.fullmatch(location):
        raise HttpFault(f"{shown(target.url)} redirects to something that is no URL")
    try:
        following = target_of(urljoin(target.url, location))
    except ValueError as error:
        raise HttpFault(f"{shown(target.url)} redirects to something that is no URL") from error
    if any(hop.url == following.url for hop in hops):
        raise HttpFault(f"{shown(target.url)} redirects in a circle")
    return following


def _port(settings: NetworkSettings, target: Target) -> int:
    """The port to connect to: in a lab another one stands for 80 and for 443."""
    moved = {80: settings.http_port, 443: settings.tls_port}
    if target.port in moved:
        return moved[target.port]
    if target.port in moved.values():
        return target.port
    raise HttpFault(f"{shown(target.url)} names a port other than 80 and 443")


def _hop(target: Target, channel: Channel, found: Host) -> Hop:
    return Hop(target.url, channel.peer, found.server)


async def _exchange(target: Target, channel: Channel) -> _Answer:
    link: Channel | TlsChannel = channel
    if target.scheme == "https":
        link = TlsChannel(channel, unverified_context(), target.host)
        await link.handshake()
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
    connection.send(_ANY_REQUEST)  # h11 only has to know that an answer to a GET is next
    await link.send(_HEAD.format(path=target.path, authority=target.authority).encode("ascii"))
    try:
        return await _read(target, link, connection)
    except h11.RemoteProtocolError as error:
        raise HttpFault(f"what {link.peer} answered to {shown(target.url)} is no HTTP/1.1") from error


async def _read(target: Target, link: Channel | TlsChannel, connection: h11.Connection) -> _Answer:
    response: h11.Response | None = None
    body = bytearray()
    connection.receive_data(await link.receive())
    for _ in range(_MAX_EVENTS):
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await link.receive())
        elif isinstance(event, h11.Response):
            response = event
            if event.status_code in _REDIRECTS:
                return _Answer(event.status_code, _location(target, event), b"", whole=True)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                break
        elif response is not None and isinstance(event, h11.EndOfMessage):
            return _Answer(response.status_code, None, bytes(body), whole=True)
    if response is None:
        raise HttpFault(f"{link.peer} gave no final answer to {shown(target.url)}")
    return _Answer(response.status_code, None, bytes(body[:MAX_BODY_BYTES]), whole=False)


def _location(target: Target, response: h11.Response) -> str:
    for name, value in response.headers:
        if name == b"location":
            return value.decode("latin-1").strip()
    raise HttpFault(f"{shown(target.url)} redirects without saying where to")
