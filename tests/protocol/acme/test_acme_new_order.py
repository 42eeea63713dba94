"""New orders (acme.md C58-C70; RFC 8555 sections 7.1.3 and 7.4, RFC 8738)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient, identifiers
from tests.support.acme_lab import Lab, new_name

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def _order(client: AcmeClient, members: object) -> AcmeAnswer:
    return client.call("newOrder", members)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_order_is_created_with_its_url_and_object(lab: Lab, account: AcmeClient) -> None:
    """acme.md C58"""
    names = [new_name(), new_name()]
    answer = account.new_order(names)
    found = answer.ok(201)
    root = lab.directory().removesuffix("/directory")
    assert answer.location.startswith(f"{root}/order/")
    assert found["status"] == "pending"
    assert RFC3339.fullmatch(found["expires"]), found["expires"]
    assert found["identifiers"] == identifiers(names)
    assert len(set(found["authorizations"])) == 2
    assert all(url.startswith(f"{root}/authz/") for url in found["authorizations"])
    assert found["finalize"].startswith(answer.location)
    assert "certificate" not in found
    assert account.post(answer.location).ok() == found


def test_ids_in_urls_cannot_be_guessed(account: AcmeClient) -> None:
    """acme.md F: at least 128 random bits behind the time that orders them."""
    orders = [account.ordered([new_name()]) for _ in range(4)]
    ids = [order.url.rpartition("/")[2] for order in orders]
    ids += [order.document["authorizations"][0].rpartition("/")[2] for order in orders]
    assert all(re.fullmatch(r"[0-9a-f]{44}", one) for one in ids), ids
    parts = {one[-32:][place : place + 8] for one in ids for place in (0, 8, 16, 24)}
    assert len(parts) == 4 * len(ids)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"identifiers": []},
        {"identifiers": None},
        {"identifiers": {"type": "dns", "value": "a.test"}},
        {"identifiers": "a.test"},
        {"identifiers": ["a.test"]},
        {"identifiers": [{}]},
        {"identifiers": [{"type": "dns"}]},
        {"identifiers": [{"value": "a.test"}]},
        {"identifiers": [{"type": "dns", "value": 7}]},
        {"identifiers": [{"type": 7, "value": "a.test"}]},
        {"identifiers": [{"type": "dns", "value": ""}]},
        {"identifiers": [{"type": "", "value": "a.test"}]},
        {"identifiers": [{"type": "dns", "value": ["a.test"]}]},
        [],
        "text",
    ],
)
def test_order_without_proper_identifiers_is_malformed(account: AcmeClient, members: object) -> None:
    """acme.md C59"""
    _order(account, members).refused(400, "malformed")


def test_more_names_than_allowed_are_refused(lab: Lab) -> None:
    """acme.md C59"""
    client = lab.account("small")
    answer = client.new_order([new_name() for _ in range(4)])
    assert answer.status == 400
    assert answer.problem in ("malformed", "rejectedIdentifier")
    assert client.new_order([new_name() for _ in range(3)]).status == 201


@pytest.mark.parametrize("kind", ["email", "permanent-identifier", "DNS", "ipv4", "urn:x"])
def test_unknown_type_of_identifier_is_unsupported(account: AcmeClient, kind: str) -> None:
    """acme.md C60"""
    answer = _order(account, {"identifiers": [{"type": kind, "value": "a@a.test"}]})
    answer.refused(400, "unsupportedIdentifier")


def test_every_forbidden_name_is_told_at_once(account: AcmeClient) -> None:
    """acme.md C61 (RFC 8555 section 6.7.1): all names are judged before the answer."""
    names = ["a.forbidden.invalid", new_name(), "b.forbidden.invalid", "192.0.2.9"]
    answer = account.new_order(names)
    assert answer.status in (400, 403)
    assert answer.problem == "rejectedIdentifier"
    found = answer.json["subproblems"]
    refused = [one["identifier"]["value"] for one in found]
    assert sorted(refused) == sorted([names[0], names[2], names[3]])
    assert all(
        one["type"] == "urn:ietf:params:acme:error:rejectedIdentifier" and one["detail"] for one in found
    )


def test_refused_order_leaves_nothing_behind(lab: Lab, account: AcmeClient) -> None:
    """acme.md C61: nothing is stored but the record."""
    account.new_nonce()
    before = lab.counts()
    account.new_order(["a.forbidden.invalid"])
    account.new_order(["a..test"])
    _order(account, {})
    assert lab.counts() == before


@pytest.mark.parametrize(
    "name",
    [
        "a..test",
        ".a.test",
        "a.test.",
        "-a.test",
        "a-.test",
        "a_b.test",
        "a b.test",
        "a.test/",
        "a.test:443",
        "a@b.test",
        "x" * 64 + ".test",
        ".".join(["a" * 60] * 5) + ".test",
        "bücher.test",
        "xn--.test",
        "xn--a.test",
        "xn--0.test",
        "192.0.2.1",
        "[::1]",
        "*",
        "*.",
        "*.*.test",
        "a.*.test",
        "*a.test",
        "**.test",
        "a.test\x00",
        "a.test\n",
        "$(id).test",
    ],
)
def test_name_that_is_no_host_name_is_refused(account: AcmeClient, name: str) -> None:
    """acme.md C62, E12"""
    answer = _order(account, {"identifiers": [{"type": "dns", "value": name}]})
    assert answer.status in (400, 403), answer.text
    assert answer.problem in ("malformed", "rejectedIdentifier")


@pytest.mark.parametrize(
    "name", ["xn--bcher-kva.test", "xn--mnchen-3ya.test", "a-b.test", "1.test", "a" * 63 + ".test"]
)
def test_proper_names_are_taken(account: AcmeClient, name: str) -> None:
    """acme.md C62: valid A-labels too."""
    assert account.new_order([name]).ok(201)["identifiers"] == identifiers([name])


def test_upper_case_name_is_folded_or_refused(account: AcmeClient) -> None:
    """acme.md C62: never two authorizations for one name."""
    host = new_name()
    answer = _order(account, {"identifiers": [{"type": "dns", "value": host.upper()}]})
    if answer.status == 201:
        assert answer.json["identifiers"] == identifiers([host])
    else:
        assert (answer.status, answer.problem) in ((400, "malformed"), (400, "rejectedIdentifier"))


def test_duplicates_are_merged(account: AcmeClient) -> None:
    """acme.md C63"""
    host = new_name()
    found = account.new_order([host, host, host]).ok(201)
    assert found["identifiers"] == identifiers([host])
    assert len(found["authorizations"]) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_address_is_ordered_in_lab_mode(account: AcmeClient, address: str) -> None:
    """acme.md C64, C68: an address has http-01 and tls-alpn-01 only (RFC 8738 section 7)."""
    order = account.ordered([address])
    authorization = order.authorization()
    assert authorization["identifier"] == {"type": "ip", "value": address}
    assert {one["type"] for one in authorization["challenges"]} == {"http-01", "tls-alpn-01"}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.01",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0:0:0:0:0:0:0:1",
        "::0001",
        "::FFFF:127.0.0.1",
        "[::1]",
        "::1%lo",
        "127.0.0.1/32",
        "*.127.0.0.1",
        " 127.0.0.1",
        "127.0.0.1\n",
        "a.test",
        "",
    ],
)
def test_address_in_another_spelling_is_malformed(account: AcmeClient, address: str) -> None:
    """acme.md C64 (RFC 8738 section 3, RFC 5952 section 4)"""
    answer = _order(account, {"identifiers": [{"type": "ip", "value": address}]})
    assert answer.status == 400, answer.text
    assert answer.problem in ("malformed", "rejectedIdentifier")


def _window(**days: float) -> dict[str, str]:
    now = datetime.now(UTC).replace(microsecond=0)
    return {name: _rfc3339(now + timedelta(days=value)) for name, value in days.items()}


@pytest.mark.parametrize(
    "members",
    [
        {"notAfter": "tomorrow"},
        {"notAfter": 7},
        {"notAfter": ""},
        {"notAfter": "2026-13-01T00:00:00Z"},
        {"notAfter": "2027-01-01"},
        {"notBefore": "2026-01-01T00:00:00"},
        _window(notAfter=-1),
        _window(notBefore=3, notAfter=2),
        _window(notAfter=100_000),
    ],
)
def test_validity_that_cannot_be_is_refused(account: AcmeClient, members: dict[str, Any]) -> None:
    """acme.md C65: garbage, past, reversed, or longer than policy allows."""
    answer = account.new_order([new_name()], **members)
    assert answer.status in (400, 403), answer.text
    assert answer.problem in ("malformed", "rejectedIdentifier", "unauthorized", "badCSR")


def test_wanted_end_of_validity_is_honoured_exactly(lab: Lab) -> None:
    """acme.md C65 (RFC 8555 section 7.4: MUST)"""
    client = lab.account()
    wanted = _window(notAfter=12)
    order = client.ordered([new_name()], **wanted)
    assert order.document["notAfter"] == wanted["notAfter"]
    certificate = order.ready(lab.http).certified()
    assert _rfc3339(certificate.leaf.not_valid_after_utc) == wanted["notAfter"]


def test_wanted_begin_of_validity_is_honoured_exactly_or_refused(lab: Lab) -> None:
    """acme.md C65: never ignored."""
    client = lab.account()
    wanted = _window(notBefore=1, notAfter=9)
    answer = client.new_order([new_name()], **wanted)
    if answer.status != 201:
        assert answer.problem in ("malformed", "rejectedIdentifier", "unauthorized")
        return
    assert {name: answer.json[name] for name in wanted} == wanted
    order = client.ordered([new_name()], **wanted).ready(lab.http)
    leaf = order.certified().leaf
    assert _rfc3339(leaf.not_valid_before_utc) == wanted["notBefore"]
    assert _rfc3339(leaf.not_valid_after_utc) == wanted["notAfter"]


def test_wildcard_has_an_authorization_of_its_base_name(account: AcmeClient) -> None:
    """acme.md C68: ``wildcard``, and only dns-01 (RFC 8555 sections 7.1.3 and 8.4)."""
    host = new_name()
    order = account.ordered([f"*.{host}", host])
    wildcard, plain = order.authorization(0), order.authorization(1)
    assert wildcard["identifier"] == plain["identifier"] == {"type": "dns", "value": host}
    assert wildcard["wildcard"] is True
    assert plain.get("wildcard", False) is False
    assert {one["type"] for one in wildcard["challenges"]} == {"dns-01"}
    assert {one["type"] for one in plain["challenges"]} == {"http-01", "dns-01", "tls-alpn-01"}


def test_name_that_no_challenge_can_prove_is_refused_at_once(lab: Lab) -> None:
    """acme.md C68: a wildcard where policy takes http-01 only."""
    client = lab.account("fast-only")
    answer = client.new_order([f"*.{new_name()}"])
    assert answer.status in (400, 403)
    assert answer.problem == "rejectedIdentifier"


def _proven(lab: Lab, client: AcmeClient, host: str) -> None:
    client.ordered([host]).ready(lab.http)


def test_authorization_is_used_again_by_the_same_account_only(lab: Lab) -> None:
    """acme.md C70"""
    client, host = lab.account("reuse"), new_name()
    _proven(lab, client, host)
    again = client.ordered([host])
    assert again.document["status"] == "ready"
    assert again.certified().names == [host]
    assert lab.account("reuse").ordered([host]).document["status"] == "pending"


def test_authorization_counts_for_its_own_name_only(lab: Lab) -> None:
    """acme.md C70, C68: neither a wildcard nor a name below it."""
    client, host = lab.account("reuse"), new_name()
    _proven(lab, client, host)
    for name in (f"*.{host}", f"a.{host}"):
        assert client.ordered([name]).document["status"] == "pending", name


def test_authorization_is_not_used_again_where_policy_does_not_say_so(lab: Lab) -> None:
    """acme.md C70: the default endpoint of these tests allows no reuse."""
    client, host = lab.account(), new_name()
    _proven(lab, client, host)
    assert client.ordered([host]).document["status"] == "pending"


def test_expired_authorization_is_not_used_again(lab: Lab) -> None:
    """acme.md C70: only while it is unexpired, whatever policy allows."""
    client, host = lab.account("reuse"), new_name()
    first = client.ordered([host]).ready(lab.http)
    assert client.ordered([host]).document["status"] == "ready"
    (url,) = first.document["authorizations"]
    lab.expire("acme_authorization", url)
    again = client.ordered([host])
    assert again.document["status"] == "pending"
    assert again.document["authorizations"] != [url]


def test_authorization_is_not_used_again_once_policy_has_changed(lab: Lab) -> None:
    """acme.md C70"""
    client, host = lab.account("reuse"), new_name()
    _proven(lab, client, host)
    with lab.other_policies('"reuse_authorization": "1h"', '"reuse_authorization": "0s"'):
        assert client.ordered([host]).document["status"] == "pending"


def test_deactivated_authorization_is_not_used_again(lab: Lab) -> None:
    """acme.md C70, C78"""
    client, host = lab.account("reuse"), new_name()
    order = client.ordered([host]).ready(lab.http)
    client.post(order.document["authorizations"][0], {"status": "deactivated"}).ok()
    assert client.ordered([host]).document["status"] == "pending"


def test_unknown_members_of_an_order_are_tolerated(account: AcmeClient) -> None:
    """acme.md C48: as clients of later RFCs send them."""
    assert account.new_order([new_name()], unknown={"a": 1}, status="valid").ok(201)["status"] == "pending"
