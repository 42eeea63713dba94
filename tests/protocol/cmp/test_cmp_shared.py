"""Two gateways of two workers each on one PostgreSQL: a transaction goes on wherever its message arrives."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import cmp_bodies, database, pki, policies
from tests.support import gateway as gateways
from tests.support.cmp_client import CmpClient, Reply, Transaction
from tests.support.cmp_lab import cmp_endpoint, enroll_policy, everything, ir
from tests.support.cmp_wire import Pbm
from tests.support.devices import device_name
from tests.support.gateway import Gateway

# What one host keeps for itself; keys, server key and policies are the same on all (docs/operations.md).
_OWN = shutil.ignore_patterns("instance", "ports.json", "lock", "quickstart.json", "metrics", "tls")


@dataclass(frozen=True)
class Pair:
    """Both gateways, and a secret."""

    gateways: tuple[Gateway, Gateway]
    mac: Pbm

    def client(self, place: int, endpoint: str = "default") -> CmpClient:
        """A client of the first or second gateway over a connection of its own."""
        url = self.gateways[place].quickstart["http"]
        return CmpClient(url, self.mac, f"/.well-known/cmp/p/{endpoint}")

    def states(self, host: str) -> list[str]:
        query = f"SELECT state FROM request WHERE sans LIKE '%{host}%' ORDER BY pk"
        return [str(state) for (state,) in database.rows(self.gateways[0].sql_url, query)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgresql_server: Any) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("pair")
    slow = {"required": 1, "expires": "1h", "retry_after": "1s"}
    bundle = policies.bundle(
        policies.own_certificates(),
        *everything("default", 10),
        cmp_endpoint("approval"),
        enroll_policy("approval", "approval", 20, {"mac": {}}, approval=slow),
    )
    options: dict[str, Any] = {
        "database_url": postgresql_server.new_database(),
        "workers": 2,
        "policies": bundle,
    }
    with gateways.running(directory / "first", **options) as first:
        shutil.copytree(first.data, directory / "second" / "data", ignore=_OWN)
        with gateways.running(directory / "second", **options) as second:
            made = first.cli_json("credential", "add", "cmp-secret", "--ref", "pair")
            yield Pair((first, second), Pbm("pair", made["secret"].encode()))


def _moved(pair: Pair, transaction: Transaction, place: int) -> Transaction:
    """The same transaction over a new connection to that gateway."""
    transaction.client.close()
    transaction.client = pair.client(place, transaction.client.path.rpartition("/")[2])
    return transaction


def test_certificate_is_confirmed_at_the_other_gateway(pair: Pair) -> None:
    """cmp.md C25, C65: nonces are known everywhere, and nobody keeps anything to himself."""
    for place in (0, 1, 0, 1):
        host = device_name("pair")
        transaction = pair.client(place).transaction()
        certificate = transaction.send("ir", ir(pki.key(), host)).certificate
        assert _moved(pair, transaction, 1 - place).confirm(certificate).body_name == "pkiconf"
        assert pair.states(host) == ["issued"]
        transaction.client.close()


def test_message_sent_to_both_at_once_is_one_request(pair: Pair) -> None:
    """cmp.md F: a balancer or client that repeats itself elsewhere."""
    host = device_name("pair")
    message = pair.client(0).transaction().message("ir", ir(pki.key(), host))

    def post(number: int) -> Reply:
        client = pair.client(number % 2)
        try:
            return client.post(message)
        finally:
            client.close()

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(post, range(8)))
    assert {reply.outcome for reply in replies} <= {"accepted", "waiting", "systemUnavail"}
    assert len({one for reply in replies for one in reply.certificates}) == 1
    assert pair.states(host) == ["unconfirmed"]


def test_request_that_waits_is_fetched_at_the_other_gateway(pair: Pair) -> None:
    """cmp.md C73, C76"""
    host = device_name("pair")
    transaction = pair.client(0, "approval").transaction()
    assert transaction.send("ir", ir(pki.key(), host)).outcome == "waiting"
    listed = pair.gateways[1].cli_json("request", "list", "--state", "awaiting-approval")
    (row,) = (row for row in listed["requests"] if host in str(row))
    pair.gateways[1].cli("request", "approve", row["id"])
    deadline, place = time.monotonic() + 90, 1

    def poll() -> Reply:
        return _moved(pair, transaction, place).send("pollReq", cmp_bodies.poll_request(0))

    while (reply := poll()).body_name == "pollRep":
        assert time.monotonic() < deadline, "it still waits"
        time.sleep(0.1)
        place = 1 - place
    assert reply.outcome == "accepted", reply.statuses
    assert _moved(pair, transaction, 1 - place).confirm(reply.certificate).body_name == "pkiconf"
    transaction.client.close()
    assert pair.states(host) == ["issued"]
