"""Renewal information and ``replaces`` (acme.md B3, C67, C95, C96; RFC 9773)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import AcmeClient, Certificate, certificate_id
from tests.support.acme_lab import Lab, new_name
from tests.support.acme_signing import b64u


@pytest.fixture
def issued(lab: Lab, account: AcmeClient) -> Certificate:
    return account.issue([new_name()], lab.http)


def _info(client: AcmeClient, identifier: str) -> AcmeAnswer:
    return client.get(f"{client.directory['renewalInfo']}/{identifier}")


def _window(answer: AcmeAnswer) -> tuple[datetime, datetime]:
    window = answer.ok()["suggestedWindow"]
    start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
    assert start < end
    return start, end


def test_anybody_may_ask_when_to_renew(lab: Lab, issued: Certificate) -> None:
    """acme.md C95: unsigned; within the lifetime, not before its half."""
    answer = _info(lab.client(), certificate_id(issued.leaf))
    start, end = _window(answer)
    leaf = issued.leaf
    middle = leaf.not_valid_before_utc + (leaf.not_valid_after_utc - leaf.not_valid_before_utc) / 2
    assert middle <= start < end <= leaf.not_valid_after_utc
    assert int(answer.header("Retry-After") or "0") > 0
    assert answer.header("Content-Type") == "application/json"


def test_revoked_certificate_is_to_be_renewed_at_once(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C95 (RFC 9773 section 4.2): a window in the past."""
    account.call("revokeCert", {"certificate": issued.b64u, "reason": 4})
    _, end = _window(_info(account, certificate_id(issued.leaf)))
    assert end <= datetime.now(end.tzinfo)


@pytest.mark.parametrize(
    "identifier",
    [
        "x",
        "AAAA",
        "AAAA.",
        ".AAAA",
        "AAAA.AAAA.AAAA",
        "AA=.AAAA",
        "A.AAAA",
        "!!.??",
        "AAAA.AAA%41",
        "AAAB.AA==",
    ],
)
def test_malformed_identifier_is_refused(account: AcmeClient, identifier: str) -> None:
    """acme.md C95"""
    answer = _info(account, identifier)
    assert answer.status in (400, 404), answer.text
    assert answer.problem == "malformed"


def test_unknown_certificate_is_not_found(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C95: another serial number, another issuer."""
    aki, serial = certificate_id(issued.leaf).split(".")
    assert aki
    for unknown in (f"{aki}.{b64u(b'x' * 20)}", f"{b64u(b'k' * 20)}.{serial}"):
        _info(account, unknown).refused(404, "malformed")


def test_serial_number_must_be_written_with_its_sign(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C95 (RFC 9773 section 4.1): one spelling per certificate."""
    aki, serial = certificate_id(issued.leaf).split(".")
    number = issued.leaf.serial_number
    for octets in (b"\x00\x00" + number.to_bytes(20, "big"), b""):
        assert b64u(octets) != serial
        assert _info(account, f"{aki}.{b64u(octets)}").status in (400, 404)


def test_renewal_information_by_post_is_not_served(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C7"""
    url = f"{account.directory['renewalInfo']}/{certificate_id(issued.leaf)}"
    assert account.post(url).status == 405


def test_order_that_replaces_a_certificate_echoes_it(
    lab: Lab, account: AcmeClient, issued: Certificate
) -> None:
    """acme.md C67 (RFC 9773 section 5)"""
    old = certificate_id(issued.leaf)
    order = account.ordered(issued.names, replaces=old)
    assert order.document["replaces"] == old
    assert order.read()["replaces"] == old
    order.ready(lab.http)
    assert order.certified().names == issued.names


def _replace(client: AcmeClient, names: list[str], replaces: Any) -> AcmeAnswer:
    return client.new_order(names, replaces=replaces)


def test_certificate_is_replaced_once(lab: Lab, account: AcmeClient, issued: Certificate) -> None:
    """acme.md C67"""
    old = certificate_id(issued.leaf)
    account.ordered(issued.names, replaces=old).ready(lab.http).certified()
    _replace(account, issued.names, old).refused(409, "alreadyReplaced")


def test_parallel_orders_that_replace_one_certificate_are_one(
    lab: Lab, account: AcmeClient, issued: Certificate
) -> None:
    """acme.md C67, E13"""
    clients = [account.same_account() for _ in range(6)]
    lab.clients.extend(clients)
    old = certificate_id(issued.leaf)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda client: _replace(client, issued.names, old), clients))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 5


def test_invalid_order_gives_its_claim_to_replace_up(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C67 (RFC 9773 section 5): only an order that is not invalid counts."""
    old = certificate_id(issued.leaf)
    first = account.ordered(issued.names, replaces=old)
    _replace(account, issued.names, old).refused(409, "alreadyReplaced")
    account.post(first.document["authorizations"][0], {"status": "deactivated"}).ok()
    assert _replace(account, issued.names, old).status == 201


@pytest.mark.parametrize("replaces", [7, "", "x", "AAAA", "AAAA.", ["AAAA.AAAA"], {"a": 1}])
def test_malformed_replaces_is_refused(account: AcmeClient, replaces: object) -> None:
    """acme.md C67"""
    answer = _replace(account, [new_name()], replaces)
    assert answer.status == 400, answer.text
    assert answer.problem == "malformed"


def test_unknown_certificate_is_not_replaced(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C67"""
    aki = certificate_id(issued.leaf).split(".")[0]
    answer = _replace(account, issued.names, f"{aki}.{b64u(b'x' * 20)}")
    assert answer.status in (400, 404), answer.text
    assert answer.problem == "malformed"


def test_certificate_of_another_account_is_not_replaced(lab: Lab, issued: Certificate) -> None:
    """acme.md C67"""
    answer = _replace(lab.account(), issued.names, certificate_id(issued.leaf))
    assert answer.status in (400, 403, 404), answer.text
    assert answer.problem in ("unauthorized", "malformed")


def test_certificate_without_a_common_name_is_not_replaced(account: AcmeClient, issued: Certificate) -> None:
    """acme.md C67: at least one identifier must be the same."""
    answer = _replace(account, [new_name()], certificate_id(issued.leaf))
    assert answer.status in (400, 403), answer.text
    assert answer.problem in ("unauthorized", "malformed")
