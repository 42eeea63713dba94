"""Directory, links, methods and headers (acme.md C1-C11, C33, C79; RFC 8555 sections 6.1 and 7.1)."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import TERMS, WEBSITE, Lab, new_name

REQUIRED = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
SIGNED = ("newAccount", "newOrder", "revokeCert", "keyChange")


def test_directory_lists_absolute_https_urls_that_are_served(lab: Lab) -> None:
    """acme.md C1"""
    client = lab.client()
    answer = client.get(lab.directory())
    assert answer.header("Content-Type") == "application/json"
    urls = {name: answer.ok()[name] for name in (*REQUIRED, "renewalInfo")}
    base = lab.gateway.quickstart["https"]
    assert all(url.startswith(f"{base}/acme/") for url in urls.values()), urls
    assert all(client.get(urls[name]).status == 405 for name in SIGNED)
    assert "newAuthz" not in answer.json, "pre-authorization is not served"


def test_directory_is_the_one_that_quickstart_names(lab: Lab) -> None:
    """acme.md C1"""
    assert lab.gateway.quickstart["acme"]["directory"] == lab.directory()


def test_endpoint_without_renewal_information_does_not_offer_it(lab: Lab) -> None:
    """acme.md C1: only what works is listed."""
    assert "renewalInfo" not in lab.client("no-ari").directory


def test_meta_tells_terms_website_and_profiles_where_there_are_any(lab: Lab) -> None:
    """acme.md C2"""
    meta = lab.client("terms").directory["meta"]
    assert (meta["termsOfService"], meta["website"]) == (TERMS, WEBSITE)
    plain = lab.client().directory.get("meta", {})
    assert {"termsOfService", "website", "caaIdentities", "profiles"}.isdisjoint(plain), plain
    assert not plain.get("externalAccountRequired", False)


@pytest.mark.parametrize("name", ["eab", "eab-new", "trusted"])
def test_meta_says_that_an_external_account_is_required(lab: Lab, name: str) -> None:
    """acme.md C2"""
    assert lab.client(name).directory["meta"]["externalAccountRequired"] is True


def test_directory_has_a_random_member_to_keep_clients_tolerant(lab: Lab) -> None:
    """acme.md C3"""
    known = {*REQUIRED, "renewalInfo", "meta"}
    found = [lab.client(name).directory for name in ("default", "other", "default")]
    extra = [{name: directory[name] for name in set(directory) - known} for directory in found]
    assert [len(members) for members in extra] == [1, 1, 1]
    assert all(isinstance(value, str) for members in extra for value in members.values())


def test_every_resource_but_the_directory_links_to_it(lab: Lab, account: AcmeClient) -> None:
    """acme.md C6"""
    index = [lab.directory()]
    assert account.get(lab.directory()).links("index") == []
    assert account.send("HEAD", account.directory["newNonce"]).links("index") == index
    assert account.get(account.directory["newOrder"]).links("index") == index
    assert account.call("newOrder", {}).links("index") == index
    order = account.ordered(["linked.test"])
    assert account.post(order.url).links("index") == index
    assert account.get(account.directory["renewalInfo"] + "/AAAA.AAAA").links("index") == index
    for url in (*order.document["authorizations"], order.document["finalize"]):
        assert account.post(url).links("index") == index, url


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_other_methods_than_post_on_signed_resources_are_refused(account: AcmeClient, method: str) -> None:
    """acme.md C7"""
    order = account.ordered(["methods.test"])
    challenge = order.challenge()
    assert account.kid is not None
    urls = [account.directory[name] for name in SIGNED]
    urls += [account.kid, account.kid.replace("/account/", "/orders/"), order.url, order.document["finalize"]]
    urls += [order.document["authorizations"][0], challenge["url"], order.url.replace("/order/", "/cert/")]
    for url in urls:
        answer = account.send(method, url)
        assert answer.status == 405, url
        assert "POST" in (answer.header("Allow") or ""), url
        if method != "HEAD":
            assert answer.problem == "malformed", url


def _allows_any_origin(answer: AcmeAnswer) -> None:
    assert answer.header("Access-Control-Allow-Origin") == "*"
    exposed = {
        name.strip().lower() for name in (answer.header("Access-Control-Expose-Headers") or "").split(",")
    }
    assert {"link", "location", "replay-nonce", "retry-after"} <= exposed


def test_scripts_of_other_origins_may_read_answers(lab: Lab, account: AcmeClient) -> None:
    """acme.md C8"""
    origin = {"Origin": "https://elsewhere.test"}
    _allows_any_origin(account.get(lab.directory(), **origin))
    _allows_any_origin(account.send("HEAD", account.directory["newNonce"], headers=origin))
    _allows_any_origin(account.post_body(account.directory["newOrder"], b"{}", **origin))


def test_preflight_of_a_post_is_allowed(account: AcmeClient) -> None:
    """acme.md C8: a script's POST of application/jose+json asks first."""
    asked = {
        "Origin": "https://elsewhere.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = account.send("OPTIONS", account.directory["newOrder"], headers=asked)
    assert answer.status in (200, 204), answer.text
    assert answer.header("Access-Control-Allow-Origin") == "*"
    assert "POST" in (answer.header("Access-Control-Allow-Methods") or "")
    assert "content-type" in (answer.header("Access-Control-Allow-Headers") or "").lower()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_plain_http_is_refused_and_never_redirected(lab: Lab, method: str) -> None:
    """acme.md C9"""
    split = urlsplit(lab.gateway.quickstart["http"])
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=60)
    try:
        path = "/acme/directory" if method == "GET" else "/acme/new-order"
        body = b"{}" if method == "POST" else None
        connection.request(method, path, body, {"Content-Type": "application/jose+json"})
        response = connection.getresponse()
        assert response.status in (403, 404)
        assert response.getheader("Location") is None
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/acme/nothing",
        "/acme/",
        "/acme",
        "/acme/new-order/more",
        "/acme/other/nothing",
        "/acme/nowhere/directory",
    ],
)
def test_unknown_path_is_not_found(lab: Lab, path: str) -> None:
    """acme.md C10"""
    client = lab.client()
    url = lab.gateway.quickstart["https"] + path
    client.get(url).refused(404, "malformed")
    client.post_body(url, client.registered().body(url, {})).refused(404, "malformed")


@pytest.mark.parametrize(
    "path",
    [
        "/acme//directory",
        "/acme/./directory",
        "/acme/../acme/directory",
        "/acme/order/%2e%2e/directory",
        "/acme/order%2Fx",
        "/acme/cert/a%5Cb",
        "/acme/%00",
        "/acme/%ff/directory",
    ],
)
def test_ambiguous_path_is_a_malformed_problem_with_a_nonce(lab: Lab, path: str) -> None:
    """acme.md C10, C29: not a bare 404 of the HTTP edge, from which no client can go on."""
    client = lab.client().registered()
    url = lab.gateway.quickstart["https"] + path
    client.get(url).refused(404, "malformed")
    answer = client.post_body(url, client.body(url, {}))
    answer.refused(404, "malformed")
    assert answer.header("Replay-Nonce")


@pytest.mark.parametrize("name", ["default", "other"])
def test_pre_authorization_is_not_offered_and_not_found(lab: Lab, name: str) -> None:
    """acme.md C79: newAuthz is in no directory, and whoever guesses its URL is told that there is none."""
    client = lab.account(name)
    assert "newAuthz" not in client.directory
    url = client.directory["newOrder"].replace("/new-order", "/new-authz")
    wanted = {"identifier": {"type": "dns", "value": "a.test"}}
    answer = client.post(url, wanted)
    answer.refused(404, "malformed")
    assert answer.header("Replay-Nonce")
    client.get(url).refused(404, "malformed")


def test_extensions_that_are_not_built_are_neither_offered_nor_taken(account: AcmeClient) -> None:
    """acme.md C83, C84, C99, C100: dns-account-01, dns-persist-01, STAR and device attestation."""
    assert {"auto-renewal", "subdomainAuthAllowed"}.isdisjoint(account.directory.get("meta", {}))
    host = new_name()
    order = account.ordered([f"*.{host}", host], **{"auto-renewal": {"end-date": "2099-01-01T00:00:00Z"}})
    assert {"auto-renewal", "star-certificate"}.isdisjoint(order.document)
    offered = {one["type"] for place in (0, 1) for one in order.authorization(place)["challenges"]}
    assert offered == {"http-01", "dns-01", "tls-alpn-01"}
    url = order.challenge("dns-01")["url"]
    for other in ("dns-account-01", "dns-persist-01", "device-attest-01"):
        account.post(url.replace("dns-01", other), {"attObj": "AAAA"}).refused(404, "malformed")
    for kind in ("permanent-identifier", "hardware-module"):
        wanted = {"identifiers": [{"type": kind, "value": "SN 12345"}]}
        account.call("newOrder", wanted).refused(400, "unsupportedIdentifier")


def test_reserved_word_is_never_taken_for_an_endpoint(lab: Lab) -> None:
    """acme.md C10: ``/acme/order/directory`` is an order of the default endpoint, if anything."""
    answer = lab.client().get(f"{lab.gateway.quickstart['https']}/acme/order/directory")
    assert answer.status in (404, 405)
    assert answer.problem == "malformed"


def test_odd_but_harmless_request_headers_are_accepted(lab: Lab) -> None:
    """acme.md C11: any Accept-Language, no User-Agent."""
    client = lab.client(user_agent=None)
    odd = {"Accept-Language": "xx-%%%;q=nonsense, *;q=9"}
    assert client.get(lab.directory(), **odd).status == 200
    url = client.directory["newAccount"]
    body = client.body(url, {"termsOfServiceAgreed": True}, by_key=True)
    assert client.post_body(url, body, **odd).status == 201


def test_links_never_repeat_a_host_that_the_client_made_up(lab: Lab) -> None:
    """acme.md C33: links are built from known base URLs."""
    client = lab.client()
    for headers in ({"Host": "evil.test"}, {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "http"}):
        answer = client.get(lab.directory(), **headers)
        assert answer.status in (200, 404)
        assert "evil.test" not in answer.text


def test_no_answer_may_be_kept_by_a_cache(account: AcmeClient) -> None:
    """acme.md C4 and B1: a cached nonce is used twice."""
    order = account.ordered(["cached.test"])
    answers = [account.post(order.url), account.post(order.document["authorizations"][0])]
    answers += [account.call("newOrder", {}), account.get(account.directory["newNonce"])]
    assert [answer.header("Cache-Control") for answer in answers] == ["no-store"] * 4
