"""Checks, the choice of a CA and approval by expressions, as clients of ACME and EST see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import acme_policies, pki, policies
from tests.support import gateway as gateways
from tests.support.acme_lab import Lab, endpoint, new_name, running_lab
from tests.support.answers import issued, refused
from tests.support.devices import device_name
from tests.support.gateway import Gateway

CHECKS = [
    {
        "id": "no-production",
        "expr": "!san.dns.exists(n, n.startsWith('prod-'))",
        "message": "production names are not for this endpoint",
        "code": "rejectedIdentifier",
    },
    {"id": "small-key", "expr": "key.type == 'ec'", "message": "EC keys only", "code": "key"},
]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A gateway whose ACME policy has checks."""
    docs = [endpoint("default"), acme_policies.acme_policy("checked", checks=CHECKS)]
    with running_lab(tmp_path_factory.mktemp("checks"), docs=docs) as lab:
        yield lab


def test_check_of_the_names_refuses_the_order(checked: Lab) -> None:
    client = checked.account()
    problem = client.new_order([new_name(), new_name("prod-")]).refused(403, "rejectedIdentifier")
    assert "production names are not for this endpoint" in json.dumps(problem)


def test_check_of_the_key_refuses_the_csr_and_lets_the_order_go_on(checked: Lab) -> None:
    client = checked.account()
    order = client.ordered([new_name()]).ready(checked.http)
    problem = order.finalize(order.csr(pki.shared_key("RSA-2048"))).refused(400, "badCSR")
    assert "EC keys only" in problem["detail"]
    assert order.certified()


def _documents() -> dict[str, str]:
    """EST that issues ``*.corp.test`` by the CA ``two`` and asks people for names with ``vip``."""
    issue: Any = [
        {
            "backend": "embedded",
            "profile": "two",
            "when": "san.dns != [] && san.dns.all(n, underSuffix(n, 'corp.test'))",
        },
        {"backend": "embedded", "when": "!san.dns.exists(n, underSuffix(n, 'corp.test'))"},
    ]
    checks: Any = [
        {"id": "cn", "expr": "subject.CN in san.dns", "message": "the CN must be among the names"},
        {"id": "who", "expr": "client.name != 'nobody'", "code": "notAuthorized"},
    ]
    approval: Any = {"when": "san.dns.exists(n, n.matches('^vip[0-9]*[-.]'))", "retry_after": "5s"}
    parts = {"checks": checks, "issue": issue, "approval": approval}
    documents = [
        policies.document(
            "Backend",
            "embedded",
            type="embedded",
            options={"root_key": "ec-p256", "issuing": [{"name": "one"}, {"name": "two"}]},
        ),
        policies.endpoint("default"),
        policies.enroll_policy("routed", "default", priority=10, **parts),
    ]
    return {"bundle.yaml": "".join(f"---\n{json.dumps(one)}\n" for one in documents)}


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateways.running(tmp_path_factory.mktemp("routed"), policies=_documents()) as gateway:
        yield gateway


def test_names_choose_the_ca_that_issues(routed: Gateway) -> None:
    client, issuers = routed.est_client(), {}
    for host in (device_name(), device_name().removesuffix(".test") + ".corp.test"):
        certificate = issued(client.simple_enroll(pki.device_csr(pki.key(), host)))
        issuers[host.endswith("corp.test")] = certificate.issuer
    assert issuers[True] != issuers[False]
    assert "Two" in issuers[True].rfc4514_string()


def test_names_that_no_ca_is_for_are_refused(routed: Gateway) -> None:
    csr_der = pki.csr(pki.key(), cn="a.test", sans=["a.test", "b.corp.test"])
    refused(routed.est_client().simple_enroll(csr_der), 400, "policy.unaccounted")


def test_check_refuses_with_its_message(routed: Gateway) -> None:
    csr_der = pki.csr(pki.key(), cn="plain", sans=["a.test"])
    answer = routed.est_client().simple_enroll(csr_der)
    reason_id = refused(answer, 400, "check.request")
    assert "the CN must be among the names" in answer.text
    shown = routed.cli("request", "show", reason_id).stdout
    assert "routed.checks.cn" in shown
    answer = routed.est_client().simple_enroll(pki.csr(pki.key(), cn=None, sans=["a.test"]))
    refused(answer, 403, "check.error")
    assert "has no value for 'CN'" in answer.text


def test_people_are_asked_for_some_names_only(routed: Gateway) -> None:
    answer = routed.est_client().simple_enroll(pki.device_csr(pki.key(), "vip1.test"))
    assert answer.status == 202
    assert issued(routed.est_client().simple_enroll(pki.device_csr(pki.key(), "unvip1.test")))
