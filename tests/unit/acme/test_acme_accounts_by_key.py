"""Accounts (RFC 8555 section 7.3): opened, found by key, changed, deactivated; what is stored and audited."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from gateway.acme.contacts import checked_contacts
from gateway.acme.errors import AcmeError
from gateway.store.store import Store
from tests.support import acme_signing, pki
from tests.unit.acme import doors
from tests.unit.acme.house import BASE, Client, House, SetClock, document, header, problem


@pytest_asyncio.fixture
async def house(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    opened = doors.opened(tmp_path, store, clock)
    yield opened
    await opened.aclose()


async def _count(house: House, table: str) -> int:
    query = text(f"SELECT count(*) FROM {table}")  # a name of this file
    return await house.store.reader.read(lambda connection: int(connection.execute(query).scalar_one()))


async def _audited(house: House) -> list[dict[str, Any]]:
    query = text("SELECT action, actor, details FROM audit WHERE action LIKE 'account.%' ORDER BY seq")
    rows = await house.store.reader.read(lambda connection: connection.execute(query).all())
    return [{"action": row[0], "actor": row[1], **json.loads(row[2])} for row in rows]


async def _open(client: Client, **members: object) -> Any:
    return await client.post("/new-account", members, by_key=True)


async def test_new_key_opens_an_account(house: House) -> None:
    """acme.md C41"""
    client = house.client()
    answer = await _open(client, contact=["mailto:a@x.test"])
    assert answer.status == 201
    url = str(header(answer, "Location"))
    assert url.startswith(f"{BASE}/acme/account/")
    assert document(answer) == {
        "status": "valid",
        "contact": ["mailto:a@x.test"],
        "orders": url.replace("/account/", "/orders/"),
    }


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521", "RSA-2048", "Ed25519"])
async def test_account_with_each_kind_of_key_signs_by_kid(house: House, kind: str) -> None:
    """acme.md B12"""
    client = await house.client(key=pki.key(kind)).registered()
    assert (await client.post(str(client.kid), None)).status == 200


async def test_same_key_again_finds_the_account_unchanged(house: House) -> None:
    """acme.md C42"""
    client = await house.client().registered(contact=["mailto:a@x.test"])
    answer = await _open(client, contact=["mailto:b@x.test"])
    assert (answer.status, header(answer, "Location")) == (200, client.kid)
    assert document(answer)["contact"] == ["mailto:a@x.test"]


async def test_twenty_messages_with_one_key_at_once_open_one_account(house: House) -> None:
    """acme.md C41, C42, E13"""
    client = house.client()
    url = f"{BASE}/acme/new-account"
    bodies = [
        acme_signing.request_body(client.key, {}, url=url, nonce=await client.new_nonce()) for _ in range(20)
    ]
    answers = await asyncio.gather(*(client.post_body(url, body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert len({header(answer, "Location") for answer in answers}) == 1
    assert await _count(house, "acme_account") == 1


async def test_only_return_existing_stores_nothing(house: House) -> None:
    """acme.md C43"""
    client = house.client()
    answer = await _open(client, onlyReturnExisting=True)
    assert (answer.status, problem(answer)) == (400, "accountDoesNotExist")
    assert await _count(house, "acme_account") == await _count(house, "request") == 0
    await client.registered()
    answer = await _open(client, onlyReturnExisting=True)
    assert (answer.status, header(answer, "Location")) == (200, client.kid)


async def test_key_of_a_deactivated_account_opens_no_other(house: House) -> None:
    """acme.md C45"""
    client = await house.client().registered()
    await client.post(str(client.kid), {"status": "deactivated"})
    answer = await _open(client)
    assert (answer.status, problem(answer)) == (401, "unauthorized")


async def test_one_key_has_an_account_at_each_endpoint(house: House) -> None:
    """acme.md B14"""
    here = await house.client().registered()
    there = await house.client("other", key=here.key).registered()
    assert here.kid != there.kid


async def test_terms_must_be_agreed_to(house: House) -> None:
    """acme.md C46"""
    client = house.client("terms")
    for agreed in ({}, {"termsOfServiceAgreed": False}):
        answer = await _open(client, **agreed)
        assert (answer.status, problem(answer)) == (403, "userActionRequired")
        assert ("Link", f'<{doors.TERMS}>;rel="terms-of-service"') in answer.headers
    answer = await _open(client, termsOfServiceAgreed=True)
    assert (answer.status, document(answer)["termsOfServiceAgreed"]) == (201, True)


async def test_unknown_members_and_those_of_the_server_are_ignored(house: House) -> None:
    """acme.md C48"""
    answer = await _open(house.client(), status="revoked", orders="https://x.test", created="now", x={"y": 1})
    assert (answer.status, document(answer)["status"]) == (201, "valid")


@pytest.mark.parametrize(
    "members",
    [
        {"contact": "mailto:a@x.test"},
        {"contact": [1]},
        {"contact": {}},
        {"termsOfServiceAgreed": "yes"},
        {"onlyReturnExisting": 1},
        {"externalAccountBinding": []},
    ],
)
async def test_member_of_a_wrong_type_is_malformed_and_named(
    house: House, members: dict[str, object]
) -> None:
    answer = await _open(house.client(), **members)
    assert (answer.status, problem(answer)) == (400, "malformed")
    assert next(iter(members)) in document(answer)["detail"]


@pytest.mark.parametrize("payload", [None, b"[]", b"null", b'{"a":1,"a":2}', b"{", b"\xff"])
async def test_payload_that_is_no_object_is_malformed(house: House, payload: object) -> None:
    """acme.md C17, C40"""
    answer = await house.client().post("/new-account", payload, by_key=True)
    assert (answer.status, problem(answer)) == (400, "malformed")


@pytest.mark.parametrize(
    ("url", "type_"),
    [
        ("tel:+1", "unsupportedContact"),
        ("https://x.test", "unsupportedContact"),
        ("a@x.test", "invalidContact"),
        ("", "invalidContact"),
        ("mailto:", "invalidContact"),
        ("mailto:a", "invalidContact"),
        ("mailto:a@", "invalidContact"),
        ("mailto:@x.test", "invalidContact"),
        ("mailto:a@x..test", "invalidContact"),
        ("mailto:a@-x.test", "invalidContact"),
        ("mailto:a@x.test,b@x.test", "invalidContact"),
        ("mailto:a@x.test?subject=x", "invalidContact"),
        ("mailto:a%2Cb@x.test", "invalidContact"),
        ("mailto:a@x.test\n", "invalidContact"),
        ("mailto:\u00e4@x.test", "invalidContact"),
        (f"mailto:{'a' * 250}@x.test", "invalidContact"),
    ],
)
def test_contact_that_is_not_one_mail_address_is_refused(url: str, type_: str) -> None:
    """acme.md C47"""
    with pytest.raises(AcmeError) as refused:
        checked_contacts((url,), 10)
    assert (refused.value.type, refused.value.status) == (type_, 400)


def test_contacts_are_kept_without_repeats() -> None:
    urls = ("MAILTO:a+b@x.test", "mailto:a+b@x.test", "mailto:root@localhost")
    assert checked_contacts(urls, 2) == ("mailto:a+b@x.test", "mailto:root@localhost")


async def test_more_contacts_than_the_endpoint_takes_are_refused(house: House) -> None:
    """acme.md C47"""
    answer = await _open(house.client("few"), contact=[f"mailto:{name}@x.test" for name in "abc"])
    assert (answer.status, problem(answer)) == (400, "invalidContact")


async def test_contacts_are_replaced_and_cleared(house: House) -> None:
    """acme.md C49"""
    client = await house.client().registered(contact=["mailto:a@x.test"])
    for contacts in (["mailto:b@x.test", "mailto:c@x.test"], []):
        answer = await client.post(str(client.kid), {"contact": contacts, "orders": "x"})
        assert (answer.status, document(answer)["contact"]) == (200, contacts)
        assert document(await client.post(str(client.kid), None))["contact"] == contacts


async def test_bad_contact_changes_nothing(house: House) -> None:
    """acme.md C47, C49"""
    client = await house.client().registered(contact=["mailto:a@x.test"])
    assert problem(await client.post(str(client.kid), {"contact": ["tel:1"]})) == "unsupportedContact"
    assert document(await client.post(str(client.kid), None))["contact"] == ["mailto:a@x.test"]


async def test_changes_at_once_each_count_or_say_that_they_did_not(house: House) -> None:
    """acme.md E13: each goes on top of the one before, or says that it did not."""
    client = await house.client().registered()
    url = str(client.kid)
    bodies = [
        acme_signing.request_body(
            client.key,
            {"contact": [f"mailto:a{number}@x.test"]},
            url=url,
            nonce=await client.new_nonce(),
            kid=url,
        )
        for number in range(5)
    ]
    answers = await asyncio.gather(*(client.post_body(url, body) for body in bodies))
    done = [answer for answer in answers if answer.status == 200]
    assert len(done) >= 3
    updates = [event for event in await _audited(house) if event["action"] == "account.update"]
    assert len(updates) == len(done)


@pytest.mark.parametrize("by", ["deactivation", "key change"])
async def test_update_that_comes_with_what_ends_it_never_wins_over_it(house: House, by: str) -> None:
    """acme.md C37, C57, E13: neither revives the account nor brings the old key back."""
    client = await house.client().registered()
    url, new_key = str(client.kid), pki.key()
    ends: tuple[str, object] = (url, {"status": "deactivated"})
    if by == "key change":
        there = f"{BASE}/acme/key-change"
        ends = (there, acme_signing.key_change_payload(client.key, new_key, url, there))
    wanted = [ends, *((url, {"contact": [f"mailto:a{number}@x.test"]}) for number in range(4))]
    sent = []
    for where, payload in wanted:
        nonce = await client.new_nonce()
        body = acme_signing.request_body(client.key, payload, url=where, nonce=nonce, kid=url)
        sent.append(client.post_body(where, body))
    answers = await asyncio.gather(*sent)
    assert {answer.status for answer in answers} <= {200, 400, 401, 403, 503}
    assert answers[0].status in (200, 503)
    if answers[0].status == 200:
        after = await client.post(url, None)
        assert after.status == (401 if by == "deactivation" else 400)


@pytest.mark.parametrize("status", ["valid", "deactivated"])
async def test_status_may_be_set_to_deactivated_only(house: House, status: str) -> None:
    """acme.md C50"""
    client = await house.client().registered()
    answer = await client.post(str(client.kid), {"status": status})
    assert (answer.status, document(answer)["status"]) == (200, status)


@pytest.mark.parametrize("status", ["revoked", "pending", "", 1, None])
async def test_any_other_status_is_malformed(house: House, status: object) -> None:
    """acme.md C50"""
    client = await house.client().registered()
    assert problem(await client.post(str(client.kid), {"status": status})) == "malformed"


async def test_of_accounts_that_are_opened_at_once_as_many_come_into_being_as_are_allowed(
    house: House,
) -> None:
    """acme.md C96: one in an hour from one address; ten keys at once."""
    clients = [house.client("few") for _ in range(10)]
    for client in clients:
        client.nonce = await client.new_nonce()
    answers = await asyncio.gather(*(_open(client) for client in clients))
    assert sorted(answer.status for answer in answers) == [201] + [429] * 9
    assert {problem(answer) for answer in answers if answer.status == 429} == {"rateLimited"}


async def test_accounts_of_one_address_are_limited(house: House) -> None:
    """acme.md C96"""
    client = await house.client("few").registered()
    answer = await _open(house.client("few"))
    assert (answer.status, problem(answer)) == (429, "rateLimited")
    assert int(str(header(answer, "Retry-After"))) > 0
    assert (await _open(client)).status == 200, "who has an account opens none"


async def test_audit_tells_which_key_did_what_with_which_message(house: House) -> None:
    """acme.md F: actor key thumbprint and JWS digest on every change."""
    client = await house.client().registered(contact=["mailto:a@x.test"])
    await client.post(str(client.kid), {"contact": []})
    await client.post(str(client.kid), {"status": "deactivated"})
    events = await _audited(house)
    assert [event["action"] for event in events] == ["account.open", "account.update", "account.deactivate"]
    account_id = str(client.kid).rpartition("/")[2]
    assert {event["actor"] for event in events} == {f"acme:{account_id}"}
    assert {event["key_thumbprint"] for event in events} == {acme_signing.thumbprint(client.key)}
    assert len({event["jws_sha256"] for event in events}) == 3


async def test_compromised_key_opens_no_account(house: House) -> None:
    """acme.md C94, E10"""
    client = house.client()
    await doors.compromise(house.store, house.clock, client.key)
    answer = await _open(client)
    assert (answer.status, problem(answer)) == (400, "badPublicKey")
    assert await _count(house, "acme_account") == 0
