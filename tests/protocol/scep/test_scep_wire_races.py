"""Many clients at once, and a CA that is gone (scep.md C39, C48, C52)."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import policies
from tests.support.scep_answer import BAD_REQUEST, FAILURE, SUCCESS, CertRep, issued, refused
from tests.support.scep_client import Device, HttpAnswer
from tests.support.scep_lab import ScepLab, endpoint, first, running_lab
from tests.unit.ca_backend.sample_ca import SampleCa

CLIENTS = 50
PATIENCE_S = 90.0  # nothing here is about how fast the machine is


def _at_once(lab: ScepLab, messages: list[bytes]) -> list[HttpAnswer]:
    """Send every message over a connection of its own, all at the same moment."""
    ready, answers = threading.Barrier(len(messages)), {}
    servers = [lab.new_server(source=f"127.0.4.{number % 200 + 1}") for number in range(len(messages))]

    def send(number: int) -> None:
        servers[number].get("operation=GetCACaps")  # the connection stands
        ready.wait(PATIENCE_S)
        answers[number] = servers[number].post(messages[number])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(messages))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    for server in servers:
        server.close()
    return [answers[number] for number in range(len(messages))]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The endpoint ``default`` on either database; on PostgreSQL with two workers."""
    options: dict[str, Any] = {}
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
        options = {"database_url": url, "workers": 2}
    documents = (endpoint("default"), first("default", "default", 10))
    with running_lab(tmp_path_factory.mktemp(request.param), *documents, **options) as lab:
        yield lab


def test_one_challenge_used_by_fifty_clients_at_once_gives_one_certificate(store: ScepLab) -> None:
    """scep.md C39, C52: everybody else gets a CertRep with failInfo, as with a challenge used long ago."""
    challenge = store.new_challenge()
    before = store.count("certificate", "protocol = 'scep'")
    devices = [store.device(key=f"racer-{number % 5}") for number in range(CLIENTS)]
    messages = [device.message(device.csr(challenge)).build() for device in devices]
    answers = _at_once(store, messages)
    assert Counter(answer.status for answer in answers) == {200: CLIENTS}
    replies = _replies(store, devices, answers)
    assert Counter(reply.status for reply in replies) == {SUCCESS: 1, FAILURE: CLIENTS - 1}
    for reply in replies:
        if reply.status == FAILURE:
            text = refused(reply, BAD_REQUEST, "auth.failed")
            assert "used up" in str(store.row(text).decision["trace"])
    assert store.count("certificate", "protocol = 'scep'") - before == 1


def _replies(lab: ScepLab, devices: list[Device], answers: list[HttpAnswer]) -> list[CertRep]:
    found = zip(devices, answers, strict=True)
    return [lab.server().reply(answer, device.signer) for device, answer in found]


def test_identical_requests_at_once_are_one_issuance(store: ScepLab) -> None:
    """scep.md C41, C52: on a one-time challenge too."""
    for challenge in (store.challenge, store.new_challenge()):
        device = store.device()
        octets = device.message(device.csr(challenge)).build()
        replies = _replies(store, [device] * 20, _at_once(store, [octets] * 20))
        assert len({issued(reply).serial_number for reply in replies}) == 1
        assert store.certificates(device) == 1


# -- a CA elsewhere --


@pytest.fixture
def far(tmp_path: Path) -> Any:
    """A gateway before a CA in another process, which can be told to misbehave."""
    with SampleCa(tmp_path / "ca", "--retry", "findable") as ca:
        options = {"address": ca.address, "retry": "findable"}
        documents = (
            policies.document("Backend", "remote", type="sample-remote", options=options),
            {**endpoint("default"), "backend": "embedded"},
            first("far", "default", 10, issue=[{"backend": "remote"}]),
        )
        with running_lab(tmp_path / "gateway", *documents) as lab:
            yield lab, ca


def test_ca_that_is_gone_is_503_or_pending_and_never_two_certificates(far: tuple[ScepLab, SampleCa]) -> None:
    """scep.md C48: the same message again is enough."""
    lab, ca = far
    device = lab.device()
    message = device.message(device.csr(lab.new_challenge()))
    ca.call("control", switches={"lose_before": 3})
    first_answer = device.server.post(message.build())
    if first_answer.status == 503:
        assert int(first_answer.headers["retry-after"]) >= 1
    else:
        assert device.server.reply(first_answer, device.signer).status == 3
    ca.call("control", switches={"lose_before": 0})
    replies = _until_issued(device, message.build())
    assert issued(replies[-1]) == issued(device.send(message))
    assert sum(ca.call("journal")["issued"].values()) == 1


def _until_issued(device: Device, octets: bytes) -> list[CertRep]:
    found: list[CertRep] = []
    until = datetime.now(UTC) + timedelta(seconds=PATIENCE_S)
    wait = threading.Event()
    while datetime.now(UTC) < until:
        answer = device.server.post(octets)
        if answer.status == 200:
            found.append(device.server.reply(answer, device.signer))
            if found[-1].status == SUCCESS:
                return found
        wait.wait(0.2)
    raise AssertionError("never issued")
