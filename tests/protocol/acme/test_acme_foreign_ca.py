"""A CA that is slow, silent, unwilling or gone (acme.md B9, C71, C89, C97)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import acme_policies, pki, policies
from tests.support.acme_answer import AcmeAnswer
from tests.support.acme_client import Order
from tests.support.acme_lab import Lab, endpoint, new_name, running_lab
from tests.unit.ca_backend.sample_ca import SampleCa

Behind = tuple[Lab, SampleCa]
CALM: dict[str, Any] = {
    "lose_before": 0,
    "lose_after": 0,
    "refuse": "",
    "pending": 0,
    "lie": "",
    "delay_ms": 0,
}


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """A gateway before a CA in another process."""
    directory = tmp_path_factory.mktemp("foreign")
    with SampleCa(directory / "ca", "--retry", "findable") as ca:
        options = {"address": ca.address, "retry": "findable"}
        docs = [
            policies.document("Backend", "remote", type="sample-remote", options=options),
            {**endpoint("default"), "backend": "remote"},
            acme_policies.acme_policy("remote", priority=10, issue=[{"backend": "remote"}]),
        ]
        with running_lab(directory / "gateway", docs=docs) as lab:
            yield lab, ca


@pytest.fixture
def calm(behind: Behind) -> Iterator[Behind]:
    """The same, with every switch of the CA off before and after."""
    yield behind
    behind[1].call("control", switches=CALM)


def _ready(lab: Lab) -> Order:
    return lab.account().ordered([new_name()]).ready(lab.http)


def _later(answer: AcmeAnswer) -> None:
    """``processing``, or 503: with the time to ask again, and without anything of the inside."""
    assert answer.status in (200, 503), answer.text
    if answer.status == 503:
        assert answer.problem == "serverInternal"
    else:
        assert answer.json["status"] == "processing"
    assert int(answer.header("Retry-After") or "0") >= 1
    assert "Traceback" not in answer.text


def _issued_count(ca: SampleCa) -> int:
    issued: dict[str, int] = ca.call("journal")["issued"]
    return sum(issued.values())


def test_certificate_of_a_foreign_ca_is_issued(calm: Behind) -> None:
    """acme.md C89, C90"""
    lab, _ = calm
    issued = _ready(lab).certified()
    assert len(issued.names) == 1


def test_ca_that_decides_later_leaves_the_order_processing(calm: Behind) -> None:
    """acme.md B9, C71, C89"""
    lab, ca = calm
    ca.call("control", switches={"pending": 2})
    order = _ready(lab)
    answer = order.finalize(order.csr(pki.key()))
    _later(answer)
    assert order.read()["status"] == "processing"
    order.finalize(order.csr(pki.key())).refused(403, "orderNotReady")
    assert order.client.wait(order.url)["status"] == "valid"


def test_lost_answer_of_the_ca_ends_with_one_certificate(calm: Behind) -> None:
    """acme.md C89, F: found again by the order, and never signed twice."""
    lab, ca = calm
    order = _ready(lab)
    before = _issued_count(ca)
    ca.call("control", switches={"lose_after": 1})
    answer = order.finalize(order.csr(pki.key()))
    assert answer.status == 503 or answer.json["status"] in ("processing", "valid")
    assert order.client.wait(order.url)["status"] == "valid"
    assert _issued_count(ca) == before + 1


def test_refusal_of_the_ca_makes_the_order_invalid_without_its_words(calm: Behind) -> None:
    """acme.md C89, C97"""
    lab, ca = calm
    order = _ready(lab)
    ca.call("control", switches={"refuse": "the secret internals of the CA"})
    answer = order.finalize(order.csr(pki.key()))
    assert "internals" not in answer.text
    found = order.client.wait(order.url)
    assert found["status"] == "invalid"
    assert found["error"]["detail"]
    assert "internals" not in str(found)
    order.finalize(order.csr(pki.key())).refused(403, "orderNotReady")


def test_certificate_that_is_not_the_one_decided_on_never_leaves(calm: Behind) -> None:
    """acme.md C89, E2: names, key and validity are compared with the decision."""
    lab, ca = calm
    order = _ready(lab)
    ca.call("control", switches={"lie": "wrong-name"})
    answer = order.finalize(order.csr(pki.key()))
    assert answer.status in (200, 500), answer.text
    found = order.client.wait(order.url)
    assert found["status"] == "invalid"
    assert "certificate" not in found


def test_ca_out_of_reach_delays_the_order_and_does_not_lose_it(calm: Behind) -> None:
    """acme.md C89, C97: issued once the CA is back."""
    lab, ca = calm
    order = _ready(lab)
    ca.stop()
    try:
        _later(order.finalize(order.csr(pki.key())))
        assert order.read()["status"] in ("processing", "ready")
        refused = lab.account().new_order([new_name()])
        assert refused.status == 201 or (refused.status, refused.problem) == (503, "serverInternal")
        assert refused.status == 201 or refused.header("Retry-After")
    finally:
        ca.start()
    if order.read()["status"] == "ready":
        order.certified()
    assert order.client.wait(order.url)["status"] == "valid"
