"""dns-01 against a DNS server of the test's own (acme.md C81, E6)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.acme.tables.authorizations import INVALID, VALID, AuthorizationRow
from gateway.store.store import Store
from tests.support import acme_signing
from tests.support.dns_server import DnsServer, dns_server, endless_alias
from tests.unit.acme.answering import authorization_url, challenge_of, look_out, looking_house, settled
from tests.unit.acme.house import Client, House, SetClock, document

NAME = "_acme-challenge.a.test"


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with dns_server() as running:
        yield running


@pytest_asyncio.fixture
async def looking(tmp_path: Path, store: Store, clock: SetClock, server: DnsServer) -> AsyncIterator[House]:
    opened = looking_house(tmp_path, store, clock)
    look_out(opened, resolvers=(server.address,))
    yield opened
    await opened.aclose()


async def dns_challenge(house: House, name: str = "a.test") -> tuple[Client, str, dict[str, Any], str]:
    """A client, its authorization's URL, the dns-01 challenge in it, and the TXT text that answers it."""
    client = await house.client().registered()
    url = await authorization_url(client, name)
    challenge = await challenge_of(client, url, "dns-01")
    text = acme_signing.key_authorization(challenge["token"], client.key)
    return client, url, challenge, acme_signing.b64u(hashlib.sha256(text.encode()).digest())


async def outcome(house: House, client: Client, url: str, challenge: dict[str, Any]) -> AuthorizationRow:
    assert (await client.post(challenge["url"], {})).status == 200
    return await settled(house, client, url)


async def test_record_with_the_digest_proves_the_name(looking: House, server: DnsServer) -> None:
    """acme.md C81"""
    client, url, challenge, text = await dns_challenge(looking)
    server.put(NAME, "TXT", f'"{text}"')
    row = await outcome(looking, client, url, challenge)
    assert (row.status, row.method) == (VALID, "dns-01")
    assert (row.evidence or {})["owner"] == NAME
    assert (row.evidence or {})["resolver"] == f"127.0.0.1:{server.port}"


async def test_any_one_of_several_records_is_enough(looking: House, server: DnsServer) -> None:
    """acme.md C81: another order of the same name leaves its own there."""
    client, url, challenge, text = await dns_challenge(looking)
    server.put(NAME, "TXT", '"old"', f'"{text[:20]}" "{text[20:]}"', '"spf"')
    assert (await outcome(looking, client, url, challenge)).status == VALID


@pytest.mark.parametrize("recursive", [True, False])
async def test_delegation_by_alias_is_followed_and_written_down(
    looking: House, server: DnsServer, recursive: bool
) -> None:
    """acme.md C81, B7, E6: the final owner is evidence."""
    server.recursive = recursive
    client, url, challenge, text = await dns_challenge(looking)
    server.put(NAME, "CNAME", "abc.acme-dns.test.")
    server.put("abc.acme-dns.test", "TXT", f'"{text}"')
    row = await outcome(looking, client, url, challenge)
    assert (row.status, (row.evidence or {})["owner"]) == (VALID, "abc.acme-dns.test")


async def test_wildcard_is_proven_at_its_base_name(looking: House, server: DnsServer) -> None:
    """acme.md C68"""
    client, url, challenge, text = await dns_challenge(looking, "*.a.test")
    server.put(NAME, "TXT", f'"{text}"')
    row = await outcome(looking, client, url, challenge)
    assert (row.status, row.wildcard) == (VALID, True)
    assert document(await client.post(url))["wildcard"] is True


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + "=",
        lambda text: text.lower(),
        lambda text: " " + text,
        lambda text: text[:-1],
        lambda text: text + " ",
        lambda _: "$(reboot)`x`;&|<>",
        lambda _: "",
    ],
)
async def test_record_that_is_not_exactly_the_digest_fails_at_once(
    looking: House, server: DnsServer, spoil: Any
) -> None:
    """acme.md C81, E12: what was found is shown without a sign that a shell would take."""
    client, url, challenge, text = await dns_challenge(looking)
    server.put(NAME, "TXT", f'"{spoil(text)}"')
    row = await outcome(looking, client, url, challenge)
    assert row.status == INVALID
    assert row.error is not None
    assert row.error["type"] == "urn:ietf:params:acme:error:incorrectResponse"
    detail = str(row.error["detail"])
    assert NAME in detail
    assert detail.isascii()
    assert not set(detail) & set("$`;&|<>\"'\\!{}~#^")


async def test_missing_record_is_a_dns_error_that_says_what_to_do(looking: House, server: DnsServer) -> None:
    client, url, challenge, _ = await dns_challenge(looking)
    row = await outcome(looking, client, url, challenge)
    assert row.error is not None
    assert row.error["type"] == "urn:ietf:params:acme:error:dns"
    assert f"{NAME} has no TXT record" in str(row.error["detail"])


@pytest.mark.parametrize("fault", ["SERVFAIL", "REFUSED", "endless", "circle"])
async def test_failing_dns_is_a_dns_error(looking: House, server: DnsServer, fault: str) -> None:
    client, url, challenge, _ = await dns_challenge(looking)
    if fault == "endless":
        server.behaviours.update({f"x{number}.loop.test": endless_alias for number in range(100)})
        server.put(NAME, "CNAME", "x0.loop.test.")
    elif fault == "circle":
        server.put(NAME, "CNAME", f"{NAME}.")
    else:
        server.fail(NAME, fault)
    row = await outcome(looking, client, url, challenge)
    assert row.error is not None
    assert row.error["type"] == "urn:ietf:params:acme:error:dns"


async def test_name_that_leaves_no_room_for_the_label_is_a_dns_error(
    looking: House, server: DnsServer
) -> None:
    name = ".".join([*(["x" * 60] * 4), "test"])
    client, url, challenge, _ = await dns_challenge(looking, name)
    row = await outcome(looking, client, url, challenge)
    assert row.error is not None
    assert row.error["type"] == "urn:ietf:params:acme:error:dns"
    assert not server.asked
