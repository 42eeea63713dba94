"""Strangers say where to go: nothing ever reaches a forbidden listener (acme.md C80, E1; acceptance of SSRF).

The listener listens on every address that there is and notes on which of them it was reached. All runs in a
network of the module's own, whose one address beside loopback may be reached.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from gateway.outbound.faults import ForbiddenAddress, NameFault, OutboundFault
from gateway.outbound.network import Network, NetworkSettings
from tests.support.dns_server import DnsServer, dns_server
from tests.support.namespaces import network_of_its_own
from tests.unit.outbound.listener import Listener, listening, ok, own_address, redirect

A = ["127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.0.0.1", "169.254.169.254"]
A += ["169.254.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.192"]
A += ["168.63.129.16", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "255.255.255.255"]
AAAA = ["::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:10.0.0.1", "::ffff:169.254.169.254"]
AAAA += ["::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1"]
AAAA += ["2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::", "2001:0:808:808::80ff:fffe", "fe80::1"]
AAAA += ["fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "2600::5efe:7f00:1", "4000::1"]
ADDRESSES = [*(("A", one) for one in A), *(("AAAA", one) for one in AAAA)]
# What a URL can be made to hold. Each must be refused, or be taken for a name that does not exist.
SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
]
SPELLINGS += ["0177.0.0.1", "017700000001", "00000177.0.0.1", "127.0.0.1%00", "127.0.0.1%2e", "0", "0.0.0.0"]
SPELLINGS += ["[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1%25lo]"]
SPELLINGS += ["[::ffff:0:127.0.0.1]", "[64:ff9b::7f00:1]", "[fe80::1%25eth0]", "[::127.0.0.1]", "[127.0.0.1]"]
SPELLINGS += ["localhost", "LOCALHOST", "localhost.", "good.example@127.0.0.1", "127.0.0.1@good.example"]
SPELLINGS += [
    "127.0.0.1#@good.example",
    "good.example\\@127.0.0.1",
    "127.0.0.1\\.good.example",
    "[::1",
    "::1",
]
SPELLINGS += [
    "127\u30020\u30020\u30021",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "127.0.0.1\t",
    "127.0.0.1\r\nHost: x",
    " 127.0.0.1",
]
# What the lab switch lets in: loopback, and what carries it.
LOOPBACK = {"127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "::1", "::ffff:127.0.0.1"}
LOOPBACK |= {"64:ff9b::7f00:1", "2002:7f00:1::", "2600::5efe:7f00:1"}
LOOPBACK |= {"2001:0:7f00:1::", "2001:0:808:808::80ff:fffe"}
ALIASED = "alias.example"
FRONT = "10.99.99.1"


@pytest.fixture(scope="module")
def front() -> Iterator[str]:
    """An address that is no loopback one, on which a listener that may be reached can stand.

    Where no namespace can be made, one that this host has.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(network_of_its_own(FRONT))
        except PermissionError as error:
            address = own_address()
            if address is None:
                pytest.fail(
                    "this host has no address but loopback, and a network namespace cannot be made "
                    f"({error}): run as root"
                )
            yield address
        else:
            yield FRONT


@pytest.fixture(scope="module")
def server(front: str) -> Iterator[DnsServer]:
    """Made after ``front``, so that it stands in the same network."""
    with dns_server() as running:
        yield running


def network_to(listener: Listener, server: DnsServer, *, allow_loopback: bool = False) -> Network:
    """Both ports lead to the listener: whatever is let through, reaches it."""
    return Network(
        NetworkSettings(
            (server.address,), http_port=listener.port, tls_port=listener.port, allow_loopback=allow_loopback
        )
    )


async def test_listener_is_reached_where_it_is_allowed(server: DnsServer) -> None:
    """Without this the tests below would show nothing."""
    with listening() as listener:
        network = network_to(listener, server, allow_loopback=True)
        for host in ("127.0.0.1", "127.0.0.2", "[::1]"):
            fetched = await network.fetch(f"http://{host}/", allowed=(), timeout_s=30)
            assert fetched.body == b"hello"
        assert listener.hits == ["127.0.0.1", "127.0.0.2", "::1"]


@pytest.mark.parametrize(("rdtype", "address"), ADDRESSES)
@pytest.mark.parametrize("aliased", [False, True], ids=["direct", "cname"])
async def test_name_with_a_forbidden_address_is_not_connected_to(
    server: DnsServer, rdtype: str, address: str, aliased: bool
) -> None:
    """acme.md E1: A, AAAA, and either behind a CNAME; by HTTP and by TLS."""
    server.records.clear()
    server.put("target.example", rdtype, address)
    server.put(ALIASED, "CNAME", "target.example.")
    name = ALIASED if aliased else "target.example"
    with listening() as listener:
        network = network_to(listener, server)
        for scheme in ("http", "https"):
            with pytest.raises(ForbiddenAddress):
                await network.fetch(f"{scheme}://{name}/", allowed=(), timeout_s=30)
        with pytest.raises(ForbiddenAddress):
            await network.probe_tls(name, server_name=name, protocol="acme-tls/1", allowed=(), timeout_s=30)
        assert not listener.hits


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_url_with_an_odd_spelling_of_an_address_is_not_connected_to(
    server: DnsServer, spelling: str
) -> None:
    """acme.md E1."""
    server.records.clear()
    server.put("localhost", "A", "127.0.0.1")
    server.put("good.example", "A", "127.0.0.1")
    with listening() as listener:
        network = network_to(listener, server)
        for url in (
            f"http://{spelling}/",
            f"https://{spelling}:443/x",
            f"http://{spelling}:{listener.port}/",
        ):
            with pytest.raises(OutboundFault):
                await network.fetch(url, allowed=(), timeout_s=30)
        assert not listener.hits


def only(address: str) -> tuple[object, ...]:
    return (ip_network(address),)


@pytest.mark.parametrize(("rdtype", "address"), ADDRESSES)
async def test_redirect_to_a_forbidden_address_is_not_followed(
    server: DnsServer, front: str, rdtype: str, address: str
) -> None:
    """acme.md C80: every hop is re-checked, be it a literal or a name."""
    server.records.clear()
    server.put("inner.example", rdtype, address)
    literal = f"[{address}]" if rdtype == "AAAA" else address
    for location in (
        f"http://{literal}/",
        f"https://{literal}/",
        "http://inner.example/",
        "//inner.example/",
    ):
        with listening(lambda _request, _number, to=location: redirect(to.encode())) as listener:
            network = network_to(listener, server)
            with pytest.raises(ForbiddenAddress):
                await network.fetch(f"http://{front}/", allowed=only(front), timeout_s=30)
            assert listener.hits == [front]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_redirect_to_an_odd_spelling_is_not_followed(
    server: DnsServer, front: str, spelling: str
) -> None:
    server.records.clear()
    server.put("localhost", "A", "127.0.0.1")
    server.put("good.example", "A", "127.0.0.1")
    location = f"http://{spelling}/".encode()
    with listening(lambda _request, _number: redirect(location)) as listener:
        network = network_to(listener, server)
        with pytest.raises(OutboundFault):
            await network.fetch(f"http://{front}/", allowed=only(front), timeout_s=30)
        assert listener.hits == [front]


@pytest.mark.parametrize("address", A)
async def test_of_mixed_addresses_only_the_permitted_one_is_connected_to(
    server: DnsServer, front: str, address: str
) -> None:
    server.records.clear()
    server.put("mixed.example", "A", address, front)
    server.put("mixed.example", "AAAA", "::1", "::ffff:127.0.0.1")
    with listening() as listener:
        network = network_to(listener, server)
        assert (await network.fetch("http://mixed.example/", allowed=only(front), timeout_s=30)).status == 200
        assert listener.hits == [front]


@pytest.mark.parametrize(("rdtype", "address"), [one for one in ADDRESSES if one[1] not in LOOPBACK])
async def test_lab_switch_lets_nothing_in_but_loopback(server: DnsServer, rdtype: str, address: str) -> None:
    """0.0.0.0 and :: would reach the listener: the kernel takes them for this host."""
    server.records.clear()
    server.put("target.example", rdtype, address)
    with listening() as listener:
        network = network_to(listener, server, allow_loopback=True)
        with pytest.raises(ForbiddenAddress):
            await network.fetch("http://target.example/", allowed=(), timeout_s=30)
        assert not listener.hits


async def test_rebinding_name_is_resolved_once_for_each_connection(server: DnsServer, front: str) -> None:
    """acme.md E1: connect to the checked address; there is no second look-up that could differ."""
    server.records.clear()
    server.turns["rebind.example", "A"] = [[front], ["127.0.0.1"]]
    server.asked.clear()
    with listening() as listener:
        network = network_to(listener, server)
        fetched = await network.fetch("http://rebind.example/", allowed=only(front), timeout_s=30)
        assert (fetched.status, listener.hits) == (200, [front])
        assert server.times_asked("rebind.example", "A") == 1
        with pytest.raises(ForbiddenAddress):
            await network.fetch("http://rebind.example/", allowed=only(front), timeout_s=30)
        assert listener.hits == [front]


async def test_rebinding_name_is_checked_again_when_it_redirects_to_itself(
    server: DnsServer, front: str
) -> None:
    server.records.clear()
    server.turns["rebind.example", "A"] = [[front], ["127.0.0.1"]]

    def answer(_request: bytes, number: int) -> bytes:
        return redirect(b"/again") if number == 0 else ok()

    with listening(answer) as listener:
        network = network_to(listener, server)
        with pytest.raises(ForbiddenAddress):
            await network.fetch("http://rebind.example/", allowed=only(front), timeout_s=30)
        assert listener.hits == [front]


async def test_fault_says_which_address_and_why_and_what_to_do(server: DnsServer) -> None:
    server.records.clear()
    server.put("target.example", "A", "10.1.2.3")
    with listening() as listener:
        with pytest.raises(ForbiddenAddress, match=r"10\.1\.2\.3 is private.*operator can allow") as caught:
            await network_to(listener, server).fetch("http://target.example/", allowed=(), timeout_s=30)
        assert not caught.value.passing


async def test_proxy_of_the_environment_is_not_used(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.records.clear()
    with listening() as proxy, listening() as listener:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        network = network_to(listener, server, allow_loopback=True)
        assert (await network.fetch("http://127.0.0.1/", allowed=(), timeout_s=30)).status == 200
        assert (len(listener.hits), proxy.hits) == (1, [])


async def test_name_that_does_not_exist_is_a_dns_fault(server: DnsServer) -> None:
    server.records.clear()
    with listening() as listener, pytest.raises(NameFault):
        await network_to(listener, server).fetch("http://nobody.example/", allowed=(), timeout_s=30)
