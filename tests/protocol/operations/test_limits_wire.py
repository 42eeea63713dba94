"""Limits as clients of each protocol meet them, on one gateway and on two that share a database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import acme_lab, acme_policies, cmp_lab, pki, policies, scep_lab
from tests.support import gateway as gateways
from tests.support.acme_responders import alpn_responder, http01_responder
from tests.support.answers import issued, refused
from tests.support.devices import device_name
from tests.support.gateway import Gateway
from tests.support.ports import spare_port
from tests.support.scep_answer import BAD_REQUEST
from tests.support.scep_answer import issued as scep_issued
from tests.support.scep_answer import refused as scep_refused

_OWN = shutil.ignore_patterns("instance", "ports.json", "lock", "quickstart.json", "metrics", "tls")
ONE: list[dict[str, Any]] = [{"per": "policy", "count": 1, "window": "1h"}]
FIVE: list[dict[str, Any]] = [{"per": "client", "count": 5, "window": "1h"}]


@dataclass(frozen=True)
class Everything:
    """One gateway with an endpoint of each protocol, where one certificate an hour is to be had."""

    gateway: Gateway
    acme: acme_lab.Lab
    scep: scep_lab.ScepLab
    cmp: cmp_lab.CmpLab


def _documents() -> list[policies.Document]:
    return [
        policies.endpoint("default"),
        policies.enroll_policy("est", "default", priority=10, limits=ONE),
        policies.endpoint("people"),
        policies.enroll_policy("people", "people", priority=11, limits=[{**ONE[0], "on_exceed": "pend"}]),
        policies.endpoint("again"),
        policies.enroll_policy("again", "again", priority=12, limits=_active("deny")),
        policies.renew_policy("again-again", "again", priority=13, limits=_active("deny")),
        acme_lab.endpoint("default"),
        acme_policies.acme_policy("acme", "default", priority=20, limits=ONE),
        scep_lab.endpoint("default"),
        scep_lab.first("scep", "default", 30, limits=ONE),
        cmp_lab.cmp_endpoint("default"),
        cmp_lab.enroll_policy("cmp", "default", 40, {"mac": {}}, limits=ONE),
    ]


def _active(on_exceed: str) -> list[dict[str, Any]]:
    return [{"per": "name", "active": 1, "on_exceed": on_exceed}]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with ExitStack() as stack:
        http = stack.enter_context(http01_responder(spare_port()))
        alpn = stack.enter_context(alpn_responder(spare_port()))
        lab = {"enabled": True, "http01_port": http.port, "tls_alpn01_port": alpn.port}
        options = {"policies": scep_lab.bundle(*_documents()), "config": {"lab": lab}}
        gateway = stack.enter_context(gateways.running(tmp_path_factory.mktemp("limits"), **options))
        acme = acme_lab.Lab(gateway, http, alpn)
        scep = scep_lab.ScepLab(gateway, pki.Authority("Vendor Root"))
        secret = gateway.cli_json("credential", "add", "cmp-secret", "--ref", "lab")["secret"]
        cmp = cmp_lab.CmpLab(gateway, cmp_lab.Foreign.made(), "lab", secret.encode())
        for one in (acme, scep, cmp):
            stack.callback(one.close)
        yield Everything(gateway, acme, scep, cmp)


def _within_an_hour(retry_after: str | None) -> None:
    assert retry_after is not None
    assert 3000 <= int(retry_after) <= 3660  # a window has parts of a sixtieth


def test_est_client_beyond_the_limit_is_told_when_to_come_again(everything: Everything) -> None:
    client = everything.gateway.est_client()
    issued(client.simple_enroll(pki.device_csr(pki.key(), device_name())))
    answer = client.simple_enroll(pki.device_csr(pki.key(), device_name()))
    refused(answer, 429, "limit.exceeded")
    assert "1 within 1h per policy" in answer.text
    _within_an_hour(answer.header("Retry-After"))


def test_acme_order_beyond_the_limit_stays_ready(everything: Everything) -> None:
    client = everything.acme.account()
    client.issue([acme_lab.new_name()], everything.acme.http)
    order = client.ordered([acme_lab.new_name()]).ready(everything.acme.http)
    answer = order.finalize(order.csr(pki.key()))
    assert "1 within 1h per policy" in answer.refused(429, "rateLimited")["detail"]
    _within_an_hour(answer.header("Retry-After"))
    assert client.post(order.url).ok()["status"] == "ready"


def test_scep_client_beyond_the_limit_is_told_so_in_its_answer(everything: Everything) -> None:
    lab = everything.scep
    scep_issued(lab.device(key="first").enrol(lab.challenge))
    reply = lab.device(key="second").enrol(lab.challenge)
    assert "limit.exceeded" in scep_refused(reply, BAD_REQUEST)


def test_cmp_client_beyond_the_limit_gets_system_unavail(everything: Everything) -> None:
    client = everything.cmp.client()
    assert cmp_lab.ask(client).outcome == "accepted"
    reply = cmp_lab.ask(client)
    assert (reply.http_status, reply.body_name, reply.outcome) == (200, "ip", "systemUnavail")
    assert "limit.exceeded" in reply.status.text
    assert f"again in {reply.headers['retry-after']} s" in reply.status.text
    _within_an_hour(reply.headers["retry-after"])


def test_request_beyond_a_limit_that_people_watch_waits_for_them(everything: Everything) -> None:
    client = everything.gateway.est_client(endpoint="people")
    issued(client.simple_enroll(pki.device_csr(pki.key(), device_name())))
    host = device_name()
    answer = client.simple_enroll(pki.device_csr(pki.key(), host))
    assert answer.status == 202
    listed = everything.gateway.cli_json("request", "list", "--state", "awaiting-approval")["requests"]
    (row,) = (row for row in listed if host in str(row))
    shown = everything.gateway.cli("request", "show", row["id"]).stdout
    assert "people.limits[0]" in shown


def test_renewed_certificate_does_not_count(everything: Everything) -> None:
    gateway, host, key = everything.gateway, device_name(), pki.key()
    client = gateway.est_client(endpoint="again")
    first = issued(client.simple_enroll(pki.device_csr(key, host)))
    refused(client.simple_enroll(pki.device_csr(pki.key(), host)), 429, "limit.exceeded")
    holder = client.having(user=None, identity=pki.Identity(first, key))
    issued(holder.simple_reenroll(pki.device_csr(pki.key(), host)))
    refused(client.simple_enroll(pki.device_csr(pki.key(), host)), 429, "limit.exceeded")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_fifty_clients_at_once_get_five_certificates(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """On PostgreSQL from two gateways of two workers each."""
    documents = (
        policies.endpoint("default"),
        policies.enroll_policy("few", "default", priority=1, limits=FIVE),
    )
    options: dict[str, Any] = {"policies": policies.bundle(*documents), "workers": 2}
    with ExitStack() as stack:
        if kind == "postgresql":
            options["database_url"] = request.getfixturevalue("postgresql_server").new_database()
        running = [stack.enter_context(gateways.running(tmp_path / "first", **options))]
        if kind == "postgresql":
            shutil.copytree(running[0].data, tmp_path / "second" / "data", ignore=_OWN)
            running.append(stack.enter_context(gateways.running(tmp_path / "second", **options)))
        csrs = [pki.device_csr(pki.key(), device_name()) for _ in range(50)]
        clients = [running[number % len(running)].est_client() for number in range(50)]
        with ThreadPoolExecutor(25) as pool:
            answers = list(pool.map(lambda client, csr: client.simple_enroll(csr), clients, csrs))
        assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 45
