"""``kill -9`` in a transaction: the client's retry ends with one certificate, confirmed (cmp.md F)."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import cmp_wire, database, pki
from tests.support.cmp_client import CmpClient, Transaction
from tests.support.cmp_lab import CmpLab, cmp_lab, ir
from tests.support.devices import device_name
from tests.support.gateway import ROOT

PLACES = ("issue", "commit")


@dataclass(frozen=True)
class Mortal:
    """A gateway that dies once when it is armed, at the place that it was started for."""

    lab: CmpLab
    armed: Path

    def arm(self) -> None:
        self.armed.touch()

    def again(self, transaction: Transaction) -> None:
        """Start the gateway on the same data, and let the client find it."""
        self.lab.close()
        self.lab.gateway.kill()
        self.lab.gateway.start()
        client = transaction.client.having(url=self.lab.gateway.quickstart["http"])
        transaction.client = client

    def certificates(self, host: str) -> list[str]:
        """Statuses of the recorded certificates for this host."""
        query = f"SELECT status FROM certificate WHERE sans LIKE '%{host}%'"
        return [str(status) for (status,) in database.rows(self.lab.gateway.sql_url, query)]


@pytest.fixture(scope="module", params=PLACES)
def mortal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    directory = tmp_path_factory.mktemp(f"dies-at-{request.param}")
    armed = directory / "armed"
    environment = {"DIE_AT": request.param, "DIE_WHILE": str(armed), "PYTHONPATH": str(ROOT)}
    launcher = [sys.executable, "-m", "tests.support.dies_on_the_way"]
    with cmp_lab(directory / "gateway", launcher=launcher, environment=environment) as lab:
        yield Mortal(lab, armed)


def _client(mortal: Mortal, endpoint: str = "default") -> CmpClient:
    return mortal.lab.client(endpoint, url=mortal.lab.gateway.quickstart["http"])


@pytest.mark.parametrize("kind", ["ir", "p10cr"])
def test_killed_before_the_answer_it_issues_once(mortal: Mortal, kind: str) -> None:
    """The same message again gets its certificate, and can confirm it."""
    host, number = device_name("kill"), -1 if kind == "p10cr" else 0
    transaction = _client(mortal).transaction()
    content = pki.device_csr(pki.key(), host) if kind == "p10cr" else ir(pki.key(), host)
    mortal.arm()
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        transaction.send(kind, content)
    assert not mortal.armed.exists(), "it died where it was to die"
    mortal.again(transaction)
    reply = transaction.send_message(transaction.sent)
    assert reply.outcome == "accepted", reply.statuses
    assert transaction.confirm(reply.certificate, cert_req_id=number).body_name == "pkiconf"
    assert mortal.lab.states(host) == ["issued"]
    assert mortal.certificates(host) == ["good"]


def test_killed_before_the_answer_to_an_update_it_issues_once(mortal: Mortal) -> None:
    """The unconfirmed successor of the first attempt is not in the way of the repeat."""
    host = device_name("kill")
    client = _client(mortal)
    private_key = pki.key()
    implicit = cmp_wire.infos(cmp_wire.info(cmp_wire.IMPLICIT_CONFIRM, cmp_wire.NULL))
    first = client.send("ir", ir(private_key, host), generalInfo=implicit).certificate
    device = cmp_wire.Signed(pki.Identity(first, private_key))
    transaction = client.having(protection=device).transaction()
    mortal.arm()
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        transaction.send("kur", ir(pki.key(), host))
    mortal.again(transaction)
    reply = transaction.send_message(transaction.sent)
    assert reply.outcome == "accepted", reply.statuses
    assert transaction.confirm(reply.certificate).body_name == "pkiconf"
    assert mortal.lab.states(host) == ["issued", "issued"]
    assert mortal.certificates(host) == ["good", "good"]


@pytest.mark.parametrize("way", ["goes-on", "repeats"])
def test_killed_between_the_answer_and_its_confirmation_it_confirms(mortal: Mortal, way: str) -> None:
    """A client goes on with the nonce that it has, or begins again with its first message."""
    host = device_name("kill")
    transaction = _client(mortal).transaction()
    first = transaction.send("ir", ir(pki.key(), host))
    assert first.outcome == "accepted"
    mortal.again(transaction)
    if way == "repeats":
        again = transaction.send_message(transaction.sent)
        assert again.certificate == first.certificate
    assert transaction.confirm(first.certificate).body_name == "pkiconf"
    assert mortal.lab.states(host) == ["issued"]
    assert mortal.certificates(host) == ["good"]


def test_killed_in_the_confirmation_it_is_confirmed_by_the_repeat(mortal: Mortal) -> None:
    """Whether the first certConf was recorded or not, its repeat gets pkiConf."""
    host = device_name("kill")
    transaction = _client(mortal).transaction()
    certificate = transaction.send("ir", ir(pki.key(), host)).certificate
    issued = transaction.last
    if mortal.lab.gateway.environment["DIE_AT"] == "commit":
        mortal.arm()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            transaction.confirm(certificate)
        assert not mortal.armed.exists()
    else:
        transaction.confirm(certificate)
    transaction.last = issued
    mortal.again(transaction)
    assert transaction.send_message(transaction.sent).body_name == "pkiconf"
    assert mortal.lab.states(host) == ["issued"]
    assert mortal.certificates(host) == ["good"]
