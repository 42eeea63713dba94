"""Which addresses may be connected to (acme.md C80, E1)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from gateway.outbound.addresses import Scope, connectable, permitted, scope_of, target_of

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))

GLOBAL = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "192.0.1.1", "198.17.0.1", "223.255.255.255"]
GLOBAL += ["2001:4860:4860::8888", "2600::1", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"]
PRIVATE = ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "192.0.2.1", "198.18.0.1"]
PRIVATE += ["198.51.100.1", "203.0.113.1", "fc00::1", "fdff::1", "fec0::1", "2001:db8::1", "3fff::1"]
PRIVATE += ["2001:2::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2600::5efe:a00:1"]
LOOPBACK = ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"]
LOOPBACK += ["64:ff9b::7f00:1", "2002:7f00:1::", "2600::5efe:7f00:1"]
NEVER = ["0.0.0.0", "0.0.0.1", "169.254.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16"]
NEVER += ["192.0.0.192", "192.0.0.8", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"]
NEVER += ["255.255.255.255", "::", "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"]
NEVER += ["fe80::1", "febf::1", "ff02::1", "ff0e::1", "100::1", "100:0:0:1::1", "64:ff9b:1::1", "5f00::1"]
NEVER += ["2001:10::1", "2001:20::1", "2001:1::1", "4000::1", "1::1", "fd00:ec2::254", "fd20:ce::254"]
NEVER += ["::ffff:0.0.0.0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fe80::1%lo"]
NEVER += ["fe80::5efe:8.8.8.8"]


def teredo(server: str, client: str) -> IPv6Address:
    """2001:0:SERVER:flags:port:CLIENT with every bit of the client turned (RFC 4380 section 4)."""
    turned = int(IPv4Address(client)) ^ 0xFFFFFFFF
    return IPv6Address(0x20010000 << 96 | int(IPv4Address(server)) << 64 | turned)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        *((one, Scope.GLOBAL) for one in GLOBAL),
        *((one, Scope.PRIVATE) for one in PRIVATE),
        *((one, Scope.LOOPBACK) for one in LOOPBACK),
        *((one, Scope.NEVER) for one in NEVER),
    ],
)
def test_address_is_judged_by_its_registry_entry(text: str, scope: Scope) -> None:
    """acme.md C80, E1: each special-purpose range, and what is embedded in an IPv6 address."""
    address = ip_address(text)
    assert scope_of(address)[0] is scope
    assert permitted(address, (), allow_loopback=False) is (scope is Scope.GLOBAL)


@pytest.mark.parametrize("text", PRIVATE)
def test_private_address_is_permitted_inside_a_named_range_only(text: str) -> None:
    address = ip_address(text)
    embedded = {"::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"}
    inside = ip_network("10.0.0.0/8") if text in embedded else ip_network(text)
    both = (ip_network("10.0.0.0/8"), ip_network(text)) if "5efe" in text else (inside,)
    assert permitted(address, both, allow_loopback=False)
    assert not permitted(address, (ip_network("10.255.0.0/16"),), allow_loopback=False)


@pytest.mark.parametrize("text", [*LOOPBACK, *NEVER])
def test_named_ranges_never_open_loopback_link_local_or_metadata(text: str) -> None:
    """acme.md E1: even an operator who names every address there is does not open these."""
    assert not permitted(ip_address(text), EVERYTHING, allow_loopback=False)


@pytest.mark.parametrize("text", NEVER)
def test_lab_switch_opens_loopback_and_nothing_else(text: str) -> None:
    assert not permitted(ip_address(text), EVERYTHING, allow_loopback=True)
    assert permitted(ip_address("127.0.0.1"), (), allow_loopback=True)
    assert permitted(ip_address("::1"), (), allow_loopback=True)
    assert not permitted(ip_address("10.0.0.1"), (), allow_loopback=True)


@pytest.mark.parametrize(
    ("server", "client", "scope"),
    [
        ("8.8.8.8", "1.1.1.1", Scope.GLOBAL),
        ("127.0.0.1", "1.1.1.1", Scope.LOOPBACK),
        ("8.8.8.8", "127.0.0.1", Scope.LOOPBACK),
        ("8.8.8.8", "10.0.0.1", Scope.PRIVATE),
        ("8.8.8.8", "169.254.169.254", Scope.NEVER),
    ],
)
def test_teredo_address_is_judged_by_both_addresses_in_it(server: str, client: str, scope: Scope) -> None:
    assert scope_of(teredo(server, client))[0] is scope


def test_mapped_address_is_connected_to_as_the_ipv4_address_that_it_is() -> None:
    assert connectable(ip_address("::ffff:8.8.8.8")) == IPv4Address("8.8.8.8")
    assert connectable(ip_address("2600::1")) == IPv6Address("2600::1")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("2002:c000:201::5", "192.0.2.1"),
        ("2600:1:2:3:4:5:6:7", "2600:1:2:3::/64"),
        ("2600:1:2:3::1", "2600:1:2:3::/64"),
    ],
)
def test_addresses_of_one_host_are_one_target(text: str, target: str) -> None:
    """acme.md E11: another address of the same /64, or another spelling, is no other target."""
    assert str(target_of(ip_address(text))) == target


def test_client_of_a_teredo_address_is_its_target() -> None:
    assert str(target_of(teredo("192.0.2.1", "198.51.100.7"))) == "198.51.100.7"
