"""Guardrails, heirs of a template, labels and a policy on trial over the wire: by EST and by CMP."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import cmp_lab, pki, policies
from tests.support import gateway as gateways
from tests.support.answers import dns_names, issued, refused
from tests.support.cmp_client import CmpClient
from tests.support.cmp_wire import Pbm
from tests.support.gateway import Gateway

FLOOR = policies.document(
    "Guardrail",
    "floor",
    keys={"ec": ["P-256"]},
    deny_names={"suffix": ["secret.test"], "regex": ["^xn--"]},
    validity_max="2d",
    ca="deny",
)
BASE = {
    "apiVersion": "pkigate/v1",
    "kind": "Policy",
    "metadata": {"name": "base"},
    "mode": "template",
    "keys": {"ec": ["P-256", "P-384"]},
    "names": {
        "subject": {"CN": {"source": "csr", "allow": {"suffix": ["test"]}}},
        "dns": {"suffix": ["test"]},
        "cn_in_san": False,
    },
    "validity": {"default": "30d"},
    "issue": [{"backend": "embedded"}],
}


def _heir(name: str, priority: int, match: policies.Document, **parts: object) -> policies.Document:
    return policies.document("Policy", name, priority=priority, extends="base", match=match, **parts)


def _documents() -> Iterator[policies.Document]:
    yield FLOOR
    yield BASE
    yield {**policies.endpoint("line1"), "metadata": {"name": "line1", "labels": {"zone": "factory"}}}
    yield {**policies.endpoint("line2"), "metadata": {"name": "line2", "labels": {"zone": "internet"}}}
    by_est = {"protocol": "est", "operation": "enroll", "labels": {"zone": ["factory", "internet"]}}
    yield _heir("est-lines", 10, by_est, authenticate={"basic": {}})
    strict = {"protocol": "est", "operation": "enroll", "not": {"labels": {"zone": "internet"}}}
    narrow = {"dns": {"suffix": ["narrow.test"]}}
    yield _heir("est-trial", 5, strict, authenticate={"basic": {}}, mode="shadow", names=narrow)
    yield cmp_lab.cmp_endpoint("plant")
    either = [{"operation": "enroll", "auth": "mac"}]
    yield _heir("cmp-plant", 20, {"protocol": "cmp", "any": either}, authenticate={"mac": {}})


@dataclass(frozen=True)
class House:
    gateway: Gateway
    password: str
    cmp: CmpClient


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    bundle = policies.bundle(*_documents())
    with gateways.running(tmp_path_factory.mktemp("guarded"), policies=bundle) as gateway:
        password = gateway.cli_json("credential", "add", "est", "--user", "press-7")["secret"]
        secret = gateway.cli_json("credential", "add", "cmp-secret", "--ref", "press-7")["secret"]
        client = CmpClient(gateway.quickstart["http"], Pbm("press-7", secret.encode()))
        yield House(gateway, password, client.having(path="/.well-known/cmp/p/plant"))
        client.close()


def test_est_refuses_a_denied_name_with_its_guardrail_and_issues_the_others_shortened(house: House) -> None:
    client = house.gateway.est_client(user="press-7", password=house.password, endpoint="line2")
    answer = client.simple_enroll(pki.device_csr(pki.key(), "a.secret.test"))
    refused(answer, 400, "name.not-allowed")
    assert "is denied by the guardrail floor: it lies under a denied suffix" in answer.text
    certificate = issued(client.simple_enroll(pki.device_csr(pki.key(), "a.open.test")))
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=1) < left <= timedelta(days=2)


def test_est_refuses_a_key_that_the_policy_allows_and_the_guardrail_does_not(house: House) -> None:
    client = house.gateway.est_client(user="press-7", password=house.password, endpoint="line2")
    answer = client.simple_enroll(pki.device_csr(pki.key("P-384"), "a.open.test"))
    refused(answer, 400, "key.curve")
    assert "beyond the guardrail floor; it leaves EC P-256" in answer.text


def test_policy_on_trial_stands_in_the_record_and_in_the_metrics_and_refuses_nothing(house: House) -> None:
    client = house.gateway.est_client(user="press-7", password=house.password, endpoint="line1")
    certificate = issued(client.simple_enroll(pki.device_csr(pki.key(), "b.open.test")))
    shown = recorded(house.gateway, "b.open.test")
    steps = [step for step in shown["decision"]["trace"] if step["step"] == "shadow"]
    assert [(step["rule"], step["verdict"]) for step in steps] == [
        ("est-trial", "deny"),
        ("est-trial.names.dns", "would-refuse"),
    ]
    assert shown["policy"] == "est-lines"
    assert dns_names(certificate) == ["b.open.test"]
    told = 'pkigate_policy_shadow_total{differs="yes",policy="est-trial",verdict="deny"} 1.0'
    wait_until(lambda: told in metrics(house.gateway), "what the policy on trial said is not counted")


def test_policy_on_trial_is_not_asked_where_its_match_excludes_the_endpoint(house: House) -> None:
    client = house.gateway.est_client(user="press-7", password=house.password, endpoint="line2")
    issued(client.simple_enroll(pki.device_csr(pki.key(), "c.open.test")))
    shown = recorded(house.gateway, "c.open.test")
    assert not [step for step in shown["decision"]["trace"] if step["step"] == "shadow"]


def test_cmp_refuses_a_denied_name_and_a_key_beyond_as_bad_cert_template(house: House) -> None:
    denied = house.cmp.send("ir", cmp_lab.ir(pki.key(), "xn--bcher-kva.test", sans=()))
    assert denied.outcome == "badCertTemplate", denied.statuses
    assert "the guardrail floor" in str(denied.statuses)
    beyond = house.cmp.send("ir", cmp_lab.ir(pki.key("P-384"), "a.open.test", sans=()))
    assert beyond.outcome == "badCertTemplate", beyond.statuses
    granted = house.cmp.send("ir", cmp_lab.ir(pki.key(), "a.open.test", sans=()))
    assert granted.outcome in ("accepted", "grantedWithMods"), granted.statuses
    life = granted.certificate.not_valid_after_utc - datetime.now(UTC)
    assert life <= timedelta(days=2)


def recorded(gateway: Gateway, host: str) -> dict[str, Any]:
    """The record of the request for this host."""
    (row,) = [row for row in gateway.cli_json("request", "list")["requests"] if host in str(row["subject"])]
    shown: dict[str, Any] = gateway.cli_json("request", "show", row["id"])
    return shown


def metrics(gateway: Gateway) -> str:
    port = json.loads((gateway.data / "ports.json").read_text())["ports"]["metrics"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
