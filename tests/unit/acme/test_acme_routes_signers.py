"""Who may send which POST: the order of checks, accounts by kid, URLs, standing (RFC 8555 6.2-6.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.acme.errors import AcmeError
from gateway.acme.resources import chain_number
from gateway.store import requests
from gateway.store.store import Store
from tests.support import acme_signing, pki
from tests.unit.acme import doors
from tests.unit.acme.house import BASE, Client, House, SetClock, document, header, http_request, problem

KIDS_OF_NOBODY = (
    (f"{BASE}/acme/account/0000", 400, "accountDoesNotExist"),
    (f"{BASE}/acme/account/", 400, "accountDoesNotExist"),
    (f"{BASE}/acme/account/{'a' * 65}", 400, "accountDoesNotExist"),
    (f"{BASE}/acme/order/0000", 400, "accountDoesNotExist"),
    ("https://elsewhere.test/acme/account/0000", 400, "accountDoesNotExist"),
    (f"{BASE}.evil.test/acme/account/0000", 400, "accountDoesNotExist"),
    ("0000", 400, "accountDoesNotExist"),
    (f"{BASE}/acme/other/account/0000", 403, "unauthorized"),
)
OF_ACCOUNTS = ("/new-order", "/key-change", "/order/x", "/authz/x", "/cert/x")
OBJECTS = ("/order/x", "/order/x/finalize", "/authz/x", "/challenge/x/http-01", "/cert/x")


@pytest_asyncio.fixture
async def house(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    opened = doors.opened(tmp_path, store, clock)
    yield opened
    await opened.aclose()


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/jose+json; charset=utf-8", "APPLICATION/JOSE+JSON", ""]
)
async def test_other_content_type_is_415(house: House, content_type: str) -> None:
    """acme.md C12"""
    answer = await house.client().post("/new-account", {}, content_type=content_type)
    assert (answer.status, problem(answer)) == (415, "malformed")


async def test_kid_at_new_account_is_malformed(house: House) -> None:
    """acme.md C23"""
    client = await house.client().registered()
    assert problem(await client.post("/new-account", {}, by_key=False)) == "malformed"


async def test_jwk_where_an_account_must_sign_is_malformed(house: House) -> None:
    """acme.md C23"""
    client = await house.client().registered()
    for path in OF_ACCOUNTS:
        assert problem(await client.post(path, None, by_key=True)) == "malformed", path


async def test_kid_of_nobody_here_is_refused(house: House) -> None:
    """acme.md C34, C35"""
    for kid, status, type_ in KIDS_OF_NOBODY:
        client = house.client()
        client.kid = kid
        answer = await client.post("/new-order", {})
        assert (answer.status, problem(answer)) == (status, type_), kid


async def test_kid_that_does_not_exist_leaves_no_record(house: House, store: Store) -> None:
    """acme.md C34, C96: it is logged, but a client that lost its server fills no table."""
    client = house.client()
    client.kid = f"{BASE}/acme/account/0000"
    assert problem(await client.post("/new-order", {})) == "accountDoesNotExist"
    assert (await store.reader.read(requests.search)).rows == ()


async def test_account_of_another_endpoint_is_never_accepted(house: House) -> None:
    """acme.md C36: neither by its own URL nor by its id below this endpoint."""
    there = await house.client("other").registered()
    assert there.kid is not None
    here = house.client(key=there.key)
    here.kid = there.kid
    answer = await here.post("/new-order", {})
    assert (answer.status, problem(answer)) == (403, "unauthorized")
    here.kid = there.kid.replace("/acme/other/", "/acme/")
    assert problem(await here.post("/new-order", {})) == "accountDoesNotExist"


async def test_signature_by_another_key_does_not_burn_the_nonce(house: House) -> None:
    """acme.md C27, C38"""
    client = await house.client().registered()
    nonce = await client.new_nonce()
    forged = house.client(key=pki.key())
    forged.kid = client.kid
    assert problem(await forged.post("/account/x", None, nonce=nonce)) == "malformed"
    assert (await client.post(str(client.kid), None, nonce=nonce)).status == 200


async def test_nonce_counts_once_even_if_a_later_check_fails(house: House) -> None:
    """acme.md C29, C39"""
    client = await house.client().registered()
    nonce = await client.new_nonce()
    assert problem(await client.post("/order/x", None, nonce=nonce)) == "malformed"
    again = await client.post(str(client.kid), None, nonce=nonce)
    assert problem(again) == "badNonce"
    assert (await client.post(str(client.kid), None, nonce=header(again, "Replay-Nonce"))).status == 200


@pytest.mark.parametrize(
    "url",
    [
        f"{BASE}/acme/new-account",
        f"{BASE}/acme/new-order?x=1",
        "https://evil.test/acme/new-order",
        "http://acme.test/acme/new-order",
        "/acme/new-order",
        f"{BASE}/acme/other/new-order",
    ],
)
async def test_message_signed_for_another_url_is_unauthorized(house: House, url: str) -> None:
    """acme.md C32, C33"""
    client = await house.client().registered()
    answer = await client.post("/new-order", {}, changes={"url": url})
    assert (answer.status, problem(answer)) == (403, "unauthorized")


async def test_query_is_part_of_the_signed_url(house: House) -> None:
    """acme.md C32"""
    client = await house.client().registered()
    url = f"{client.kid}?a=b"
    assert (await client.post(url, None)).status == 200
    answer = await client.post(url, None, changes={"url": client.kid})
    assert problem(answer) == "unauthorized"


async def test_url_is_compared_with_the_configured_base_not_with_host(house: House) -> None:
    """acme.md C33"""
    client = await house.client().registered()
    url = f"{BASE}/acme/new-order"
    evil = url.replace("acme.test", "evil.test")
    body = acme_signing.request_body(client.key, {}, url=evil, nonce=await client.new_nonce(), kid=client.kid)
    headers = {"content-type": "application/jose+json", "host": "evil.test", "x-forwarded-host": "evil.test"}
    answer = await house.send(http_request("POST", url, body, headers=headers))
    assert problem(answer) == "unauthorized"


async def test_deactivated_account_is_401_everywhere(house: House) -> None:
    """acme.md C37"""
    client = await house.client().registered()
    assert (await client.post(str(client.kid), {"status": "deactivated"})).status == 200
    for path in ("/new-order", str(client.kid), "/order/x", "/key-change", "/revoke-cert", "/directory"):
        answer = await client.post(path, None)
        assert (answer.status, problem(answer)) == (401, "unauthorized"), path


async def test_object_that_is_not_the_accounts_is_404(house: House) -> None:
    """acme.md C69"""
    client = await house.client().registered()
    for path in OBJECTS:
        answer = await client.post(path, None)
        assert (answer.status, problem(answer)) == (404, "malformed"), path


@pytest.mark.parametrize("tail", ["01", "0", "-1", "x", "1000", "\u0661", ""])
def test_certificate_chain_that_is_no_number_is_404(tail: str) -> None:
    """acme.md C90"""
    with pytest.raises(AcmeError) as refused:
        chain_number(("x", tail))
    assert refused.value.status == 404


def test_certificate_chain_is_the_number_behind_the_order() -> None:
    assert (chain_number(("x",)), chain_number(("x", "12"))) == (0, 12)


@pytest.mark.parametrize("word", ["account", "orders"])
async def test_account_url_of_somebody_else_is_unauthorized(house: House, word: str) -> None:
    """acme.md C51, C52: whether it exists or not."""
    client, other = await house.client().registered(), await house.client().registered()
    assert other.kid is not None
    for url in (other.kid.replace("/account/", f"/{word}/"), f"{BASE}/acme/{word}/0000"):
        answer = await client.post(url, None)
        assert (answer.status, problem(answer)) == (403, "unauthorized")


async def _agreed(house: House) -> Client:
    return await house.client("terms").registered(termsOfServiceAgreed=True)


async def test_changed_terms_stop_every_request_until_they_are_agreed_to(house: House) -> None:
    """acme.md C46"""
    client = await _agreed(house)
    doors.change_options(house, "terms", terms_of_service="https://ca.test/terms-2")
    for path in ("/new-order", str(client.kid), "/order/x"):
        answer = await client.post(path, None)
        assert (answer.status, problem(answer)) == (403, "userActionRequired"), path
        assert document(answer)["instance"] == "https://ca.test/terms-2"
        assert ("Link", '<https://ca.test/terms-2>;rel="terms-of-service"') in answer.headers
    answer = await client.post("/new-account", {"termsOfServiceAgreed": True}, by_key=True)
    assert (answer.status, document(answer)["termsOfServiceAgreed"]) == (200, True)
    assert (await client.post(str(client.kid), None)).status == 200


async def test_account_may_go_without_agreeing_to_new_terms(house: House) -> None:
    client = await _agreed(house)
    doors.change_options(house, "terms", terms_of_service="https://ca.test/terms-2")
    assert (await client.post(str(client.kid), {"status": "deactivated"})).status == 200


async def test_where_all_accounts_must_be_bound_an_unbound_one_can_only_go(house: House) -> None:
    doors.change_options(house, "bound", eab="none")
    client = await house.client("bound").registered()
    doors.change_options(house, "bound", eab="always")
    for path in ("/new-order", str(client.kid), "/order/x"):
        answer = await client.post(path, None)
        assert (answer.status, problem(answer)) == (403, "externalAccountRequired"), path
    assert (await client.post(str(client.kid), {"status": "deactivated"})).status == 200


async def test_where_only_new_accounts_must_be_bound_an_older_one_goes_on(house: House) -> None:
    doors.change_options(house, "new-only", eab="none")
    client = await house.client("new-only").registered()
    doors.change_options(house, "new-only", eab="new-accounts")
    assert (await client.post(str(client.kid), None)).status == 200
