"""Every route x who asks: only the owner ever sees or changes an object (acme.md C36, C37, C51, C69, E2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import pki
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_signing import b64u

SECRET = "mailto:the-owner@a.test"
ROUTES = (
    "account",
    "orders",
    "pending-order",
    "pending-authz",
    "http-01",
    "dns-01",
    "tls-alpn-01",
    "ready-order",
    "finalize",
    "valid-order",
    "valid-authz",
    "cert",
    "cert-alternate",
)
STRANGERS = (
    "another account",
    "another account with the owner's kid",
    "an account of another endpoint",
    "an account of another endpoint by its own path",
    "a deactivated account",
    "a key without account",
    "a kid of nobody",
    "nobody",
)


@dataclass(slots=True)
class Estate:
    """What one account owns: URLs by route, and the words that only it may read."""

    owner: AcmeClient
    urls: Mapping[str, str]
    csr: str
    words: tuple[str, ...]

    def state(self) -> dict[str, Any]:
        return {name: self.owner.post(url).body for name, url in self.urls.items() if name != "finalize"}


@pytest.fixture(scope="module")
def estate(lab: Lab) -> Estate:
    owner = lab.client()
    owner.new_account(contact=[SECRET])
    pending, ready, valid = (owner.ordered([new_name("owned")]) for _ in range(3))
    ready.ready(lab.http)
    certificate = valid.ready(lab.http).certified()
    challenges = {one["type"]: one["url"] for one in pending.authorization()["challenges"]}
    assert owner.kid is not None
    urls = {
        "account": owner.kid,
        "orders": owner.post(owner.kid).ok()["orders"],
        "pending-order": pending.url,
        "pending-authz": pending.document["authorizations"][0],
        **challenges,
        "ready-order": ready.url,
        "finalize": ready.document["finalize"],
        "valid-order": valid.url,
        "valid-authz": valid.document["authorizations"][0],
        "cert": certificate.url,
        "cert-alternate": owner.post(certificate.url).links("alternate")[0],
    }
    assert set(urls) == set(ROUTES)
    token = pending.challenge()["token"]
    words = (SECRET, token, "BEGIN CERT", *(order.names[0] for order in (pending, ready, valid)))
    return Estate(owner, urls, b64u(ready.csr(pki.key())), words)


def _elsewhere(url: str) -> str:
    return url.replace("/acme/", "/acme/other/")


@pytest.fixture(scope="module")
def strangers(lab: Lab, estate: Estate) -> Mapping[str, Callable[[str, object], AcmeAnswer]]:
    """How each of them asks."""
    another, outsider, gone, keyless = lab.account(), lab.account("other"), lab.account(), lab.client()
    impostor = lab.client(kid=estate.owner.kid)
    unknown = lab.client(kid=f"{(estate.owner.kid or '')[:-8]}00000000")
    assert gone.kid is not None
    gone.post(gone.kid, {"status": "deactivated"}).ok()
    return {
        STRANGERS[0]: another.post,
        STRANGERS[1]: impostor.post,
        STRANGERS[2]: outsider.post,
        STRANGERS[3]: lambda url, payload: outsider.post(_elsewhere(url), payload),
        STRANGERS[4]: gone.post,
        STRANGERS[5]: lambda url, payload: keyless.post(url, payload, by_key=True),
        STRANGERS[6]: unknown.post,
        STRANGERS[7]: lambda url, _: keyless.post_body(url, b"{}"),
    }


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("route", ROUTES)
def test_object_is_never_given_to_a_stranger(
    estate: Estate,
    strangers: Mapping[str, Callable[[str, object], AcmeAnswer]],
    route: str,
    stranger: str,
) -> None:
    """acme.md C36, C37, C51, C69: reading, answering, finalizing, deactivating."""
    payloads: tuple[object, ...] = (None, {}, {"status": "deactivated"}, {"csr": estate.csr}, {"contact": []})
    for payload in payloads:
        answer = strangers[stranger](estate.urls[route], payload)
        assert answer.status in (400, 401, 403, 404), (payload, answer.text)
        assert answer.problem in ("malformed", "unauthorized", "accountDoesNotExist", "badSignatureAlgorithm")
        assert answer.header("Replay-Nonce")
        assert not [word for word in estate.words if word in answer.text + str(answer.headers)], answer.text
        if stranger == "a deactivated account":
            assert (answer.status, answer.problem) == (401, "unauthorized") or answer.status == 404


def test_foreign_and_missing_objects_look_the_same(lab: Lab, estate: Estate) -> None:
    """acme.md C69: nobody learns which ids exist."""
    client = lab.account()
    for route in ROUTES[2:]:
        url = estate.urls[route]
        owned_id = url.split("/")[5]
        missing = url.replace(owned_id, owned_id[:-8] + "00000000")
        said = [client.post(one) for one in (url, missing)]
        assert said[0].status == said[1].status, route
        texts = [answer.json["detail"].partition("[PG-")[0] for answer in said]
        assert texts[0] == texts[1], route


def test_nothing_of_the_owner_has_changed(estate: Estate, lab: Lab) -> None:
    """acme.md C69: after all that strangers tried, the owner goes on."""
    before = estate.state()
    other = lab.account()
    for url in estate.urls.values():
        other.post(url, {"status": "deactivated"})
    assert estate.state() == before
    assert estate.owner.post(estate.urls["account"]).ok()["contact"] == [SECRET]
    assert estate.owner.post(estate.urls["pending-order"]).ok()["status"] == "pending"
    assert estate.owner.post(estate.urls["ready-order"]).ok()["status"] == "ready"
    assert estate.owner.post(estate.urls["valid-order"]).ok()["status"] == "valid"


def test_other_directory_has_the_same_ids_for_nobody(lab: Lab, estate: Estate) -> None:
    """acme.md B14, C36: the owner itself, registered at the other directory with the same key."""
    owner = lab.client("other", key=estate.owner.key).registered()
    for route in ROUTES:
        answer = owner.post(_elsewhere(estate.urls[route]))
        assert answer.status in (403, 404), route
        assert not [word for word in estate.words if word in answer.text]
