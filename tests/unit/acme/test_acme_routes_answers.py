"""Every answer of the front door: methods, headers, problems (RFC 8555 section 6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.acme.routes import parsed_path
from gateway.errors import ClientGone, Conflict, StoreUnavailable
from gateway.http.message import HttpResponse
from gateway.store import requests
from gateway.store.store import Store
from tests.unit.acme import doors
from tests.unit.acme.house import BASE, House, SetClock, document, header, http_request, problem

SIGNED = (
    "/new-account",
    "/account/x",
    "/orders/x",
    "/key-change",
    "/new-order",
    "/order/x",
    "/order/x/finalize",
    "/authz/x",
    "/challenge/x/http-01",
    "/cert/x",
    "/cert/x/1",
    "/revoke-cert",
)
UNKNOWN = (
    "/acme",
    "/acme/",
    "/acme/directory/",
    "/acme/new-authz",
    "/acme/nowhere",
    "/acme/default/nowhere",
    "/acme/order",
    "/acme/order/x/y",
    "/acme/cert/x/1/2",
    "/acme/missing/directory",
    "/acme//directory",
    "/acme/./directory",
    "/acme/order/..",
    "/acme/cert/%2e%2e",
    "/acme/order/a%2fb",
    "/acme/order/a\\b",
    "/acme/a\r\nb/directory",
)


@pytest_asyncio.fixture
async def house(tmp_path: Path, store: Store, clock: SetClock) -> AsyncIterator[House]:
    opened = doors.opened(tmp_path, store, clock)
    yield opened
    await opened.aclose()


def _links(response: HttpResponse) -> list[str]:
    return [value for name, value in response.headers if name == "Link"]


def _check_dressed(response: HttpResponse, *, nonce: bool = True) -> None:
    assert (header(response, "Replay-Nonce") is not None) is nonce
    assert header(response, "Cache-Control") == "no-store"
    assert header(response, "Access-Control-Allow-Origin") == "*"
    assert f'<{BASE}/acme/directory>;rel="index"' in _links(response)


@contextmanager
def _broken(house: House, fault: Exception) -> Iterator[None]:
    """Reads of the front end fail with this."""

    async def read(_query: object) -> object:
        raise fault

    working, house.services.records = house.services.records, house.services.records.__class__(house.store)
    house.services.records.read = read  # type: ignore[method-assign,assignment]  # a database out of reach
    try:
        yield
    finally:
        house.services.records = working


async def test_directory_lists_absolute_https_urls(house: House) -> None:
    """acme.md C1, C3"""
    answer = await house.client().get("/directory")
    assert (answer.status, answer.content_type) == (200, "application/json")
    found = document(answer)
    known = {
        "newNonce": f"{BASE}/acme/new-nonce",
        "newAccount": f"{BASE}/acme/new-account",
        "newOrder": f"{BASE}/acme/new-order",
        "revokeCert": f"{BASE}/acme/revoke-cert",
        "keyChange": f"{BASE}/acme/key-change",
        "renewalInfo": f"{BASE}/acme/renewal-info",
    }
    assert {name: found.pop(name) for name in known} == known
    assert len(found) == 1, "one member that no client knows"
    assert next(iter(found)) not in document(await house.client().get("/directory"))


async def test_directory_of_a_named_endpoint_tells_its_options(house: House) -> None:
    """acme.md C1, C2: only what works is listed."""
    doors.change_options(house, "terms", caa_identities=("ca.test",), eab="always")
    found = document(await house.client("terms").get("/directory"))
    assert found["newOrder"] == f"{BASE}/acme/terms/new-order"
    assert "renewalInfo" not in found
    assert found["meta"] == {
        "termsOfService": doors.TERMS,
        "website": "https://ca.test/",
        "caaIdentities": ["ca.test"],
        "externalAccountRequired": True,
    }


async def test_directory_may_be_cached_shortly_and_has_no_index_link(house: House) -> None:
    """acme.md C6"""
    answer = await house.client().get("/directory")
    assert header(answer, "Cache-Control") == "public, max-age=60"
    assert _links(answer) == []
    assert header(answer, "Replay-Nonce") is None


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
async def test_new_nonce_gives_a_nonce(house: House, method: str, status: int) -> None:
    """acme.md C4, C6, C8"""
    answer = await house.client().get("/new-nonce", method)
    assert (answer.status, answer.body) == (status, b"")
    _check_dressed(answer)
    assert "Replay-Nonce" in str(header(answer, "Access-Control-Expose-Headers"))


async def test_directory_and_nonce_are_read_by_post_as_get_too(house: House) -> None:
    """acme.md C40, RFC 8555 section 6.3"""
    client = await house.client().registered()
    read = await client.post("/directory")
    assert document(read)["newOrder"] == f"{BASE}/acme/new-order"
    assert header(read, "Cache-Control") == "no-store"
    assert (await client.post("/new-nonce")).status == 204
    assert problem(await client.post("/directory", {})) == "malformed"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_signed_resource_takes_post_only(house: House, method: str) -> None:
    """acme.md C7"""
    for path in SIGNED:
        answer = await house.client().get(path, method)
        assert (answer.status, problem(answer), header(answer, "Allow")) == (405, "malformed", "POST"), path


async def test_post_to_renewal_information_names_the_methods_it_takes(house: House) -> None:
    answer = await house.client().post("/renewal-info/a.b", {})
    assert (answer.status, header(answer, "Allow")) == (405, "GET, HEAD")


async def test_preflight_of_a_browser_is_answered(house: House) -> None:
    """acme.md C8"""
    answer = await house.client().get("/new-order", "OPTIONS")
    assert answer.status == 204
    assert header(answer, "Access-Control-Allow-Methods") == "POST, OPTIONS"
    assert header(answer, "Access-Control-Allow-Headers") == "Content-Type"
    assert header(answer, "Access-Control-Allow-Origin") == "*"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_plain_http_is_refused_and_never_redirected(house: House, method: str) -> None:
    """acme.md C9"""
    request = http_request(method, f"{BASE}/acme/directory")
    request.scheme = "http"
    answer = await house.send(request)
    assert (answer.status, problem(answer)) == (403, "malformed")
    assert header(answer, "Location") is None


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_path_is_a_404_problem(house: House, method: str) -> None:
    """acme.md C10: the same words whether the endpoint exists or not."""
    for path in UNKNOWN:
        answer = await house.send(http_request(method, BASE + path))
        assert (answer.status, problem(answer)) == (404, "malformed"), path
        assert "no ACME resource has this path" in document(answer)["detail"]
        assert not any("\r" in value or "\n" in value for _, value in answer.headers)


@pytest.mark.parametrize(
    ("path", "parsed"),
    [
        ("/acme/directory", ("default", "directory", ())),
        ("/acme/e1/directory", ("e1", "directory", ())),
        ("/acme/order/x/finalize", ("default", "order", ("x", "finalize"))),
        ("/acme/e1/order/x/finalize", ("e1", "order", ("x", "finalize"))),
        ("/acme", ("default", "", ())),
        ("/acme/e1", ("default", "e1", ())),
    ],
)
def test_path_is_endpoint_resource_and_parts(path: str, parsed: object) -> None:
    assert parsed_path(path) == parsed


async def test_problem_answers_of_posts_are_dressed(house: House) -> None:
    """acme.md C6, C29: nonce, index link and no-store on errors too."""
    answer = await house.client().post_body("/new-order", b"")
    assert problem(answer) == "malformed"
    _check_dressed(answer)


async def test_refused_message_is_recorded_and_shows_its_reason_id(house: House) -> None:
    answer = await house.client().post_body("/new-order", b"{")
    shown = document(answer)["detail"]
    (row,) = await house.store.reader.read(lambda connection: requests.search(connection, limit=5).rows)
    assert (row.protocol, row.endpoint, row.operation) == ("acme", "default", "new-order")
    assert shown.endswith(f"[{row.reason_id}]")


async def test_bad_nonce_is_not_recorded(house: House) -> None:
    client = await house.client().registered()
    answer = await client.post("/new-order", {}, nonce="AAAA")
    assert problem(answer) == "badNonce"
    assert "PG-" not in document(answer)["detail"]


async def test_database_out_of_reach_is_503_with_retry_after_and_a_nonce(house: House) -> None:
    """acme.md C97"""
    client = await house.client().registered()
    with _broken(house, StoreUnavailable("the database does not answer", retry_after_s=7)):
        answer = await client.post("/new-order", {})
    assert (answer.status, problem(answer), header(answer, "Retry-After")) == (503, "serverInternal", "7")
    _check_dressed(answer)


async def test_message_that_lost_every_race_is_to_be_sent_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """acme.md E13, C97"""
    client = await house.client().registered()
    with _broken(house, Conflict("somebody else was first")):
        answer = await client.post("/new-order", {})
    assert (answer.status, problem(answer), header(answer, "Retry-After")) == (503, "serverInternal", "1")
    assert "acme.conflict" in caplog.text


async def test_fault_of_ours_is_a_blank_500_with_a_nonce(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """acme.md C97: the log has the traceback, the client no word of it."""
    client = await house.client().registered()
    with _broken(house, ZeroDivisionError("secret text")):
        answer = await client.post("/new-order", {})
    assert (answer.status, problem(answer)) == (500, "serverInternal")
    assert b"secret" not in answer.body
    _check_dressed(answer)
    assert "ZeroDivisionError: secret text" in caplog.text


async def test_client_that_went_away_is_the_edges_business(house: House) -> None:
    request = http_request(
        "POST", f"{BASE}/acme/new-order", headers={"content-type": "application/jose+json"}
    )

    async def gone() -> bytes:
        raise ClientGone

    with pytest.raises(ClientGone):
        await house.send(replace(request, receive_body=gone))


async def test_body_over_the_limit_is_413_and_the_connection_closes(house: House) -> None:
    """acme.md C14"""
    answer = await house.client().post_body("/new-order", b"x" * 50_001)
    assert (answer.status, problem(answer), answer.close) == (413, "malformed", True)
