"""Accounts (acme.md C35, C37, C41-C52; RFC 8555 section 7.3)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import pki
from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import TERMS, Lab, new_name

CONTACT = "mailto:admin@a.test"


def test_new_account_is_created_with_its_url_and_object(lab: Lab) -> None:
    """acme.md C41"""
    client = lab.client()
    answer = client.new_account(contact=[CONTACT])
    found = answer.ok(201)
    assert answer.location.startswith(lab.directory().removesuffix("/directory") + "/account/")
    assert found["status"] == "valid"
    assert found["contact"] == [CONTACT]
    assert found["orders"].startswith(lab.directory().removesuffix("/directory") + "/orders/")
    assert client.post(found["orders"]).ok() == {"orders": []}


def test_same_key_again_gets_the_same_account_unchanged(lab: Lab) -> None:
    """acme.md C42"""
    client = lab.client()
    first = client.new_account(contact=[CONTACT])
    again = client.new_account(contact=["mailto:other@a.test"])
    assert (first.status, again.status) == (201, 200)
    assert again.location == first.location
    assert again.json["contact"] == [CONTACT]


def test_parallel_registrations_of_one_key_make_one_account(lab: Lab) -> None:
    """acme.md C42"""
    key = pki.key()

    def register(_: int) -> tuple[int, str]:
        with lab.client().another(key=key) as client:
            answer = client.new_account()
            return answer.status, answer.location

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(register, range(12)))
    assert len({location for _, location in found}) == 1
    assert sorted(status for status, _ in found) == [200] * 11 + [201]


def test_account_is_looked_up_without_making_one(lab: Lab) -> None:
    """acme.md C43"""
    client = lab.client()
    before = lab.counts()
    client.new_account(onlyReturnExisting=True).refused(400, "accountDoesNotExist")
    assert lab.counts() == before
    made = client.new_account()
    again = client.call("newAccount", {"onlyReturnExisting": True}, by_key=True)
    assert again.ok()["status"] == "valid"
    assert again.location == made.location


@pytest.mark.parametrize("members", [{}, {"onlyReturnExisting": True}, {"contact": [CONTACT]}])
def test_key_of_a_deactivated_account_is_unauthorized(lab: Lab, members: dict[str, object]) -> None:
    """acme.md C45: nor is a new account made for it."""
    client = lab.account()
    assert client.kid is not None
    client.post(client.kid, {"status": "deactivated"}).ok()
    before = lab.counts()
    answer = client.new_account(**members)
    assert answer.status in (401, 403)
    assert answer.problem == "unauthorized"
    assert lab.counts() == before


@pytest.mark.parametrize("agreed", [None, False])
def test_terms_must_be_agreed_to(lab: Lab, agreed: bool | None) -> None:
    """acme.md C46 (RFC 8555 section 7.3.3)"""
    client = lab.client("terms")
    members = {} if agreed is None else {"termsOfServiceAgreed": agreed}
    answer = client.call("newAccount", members, by_key=True)
    answer.refused(403, "userActionRequired")
    assert answer.links("terms-of-service") == [TERMS]


def test_agreement_to_the_terms_is_kept(lab: Lab) -> None:
    """acme.md C41, C46"""
    client = lab.client("terms")
    assert client.new_account().ok(201).get("termsOfServiceAgreed", True) is True
    assert client.new_order([new_name()]).status == 201


@pytest.mark.parametrize("contact", ["tel:+41123456", "https://a.test/", "sip:a@a.test", "data:text/plain,a"])
def test_contact_that_is_no_mail_address_is_unsupported(lab: Lab, contact: str) -> None:
    """acme.md C47"""
    found = lab.client().new_account(contact=[contact]).refused(400, "unsupportedContact")
    assert "mailto" in found["detail"]


@pytest.mark.parametrize(
    "contact",
    [
        "admin@a.test",
        "mailto:",
        "mailto:admin",
        "mailto:a@a.test,b@a.test",
        "mailto:a@a.test?subject=hello",
        "mailto:a@@a.test",
        "mailto:a@a.test\r\nX: y",
        "mailto:a b@a.test",
        "mailto:@a.test",
    ],
)
def test_bad_mail_address_is_refused(lab: Lab, contact: str) -> None:
    """acme.md C47 (RFC 8555 section 7.3)"""
    client = lab.client()
    client.new_account(contact=[CONTACT, contact]).refused(400, "invalidContact")
    client.new_account(onlyReturnExisting=True).refused(400, "accountDoesNotExist")


def test_more_contacts_than_allowed_are_refused(lab: Lab) -> None:
    """acme.md C47"""
    client = lab.client("small")
    client.new_account(contact=[f"mailto:a{place}@a.test" for place in range(3)]).refused(
        400, "invalidContact"
    )
    assert client.new_account(contact=[f"mailto:a{place}@a.test" for place in range(2)]).status == 201


@pytest.mark.parametrize(
    "members",
    [
        {"contact": "mailto:a@a.test"},
        {"contact": [7]},
        {"contact": {}},
        {"termsOfServiceAgreed": "yes"},
        {"onlyReturnExisting": "true"},
        {"externalAccountBinding": "text"},
    ],
)
def test_member_of_another_type_is_malformed(lab: Lab, members: dict[str, object]) -> None:
    """acme.md C47, C13: not a fault of the server."""
    answer = lab.client().new_account(**members)
    assert answer.status in (400, 403), answer.text
    assert answer.problem in ("malformed", "invalidContact", "unsupportedContact"), answer.text


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"7", b"{", b'{"a":1,"a":2}', b"[" * 4000])
def test_new_account_without_an_object_is_malformed(lab: Lab, payload: bytes) -> None:
    """acme.md C13, C17"""
    lab.client().call("newAccount", payload, by_key=True).refused(400, "malformed")


def test_members_that_the_server_sets_are_ignored(lab: Lab) -> None:
    """acme.md C48 (RFC 8555 section 7.3: MUST ignore)"""
    client = lab.client()
    found = client.new_account(status="deactivated", orders="https://evil.test/", unknown={"a": [1]}).ok(201)
    assert found["status"] == "valid"
    assert "evil" not in str(found)


def test_contact_is_updated_and_cleared(lab: Lab) -> None:
    """acme.md C49"""
    client = lab.client()
    client.new_account(contact=[CONTACT])
    assert client.kid is not None
    others = ["mailto:a@a.test", "mailto:b@a.test"]
    assert client.post(client.kid, {"contact": others}).ok()["contact"] == others
    assert client.post(client.kid, {}).ok()["contact"] == others
    assert client.post(client.kid, {"contact": []}).ok().get("contact", []) == []
    assert client.post(client.kid).ok().get("contact", []) == []


def test_bad_contact_in_an_update_changes_nothing(lab: Lab) -> None:
    """acme.md C47, C49"""
    client = lab.client()
    client.new_account(contact=[CONTACT])
    assert client.kid is not None
    client.post(client.kid, {"contact": ["mailto:a"]}).refused(400, "invalidContact")
    assert client.post(client.kid).ok()["contact"] == [CONTACT]


def test_deactivation_ends_the_account_and_what_it_began(lab: Lab) -> None:
    """acme.md C37, C50: every further request is unauthorized, whatever it asks for."""
    client = lab.account()
    order = client.ordered([new_name()])
    challenge = order.challenge()
    assert client.kid is not None
    assert client.post(client.kid, {"status": "deactivated"}).ok()["status"] == "deactivated"
    urls = [client.kid, order.url, order.document["authorizations"][0], challenge["url"]]
    urls += [client.kid.replace("/account/", "/orders/"), order.document["finalize"]]
    for url in urls:
        client.post(url).refused(401, "unauthorized")
        client.post(url, {}).refused(401, "unauthorized")
    client.new_order([new_name()]).refused(401, "unauthorized")
    client.change_key(pki.key()).refused(401, "unauthorized")
    client.call("revokeCert", {"certificate": "AAAA"}).refused(401, "unauthorized")
    lab.http.answer(challenge["token"], client.key)
    assert lab.http.times_asked(challenge["token"]) == 0


@pytest.mark.parametrize("status", ["revoked", "pending", "", 7, None, ["deactivated"]])
def test_other_status_in_an_update_is_malformed(lab: Lab, status: object) -> None:
    """acme.md C50"""
    client = lab.account()
    assert client.kid is not None
    client.post(client.kid, {"status": status}).refused(400, "malformed")
    assert client.post(client.kid).ok()["status"] == "valid"


def test_status_that_the_account_has_already_may_be_sent_along(lab: Lab) -> None:
    """acme.md C49: clients send the whole object back (RFC 8555 section 7.3.2)."""
    client = lab.account()
    assert client.kid is not None
    found = client.post(client.kid).ok()
    assert client.post(client.kid, found).ok() == found


def test_account_url_of_somebody_else_gives_nothing(lab: Lab) -> None:
    """acme.md C51"""
    mine, theirs = lab.account(), lab.client()
    theirs.new_account(contact=["mailto:secret@a.test"])
    assert theirs.kid is not None
    payloads: tuple[object, ...] = (None, {}, {"status": "deactivated"}, {"contact": []})
    for payload in payloads:
        answer = mine.post(theirs.kid, payload)
        assert answer.status in (403, 404), payload
        assert answer.problem in ("unauthorized", "malformed")
        assert "secret" not in answer.text
    assert theirs.post(theirs.kid).ok()["contact"] == ["mailto:secret@a.test"]


def _orders_url(client: AcmeClient) -> str:
    assert client.kid is not None
    url: str = client.post(client.kid).ok()["orders"]
    return url


def test_orders_list_holds_what_the_account_ordered(lab: Lab) -> None:
    """acme.md C52, B11"""
    client = lab.account()
    orders = [client.ordered([new_name()]) for _ in range(3)]
    found = client.post(_orders_url(client)).ok()["orders"]
    assert sorted(found) == sorted(order.url for order in orders)


def test_invalid_orders_are_left_out_of_the_list(lab: Lab) -> None:
    """acme.md C52"""
    client = lab.account()
    kept, lost = client.ordered([new_name()]), client.ordered([new_name()])
    client.post(lost.document["authorizations"][0], {"status": "deactivated"}).ok()
    assert client.post(_orders_url(client)).ok()["orders"] == [kept.url]


def test_long_orders_list_comes_in_pages(lab: Lab) -> None:
    """acme.md C52: ``Link rel="next"`` until all are seen once."""
    client = lab.account()
    wanted = [client.ordered([f"p{place}.{new_name()}"]).url for place in range(105)]
    found: list[str] = []
    pages, url = 0, _orders_url(client)
    while url:
        answer = client.post(url)
        found += answer.ok()["orders"]
        pages, url = pages + 1, next(iter(answer.links("next")), "")
    assert sorted(found) == sorted(wanted)
    assert 2 <= pages <= 20


@pytest.mark.parametrize(
    "query", ["before=x", "before=", "before=-1", "before=99999999999999999999999", "a=b"]
)
def test_odd_cursor_of_the_orders_list_is_no_fault_of_the_server(account: AcmeClient, query: str) -> None:
    """acme.md C52"""
    answer = account.post(f"{_orders_url(account)}?{query}")
    assert answer.status in (200, 400, 404), answer.text


def test_orders_of_somebody_else_are_not_shown(lab: Lab) -> None:
    """acme.md C52"""
    mine, theirs = lab.account(), lab.account()
    order = theirs.ordered([new_name()])
    answer = mine.post(_orders_url(theirs))
    assert answer.status in (403, 404)
    assert order.url not in answer.text


def test_changed_terms_ask_every_account_to_agree_again(lab: Lab) -> None:
    """acme.md C46: 403 userActionRequired with ``instance`` on any request until agreed (RFC 8555 7.3.3)."""
    client = lab.account("terms")
    changed = TERMS.replace("-1", "-2")
    with lab.other_policies(TERMS, changed):
        answer = client.new_order([new_name()])
        assert answer.refused(403, "userActionRequired")["instance"]
        assert answer.links("terms-of-service") == [changed]
        assert client.kid is not None
        assert client.new_account().status == 200
        assert client.new_order([new_name()]).status == 201
