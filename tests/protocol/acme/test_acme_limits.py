"""Rate limits (acme.md C96, E11; RFC 8555 section 6.6)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import acme_policies, policies
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import certificate_id
from tests.support.acme_lab import Lab, endpoint, new_name, running_lab


def _documents() -> list[policies.Document]:
    def limit(count: int, per: str = "1h") -> dict[str, Any]:
        return {"count": count, "per": per}

    limits: dict[str, dict[str, Any]] = {
        "few-orders": {"orders_per_account": limit(2)},
        "few-names": {"orders_per_name": limit(2)},
        "few-domains": {"orders_per_registered_domain": limit(2)},
        "few-accounts": {"accounts_per_address": limit(2)},
        "few-failures": {"failed_validations": limit(1)},
        "few-pending": {"pending_authorizations": 2},
        "few-refilled": {"orders_per_account": limit(1, "2s")},
    }
    found = []
    for place, (name, values) in enumerate(limits.items()):
        found.append(endpoint(name, limits=values))
        found.append(acme_policies.acme_policy(name, name, priority=10 + place))
    return found


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A gateway with one endpoint per limit."""
    with running_lab(tmp_path_factory.mktemp("limits"), docs=_documents()) as lab:
        yield lab


def _too_many(answer: AcmeAnswer) -> int:
    """Check a 429; gives its Retry-After in seconds."""
    document = answer.refused(429, "rateLimited")
    assert document["detail"]
    assert answer.header("Replay-Nonce")
    retry_after = int(answer.header("Retry-After") or "0")
    assert retry_after >= 1
    return retry_after


def test_orders_of_one_account_are_limited(limited: Lab) -> None:
    """acme.md C96: and others go on."""
    client = limited.account("few-orders")
    assert [client.new_order([new_name()]).status for _ in range(2)] == [201, 201]
    assert 60 <= _too_many(client.new_order([new_name()])) <= 3600
    assert limited.account("few-orders").new_order([new_name()]).status == 201


def test_orders_of_one_account_for_one_name_are_limited(limited: Lab) -> None:
    """acme.md C96: of this account, since nobody has proven anything yet."""
    host, client = new_name(), limited.account("few-names")
    for _ in range(2):
        assert client.new_order([host]).status == 201
    _too_many(client.new_order([new_name(), host]))
    assert client.new_order([new_name()]).status == 201
    assert limited.account("few-names").new_order([host]).status == 201


def test_orders_for_one_domain_are_limited(limited: Lab) -> None:
    """acme.md C96: the last two labels."""
    client, domain = limited.account("few-domains"), new_name()
    assert [client.new_order([f"{name}.{domain}"]).status for name in "ab"] == [201, 201]
    _too_many(client.new_order([f"c.{domain}"]))
    assert client.new_order([new_name()]).status == 201


def test_accounts_from_one_address_are_limited(limited: Lab) -> None:
    """acme.md C96: known keys are answered all the same."""
    first = limited.account("few-accounts")
    limited.account("few-accounts")
    _too_many(limited.client("few-accounts").new_account())
    assert first.new_account().status == 200


def test_orders_that_come_at_once_on_many_connections_are_limited_to_the_number(limited: Lab) -> None:
    """acme.md C96: thirty at once, two in an hour."""
    client = limited.account("few-orders")
    with ExitStack() as stack:
        clients = [stack.enter_context(client.same_account()) for _ in range(30)]
        pool = stack.enter_context(ThreadPoolExecutor(len(clients)))
        answers = list(pool.map(lambda one: one.new_order([new_name()]), clients))
    assert sorted(answer.status for answer in answers) == [201] * 2 + [429] * 28
    _too_many(next(answer for answer in answers if answer.status == 429))


def test_failed_validations_of_one_name_are_limited(limited: Lab) -> None:
    """acme.md C96, E11: zombie clients are held off before the next look."""
    client, host = limited.account("few-failures"), new_name()
    order = client.ordered([host])
    client.post(order.challenge()["url"], {}).ok()
    assert client.wait(order.document["authorizations"][0])["status"] == "invalid"
    answer = client.new_order([host])
    if answer.status == 201:
        authorization = client.post(answer.json["authorizations"][0]).ok()
        answer = client.post(authorization["challenges"][0]["url"], {})
    _too_many(answer)
    assert client.new_order([new_name()]).status == 201


def test_pending_authorizations_are_limited(limited: Lab) -> None:
    """acme.md C96, E11: until some are answered or given up."""
    client = limited.account("few-pending")
    order = client.ordered([new_name(), new_name()])
    _too_many(client.new_order([new_name()]))
    client.post(order.document["authorizations"][0], {"status": "deactivated"}).ok()
    assert client.new_order([new_name()]).status == 201


def test_limit_is_over_after_the_time_that_was_told(limited: Lab) -> None:
    """acme.md C96"""
    client = limited.account("few-refilled")
    # On a machine that stands still for two seconds, the allowance is back before the second one comes.
    refused = next(answer for _ in range(20) if (answer := client.new_order([new_name()])).status != 201)
    time.sleep(_too_many(refused))
    assert client.new_order([new_name()]).status == 201


def test_refused_order_takes_nothing_off_the_allowance(limited: Lab) -> None:
    """acme.md C96: what did not happen is not counted."""
    client = limited.account("few-orders")
    for _ in range(4):
        assert client.new_order(["a.forbidden.invalid"]).problem == "rejectedIdentifier"
    assert [client.new_order([new_name()]).status for _ in range(2)] == [201, 201]


def test_renewal_inside_its_window_is_exempt(limited: Lab) -> None:
    """acme.md C96, C95: that of a revoked certificate lies in the past."""
    client = limited.account("few-orders")
    issued = client.issue([new_name()], limited.http)
    client.new_order([new_name()])
    _too_many(client.new_order(issued.names))
    client.call("revokeCert", {"certificate": issued.b64u, "reason": 4})
    answer = client.new_order(issued.names, replaces=certificate_id(issued.leaf))
    assert answer.status == 201, answer.text
