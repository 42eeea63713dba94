"""CAA: what the records say, at validation and again before issuing (acme.md C85, E5; RFC 8659, RFC 8657)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.acme import caa
from gateway.acme.caa import Subject, judge, parse_issue_value
from gateway.acme.errors import AcmeError
from gateway.acme.options import AcmeOptions
from gateway.acme.proof import ValidationFault
from gateway.acme.tables.authorizations import INVALID, VALID, AuthorizationRow
from gateway.clock import to_epoch_s
from gateway.outbound.resolver import CaaRecord, CaaSet
from gateway.store.store import Store
from tests.support import acme_policies
from tests.support.acme_responders import Http01Responder, http01_responder
from tests.support.dns_server import DnsServer, dns_server
from tests.support.ports import spare_port
from tests.unit.acme.answering import http_challenge, look_out, settled
from tests.unit.acme.authorized import row_of
from tests.unit.acme.house import House, SetClock

OURS = ("ca.example", "Alias.CA.example.")
ACCOUNT = "https://acme.test/acme/account/1"
PLAIN = Subject("a.test", wildcard=False, account_urls=frozenset({ACCOUNT}), method="http-01")
WILD = replace(PLAIN, wildcard=True, method="dns-01")


def records(*texts: str) -> CaaSet:
    """Records from ``FLAGS TAG VALUE``."""
    found = (text.split(" ", 2) for text in texts)
    return CaaSet(
        tuple(CaaRecord(bool(int(flags) & 128), tag.lower(), value.encode()) for flags, tag, value in found),
        "a.test",
        "",
    )


LET = [
    (PLAIN, ()),
    (PLAIN, ("0 issue ca.example",)),
    (PLAIN, ("0 issue   CA.Example  ",)),
    (PLAIN, ("0 issue alias.ca.example",)),
    (PLAIN, ("0 issue ;", "0 issue ca.example")),
    (PLAIN, ("0 issue ca.example; policy=ev",)),
    (PLAIN, ("0 issue ca.example;a=1;b=2",)),
    (PLAIN, ("0 issue ca.example; ",)),
    (PLAIN, ("128 issue ca.example", "128 iodef mailto:x@a.test", "0 unknown x")),
    (PLAIN, ("128 issuemail ;", "128 contactemail x@a.test")),
    (PLAIN, ("0 issuewild ;",)),
    (PLAIN, ("0 iodef mailto:x@a.test",)),
    (PLAIN, (f"0 issue ca.example; accounturi={ACCOUNT}",)),
    (PLAIN, ("0 issue ca.example; validationmethods=dns-01,http-01",)),
    (PLAIN, (f"0 issue ca.example;accounturi = {ACCOUNT} ; validationmethods=http-01",)),
    (PLAIN, ("0 issue ca.example; accounturi=https://x", "0 issue ca.example")),
    (WILD, ("0 issue ca.example",)),
    (WILD, ("0 issue ;", "0 issuewild ca.example")),
    (WILD, ("0 issuewild ca.example; validationmethods=dns-01",)),
]
FORBID = [
    (PLAIN, ("0 issue other.example",), "names other.example"),
    (PLAIN, ("0 issue ;",), "names nobody"),
    (PLAIN, ("0 issue  ",), "names nobody"),
    (PLAIN, ("0 issue %%%%%",), "malformed"),
    (PLAIN, ("0 issue ca.example other",), "malformed"),
    (PLAIN, ("0 issue ca.example; nonsense",), "malformed"),
    (PLAIN, ("0 issue ca.example; a=1;",), "malformed"),
    (PLAIN, ("0 issue ca.example; a=1; ; b=2",), "malformed"),
    (PLAIN, ("0 issue ca..example",), "malformed"),
    (PLAIN, ("0 issue sub.ca.example",), "names sub.ca.example"),
    (PLAIN, ("0 issue example",), "names example"),
    (PLAIN, ("0 issue ca.example", "128 unknown x"), "critical property unknown"),
    (PLAIN, ("128 unknown x",), "critical property"),
    (PLAIN, (f"0 issue ca.example; accounturi={ACCOUNT}0",), "another account"),
    (PLAIN, ("0 issue ca.example; accounturi=",), "another account"),
    (PLAIN, (f"0 issue ca.example; accounturi={ACCOUNT}; accounturi={ACCOUNT}",), "twice"),
    (PLAIN, ("0 issue ca.example; validationmethods=dns-01",), "leaves out http-01"),
    (PLAIN, ("0 issue ca.example; validationmethods=",), "leaves out http-01"),
    (PLAIN, ("0 issue ca.example; validationmethods=http-01,",), "leaves out http-01"),
    (PLAIN, ("0 issue ca.example; validationmethods=http-01; validationmethods=http-01",), "twice"),
    (PLAIN, (f"0 issue other.example; accounturi={ACCOUNT}",), "names other.example"),
    (WILD, ("0 issuewild ;",), "issuewild names nobody"),
    (WILD, ("0 issue ca.example", "0 issuewild other.example"), "issuewild names other.example"),
    (WILD, ("0 issue other.example",), "names other.example"),
]


@pytest.mark.parametrize(("subject", "texts"), LET)
def test_records_that_name_this_ca_or_do_not_restrict_let_it_issue(
    subject: Subject, texts: tuple[str, ...]
) -> None:
    """acme.md C85"""
    judge(records(*texts), OURS, subject)


@pytest.mark.parametrize(("subject", "texts", "words"), FORBID)
def test_records_that_leave_this_ca_out_forbid_it(
    subject: Subject, texts: tuple[str, ...], words: str
) -> None:
    """acme.md C85"""
    with pytest.raises(ValidationFault) as caught:
        judge(records(*texts), OURS, subject)
    assert (caught.value.type, caught.value.status, caught.value.passing) == ("caa", 403, False)
    assert words in str(caught.value)


def test_issue_values_of_rfc_8659_are_read_as_it_says() -> None:
    """RFC 8659 section 4.2"""
    assert parse_issue_value(b"ca1.example.net; account=230123") == (
        "ca1.example.net",
        (("account", "230123"),),
    )
    assert parse_issue_value(b"") == ("", ())
    assert parse_issue_value(b";") == ("", ())
    assert parse_issue_value(b"ca1.example.net\xc3\xa4") is None
    assert parse_issue_value(b"-ca.example") is None
    assert parse_issue_value(b"ca.example; a=b c") is None
    assert parse_issue_value(b"x" * 10_000 + b"!") is None


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with dns_server() as running:
        yield running


@pytest.fixture
def responder() -> Iterator[Http01Responder]:
    with http01_responder(spare_port()) as running:
        yield running


@pytest_asyncio.fixture
async def looking(
    tmp_path: Path, store: Store, clock: SetClock, server: DnsServer, responder: Http01Responder
) -> AsyncIterator[House]:
    opened = House(
        tmp_path,
        store,
        clock,
        acme_policies.acme_endpoint("default", validation_attempts=1, caa_identities=["ca.example"]),
        acme_policies.acme_policy("web", "default", priority=10),
    )
    look_out(opened, resolvers=(server.address,), http_port=responder.port)
    yield opened
    await opened.aclose()


async def validated(house: House, responder: Http01Responder, name: str = "a.test") -> AuthorizationRow:
    """The result of a challenge that is answered rightly."""
    kind = "ip" if name[0].isdigit() else "dns"
    client, url, challenge = await http_challenge(house, name, kind=kind)
    responder.answer(challenge["token"], client.key)
    await client.post(challenge["url"], {})
    await settled(house, client, url)
    return await row_of(house, client, url)


async def test_name_with_our_records_is_valid_and_says_when_it_was_looked_at(
    looking: House, responder: Http01Responder, server: DnsServer
) -> None:
    """acme.md C85, F"""
    server.put("test", "CAA", '0 issue "ca.example"')
    row = await validated(looking, responder)
    assert row.status == VALID
    seen = (row.evidence or {})["caa"]
    assert isinstance(seen, dict)
    assert (seen["checked_at"], seen["owner"]) == (to_epoch_s(looking.clock.now()), "test")


async def test_name_whose_records_forbid_is_invalid(
    looking: House, responder: Http01Responder, server: DnsServer
) -> None:
    """acme.md C85"""
    server.put("a.test", "CAA", '0 issue "other.example"')
    row = await validated(looking, responder)
    assert row.status == INVALID
    assert (row.error or {})["type"] == "urn:ietf:params:acme:error:caa"
    assert "names other.example" in str((row.error or {})["detail"])


async def test_name_whose_records_cannot_be_read_is_invalid(
    looking: House, responder: Http01Responder, server: DnsServer
) -> None:
    """acme.md C85: SERVFAIL is failure."""
    server.fail("a.test")
    row = await validated(looking, responder)
    assert (row.error or {})["type"] == "urn:ietf:params:acme:error:caa"


async def test_account_of_the_records_is_the_one_that_asks(
    looking: House, responder: Http01Responder, server: DnsServer
) -> None:
    """acme.md C85: RFC 8657 section 3.1, the account's URL as it is given to the client."""
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key)
    server.put("a.test", "CAA", f'0 issue "ca.example; accounturi={client.kid}"')
    await client.post(challenge["url"], {})
    assert (await settled(looking, client, url)).status == VALID


async def test_address_has_no_caa(looking: House, responder: Http01Responder, server: DnsServer) -> None:
    assert (await validated(looking, responder, "127.0.0.1")).status == VALID
    assert not server.asked


async def test_name_that_was_looked_at_lately_is_not_looked_up_again(
    looking: House, responder: Http01Responder, server: DnsServer
) -> None:
    """acme.md C85: eight hours."""
    row = await validated(looking, responder)
    asked = len(server.asked)
    options = AcmeOptions(caa_identities=("ca.example",), caa_reuse=timedelta(hours=8))
    looking.clock.advance(hours=7, minutes=59)
    await caa.recheck(looking.services, options, "default", row.account_id, [row])
    assert len(server.asked) == asked
    looking.clock.advance(minutes=2)
    await caa.recheck(looking.services, options, "default", row.account_id, [row])
    assert len(server.asked) > asked


async def test_each_stale_name_is_looked_up_itself_and_told_of(
    looking: House, responder: Http01Responder, server: DnsServer
) -> None:
    """acme.md C85, E5: not one name N times."""
    rows = [await validated(looking, responder, name) for name in ("a.test", "b.test", "c.test")]
    server.put("a.test", "CAA", '0 issue "other.example"')
    server.put("c.test", "CAA", '0 issue ";"')
    looking.clock.advance(hours=9)
    server.asked.clear()
    options = AcmeOptions(caa_identities=("ca.example",))
    with pytest.raises(AcmeError) as caught:
        await caa.recheck(looking.services, options, "default", rows[0].account_id, rows)
    assert (caught.value.type, caught.value.status) == ("caa", 403)
    assert [one.value for one in caught.value.subproblems] == ["a.test", "c.test"]
    assert {"a.test", "b.test", "c.test"} <= {one.name for one in server.asked}
    none = AcmeOptions()
    await caa.recheck(looking.services, none, "default", rows[0].account_id, rows)


def test_time_of_an_unreadable_look_is_stale() -> None:
    now, span = SetClock().now(), timedelta(hours=8)
    assert caa.fresh({"caa": {"checked_at": to_epoch_s(now)}}, now, span)
    assert not caa.fresh({"caa": {"checked_at": to_epoch_s(now)}}, now, timedelta(0))
    assert not caa.fresh(None, now, span)
    assert not caa.fresh({"caa": {"checked_at": "x"}}, now, span)
    assert not caa.fresh({"caa": {"checked_at": to_epoch_s(now + timedelta(hours=1))}}, now, span)
