"""A guardrail refuses names when they are ordered, and bounds the life of every certificate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import acme_policies, policies
from tests.support.acme_lab import Lab, endpoint, new_name, running_lab


def _documents() -> list[policies.Document]:
    floor = policies.document(
        "Guardrail",
        "floor",
        match={"protocol": "acme"},
        deny_names={"suffix": ["secret.test"], "exact": ["gate.test"]},
        validity_max="3d",
    )
    life = {"default": "7d", "max": "30d", "client_may_request": True}
    return [
        floor,
        endpoint("default"),
        acme_policies.acme_policy("web", "default", priority=10, validity=life),
    ]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("guarded"), docs=_documents()) as lab:
        yield lab


def test_denied_names_are_rejected_identifiers_of_the_order(guarded: Lab) -> None:
    """Before anybody proves them (RFC 8555 section 7.4), each with a problem of its own."""
    names = ["a.secret.test", new_name(), "gate.test"]
    answer = guarded.account().new_order(names)
    assert answer.status in (400, 403)
    assert answer.problem == "rejectedIdentifier"
    told = {one["identifier"]["value"]: one["detail"] for one in answer.json["subproblems"]}
    assert sorted(told) == ["a.secret.test", "gate.test"]
    assert all("the guardrail floor" in detail for detail in told.values())


def test_certificate_of_an_order_lives_no_longer_than_the_guardrail_says(guarded: Lab) -> None:
    client = guarded.account()
    certificate = client.ordered([new_name()]).ready(guarded.http).certified()
    assert certificate.leaf.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=3)


def test_end_that_is_ordered_beyond_the_guardrail_is_refused(guarded: Lab) -> None:
    end = (datetime.now(UTC) + timedelta(days=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = guarded.account().new_order([new_name()], notAfter=end)
    assert answer.status in (400, 403)
    assert answer.problem == "malformed"
    assert "which the guardrail floor leaves" in answer.text
