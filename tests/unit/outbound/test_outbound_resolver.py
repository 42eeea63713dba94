"""What the resolver makes of good and bad DNS (acme.md C81, C85, E1, B7)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from ipaddress import ip_address

import dns.message
import dns.rrset
import pytest

from gateway.outbound import resolver as resolver_module
from gateway.outbound.faults import NameFault, TargetBusy
from gateway.outbound.resolver import Resolver
from gateway.outbound.settings import NetworkSettings
from tests.support.dns_server import DnsServer, dns_server, endless_alias, refusing


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with dns_server() as running:
        yield running


@pytest.fixture
def resolver(server: DnsServer) -> Resolver:
    return Resolver(NetworkSettings(resolvers=(server.address,)))


def soon(seconds: float = 30) -> float:
    return asyncio.get_running_loop().time() + seconds


async def asked(server: DnsServer) -> None:
    """Wait until somebody has asked."""
    while not server.asked:
        await asyncio.sleep(0.005)


async def test_name_with_both_types_gives_all_addresses_and_who_said_so(
    server: DnsServer, resolver: Resolver
) -> None:
    server.put("a.example", "A", "192.0.2.1", "192.0.2.2")
    server.put("a.example", "AAAA", "2001:db8::1")
    found = await resolver.host("A.example", soon())
    assert set(found.addresses) == {ip_address(one) for one in ("192.0.2.1", "192.0.2.2", "2001:db8::1")}
    assert found.server == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("recursive", [True, False])
async def test_aliases_are_followed_whether_or_not_the_server_does_it(
    server: DnsServer, resolver: Resolver, recursive: bool
) -> None:
    """acme.md C81, B7: CNAME across zones."""
    server.recursive = recursive
    server.put("_acme-challenge.a.example", "CNAME", "one.zone.test.")
    server.put("one.zone.test", "CNAME", "two.other.test.")
    server.put("two.other.test", "TXT", '"proof"')
    found = await resolver.txt("_acme-challenge.a.example", soon())
    assert (found.records, found.owner) == ((b"proof",), "two.other.test")


async def test_dname_without_the_alias_that_follows_from_it_is_followed(
    server: DnsServer, resolver: Resolver
) -> None:
    """acme.md C81."""
    server.put("old.example", "DNAME", "new.example.")
    server.put("_acme-challenge.new.example", "TXT", '"proof"')
    found = await resolver.txt("_acme-challenge.old.example", soon())
    assert (found.records, found.owner) == ((b"proof",), "_acme-challenge.new.example")


async def test_strings_of_one_txt_record_are_put_together(server: DnsServer, resolver: Resolver) -> None:
    server.put("a.example", "TXT", '"one" "two"', '"three"')
    assert set((await resolver.txt("a.example", soon())).records) == {b"onetwo", b"three"}


async def test_endless_aliases_are_given_up(server: DnsServer, resolver: Resolver) -> None:
    server.behaviours.update({f"x{number}.loop.example": endless_alias for number in range(100)})
    with pytest.raises(NameFault, match="too many aliases") as caught:
        await resolver.host("x0.loop.example", soon())
    assert not caught.value.passing
    assert len(server.asked) < 30


async def test_circle_of_aliases_is_given_up(server: DnsServer, resolver: Resolver) -> None:
    server.put("a.example", "CNAME", "b.example.")
    server.put("b.example", "CNAME", "a.example.")
    with pytest.raises(NameFault, match="circle"):
        await resolver.host("a.example", soon())


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
async def test_failure_of_dns_is_a_fault_that_may_pass(
    server: DnsServer, resolver: Resolver, rcode: str
) -> None:
    server.fail("a.example", rcode)
    with pytest.raises(NameFault, match=f"DNS failed with {rcode}") as caught:
        await resolver.txt("a.example", soon())
    assert caught.value.passing


async def test_silent_server_is_left_at_the_deadline(server: DnsServer, resolver: Resolver) -> None:
    server.silence("a.example")
    begun = time.monotonic()
    with pytest.raises(NameFault, match="in time"):
        await resolver.txt("a.example", soon(0.3))
    assert time.monotonic() - begun < 20


async def test_second_server_is_asked_when_the_first_fails(server: DnsServer) -> None:
    server.put("a.example", "A", "192.0.2.1")
    with dns_server() as broken:
        broken.fail("a.example")
        resolver = Resolver(NetworkSettings(resolvers=(broken.address, server.address)))
        assert (await resolver.host("a.example", soon())).addresses == (ip_address("192.0.2.1"),)
    assert broken.asked


async def test_server_that_never_answers_one_type_does_not_use_up_the_time(
    server: DnsServer, resolver: Resolver
) -> None:
    server.put("a.example", "A", "192.0.2.1")
    plain = server.answer

    def only_a(query: dns.message.Message) -> dns.message.Message | None:
        if query.question[0].rdtype == 28:
            return None
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text("a.example.", 1, "IN", "A", "192.0.2.1"))
        return response

    assert plain is not None
    server.behaviours["a.example"] = only_a
    begun = time.monotonic()
    assert (await resolver.host("a.example", soon())).addresses == (ip_address("192.0.2.1"),)
    assert time.monotonic() - begun < 20


async def test_answer_that_was_cut_is_asked_for_by_tcp(server: DnsServer, resolver: Resolver) -> None:
    texts = [f'"{number:03}{"x" * 200}"' for number in range(30)]
    server.put("big.example", "TXT", *texts)
    assert len((await resolver.txt("big.example", soon())).records) == 30
    assert [one.transport for one in server.asked] == ["udp", "tcp"]


async def test_too_many_records_are_refused(server: DnsServer, resolver: Resolver) -> None:
    server.put("many.example", "A", *(f"192.0.2.{number}" for number in range(100)))
    with pytest.raises(NameFault, match="too many records"):
        await resolver.host("many.example", soon())


async def test_answer_to_another_question_is_passed_over(server: DnsServer, resolver: Resolver) -> None:
    def wrong(query: dns.message.Message) -> dns.message.Message:
        response = refusing(query, "NOERROR")
        response.id = query.id ^ 1
        return response

    server.behaviours["a.example"] = wrong
    with pytest.raises(NameFault, match="in time"):
        await resolver.txt("a.example", soon(0.3))


async def test_local_names_are_this_host_without_a_question(server: DnsServer) -> None:
    settings = NetworkSettings(resolvers=(server.address,), loopback_suffixes=("test", "Localhost."))
    resolver = Resolver(settings)
    for name in ("a.test", "test", "deep.er.TEST", "localhost"):
        assert (await resolver.host(name, soon())).addresses == (ip_address("127.0.0.1"),)
    assert not server.asked
    with pytest.raises(NameFault):
        await resolver.host("nottest", soon())


@pytest.mark.parametrize(
    "name",
    [
        *("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "a.0x1", "1.2.3.4.5"),
        *("a..b", "", ".", "a b", "a\\.b", "\u2460.example", "a.example\x00"),
        *("x" * 64, ".".join(["x" * 60] * 5)),
    ],
)
async def test_text_that_is_no_host_name_is_never_asked_for(
    server: DnsServer, resolver: Resolver, name: str
) -> None:
    """acme.md E1: odd spellings of addresses are neither addresses nor names."""
    with pytest.raises(NameFault, match="no host name"):
        await resolver.host(name, soon())
    assert not server.asked


async def test_caa_is_found_at_the_nearest_parent_that_has_some(
    server: DnsServer, resolver: Resolver
) -> None:
    """acme.md C85: RFC 8659 section 3."""
    server.put("example", "CAA", '0 issue "far.example"')
    server.put("a.example", "CAA", '0 issue "near.example"', '128 IoDef "mailto:x@a.example"')
    found = await resolver.caa("c.b.a.example", soon())
    assert found.owner == "a.example"
    assert {(one.critical, one.tag, one.value) for one in found.records} == {
        (False, "issue", b"near.example"),
        (True, "iodef", b"mailto:x@a.example"),
    }


async def test_caa_of_an_alias_is_that_of_its_target_then_of_its_own_parent(
    server: DnsServer, resolver: Resolver
) -> None:
    """acme.md C85: the target's parents have no say (RFC 8659 section 3)."""
    server.put("www.a.example", "CNAME", "host.cdn.test.")
    server.put("cdn.test", "CAA", '0 issue "cdn-ca.test"')
    server.put("a.example", "CAA", '0 issue "ca.example"')
    assert (await resolver.caa("www.a.example", soon())).records[0].value == b"ca.example"
    server.put("host.cdn.test", "CAA", '0 issue "other.test"')
    assert (await resolver.caa("www.a.example", soon())).records[0].value == b"other.test"


async def test_caa_lookup_that_fails_is_not_passed_over(server: DnsServer, resolver: Resolver) -> None:
    """acme.md C85: SERVFAIL is failure, although a parent has records."""
    server.fail("b.a.example")
    server.put("a.example", "CAA", '0 issue "ca.example"')
    with pytest.raises(NameFault, match="SERVFAIL"):
        await resolver.caa("c.b.a.example", soon())


async def test_who_asks_for_many_names_leaves_places_for_others(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.md E11: one account's orders do not make another's validations fail"""
    monkeypatch.setattr(resolver_module, "_MAX_CLIMBS_OF_ONE", 1)
    resolver = Resolver(NetworkSettings(resolvers=(server.address,)))
    server.silence("a.example")
    first = asyncio.create_task(resolver.caa("a.example", soon(5), "one"))
    await asked(server)
    with pytest.raises(TargetBusy):
        await resolver.caa("b.example", soon(0.1), "one")
    assert (await resolver.caa("b.example", soon(), "other")).records == ()
    with pytest.raises(NameFault):
        await first


async def test_name_without_any_caa_gives_an_empty_set(resolver: Resolver) -> None:
    assert (await resolver.caa("a.b.c.d.e.f.g.h.i.example", soon())).records == ()


async def test_names_whose_caa_is_climbed_for_at_once_are_bounded(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.md E11: finalizations of many names share what this worker asks at once"""
    monkeypatch.setattr(resolver_module, "_MAX_CLIMBS", 1)
    resolver = Resolver(NetworkSettings(resolvers=(server.address,)))
    server.silence("a.example")
    first = asyncio.create_task(resolver.caa("a.example", soon(5)))
    await asked(server)
    with pytest.raises(TargetBusy, match="too many CAA look-ups"):
        await resolver.caa("b.example", soon(0.1))
    with pytest.raises(NameFault, match="in time"):
        await first
    assert (await resolver.caa("b.example", soon())).records == ()
