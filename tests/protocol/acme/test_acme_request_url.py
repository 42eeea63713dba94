"""What a signed message is about: URL, account, order of checks (acme.md C32-C36, C38, C40)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support import acme_signing
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_signing import b64u


def _new_order(client: AcmeClient, body: bytes | Mapping[str, object], **more: Any) -> AcmeAnswer:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post_body(client.directory["newOrder"], octets, **more)
    assert answer.header("Replay-Nonce"), "every answer to a POST has a nonce"
    return answer


def _signed(client: AcmeClient, payload: object = b"{}", **changes: object) -> dict[str, str]:
    url = client.directory["newOrder"]
    header = acme_signing.protected_header(client.key, url, client.take_nonce(), client.kid, changes)
    return acme_signing.signed(client.key, header, payload)


def test_missing_url_is_malformed(account: AcmeClient) -> None:
    """acme.md C32"""
    _new_order(account, _signed(account, url=None)).refused(400, "malformed")
    _new_order(account, _signed(account, url=7)).refused(400, "malformed")


def test_url_of_another_request_is_unauthorized(lab: Lab, account: AcmeClient) -> None:
    """acme.md C32, C33 (RFC 8555 section 6.4): scheme, host, port, path and query all count."""
    url = account.directory["newOrder"]
    base = lab.gateway.quickstart["https"]
    for other in (
        account.directory["newAccount"],
        url + "/",
        url + "?",
        url + "?a=b",
        url + "#part",
        url.replace("https:", "http:"),
        url.replace(base, "https://evil.test"),
        url.replace("/acme/", "/acme/other/"),
        url.replace("/acme/", "//acme/"),
        url.replace("new-order", "New-Order"),
        url.replace("new-order", "new%2Dorder"),
        "",
        "/acme/new-order",
    ):
        _new_order(account, _signed(account, url=other)).refused(403, "unauthorized")


def test_query_string_is_part_of_the_url(account: AcmeClient) -> None:
    """acme.md C32, E9"""
    assert account.kid is not None
    asked = account.kid.replace("/account/", "/orders/") + f"?before={'f' * 44}"
    account.post(asked).ok()
    account.post(asked, changes={"url": asked.partition("?")[0]}).refused(403, "unauthorized")


def test_forged_host_does_not_make_another_url_right(lab: Lab, account: AcmeClient) -> None:
    """acme.md C33"""
    url = account.directory["newOrder"]
    forged = url.replace(lab.gateway.quickstart["https"], "https://evil.test")
    for headers in (
        {"Host": "evil.test"},
        {"X-Forwarded-Host": "evil.test"},
        {"Forwarded": "host=evil.test"},
    ):
        body = json.dumps(_signed(account, url=forged)).encode()
        answer = account.post_body(url, body, **headers)
        assert answer.status in (400, 403, 404), answer.text
        assert answer.problem != "badNonce"


@pytest.mark.parametrize("kid", ["https://evil.test/acme/account/x", "", "x", "account/x", "../account/x"])
def test_kid_that_is_no_account_url_is_refused(account: AcmeClient, kid: str) -> None:
    """acme.md C34"""
    answer = _new_order(account, _signed(account, kid=kid))
    assert answer.status == 400
    assert answer.problem in ("malformed", "accountDoesNotExist")


@pytest.mark.parametrize("kid", [7, ["x"], {"x": "y"}, True])
def test_kid_that_is_no_text_is_malformed(account: AcmeClient, kid: object) -> None:
    """acme.md C34"""
    _new_order(account, _signed(account, kid=kid)).refused(400, "malformed")


def test_unknown_kid_names_no_account(account: AcmeClient) -> None:
    """acme.md C35"""
    assert account.kid is not None
    for kid in (account.kid[:-1] + ("A" if account.kid[-1] != "A" else "B"), account.kid + "A"):
        _new_order(account, _signed(account, kid=kid)).refused(400, "accountDoesNotExist")


def test_kid_of_another_directory_is_never_accepted(lab: Lab) -> None:
    """acme.md C36, B14"""
    theirs, mine = lab.account("other"), lab.client()
    url = mine.directory["newOrder"]
    assert theirs.kid is not None
    for kid in (theirs.kid, theirs.kid.replace("/acme/other/", "/acme/")):
        body = acme_signing.request_body(theirs.key, {}, url=url, nonce=mine.new_nonce(), kid=kid)
        answer = mine.post_body(url, body)
        assert answer.status in (400, 401, 403)
        assert answer.problem in ("malformed", "accountDoesNotExist", "unauthorized")


def test_order_of_checks_is_signature_nonce_url_payload(account: AcmeClient) -> None:
    """acme.md C38: a message with all faults is told the first of them, and so on."""
    everything: dict[str, Any] = {"nonce": b64u(b"x" * 24), "url": "https://evil.test/"}
    broken = _signed(account, b"no json", **everything)
    broken["signature"] = b64u(b"\x01" * 64)
    _new_order(account, broken).refused(400, "malformed")
    _new_order(account, _signed(account, b"no json", **everything)).refused(400, "badNonce")
    _new_order(account, _signed(account, b"no json", url="https://evil.test/")).refused(403, "unauthorized")
    _new_order(account, _signed(account, b"no json")).refused(400, "malformed")


@pytest.mark.parametrize("payload", [b"{}", b"null", b"[]", b'""', b" "])
def test_object_is_read_by_an_empty_payload_only(account: AcmeClient, payload: bytes) -> None:
    """acme.md C40 (RFC 8555 section 6.3)"""
    order = account.ordered([new_name()])
    for url in (order.url, order.url.replace("/order/", "/cert/")):
        answer = account.post(url, payload)
        assert answer.status in (400, 404), url
        assert answer.problem == "malformed", url
    account.post(order.url, payload).refused(400, "malformed")


def test_reading_a_challenge_starts_no_validation(lab: Lab, account: AcmeClient) -> None:
    """acme.md C40"""
    order = account.ordered([new_name()])
    offered = order.challenge()
    lab.http.answer(offered["token"], account.key)
    assert account.post(offered["url"]).ok()["status"] == "pending"
    assert order.authorization()["status"] == "pending"
    assert lab.http.times_asked(offered["token"]) == 0
