"""TCP connections to addresses that were checked, with a deadline; TLS over them without verification.

Whoever owns a DNS zone can give one victim's address to any number of names: so many connections to one
address are open at once, whatever name led there, also by a redirect.

Sockets are driven through the loop's own ``sock_*`` calls: nothing is left behind when a look is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ipaddress import IPv6Address

from gateway.outbound.addresses import (
    Address,
    NetworkRange,
    connectable,
    permitted,
    scope_of,
    target_of,
)
from gateway.outbound.faults import ConnectFault, ForbiddenAddress, TargetBusy, TlsFault, shown
from gateway.outbound.rooms import Rooms

_MAX_ADDRESSES = 4
_MAX_CONNECT_S = 5.0
_MAX_TURN_S = 5.0
_BUSY_RETRY_S = 20
_READ_BYTES = 16 * 1024
# A handshake that needs more than this is meant to harm.
_MAX_HANDSHAKE_BYTES = 256 * 1024


class Channel:
    """A connection. Its methods raise ConnectFault; ``deadline`` is in the loop's time."""

    def __init__(
        self, sock: socket.socket, address: Address, port: int, deadline: float, leave: Callable[[], None]
    ) -> None:
        """``leave`` is called once, when the connection is closed."""
        self.address = address
        self.port = port
        self._sock = sock
        self._deadline = deadline
        self._leave: Callable[[], None] | None = leave
        self._loop = asyncio.get_running_loop()

    @property
    def peer(self) -> str:
        """``192.0.2.1:80`` or ``[2001:db8::1]:80``."""
        return peer_text(self.address, self.port)

    async def send(self, payload: bytes) -> None:
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._loop.sock_sendall(self._sock, payload)
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise self._broken(error) from error

    async def receive(self) -> bytes:
        """What has come, at least one byte; empty when the peer has ended."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._loop.sock_recv(self._sock, _READ_BYTES)
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise self._broken(error) from error

    def send_at_once(self) -> None:
        """Do not hold back small parts until earlier ones are acknowledged (Nagle)."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._sock.close()
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def _late(self) -> ConnectFault:
        return ConnectFault(f"{self.peer} did not answer in time", passing=True)

    def _broken(self, error: OSError) -> ConnectFault:
        why = _words(error)
        return ConnectFault(f"the connection to {self.peer} broke: {why}", passing=True)


class TlsChannel:
    """TLS over a channel. The certificate is whatever the peer has: who it is, is not known by this."""

    def __init__(self, channel: Channel, context: ssl.SSLContext, server_name: str | None) -> None:
        self.channel = channel
        channel.send_at_once()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    @property
    def peer(self) -> str:
        return self.channel.peer

    async def handshake(self) -> None:
        """Raises TlsFault if the peer will not, ConnectFault if it goes away."""
        received = 0
        while received < _MAX_HANDSHAKE_BYTES:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                received += await self._fill()
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
                raise ConnectFault(
                    f"{self.peer} closed the connection in the TLS handshake", passing=True
                ) from error
            except ssl.SSLError as error:
                with contextlib.suppress(ConnectFault):
                    await self._flush()
                raise TlsFault(f"no TLS session with {self.peer}: {_tls_words(error)}") from error
            else:
                await self._flush()
                return
        raise TlsFault(f"no TLS session with {self.peer}: its part of the handshake is too long")

    async def send(self, payload: bytes) -> None:
        self.tls.write(payload)
        await self._flush()

    async def receive(self) -> bytes:
        while True:
            try:
                return self.tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""  # the one with, the other without a closing alert: many servers send none
            except ssl.SSLError as error:
                raise ConnectFault(
                    f"the TLS session with {self.peer} broke: {_tls_words(error)}", passing=True
                ) from error

    def close(self) -> None:
        self.channel.close()

    async def _flush(self) -> None:
        if pending := self._outgoing.read():
            await self.channel.send(pending)

    async def _fill(self) -> int:
        received = await self.channel.receive()
        if received:
            self._incoming.write(received)
        elif self._incoming.eof:
            raise ConnectFault(f"{self.peer} closed the connection", passing=True)
        else:
            self._incoming.write_eof()
        return len(received)


async def connect(
    addresses: Sequence[Address],
    port: int,
    *,
    allowed: Iterable[NetworkRange],
    allow_loopback: bool,
    targets: Rooms,
    deadline: float,
    told: bool = True,
) -> Channel:
    """Connect to the first of these addresses that may be and can be connected to, IPv6 ones first.

    ``targets`` bounds the connections to each. ``told``: whether a fault may name addresses that must not be
    connected to; not where a DNS alias or a redirect led to them. Raises ForbiddenAddress if none may be,
    ConnectFault if none answers, TargetBusy if none does and one could not be asked.
    """
    ranges = tuple(allowed)
    good = [one for one in addresses if permitted(one, ranges, allow_loopback=allow_loopback)]
    if not good:
        raise ForbiddenAddress(_forbidden(addresses) if told else _FORBIDDEN)
    chosen = _chosen([connectable(one) for one in good])
    loop = asyncio.get_running_loop()
    faults: list[str] = []
    busy: Address | None = None
    for place, address in enumerate(chosen):
        left_s = deadline - loop.time()
        share_s = min(left_s / (len(chosen) - place), _MAX_CONNECT_S) if place + 1 < len(chosen) else left_s
        ends_at, target = loop.time() + share_s, target_of(address)
        if not await targets.enter(target, min(ends_at, loop.time() + _MAX_TURN_S)):
            busy = address
            continue
        leave = partial(targets.leave, target)
        try:
            sock = await _open(address, port, ends_at)
        except OSError as error:
            leave()
            faults.append(f"{peer_text(address, port)}: {_words(error)}")
        except BaseException:
            leave()
            raise
        else:
            return Channel(sock, address, port, deadline, leave)
    if busy is not None:
        raise TargetBusy(f"too many looks are under way at {busy}", retry_after_s=_BUSY_RETRY_S)
    raise ConnectFault("no connection to " + ", ".join(faults), passing=True)


_FORBIDDEN = "leads to addresses that must not be connected to"


def peer_text(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if isinstance(address, IPv6Address) else f"{address}:{port}"


def _chosen(addresses: Sequence[Address]) -> list[Address]:
    """IPv6 before IPv4, and some of each if there are both."""
    six = [one for one in addresses if one.version == 6]
    four = [one for one in addresses if one.version == 4]
    half = _MAX_ADDRESSES // 2
    return [*six[: max(half, _MAX_ADDRESSES - len(four))], *four[: max(half, _MAX_ADDRESSES - len(six))]]


async def _open(address: Address, port: int, deadline: float) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        async with asyncio.timeout_at(deadline):
            await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def _forbidden(addresses: Sequence[Address]) -> str:
    what = ", ".join(f"{one} is {scope_of(one)[1]}" for one in addresses[:_MAX_ADDRESSES])
    return f"must not be connected to: {what}; an operator can allow private networks for validation"


def _words(error: OSError) -> str:
    """The system's words for a fault, without what it was about."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "timed out"
    # asyncio puts the address into strerror; the number has the words alone.
    text = os.strerror(error.errno) if error.errno else type(error).__name__
    return shown(text.lower(), 60).replace("%20", " ")


def _tls_words(error: ssl.SSLError) -> str:
    return shown((error.reason or type(error).__name__).lower().replace("_", " "), 60).replace("%20", " ")
