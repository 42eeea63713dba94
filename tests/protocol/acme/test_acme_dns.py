"""dns-01 and CAA with a DNS server of the test's own (acme.md B7, C68, C81, C85; RFC 8555 8.4, RFC 8659)."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import acme_policies, acme_signing, pki
from tests.support.acme_client import AcmeClient, Order, challenge
from tests.support.acme_lab import Lab, endpoint, new_name, running_lab
from tests.support.dns_server import DnsServer, dns_server

URN = "urn:ietf:params:acme:error:"
CA_NAME = "ca.test"


@dataclass(frozen=True, slots=True)
class Zone:
    """A gateway that asks this DNS server for everything but addresses under test."""

    lab: Lab
    dns: DnsServer


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zone]:
    policy = acme_policies.acme_policy
    docs = [
        endpoint("default"),
        policy("default", priority=10),
        endpoint("caa", caa_identities=[CA_NAME]),
        policy("caa", "caa", priority=20),
        endpoint("caa8", caa_identities=[CA_NAME], caa_reuse="8h"),
        policy("caa8", "caa8", priority=25),
        endpoint("hasty", validation_timeout="5s"),
        policy("hasty", "hasty", priority=30),
    ]
    with dns_server() as dns:
        config = {
            "validation": {"resolvers": [f"127.0.0.1:{dns.port}"]},
            "lab": {"loopback_names": ["test"]},
        }
        with running_lab(tmp_path_factory.mktemp("dns"), docs=docs, config=config) as lab:
            yield Zone(lab, dns)


def _record(order: Order, place: int = 0) -> tuple[str, str]:
    """Owner name and value of the TXT record that proves one name."""
    authorization = order.authorization(place)
    token = challenge(authorization, "dns-01")["token"]
    text = acme_signing.key_authorization(token, order.client.key)
    return f"_acme-challenge.{authorization['identifier']['value']}", acme_signing.dns_value(text)


def _tried(order: Order, place: int = 0, type_: str = "dns-01") -> Any:
    """Answer the challenge; gives the authorization once it is final."""
    authorization = order.authorization(place)
    order.client.post(challenge(authorization, type_)["url"], {}).ok()
    return order.client.wait(authorization["url"])


def _error(authorization: Any, type_: str = "dns-01") -> Any:
    assert authorization["status"] == "invalid", authorization
    return challenge(authorization, type_)["error"]


@pytest.fixture
def order(zone: Zone) -> Order:
    return zone.lab.account().ordered([new_name()])


def test_name_is_proven_by_its_txt_record(zone: Zone, order: Order) -> None:
    """acme.md C81"""
    owner, value = _record(order)
    zone.dns.put(owner, "TXT", f'"{value}"')
    assert _tried(order)["status"] == "valid"


def test_one_of_several_records_is_enough(zone: Zone, order: Order) -> None:
    """acme.md C81: left-overs of other orders, and other strings, are no matter."""
    owner, value = _record(order)
    zone.dns.put(owner, "TXT", '"something else"', f'"{value}"', '"v=spf1 -all"')
    assert _tried(order)["status"] == "valid"


def test_alias_of_the_record_is_followed(zone: Zone, order: Order) -> None:
    """acme.md B7, C81: CNAME into another zone, as with acme-dns."""
    owner, value = _record(order)
    zone.dns.put(owner, "CNAME", "abc.auth.example.")
    zone.dns.put("abc.auth.example", "TXT", f'"{value}"')
    assert _tried(order)["status"] == "valid"


def test_wildcard_and_base_name_are_proven_by_two_records_of_one_owner(zone: Zone) -> None:
    """acme.md C68, C81: and certified."""
    client, host = zone.lab.account(), new_name()
    order = client.ordered([f"*.{host}", host])
    records = [_record(order, place) for place in (0, 1)]
    assert records[0][0] == records[1][0]
    zone.dns.put(records[0][0], "TXT", *(f'"{value}"' for _, value in records))
    assert [_tried(order, place)["status"] for place in (0, 1)] == ["valid", "valid"]
    assert sorted(order.certified().names) == sorted([f"*.{host}", host])


@pytest.mark.parametrize(
    "change", [str.lower, lambda value: value + "=", lambda value: value[:-1], lambda _: ""]
)
def test_other_text_does_not_prove_a_name(zone: Zone, order: Order, change: Any) -> None:
    """acme.md C81: the exact digest only."""
    owner, value = _record(order)
    zone.dns.put(owner, "TXT", f'"{change(value)}"')
    assert _error(_tried(order))["type"] in (URN + "unauthorized", URN + "incorrectResponse", URN + "dns")


def test_digest_for_another_key_does_not_prove_a_name(zone: Zone, order: Order) -> None:
    """acme.md C81"""
    owner, _ = _record(order)
    token = order.challenge("dns-01")["token"]
    other = acme_signing.dns_value(acme_signing.key_authorization(token, pki.key()))
    zone.dns.put(owner, "TXT", f'"{other}"')
    assert _error(_tried(order))["type"] in (URN + "unauthorized", URN + "incorrectResponse")


def test_missing_record_is_told_with_its_name(zone: Zone, order: Order) -> None:
    """acme.md C77, C81"""
    owner, _ = _record(order)
    error = _error(_tried(order))
    assert error["type"] in (URN + "dns", URN + "unauthorized")
    assert owner in error["detail"]


@pytest.mark.parametrize("fault", ["SERVFAIL", "REFUSED", "endless", "silent"])
def test_trouble_with_dns_is_a_dns_error(zone: Zone, fault: str) -> None:
    """acme.md C81"""
    order = zone.lab.account("hasty").ordered([new_name()])
    owner, _ = _record(order)
    if fault == "endless":
        zone.dns.put(owner, "CNAME", "a.loop.example.")
        zone.dns.put("a.loop.example", "CNAME", "b.loop.example.")
        zone.dns.put("b.loop.example", "CNAME", "a.loop.example.")
    elif fault == "silent":
        zone.dns.silence(owner)
    else:
        zone.dns.fail(owner, fault)
    assert _error(_tried(order))["type"] in (URN + "dns", URN + "connection")


@pytest.mark.parametrize(
    ("rdtype", "address"),
    [
        ("A", "169.254.169.254"),
        ("A", "10.0.0.1"),
        ("A", "192.168.1.1"),
        ("A", "0.0.0.0"),
        ("A", "224.0.0.1"),
        ("AAAA", "fe80::1"),
        ("AAAA", "fd00::1"),
        ("AAAA", "::ffff:10.0.0.1"),
        ("AAAA", "64:ff9b::a00:1"),
    ],
)
def test_name_that_leads_to_a_forbidden_address_is_not_connected_to(
    zone: Zone, rdtype: str, address: str
) -> None:
    """acme.md C80, B5, B6, E1: metadata, private, multicast and embedded addresses."""
    host = new_name(suffix="example")
    zone.dns.put(host, rdtype, address)
    order = zone.lab.account().ordered([host])
    assert _error(_tried(order, type_="http-01"), "http-01")["type"] in (URN + "connection", URN + "dns")


def _http_order(zone: Zone, host: str) -> Order:
    client: AcmeClient = zone.lab.account("caa")
    order = client.ordered([host])
    zone.lab.http.answer(order.challenge()["token"], client.key)
    return order


@pytest.mark.parametrize(
    "records",
    [
        (),
        (f'0 issue "{CA_NAME}"',),
        ('0 issue "other.test"', f'0 issue "{CA_NAME}"'),
        ('0 iodef "mailto:a@a.test"',),
    ],
)
def test_caa_that_allows_this_ca_is_no_hindrance(zone: Zone, records: tuple[str, ...]) -> None:
    """acme.md C85"""
    host = new_name()
    if records:
        zone.dns.put(host, "CAA", *records)
    order = _http_order(zone, host)
    assert _tried(order, type_="http-01")["status"] == "valid"
    assert order.certified().names == [host]


@pytest.mark.parametrize(
    "records",
    [
        ('0 issue "other.test"',),
        ('0 issue ";"',),
        ('128 strange "x"', f'0 issue "{CA_NAME}"'),
        (f'0 issue "{CA_NAME}; validationmethods=dns-01"',),
        (f'0 issue "{CA_NAME}; accounturi=https://evil.test/account/1"',),
    ],
    ids=["other-ca", "nobody", "unknown-critical", "other-method", "other-account"],
)
def test_caa_that_forbids_this_ca_refuses(zone: Zone, records: tuple[str, ...]) -> None:
    """acme.md C85 (RFC 8659, RFC 8657)"""
    host = new_name()
    zone.dns.put(host, "CAA", *records)
    assert _error(_tried(_http_order(zone, host), type_="http-01"), "http-01")["type"] == URN + "caa"


def test_caa_of_a_parent_counts(zone: Zone) -> None:
    """acme.md C85: up the tree, and the nearest one only."""
    parent = new_name()
    zone.dns.put(parent, "CAA", '0 issue "other.test"')
    order = _http_order(zone, f"a.b.{parent}")
    assert _error(_tried(order, type_="http-01"), "http-01")["type"] == URN + "caa"
    zone.dns.put(f"c.{parent}", "CAA", f'0 issue "{CA_NAME}"')
    assert _tried(_http_order(zone, f"a.c.{parent}"), type_="http-01")["status"] == "valid"


def test_failing_look_up_of_caa_refuses(zone: Zone) -> None:
    """acme.md C85: SERVFAIL is no permission."""
    host = new_name()
    zone.dns.fail(host)
    error = _error(_tried(_http_order(zone, host), type_="http-01"), "http-01")
    assert error["type"] in (URN + "caa", URN + "dns")


def test_issuewild_is_for_wildcards_only(zone: Zone) -> None:
    """acme.md C85"""
    client, host = zone.lab.account("caa"), new_name()
    zone.dns.put(host, "CAA", f'0 issue "{CA_NAME}"', '0 issuewild "other.test"')
    order = client.ordered([host, f"*.{host}"])
    records = [_record(order, place) for place in (0, 1)]
    zone.dns.put(records[0][0], "TXT", *(f'"{value}"' for _, value in records))
    assert _tried(order, 0)["status"] == "valid"
    assert _error(_tried(order, 1))["type"] == URN + "caa"


def test_directory_names_the_identity_for_caa(zone: Zone) -> None:
    """acme.md C2, C85"""
    assert zone.lab.client("caa").directory["meta"]["caaIdentities"] == [CA_NAME]


def test_endpoint_without_identity_does_not_look_at_caa(zone: Zone, order: Order) -> None:
    """acme.md C85: a CA for internal names."""
    zone.dns.put(order.names[0], "CAA", '0 issue ";"')
    zone.lab.http.answer(order.challenge()["token"], order.client.key)
    assert _tried(order, type_="http-01")["status"] == "valid"
    assert zone.dns.times_asked(order.names[0], "CAA") == 0


def _age_caa(zone: Zone, names: list[str], hours: int) -> None:
    """Make the recorded looks at CAA older than they are, as time would."""
    path = zone.lab.gateway.sql_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        for name in names:
            query = "SELECT pk, evidence FROM acme_authorization WHERE name = ?"
            ((pk, text),) = connection.execute(query, (name,)).fetchall()
            evidence = json.loads(text)
            evidence["caa"]["checked_at"] -= hours * 3600
            update = "UPDATE acme_authorization SET evidence = ? WHERE pk = ?"
            connection.execute(update, (json.dumps(evidence), pk))


def test_old_look_at_caa_is_repeated_for_every_name_before_issue(zone: Zone) -> None:
    """acme.md C85, E5, E14: after eight hours; each name, and not one of them N times."""
    names = [new_name(), new_name()]
    order = zone.lab.account("caa8").ordered(names).ready(zone.lab.http)
    before = [zone.dns.times_asked(name, "CAA") for name in names]
    _age_caa(zone, names, hours=9)
    zone.dns.put(names[1], "CAA", '0 issue "other.test"')
    answer = order.finalize(order.csr(pki.key()))
    answer.refused(403, "caa")
    assert names[1] in answer.text
    assert [zone.dns.times_asked(name, "CAA") for name in names] == [count + 1 for count in before]
    zone.dns.put(names[1], "CAA", f'0 issue "{CA_NAME}"')
    assert sorted(order.certified().names) == sorted(names)


def test_caa_is_looked_at_again_before_issue(zone: Zone) -> None:
    """acme.md C85, E14: as shipped, however short the time since the validation was."""
    order = zone.lab.account("caa").ordered([new_name()]).ready(zone.lab.http)
    zone.dns.put(order.names[0], "CAA", '0 issue "other.test"')
    order.finalize(order.csr(pki.key())).refused(403, "caa")


def test_fresh_look_at_caa_is_not_repeated_where_it_may_be_reused(zone: Zone) -> None:
    """acme.md C85: within eight hours."""
    order = zone.lab.account("caa8").ordered([new_name()]).ready(zone.lab.http)
    before = zone.dns.times_asked(order.names[0], "CAA")
    order.certified()
    assert zone.dns.times_asked(order.names[0], "CAA") == before >= 1


def test_records_behind_an_alias_are_not_told_to_the_client(zone: Zone, order: Order) -> None:
    """acme.md E1: what only this host can resolve is nobody else's business."""
    name, _ = _record(order)
    secret = f"secret.{new_name()}"
    zone.dns.put(name, "CNAME", f"{secret}.")
    zone.dns.put(secret, "TXT", '"ldap-password=hunter2"')
    error = _error(_tried(order), "dns-01")
    assert "hunter2" not in error["detail"]
    assert secret in error["detail"]
