"""Who may call which operation: every operation of the OpenAPI document, with every kind of wrong token."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import database
from tests.support.api_client import CREDENTIALS, PATIENCE_S, ApiAnswer, ApiClient
from tests.support.api_lab import ADD, ALL, READ, REVOKE, ApiLab

# Method, path and the permission that it asks for, as docs/api.md has them.
OPERATIONS = {
    ("POST", CREDENTIALS): ADD,
    ("GET", CREDENTIALS): READ,
    ("GET", CREDENTIALS + "/{credential_id}"): READ,
    ("POST", CREDENTIALS + "/{credential_id}/revoke"): REVOKE,
}
OPEN = {("GET", "/api/v1/version")}
operations = pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)


@pytest.fixture(scope="module")
def foreign(api: ApiLab) -> dict[str, Any]:
    """A credential of the endpoint ``other``."""
    return api.client(api.token()).created({"kind": "scep-challenge", "endpoints": ["other"]})


@pytest.fixture(autouse=True)
def _nothing_changes(api: ApiLab, foreign: dict[str, Any]) -> Iterator[None]:
    """Who is refused has made nothing and revoked nothing."""
    before = _challenges(api)
    yield
    assert _challenges(api) == before


def _challenges(api: ApiLab) -> list[tuple[Any, ...]]:
    query = "SELECT id, revoked_at FROM credential WHERE kind = 'scep-challenge' ORDER BY pk"
    return list(database.rows(api.scep.gateway.sql_url, query))


def _ask(client: ApiClient, operation: tuple[str, str], credential_id: str, **more: Any) -> ApiAnswer:
    """What is right but for its token, and about the endpoint ``other``."""
    method, path = operation
    body = {"kind": "scep-challenge", "endpoints": ["other"]} if operation == ("POST", CREDENTIALS) else None
    query = "?endpoint=other" if operation == ("GET", CREDENTIALS) else ""
    return client.request(method, path.format(credential_id=credential_id) + query, body, **more)


def test_openapi_document_holds_these_operations_and_says_which_need_a_token(api: ApiLab) -> None:
    answer = api.client().get("/api/v1/openapi.json")
    assert answer.status == 200
    found, asked = set(), {}
    for path, item in answer.document["paths"].items():
        for method, operation in item.items():
            asked[method.upper(), path] = operation["x-permission"]
            if "security" not in operation:
                found.add((method.upper(), path))
    assert found == OPEN
    assert {where: permission for where, permission in asked.items() if where not in OPEN} == OPERATIONS
    assert all(asked[where] == "" for where in OPEN)


def test_openapi_document_refers_to_nothing_that_is_not_there(api: ApiLab) -> None:
    document = api.client().get("/api/v1/openapi.json").document
    referred = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert referred
    for reference in referred:
        found = document
        for step in reference.split("/"):
            found = found[step]
    refusals = [
        answer["content"]
        for item in document["paths"].values()
        for operation in item.values()
        for status, answer in operation["responses"].items()
        if status.startswith("4")
    ]
    assert all(list(content) == ["application/problem+json"] for content in refusals)


@operations
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic ZGVtbzpkZW1v",
        "Bearer two words",
        "Bearer \xe9",
        "pkigate_without-scheme",
    ],
)
def test_request_without_a_token_is_401_and_says_how_to_send_one(
    api: ApiLab, foreign: dict[str, Any], operation: tuple[str, str], header: str | None
) -> None:
    """RFC 6750 section 3: no error code where no token was sent."""
    headers = None if header is None else {"Authorization": header}
    answer = _ask(api.client(), operation, foreign["id"], headers=headers)
    problem = answer.problem(401, "token-missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="pkigate"'
    assert "Authorization: Bearer TOKEN" in problem["detail"]


@operations
def test_wrong_token_is_401(api: ApiLab, foreign: dict[str, Any], operation: tuple[str, str]) -> None:
    answer = _ask(api.client("pkigate_" + secrets.token_urlsafe(32)), operation, foreign["id"])
    answer.problem(401, "token-refused")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.fixture(scope="module")
def revoked_token(api: ApiLab) -> str:
    made = api.new_token("revoked")
    api.scep.gateway.cli("credential", "revoke", made["id"])
    return str(made["token"])


@operations
def test_revoked_token_is_401_and_told_as_a_wrong_one(
    api: ApiLab, foreign: dict[str, Any], revoked_token: str, operation: tuple[str, str]
) -> None:
    answer = _ask(api.client(revoked_token), operation, foreign["id"])
    wrong = _ask(api.client("pkigate_" + secrets.token_urlsafe(32)), operation, foreign["id"])
    assert answer.problem(401, "token-refused")["detail"] == wrong.problem(401, "token-refused")["detail"]


@pytest.fixture(scope="module")
def expired_token(api: ApiLab) -> str:
    token = str(api.new_token("expired", "--expires", "1s")["token"])
    client, deadline = api.client(token), time.monotonic() + PATIENCE_S
    while client.get().status != 401:
        assert time.monotonic() < deadline, "it never expired"
    return token


@operations
def test_expired_token_is_401_and_says_when_it_ended(
    api: ApiLab, foreign: dict[str, Any], expired_token: str, operation: tuple[str, str]
) -> None:
    answer = _ask(api.client(expired_token), operation, foreign["id"])
    assert "expired at 20" in answer.problem(401, "token-refused")["detail"]
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@operations
def test_token_without_the_permission_is_403_and_told_which_one(
    api: ApiLab, foreign: dict[str, Any], operation: tuple[str, str]
) -> None:
    """One that may do everything else."""
    lacking = OPERATIONS[operation]
    token = api.token(allow=tuple(one for one in ALL if one != lacking))
    answer = _ask(api.client(token), operation, foreign["id"])
    problem = answer.problem(403, "not-allowed")
    assert problem["lacks"] == {"permission": [lacking]}
    assert f"--allow {lacking}" in problem["detail"]
    expected = f'Bearer realm="pkigate", error="insufficient_scope", scope="{lacking}"'
    assert answer.headers["www-authenticate"] == expected


@operations
def test_token_for_another_endpoint_is_403(
    api: ApiLab, foreign: dict[str, Any], operation: tuple[str, str]
) -> None:
    answer = _ask(api.client(api.token("default")), operation, foreign["id"])
    problem = answer.problem(403, "out-of-reach")
    assert "this token is for the endpoint default only" in problem["detail"]
    if "{" not in operation[1]:
        assert problem["lacks"] == {"endpoint": ["other"]}


@operations
def test_secret_of_another_kind_is_no_token(
    api: ApiLab, foreign: dict[str, Any], operation: tuple[str, str]
) -> None:
    """A challenge password opens no API."""
    _ask(api.client(foreign["secret"]), operation, foreign["id"]).problem(401, "token-refused")


def test_token_is_looked_at_before_the_body(api: ApiLab) -> None:
    for body in (b"{", b"x" * 100_000):
        api.client().create(body).problem(401, "token-missing")


def test_two_authorization_fields_are_none(api: ApiLab) -> None:
    """Which of the two counts, a proxy before the gateway may see differently."""
    client = api.client()
    connection = client.open()
    connection.putrequest("GET", CREDENTIALS)
    for _ in range(2):
        connection.putheader("Authorization", f"Bearer {api.token()}")
    connection.endheaders()
    assert connection.getresponse().status == 401


def test_credential_without_endpoints_is_no_business_of_a_token_for_one(api: ApiLab) -> None:
    client = api.client(api.token("default"))
    problem = client.create({"kind": "scep-challenge"}).problem(403, "out-of-reach")
    assert "name endpoints among these" in problem["detail"]
    client.create({"kind": "scep-challenge", "endpoints": ["default", "other"]}).problem(403, "out-of-reach")


def test_tokens_themselves_are_neither_shown_made_nor_revoked_by_a_token(api: ApiLab) -> None:
    own = api.new_token("alone")
    client = api.client(own["token"])
    client.get(f"{CREDENTIALS}/{own['id']}").problem(404, "not-found")
    client.revoke(own["id"]).problem(404, "not-found")
    assert "api-token" not in {row["kind"] for row in client.get().document["credentials"]}
    client.create({"kind": "api-token", "name": "heir"}).problem(422, "invalid")
    client.get(f"{CREDENTIALS}?kind=api-token").problem(422, "invalid")


def test_wrong_tokens_are_throttled_by_their_address_and_others_go_on(api: ApiLab) -> None:
    guess = "pkigate_" + secrets.token_urlsafe(32)
    client, deadline = api.client(guess, "127.0.5.1"), time.monotonic() + PATIENCE_S
    answer = client.get()
    while answer.status == 401:
        assert time.monotonic() < deadline, "nothing ever held it up"
        answer = client.get()
    answer.problem(429, "throttled")
    assert int(answer.headers["retry-after"]) >= 1
    assert api.client(api.token(), "127.0.5.2").get().status == 200


def test_many_requests_with_a_right_token_are_never_throttled(api: ApiLab) -> None:
    client = api.client(api.token(), "127.0.5.3")
    assert {client.get(f"{CREDENTIALS}?limit=1").status for _ in range(150)} == {200}
