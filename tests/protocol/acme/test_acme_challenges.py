"""Challenges and validation over the wire (acme.md C40, C73-C77, C80, C82, E12; RFC 8555 7.5.1, 8)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support import acme_signing, pki
from tests.support.acme_client import AcmeClient, Order, challenge
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_responders import AlpnResponder, alpn_responder, http01_responder

URN = "urn:ietf:params:acme:error:"


def _failed(client: AcmeClient, order: Order, type_: str = "http-01") -> dict[str, Any]:
    """Answer a challenge and see it fail; gives its error."""
    offered = order.challenge(type_)
    client.post(offered["url"], {}).ok()
    authorization = client.wait(order.document["authorizations"][0])
    assert authorization["status"] == "invalid", authorization
    error: dict[str, Any] = challenge(authorization, type_)["error"]
    assert error["type"].startswith(URN)
    assert error["detail"]
    return error


def test_answered_challenge_is_processed_and_becomes_valid(lab: Lab, account: AcmeClient) -> None:
    """acme.md C73"""
    order = account.ordered([new_name()])
    offered, gate = order.challenge(), threading.Event()
    lab.http.answer(offered["token"], account.key, gate=gate)
    answer = account.post(offered["url"], {})
    assert answer.ok()["status"] in ("processing", "pending")
    assert answer.json["url"] == offered["url"]
    assert answer.json["token"] == offered["token"]
    assert answer.links("up") == [order.document["authorizations"][0]]
    assert int(answer.header("Retry-After") or "0") >= 1
    gate.set()
    account.wait(order.document["authorizations"][0])
    done = account.post(offered["url"])
    assert done.ok()["status"] == "valid"
    assert done.json["validated"].endswith("Z")
    assert done.links("up") == [order.document["authorizations"][0]]


def test_authorization_is_pending_while_its_challenge_is_processed(lab: Lab, account: AcmeClient) -> None:
    """acme.md C73 (RFC 8555 section 7.1.6): an authorization has no state "processing"."""
    order = account.ordered([new_name()])
    offered, gate = order.challenge(), threading.Event()
    lab.http.answer(offered["token"], account.key, gate=gate)
    account.post(offered["url"], {}).ok()
    found = account.post(order.document["authorizations"][0])
    assert found.ok()["status"] == "pending"
    assert int(found.header("Retry-After") or "0") >= 1
    assert order.read()["status"] == "pending"
    gate.set()
    assert account.wait(order.document["authorizations"][0])["status"] == "valid"


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', b"7", b"{", b'{"a":1,"a":1}'])
def test_answer_that_is_no_object_is_malformed(lab: Lab, account: AcmeClient, payload: bytes) -> None:
    """acme.md C73"""
    order = account.ordered([new_name()])
    offered = order.challenge()
    account.post(offered["url"], payload).refused(400, "malformed")
    assert order.authorization()["status"] == "pending"
    assert lab.http.times_asked(offered["token"]) == 0


def test_members_of_older_clients_in_an_answer_are_tolerated(lab: Lab, account: AcmeClient) -> None:
    """acme.md C73: keyAuthorization, resource and type came from drafts."""
    order = account.ordered([new_name()])
    offered = order.challenge()
    text = acme_signing.key_authorization(offered["token"], account.key)
    lab.http.answer(offered["token"], account.key)
    account.post(offered["url"], {"keyAuthorization": text, "resource": "challenge", "type": "http-01"}).ok()
    assert account.wait(order.document["authorizations"][0])["status"] == "valid"


def test_answering_again_starts_nothing_again(lab: Lab, account: AcmeClient) -> None:
    """acme.md C74: while it is processed and when it is done."""
    order = account.ordered([new_name()])
    offered, gate = order.challenge(), threading.Event()
    lab.http.answer(offered["token"], account.key, gate=gate)
    for _ in range(3):
        answer = account.post(offered["url"], {})
        assert answer.status in (200, 400), answer.text
    gate.set()
    account.wait(order.document["authorizations"][0])
    for _ in range(3):
        answer = account.post(offered["url"], {})
        assert answer.status in (200, 400), answer.text
        assert answer.status == 400 or answer.json["status"] == "valid"
    assert lab.http.times_asked(offered["token"]) == 1


def test_failed_challenge_stays_invalid(lab: Lab, account: AcmeClient) -> None:
    """acme.md C74: never back to pending."""
    order = account.ordered([new_name()])
    offered = order.challenge()
    _failed(account, order)
    lab.http.answer(offered["token"], account.key)
    answer = account.post(offered["url"], {})
    assert answer.status in (200, 400, 403), answer.text
    assert answer.status != 200 or answer.json["status"] == "invalid"
    assert order.authorization()["status"] == "invalid"


def test_failure_is_told_in_challenge_authorization_and_order(lab: Lab, account: AcmeClient) -> None:
    """acme.md C77"""
    order = account.ordered([new_name(), new_name()])
    error = _failed(account, order)
    assert error["status"] == 403
    found = order.authorization()
    usable = [one for one in found["challenges"] if one["status"] in ("pending", "processing")]
    for one in usable:
        assert account.post(one["url"], {}).status in (400, 403), "unusable"
    assert order.read()["status"] == "invalid"
    told = order.document["error"]
    assert told["type"].startswith(URN)
    assert order.names[0] in str(told)


@pytest.mark.parametrize(
    ("status", "body", "type_"),
    [
        (404, b"not here", "unauthorized"),
        (500, b"broken", "unauthorized"),
        (200, b"something else", "unauthorized"),
        (200, b"", "unauthorized"),
        (200, b"x" * 200_000, "unauthorized"),
    ],
)
def test_wrong_answers_over_http_fail(
    lab: Lab, account: AcmeClient, status: int, body: bytes, type_: str
) -> None:
    """acme.md C77, C80, E1: the text of the page is not shown."""
    order = account.ordered([new_name()])
    lab.http.show(order.challenge()["token"], body, status=status)
    error = _failed(account, order)
    assert error["type"] in (URN + type_, URN + "incorrectResponse", URN + "connection")
    assert order.names[0] in error["detail"]


def test_key_authorization_of_another_account_fails(lab: Lab, account: AcmeClient) -> None:
    """acme.md C77, C80: the right token with another key's thumbprint."""
    order = account.ordered([new_name()])
    lab.http.answer(order.challenge()["token"], pki.key())
    assert _failed(account, order)["type"] in (URN + "unauthorized", URN + "incorrectResponse")


def test_white_space_after_the_key_authorization_is_no_matter(lab: Lab, account: AcmeClient) -> None:
    """acme.md C80 (RFC 8555 section 8.3)"""
    order = account.ordered([new_name()])
    offered = order.challenge()
    text = acme_signing.key_authorization(offered["token"], account.key)
    lab.http.show(offered["token"], text.encode() + b" \r\n")
    account.post(offered["url"], {}).ok()
    assert account.wait(order.document["authorizations"][0])["status"] == "valid"


def test_request_of_http_01_names_host_and_path_exactly(lab: Lab, account: AcmeClient) -> None:
    """acme.md C80: Host as given (with the lab's port)."""
    order = account.ordered([new_name()])
    order.prove(lab.http)
    token = order.authorization()["challenges"][0]["token"]
    (asked,) = [one for one in lab.http.asked if token in one.path]
    assert asked.path == f"/.well-known/acme-challenge/{token}"
    assert asked.host in (order.names[0], f"{order.names[0]}:{lab.http.port}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_followed_within_bounds(lab: Lab, account: AcmeClient, status: int) -> None:
    """acme.md C80"""
    order = account.ordered([new_name()])
    offered, elsewhere = order.challenge(), "elsewhere-" + order.names[0].partition(".")[0]
    target = f"http://{new_name()}:{lab.http.port}/.well-known/acme-challenge/{elsewhere}"
    lab.http.show(offered["token"], b"", status=status, headers=(("Location", target),))
    text = acme_signing.key_authorization(offered["token"], account.key)
    lab.http.show(elsewhere, text.encode())
    account.post(offered["url"], {}).ok()
    assert account.wait(order.document["authorizations"][0])["status"] == "valid"
    assert lab.http.times_asked(elsewhere) == 1


def test_endless_redirect_fails(lab: Lab, account: AcmeClient) -> None:
    """acme.md C80: ten at most."""
    order = account.ordered([new_name()])
    token = order.challenge()["token"]
    again = f"http://{order.names[0]}:{lab.http.port}/.well-known/acme-challenge/{token}"
    lab.http.show(token, b"", status=301, headers=(("Location", again),))
    _failed(account, order)
    assert 2 <= lab.http.times_asked(token) <= 11


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("http://169.254.169.254/latest/meta-data/", "addresses that must not be connected to"),
        ("http://10.0.0.1/x", "addresses that must not be connected to"),
        ("http://[fe80::1]/x", "addresses that must not be connected to"),
        ("ftp://a.test/x", "no http or https URL"),
        ("file:///etc/passwd", "no http or https URL"),
        ("http://user:secret@a.test/x", "no http or https URL"),
        ("http://a.test:22/x", "a port other than 80 and 443"),
        ("//", "in a circle"),
    ],
)
def test_redirect_to_a_forbidden_place_fails(lab: Lab, account: AcmeClient, target: str, told: str) -> None:
    """acme.md C80, E1: metadata and private addresses, other schemes and ports: refused, and not tried."""
    order = account.ordered([new_name()])
    lab.http.show(order.challenge()["token"], b"", status=302, headers=(("Location", target),))
    error = _failed(account, order)
    assert told in error["detail"]
    assert "secret" not in error["detail"]


def test_details_hold_nothing_that_a_shell_would_run(lab: Lab, account: AcmeClient) -> None:
    """acme.md E12: acme.sh once ran what a server wrote into its answers."""
    order = account.ordered([new_name()])
    bait = "`id`$(id);|&<x>\x1b[31m"
    location = f"http://a.test:{lab.http.port}/{bait}".encode("ascii", "replace").decode()
    lab.http.show(order.challenge()["token"], bait.encode(), status=302, headers=(("Location", location),))
    detail = _failed(account, order)["detail"]
    assert detail.isascii()
    assert not set("`$;|&<>\x1b") & set(detail), detail


def _alpn_proven(alpn: AlpnResponder, client: AcmeClient, name: str, server_name: str) -> str:
    order = client.ordered([name])
    offered = order.challenge("tls-alpn-01")
    alpn.answer(server_name, offered["token"], client.key, san=f"ip:{name}" if name != server_name else None)
    client.post(offered["url"], {}).ok()
    status: str = client.wait(order.document["authorizations"][0])["status"]
    return status


def test_name_is_proven_by_tls_alpn_01(lab: Lab, account: AcmeClient) -> None:
    """acme.md C82 (RFC 8737 section 3)"""
    host = new_name()
    assert _alpn_proven(lab.alpn, account, host, host) == "valid"
    assert lab.alpn.asked[-1] == host


def test_address_is_proven_by_tls_alpn_01(lab: Lab, account: AcmeClient) -> None:
    """acme.md C82 (RFC 8738 section 6)"""
    assert _alpn_proven(lab.alpn, account, "127.0.0.1", "1.0.0.127.in-addr.arpa") == "valid"


def test_address_of_ipv6_is_proven_by_tls_alpn_01(lab: Lab, account: AcmeClient) -> None:
    """acme.md C82 (RFC 8738 section 6)"""
    with alpn_responder(lab.alpn.port, "::1") as alpn:
        assert _alpn_proven(alpn, account, "::1", "1." + "0." * 31 + "ip6.arpa") == "valid"


def test_address_of_ipv6_is_proven_by_http_01(lab: Lab, account: AcmeClient) -> None:
    """acme.md B8, C80: in brackets where it stands as Host."""
    with http01_responder(lab.http.port, "::1") as responder:
        certificate = account.issue(["::1"], responder)
    assert certificate.names == ["::1"]
    assert [asked.host for asked in responder.asked] == ["[::1]"]


def test_address_is_proven_by_http_01(lab: Lab, account: AcmeClient) -> None:
    """acme.md C68, C80 (RFC 8738 section 4): and certified without a CN of it (C91)."""
    certificate = account.issue(["127.0.0.1"], lab.http)
    assert certificate.names == ["127.0.0.1"]
    assert "127.0.0.1" not in certificate.leaf.subject.rfc4514_string()


@pytest.mark.parametrize(
    "fault",
    [
        {"san": "elsewhere.test"},
        {"more_sans": ("elsewhere.test",)},
        {"critical": False},
        {"extension": False},
    ],
    ids=["other-name", "second-name", "not-critical", "no-extension"],
)
def test_wrong_certificate_fails_tls_alpn_01(lab: Lab, account: AcmeClient, fault: dict[str, Any]) -> None:
    """acme.md C82, E6"""
    host = new_name()
    order = account.ordered([host])
    lab.alpn.answer(host, order.challenge("tls-alpn-01")["token"], account.key, **fault)
    _failed(account, order, "tls-alpn-01")


def test_wrong_digest_fails_tls_alpn_01(lab: Lab, account: AcmeClient) -> None:
    """acme.md C82"""
    host = new_name()
    order = account.ordered([host])
    lab.alpn.answer(host, order.challenge("tls-alpn-01")["token"], pki.key())
    _failed(account, order, "tls-alpn-01")


def test_server_that_does_not_speak_the_protocol_fails_tls_alpn_01(lab: Lab, account: AcmeClient) -> None:
    """acme.md C82, E6: a shared host's server that takes any certificate is not asked for more."""
    host = new_name()
    order = account.ordered([host])
    token = order.challenge("tls-alpn-01")["token"]
    lab.alpn.answer(host, token, account.key)
    lab.alpn.contexts[host].set_alpn_protocols(["http/1.1"])
    assert _failed(account, order, "tls-alpn-01")["type"] == URN + "tls"


def test_nobody_there_fails(lab: Lab, account: AcmeClient) -> None:
    """acme.md C77, C82: no certificate for this name at all."""
    error = _failed(account, account.ordered([new_name()]), "tls-alpn-01")
    assert error["type"] in (URN + "tls", URN + "connection", URN + "unauthorized")


def test_challenge_type_that_was_not_offered_does_not_exist(lab: Lab) -> None:
    """acme.md C68, C69"""
    client = lab.account("fast-only")
    offered = client.ordered([new_name()]).challenge()
    for other in ("dns-01", "tls-alpn-01", "nonsense", "prevalidated", ""):
        client.post(offered["url"].replace("http-01", other), {}).refused(404, "malformed")
