"""``kill -9`` after a CA elsewhere has answered and before that is recorded: one certificate (cmp.md F)."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509

from tests.support import cmp_bodies, database, pki, policies
from tests.support import gateway as gateways
from tests.support.cmp_client import CmpClient, Reply, Transaction
from tests.support.cmp_lab import cmp_endpoint, enroll_policy, ir
from tests.support.cmp_wire import Pbm
from tests.support.devices import device_name
from tests.support.gateway import ROOT, Gateway
from tests.unit.ca_backend.sample_ca import SampleCa

# What a CA promises for an order that comes again; the endpoint before it has the same name.
REPEATABLE = ("idempotent", "findable")
PROMISES = (*REPEATABLE, "neither")
# A worker takes over what another one left 45 seconds ago; then it asks the CA.
_WITHIN_S = 240

pytestmark = pytest.mark.timeout(600)


@dataclass
class Interrupted:
    """A request whose gateway was killed with the CA's answer in its hands."""

    gateway: Gateway
    ca: SampleCa
    transaction: Transaction
    host: str

    def poll(self) -> Reply:
        return self.transaction.send("pollReq", cmp_bodies.poll_request(0))

    def rows(self, columns: str, table: str) -> list[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {table} WHERE sans LIKE '%{self.host}%'"
        return [tuple(row) for row in database.rows(self.gateway.sql_url, query)]

    def orders(self) -> list[int]:
        """How often the CA has signed, for each order."""
        issued: dict[str, int] = self.ca.call("journal")["issued"]
        return list(issued.values())


def _documents(cas: dict[str, SampleCa]) -> list[policies.Document]:
    made = []
    for priority, (retry, ca) in enumerate(cas.items(), 10):
        options = {"address": ca.address, "retry": retry}
        made += [
            policies.document("Backend", retry, type="sample-remote", options=options),
            cmp_endpoint(retry),
            enroll_policy(retry, retry, priority, {"mac": {}}, issue=[{"backend": retry}]),
        ]
    return made


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Interrupted]]:
    """A request for each kind of CA, by the CA's promise; the gateway was killed in each, and runs again."""
    directory = tmp_path_factory.mktemp("far")
    armed = directory / "armed"
    with ExitStack() as stack:
        cas = {
            retry: stack.enter_context(SampleCa(directory / retry, "--retry", retry)) for retry in PROMISES
        }
        gateway = stack.enter_context(
            gateways.running(
                directory / "gateway",
                policies=policies.bundle(*_documents(cas)),
                launcher=[sys.executable, "-m", "tests.support.dies_on_the_way"],
                environment={"DIE_AT": "answer", "DIE_WHILE": str(armed), "PYTHONPATH": str(ROOT)},
            )
        )
        made = gateway.cli_json("credential", "add", "cmp-secret", "--ref", "far")
        mac = Pbm("far", made["secret"].encode())
        found = {}
        for retry, ca in cas.items():
            client = CmpClient(gateway.quickstart["http"], mac, f"/.well-known/cmp/p/{retry}")
            transaction, host = client.transaction(), device_name("far")
            armed.write_text(retry)
            with pytest.raises((http.client.HTTPException, ConnectionError)):
                transaction.send("ir", ir(pki.key(), host))
            assert not armed.exists(), "it died where it was to die"
            client.close()
            gateway.kill()
            gateway.start()
            transaction.client = client.having(url=gateway.quickstart["http"])
            found[retry] = Interrupted(gateway, ca, transaction, host)
        yield found
        for one in found.values():
            one.transaction.client.close()


@pytest.mark.parametrize("retry", REPEATABLE)
def test_killed_after_the_answer_of_a_far_ca_it_ends_with_one_certificate_confirmed(
    interrupted: dict[str, Interrupted], retry: str
) -> None:
    """cmp.md F: the repeat is told to wait, the poll brings what the CA signed the first time."""
    one = interrupted[retry]
    assert one.orders() == [1], "the CA had signed before the kill"
    assert one.transaction.send_message(one.transaction.sent).outcome in ("waiting", "accepted")
    deadline = time.monotonic() + _WITHIN_S
    while (reply := one.poll()).outcome == "pollRep":
        assert time.monotonic() < deadline, one.gateway.log[-2000:]
        time.sleep(0.2)
    assert reply.outcome == "accepted", reply.statuses
    assert one.transaction.confirm(reply.certificate).body_name == "pkiconf"
    assert one.rows("state", "request") == [("issued",)]
    assert one.rows("status, serial_hex", "certificate") == [("good", _serial(reply.certificate))]
    assert one.orders() == [1], "and has not signed again"


def test_killed_after_the_answer_of_a_ca_that_cannot_be_asked_it_waits_for_an_operator(
    interrupted: dict[str, Interrupted],
) -> None:
    """cmp.md F: never a second order; the client goes on polling."""
    one = interrupted["neither"]
    assert one.transaction.send_message(one.transaction.sent).outcome == "waiting"
    deadline = time.monotonic() + _WITHIN_S
    while one.rows("state", "request") != [("in-doubt",)]:
        assert time.monotonic() < deadline, one.rows("state", "request")
        time.sleep(0.2)
    assert one.poll().body_name == "pollRep"
    assert one.orders() == [1]


def _serial(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"
