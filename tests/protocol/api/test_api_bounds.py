"""What the API refuses of a request whose token is right, and where it is served at all."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter

from gateway.admin.application import AdminServices, api_application
from gateway.admin.operations import PermittedRoute
from tests.support.api_client import CREDENTIALS, PATIENCE_S, ApiClient
from tests.support.api_lab import ApiLab
from tests.support.gateway import Gateway

GOOD = {"kind": "scep-challenge", "endpoints": ["default"]}


@pytest.fixture
def client(api: ApiLab) -> ApiClient:
    return api.client(api.token("default"))


@pytest.mark.parametrize(
    ("more", "pointer", "words"),
    [
        ({"colour": "red"}, "/colour", "there is no such field here"),
        ({"a/b~c": 1}, "/a~1b~0c", "there is no such field here"),
        ({"prevalidated": ["example"]}, "/prevalidated", "there is no such field here"),
        ({"permissions": ["credential.add"]}, "/permissions", "there is no such field here"),
        ({"uses": "3"}, "/uses", "valid integer"),
        ({"uses": 3.5}, "/uses", "integer"),
        ({"uses": True}, "/uses", "integer"),
        ({"uses": 0}, "/uses", "greater than or equal to 1"),
        ({"uses": 2**31}, "/uses", "less than or equal to 2147483647"),
        ({"static": 1}, "/static", "valid boolean"),
        ({"static": True, "uses": 3}, "/uses", "a static challenge has no count of uses"),
        ({"endpoints": []}, "/endpoints", "at least 1 item"),
        ({"endpoints": "default"}, "/endpoints", "valid list"),
        ({"endpoints": ["No Such"]}, "/endpoints", "is no endpoint"),
        ({"endpoints": ["default"] * 101}, "/endpoints", "at most 100 items"),
        ({"names": ["exa mple"]}, "/names", "holds white space"),
        ({"names": ["10.0.0.1/8"]}, "/names", "is no address or network"),
        ({"profiles": ["a,b"]}, "/profiles", "is no profile"),
        ({"name": " "}, "/name", "no blank at its ends"),
        ({"name": "x" * 129}, "/name", "at most 128 characters"),
        ({"name": "bell\u0007"}, "/name", "printable"),
        ({"expires_in_s": 0}, "/expires_in_s", "greater than or equal to 1"),
        ({"expires_at": 1_900_000_000}, "/expires_at", "write a time as text"),
        ({"expires_at": "soon"}, "/expires_at", "valid datetime"),
        ({"expires_at": "2100-01-01T00:00:00"}, "/expires_at", "timezone"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "/expires_at", "not in the future"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "/expires_at", "beyond the last year"),
        ({"expires_at": "2100-01-01T00:00:00Z", "expires_in_s": 5}, "/expires_at", "not both"),
        ({"groups": []}, "/groups", "at least 1 item"),
        ({"groups": ["a"] * 65}, "/groups", "at most 64 items"),
        ({"groups": ["net ops"]}, "/groups", "is no group"),
        ({"labels": {}}, "/labels", "at least 1 item"),
        ({"labels": {"a-b": "x"}}, "/labels", "is no label"),
        ({"labels": {"site": ""}}, "/labels", "1 to 255 printable characters"),
        ({"labels": {"site": "x" * 256}}, "/labels", "1 to 255 printable characters"),
        ({"labels": {f"a{i}": "x" for i in range(33)}}, "/labels", "at most 32 items"),
        ({"kind": "api-token"}, "", "does not match any of the expected tags"),
        ({"kind": None}, "", "does not match any of the expected tags"),
        ({"kind": "cmp-secret"}, "/ref", "required"),
        ({"kind": "acme-eab", "name": "-x"}, "/name", "does not begin with -"),
        ({"kind": "acme-eab", "static": True}, "/static", "there is no such field here"),
    ],
)
def test_value_that_is_not_possible_is_named_with_what_to_do(
    client: ApiClient, more: dict[str, Any], pointer: str, words: str
) -> None:
    problem = client.create({**GOOD, **more}).problem(422, "invalid")
    (finding,) = problem["errors"]
    assert finding["pointer"] == pointer
    assert words in finding["detail"]
    assert words in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff{}",
        b'{"kind": "scep-challenge", "kind": "cmp-secret"}',
        b'{"uses": NaN}',
        b"[" * 8000,
        b"{} {}",
    ],
    ids=["empty", "open", "no UTF-8", "twice", "NaN", "deep", "two"],
)
def test_body_that_is_not_one_plain_json_value_is_400(client: ApiClient, body: bytes) -> None:
    client.create(body).problem(400, "json")


def test_json_that_is_no_object_is_422(client: ApiClient) -> None:
    for body in (b"[]", b"null", b'"scep-challenge"', b"7"):
        client.create(body).problem(422, "invalid")


def test_lone_surrogate_in_a_name_is_refused(client: ApiClient) -> None:
    """Nothing could be done with it: it has no form in UTF-8."""
    body = json.dumps({**GOOD, "name": "x\ud800"}).encode()
    assert client.create(body).status in {400, 422}


def test_what_was_sent_is_not_repeated(client: ApiClient) -> None:
    """It may be a secret in the wrong place."""
    answer = client.create({**GOOD, "secret": "planted-value-17"})
    answer.problem(422, "invalid")
    assert b"planted-value-17" not in answer.body


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_type_than_json_is_415(client: ApiClient, content_type: str) -> None:
    """What a form of a web page can send without asking is among them."""
    answer = client.request("POST", CREDENTIALS, GOOD, {"Content-Type": content_type})
    assert "application/json" in answer.problem(415, "media-type")["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_bound_is_413(client: ApiClient, chunked: bool) -> None:
    body = json.dumps({**GOOD, "name": "x" * 20_000}).encode()
    if not chunked:
        client.create(body).problem(413, "too-large")
        return
    connection = client.open()
    headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
    connection.request("POST", CREDENTIALS, iter([body[:9000], body[9000:]]), headers, encode_chunked=True)
    assert connection.getresponse().status == 413


def test_query_that_is_not_possible_is_named(client: ApiClient) -> None:
    for query, name in (
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("colour=red", "colour"),
        ("state=dead", "state"),
        ("kind=api-token", "kind"),
        ("before=x", "before"),
        ("endpoint=A", "endpoint"),
        ("endpoint=%22", "endpoint"),
    ):
        (finding,) = client.get(f"{CREDENTIALS}?{query}").problem(422, "invalid")["errors"]
        assert finding["pointer"] == name


def test_path_and_method_that_no_operation_has_are_problems_too(client: ApiClient) -> None:
    for path in ("/api/v1/nothing", "/api/v2/credentials", f"{CREDENTIALS}/", "/api/docs", "/docs", "/redoc"):
        client.get(path).problem(404, "not-found")
    for method, path, allowed in (
        ("DELETE", CREDENTIALS, "GET, POST"),
        ("PUT", f"{CREDENTIALS}/x", "GET"),
        ("GET", f"{CREDENTIALS}/x/revoke", "POST"),
        ("POST", "/api/v1/version", "GET"),
    ):
        answer = client.request(method, path)
        answer.problem(405, "method")
        assert answer.headers["allow"] == allowed


def test_no_answer_may_be_stored(client: ApiClient) -> None:
    made = client.create(GOOD)
    one = f"{CREDENTIALS}/{made.document['id']}"
    answers = [made, client.get(), client.get(one), client.revoke(made.document["id"]), client.create({})]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


def test_client_that_goes_away_in_its_body_is_no_fault(api: ApiLab, client: ApiClient) -> None:
    context = ssl.create_default_context(cafile=str(client.root_pem))
    port = int(client.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain:
        connection = context.wrap_socket(plain, server_hostname="localhost")
        head = f"POST {CREDENTIALS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        head += f"Content-Type: application/json\r\nAuthorization: Bearer {client.token}\r\n\r\n"
        connection.sendall(head.encode() + b"{")
        connection.close()
    assert client.get().status == 200
    api.scep.gateway.stop(PATIENCE_S)
    assert "request.fault" not in api.scep.gateway.log
    api.scep.gateway.start(PATIENCE_S)


@pytest.mark.parametrize("lab", [True, False])
def test_api_over_plain_http_is_for_loopback_in_lab_mode_only(
    start_gateway: Callable[..., Gateway], lab: bool
) -> None:
    listeners = [
        {"name": "https", "port": 0, "serves": ["est"]},
        {"name": "http", "port": 0, "tls": "off", "serves": ["api", "crl"]},
    ]
    gateway = start_gateway(lab=lab, config={"listeners": listeners})
    facts = gateway.quickstart
    plain = ApiClient(facts["http"], gateway.root_pem)
    answer = plain.get("/api/v1/version")
    if lab:
        assert answer.status == 200
        plain.get().problem(401, "token-missing")
    else:
        assert answer.status == 403
        assert b"API is not served over plain HTTP" in answer.body
    elsewhere = ApiClient(facts["https"], gateway.root_pem)
    assert elsewhere.get("/api/v1/version").status == 403
    plain.close()
    elsewhere.close()


def test_operation_that_declares_no_permission_does_not_start() -> None:
    nothing: Any = None
    app = api_application(AdminServices(nothing, nothing, nothing))
    for routes in (app, APIRouter(route_class=PermittedRoute)):
        with pytest.raises(TypeError, match="/anything declares no permission"):
            routes.add_api_route("/anything", lambda: None)
