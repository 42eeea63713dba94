"""One DNS question to one server: UDP, then TCP if the answer was cut (RFC 1035, RFC 7766, RFC 6891)."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype

_EDNS_PAYLOAD = 1232  # of the DNS flag day 2020: never fragmented
_MAX_UDP_BYTES = 65_535
_MAX_STRAY_PACKETS = 20


def question(name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.QueryMessage:
    """A recursive question; AD asks a validating resolver to say whether it did (RFC 6840 section 5.7)."""
    query = dns.message.make_query(name, rdtype, use_edns=0, payload=_EDNS_PAYLOAD)
    query.flags |= dns.flags.AD
    return query


async def ask(query: dns.message.QueryMessage, server: tuple[str, int]) -> dns.message.Message:
    """The server's answer. Raises OSError, or TimeoutError from the caller's own ``asyncio.timeout``."""
    wire = query.to_wire()
    response = await _over_udp(query, wire, server)
    if response.flags & dns.flags.TC:
        response = await _over_tcp(query, wire, server)
    return response


async def _over_udp(
    query: dns.message.QueryMessage, wire: bytes, server: tuple[str, int]
) -> dns.message.Message:
    """Packets that are no answer to this question are passed over: anybody can send those."""
    loop = asyncio.get_running_loop()
    with _socket(server, socket.SOCK_DGRAM) as sock:
        # Connected, so the kernel picks a random port and drops what others send.
        sock.connect(server)
        await loop.sock_sendall(sock, wire)
        for _ in range(_MAX_STRAY_PACKETS):
            response = _answer(query, await loop.sock_recv(sock, _MAX_UDP_BYTES))
            if response is not None:
                return response
    raise OSError("too many packets that are no answer")


async def _over_tcp(
    query: dns.message.QueryMessage, wire: bytes, server: tuple[str, int]
) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    with _socket(server, socket.SOCK_STREAM) as sock:
        await loop.sock_connect(sock, server)
        await loop.sock_sendall(sock, len(wire).to_bytes(2, "big") + wire)
        length = int.from_bytes(await _exactly(sock, 2), "big")
        response = _answer(query, await _exactly(sock, length))
    if response is None:
        raise OSError("the server's answer is malformed")
    return response


async def _exactly(sock: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = await asyncio.get_running_loop().sock_recv(sock, count - len(parts))
        if not part:
            raise OSError("the server ended in the middle of its answer")
        parts += part
    return bytes(parts)


def _answer(query: dns.message.QueryMessage, wire: bytes) -> dns.message.Message | None:
    try:
        # A cut answer is only looked at for its TC flag.
        response = dns.message.from_wire(wire, raise_on_truncation=False, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    return response if query.is_response(response) else None


def _socket(server: tuple[str, int], kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ip_address(server[0]).version == 6 else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    return sock
