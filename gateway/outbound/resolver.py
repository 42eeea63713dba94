"""What DNS says of a name, asked anew for every look: addresses, TXT, CAA. Nothing is cached.

Aliases (CNAME, DNAME) are followed here too, across zones, for servers that do not do it themselves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from gateway.outbound.addresses import Address
from gateway.outbound.dns_exchange import ask, question
from gateway.outbound.faults import NameFault, TargetBusy, shown
from gateway.outbound.rooms import Rooms
from gateway.outbound.settings import NetworkSettings

_RESOLV_CONF = Path("/etc/resolv.conf")
_DNS_PORT = 53
_PATIENCE_S = (2.0, 4.0)  # for each server, in the first and in the second round
_SECOND_TYPE_S = 1.0
_MAX_ALIASES = 10
_MAX_QUESTIONS = 8
_MAX_RECORDS = 64
_CAA_AT_ONCE = 8
_MAX_CLIMBS = 32
_MAX_CLIMBS_OF_ONE = 8
_CLIMBS_RETRY_S = 5
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", re.ASCII)
# Every browser takes a name that ends so for an IPv4 address in some odd spelling.
_NUMBER_LIKE = re.compile(r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)")
_LOOPBACK = ip_address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Found:
    """Records of one type. ``owner`` is the name at which they stand, after all aliases.

    ``server`` is who answered, empty where nobody was asked. ``authenticated``: the server says that it
    checked DNSSEC signatures (believed as far as the way to it is trusted).
    """

    owner: str
    server: str
    authenticated: bool
    records: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """Where a host is. Not yet checked."""

    addresses: tuple[Address, ...]
    owner: str
    server: str = ""
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """``tag`` is in lower case (RFC 8659 section 4.1: matching is without regard to case)."""

    critical: bool
    tag: str
    value: bytes


@dataclass(frozen=True, slots=True)
class CaaSet:
    """The Relevant Resource Record Set; ``owner`` is where climbing found it, empty if nowhere."""

    records: tuple[CaaRecord, ...]
    owner: str
    server: str


class Resolver:
    """Asks the configured servers, else those of resolv.conf. All methods raise NameFault."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._settings = settings
        self._local = tuple(f".{one.lower().strip('.')}" for one in settings.loopback_suffixes)
        self._climbs = Rooms(_MAX_CLIMBS)
        self._climbs_of_one = Rooms(_MAX_CLIMBS_OF_ONE)
        self._system: tuple[object, tuple[tuple[str, int], ...]] = (None, ())

    async def host(self, host: str, deadline: float) -> Host:
        """Addresses of a name or of an address's text. ``deadline`` is in the loop's time."""
        literal = _address(host)
        if literal is not None:
            return Host((literal,), host)
        _check(host)
        if self._local and f".{host.lower()}".endswith(self._local):
            return Host((_LOOPBACK,), host)
        answers = await self._both(dns.name.from_text(host), deadline)
        found = [one for one in answers if isinstance(one, Found)]
        addresses = tuple(ip_address(record.address) for one in found for record in one.records)
        if addresses:
            first = next(one for one in found if one.records)
            return Host(addresses, first.owner, first.server, all(one.authenticated for one in found))
        for fault in answers:
            if isinstance(fault, BaseException):
                raise fault
        raise NameFault(f"DNS has no A or AAAA record for {shown(host)}", passing=True)

    async def txt(self, name: str, deadline: float) -> Found:
        """TXT records, each with its strings put together."""
        found = await self._find(_checked(name), dns.rdatatype.TXT, deadline)
        records = tuple(b"".join(record.strings) for record in found.records)
        return Found(found.owner, found.server, found.authenticated, records)

    async def caa(self, name: str, deadline: float, whose: str = "") -> CaaSet:
        """The records that are relevant for a name: its own, else its parent's, and so on (RFC 8659 3).

        So many names at once, also for each of those who ask (``whose``): an order may have a hundred, and
        each has many labels. Raises TargetBusy where no place is free in time: that says nothing of the name.
        """
        if not await self._climbs_of_one.enter(whose, deadline):
            raise _too_many_climbs(name)
        try:
            if not await self._climbs.enter("", deadline):
                raise _too_many_climbs(name)
            try:
                return await self._climbed(name, deadline)
            finally:
                self._climbs.leave("")
        finally:
            self._climbs_of_one.leave(whose)

    async def _climbed(self, name: str, deadline: float) -> CaaSet:
        labels = name.split(".")
        names = [".".join(labels[start:]) for start in range(len(labels))]
        for start in range(0, len(names), _CAA_AT_ONCE):
            some = names[start : start + _CAA_AT_ONCE]
            answers = await asyncio.gather(
                *(self._find(_checked(one), dns.rdatatype.CAA, deadline) for one in some),
                return_exceptions=True,
            )
            for one, found in zip(some, answers, strict=True):
                # A failure hides whatever stands there: nothing above may be taken in its stead.
                if isinstance(found, BaseException):
                    raise found
                if found.records:
                    return CaaSet(tuple(_caa_record(record) for record in found.records), one, found.server)
        return CaaSet((), "", "")

    async def _both(self, name: dns.name.Name, deadline: float) -> list[Found | BaseException]:
        """AAAA and A at once. When one has come, the other is not waited for as long: some servers never
        answer the one type that they have nothing of."""
        tasks = [
            asyncio.create_task(self._find(name, rdtype, deadline))
            for rdtype in (dns.rdatatype.AAAA, dns.rdatatype.A)
        ]
        try:
            done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if waiting:
                some = any(one.exception() is None and one.result().records for one in done)
                await asyncio.wait(waiting, timeout=_SECOND_TYPE_S if some else None)
            return [one.exception() or one.result() for one in tasks if one.done()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, deadline: float) -> Found:
        seen = [name]
        for _ in range(_MAX_QUESTIONS):
            asked = seen[-1]
            response, server = await self._ask(asked, rdtype, deadline)
            records = _walk(response, rdtype, seen)
            if records or seen[-1] == asked or response.rcode() == dns.rcode.NXDOMAIN:
                return Found(
                    seen[-1].to_text(omit_final_dot=True),
                    server,
                    bool(response.flags & dns.flags.AD),
                    records,
                )
        raise NameFault(f"DNS leads {_text(name)} through too many aliases", passing=False)

    async def _ask(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, deadline: float
    ) -> tuple[dns.message.Message, str]:
        servers = self._servers()
        if not servers:
            raise NameFault("no DNS server is configured; an operator must set resolvers", passing=True)
        what = f"{dns.rdatatype.to_text(rdtype)} of {_text(name)}"
        loop = asyncio.get_running_loop()
        failure = ""
        for patience_s in _PATIENCE_S:
            for server in servers:
                try:
                    async with asyncio.timeout_at(min(deadline, loop.time() + patience_s)):
                        response = await ask(question(name, rdtype), server)
                except TimeoutError:
                    failure = f"no DNS server answered in time for {what}"
                except OSError:
                    failure = f"no DNS server could be reached for {what}"
                else:
                    if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                        return response, f"{server[0]}:{server[1]}"
                    failure = f"DNS failed with {dns.rcode.to_text(response.rcode())} for {what}"
                if loop.time() >= deadline:
                    raise NameFault(failure, passing=True)
            if failure.startswith("DNS failed"):
                break
        raise NameFault(failure, passing=True)

    def _servers(self) -> Sequence[tuple[str, int]]:
        """Of resolv.conf as it is now: DHCP and containers rewrite it while we run."""
        if self._settings.resolvers:
            return self._settings.resolvers
        try:
            facts = _RESOLV_CONF.stat()
            stamp = (facts.st_mtime_ns, facts.st_ino)
            if stamp != self._system[0]:
                self._system = (
                    stamp,
                    _nameservers(_RESOLV_CONF.read_text(encoding="ascii", errors="replace")),
                )
        except OSError:
            return ()
        return self._system[1]


def _nameservers(resolv_conf: str) -> tuple[tuple[str, int], ...]:
    words = (line.split() for line in resolv_conf.splitlines())
    texts = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return tuple((one, _DNS_PORT) for one in texts if _address(one) is not None)


def _walk(
    response: dns.message.Message, rdtype: dns.rdatatype.RdataType, seen: list[dns.name.Name]
) -> tuple[Any, ...]:
    """The records of the last name of ``seen``, which grows by each alias that the answer holds."""
    while True:
        name = seen[-1]
        rrset = response.get_rrset(response.answer, name, dns.rdataclass.IN, rdtype)
        if rrset is not None:
            if len(rrset) > _MAX_RECORDS:
                raise NameFault(f"DNS has too many records for {_text(name)}", passing=False)
            return tuple(rrset)
        target = _alias(response, name)
        if target is None:
            return ()
        if target in seen:
            raise NameFault(f"DNS leads {_text(seen[0])} in a circle of aliases", passing=False)
        if len(seen) > _MAX_ALIASES:
            raise NameFault(f"DNS leads {_text(seen[0])} through too many aliases", passing=False)
        seen.append(target)


def _alias(response: dns.message.Message, name: dns.name.Name) -> dns.name.Name | None:
    """Where an answer sends this name: by its CNAME, or by a DNAME above it (RFC 6672)."""
    cname = response.get_rrset(response.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
    if cname is not None:
        target: dns.name.Name = cname[0].target
        return target
    for rrset in response.answer:
        if rrset.rdtype == dns.rdatatype.DNAME and name.is_subdomain(rrset.name) and name != rrset.name:
            try:
                return name.relativize(rrset.name).concatenate(rrset[0].target)
            except dns.name.NameTooLong as error:
                raise NameFault(
                    f"DNS leads {_text(name)} to a name that is too long", passing=False
                ) from error
    return None


def _caa_record(record: Any) -> CaaRecord:
    return CaaRecord(bool(record.flags & 0x80), record.tag.decode("latin-1").lower(), bytes(record.value))


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _checked(name: str) -> dns.name.Name:
    _check(name)
    return dns.name.from_text(name)


def _check(name: str) -> None:
    """Raise NameFault for what DNS cannot be asked for. Odd spellings of addresses are such."""
    if _HOST.fullmatch(name) is None or _NUMBER_LIKE.fullmatch(name.rpartition(".")[2]):
        raise NameFault(f"{shown(name)} is no host name that DNS could know", passing=False)


def _text(name: dns.name.Name) -> str:
    return shown(name.to_text(omit_final_dot=True), 260)


def _too_many_climbs(name: str) -> TargetBusy:
    return TargetBusy(
        f"too many CAA look-ups are under way for one of {shown(name, 260)}", retry_after_s=_CLIMBS_RETRY_S
    )
