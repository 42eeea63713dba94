"""A small DNS server of a test's own on loopback, good or bad: it answers what it was told, each time.

pebble-challtestsrv serves the ordinary cases; this one has failures, silence, aliases that never end, and
answers that differ from one question to the next.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

# Takes the question and gives the answer; None stays silent.
Behaviour = Callable[[dns.message.Message], dns.message.Message | None]
TTL_S = 1
_PLAIN_UDP_BYTES = 512


@dataclass(frozen=True, slots=True)
class Question:
    """One question that was asked, ``name`` without the dot at its end."""

    name: str
    rdtype: str
    transport: str


@dataclass(slots=True)
class DnsServer:
    """``records``: texts by name and type. ``behaviours``: what is done with a name instead. ``turns``: the
    answers to the first, second ... question, the last one for all others. ``recursive``: whether an alias is
    followed into the answer."""

    port: int
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    turns: dict[tuple[str, str], list[list[str]]] = field(default_factory=dict)
    recursive: bool = True
    asked: list[Question] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def put(self, name: str, rdtype: str, *texts: str) -> None:
        self.records[name, rdtype] = list(texts)

    def fail(self, name: str, rcode: str = "SERVFAIL") -> None:
        """Answer every question for this name with an error."""
        self.behaviours[name] = lambda query: refusing(query, rcode)

    def silence(self, name: str) -> None:
        self.behaviours[name] = lambda _query: None

    def times_asked(self, name: str, rdtype: str) -> int:
        return sum(1 for one in self.asked if (one.name, one.rdtype) == (name, rdtype))

    def answer(self, wire: bytes, transport: str) -> bytes | None:
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name, rdtype = _text(question.name), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(Question(name, rdtype, transport))
        behaviour = self.behaviours.get(name)
        response = behaviour(query) if behaviour is not None else self._from_records(query, name, rdtype)
        if response is None:
            return None
        limit = max(query.payload, _PLAIN_UDP_BYTES) if transport == "udp" else 65_535
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            cut = dns.message.make_response(query)
            cut.flags |= dns.flags.TC
            return cut.to_wire()

    def _from_records(self, query: dns.message.Message, name: str, rdtype: str) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        owner = name
        for _ in range(20):
            texts = self._texts(owner, rdtype)
            if texts:
                _add(response, owner, rdtype, texts)
                break
            target = self.records.get((owner, "CNAME"))
            if target is None:
                break
            _add(response, owner, "CNAME", target)
            owner = target[0].rstrip(".")
            if not self.recursive:
                break
        self._add_dname(response, name)
        if not response.answer and not any(known == name for known, _ in (*self.records, *self.turns)):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def _add_dname(self, response: dns.message.Message, name: str) -> None:
        for (owner, rdtype), texts in self.records.items():
            if rdtype == "DNAME" and name.endswith(f".{owner}"):
                _add(response, owner, "DNAME", texts)

    def _texts(self, name: str, rdtype: str) -> list[str]:
        turns = self.turns.get((name, rdtype))
        if turns:
            return turns.pop(0) if len(turns) > 1 else turns[0]
        return self.records.get((name, rdtype), [])


def refusing(query: dns.message.Message, rcode: str) -> dns.message.Message:
    """The answer that only says what went wrong."""
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.from_text(rcode))
    return response


def endless_alias(query: dns.message.Message) -> dns.message.Message:
    """Each name is an alias of one that was never seen before."""
    name = _text(query.question[0].name)
    first, _, rest = name.partition(".")
    response = dns.message.make_response(query)
    _add(response, name, "CNAME", [f"x{int(first.lstrip('x') or 0) + 1}.{rest}."])
    return response


@contextlib.contextmanager
def dns_server() -> Iterator[DnsServer]:
    """Serve by UDP and TCP on one spare port of 127.0.0.1."""
    with _sockets() as (udp, tcp):
        server = DnsServer(udp.getsockname()[1])
        threads = [
            threading.Thread(target=_serve_udp, args=(server, udp), daemon=True),
            threading.Thread(target=_serve_tcp, args=(server, tcp), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            for sock in (udp, tcp):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def _sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    for _ in range(20):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            tcp = socket.create_server(("127.0.0.1", udp.getsockname()[1]))
        except OSError:
            udp.close()
            continue
        with udp, tcp:
            yield udp, tcp
        return
    raise RuntimeError("no port is free for both UDP and TCP")


def _serve_udp(server: DnsServer, sock: socket.socket) -> None:
    while True:
        try:
            wire, client = sock.recvfrom(65_535)
        except OSError:
            return
        if not wire:
            return  # the socket was shut down
        answer = server.answer(wire, "udp")
        if answer is not None:
            with contextlib.suppress(OSError):  # it was shut down meanwhile
                sock.sendto(answer, client)


def _serve_tcp(server: DnsServer, listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            length = int.from_bytes(connection.recv(2), "big")
            answer = server.answer(connection.recv(length), "tcp")
            if answer is not None:
                connection.sendall(len(answer).to_bytes(2, "big") + answer)


def _add(response: dns.message.Message, name: str, rdtype: str, texts: list[str]) -> None:
    owner = dns.name.from_text(name)
    rrset = dns.rrset.from_text_list(owner, TTL_S, dns.rdataclass.IN, rdtype, texts)
    if rrset not in response.answer:
        response.answer.append(rrset)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
