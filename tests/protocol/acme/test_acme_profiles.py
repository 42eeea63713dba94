"""Certificate profiles (acme.md C2, C66; draft-ietf-acme-profiles)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.support import acme_policies, policies
from tests.support.acme_client import Certificate
from tests.support.acme_lab import Lab, endpoint, new_name, running_lab


def _documents() -> list[policies.Document]:
    policy = acme_policies.acme_policy
    week = {"default": "7d"}
    return [
        endpoint("default", default_profile="classic"),
        policy("classic", "default", priority=10, profile="classic", description="Three months."),
        policy("short", "default", priority=20, profile="short-lived", description="A week.", validity=week),
        endpoint("by-choice"),
        policy("chosen", "by-choice", priority=30, profile="classic"),
        endpoint("without"),
        policy("without", "without", priority=40),
        endpoint("bound", eab="always"),
        policy("bound", "bound", priority=50, profile=["classic", "short-lived"]),
    ]


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A gateway whose endpoints offer profiles."""
    with running_lab(tmp_path_factory.mktemp("profiles"), docs=_documents()) as lab:
        yield lab


def _lifetime(certificate: Certificate) -> timedelta:
    return certificate.leaf.not_valid_after_utc - certificate.leaf.not_valid_before_utc


def test_directory_offers_profiles_with_what_they_are_for(profiled: Lab) -> None:
    """acme.md C2, C66"""
    offered = profiled.client().directory["meta"]["profiles"]
    assert offered == {"classic": "Three months.", "short-lived": "A week."}
    assert "profiles" not in profiled.client("without").directory.get("meta", {})


@pytest.mark.parametrize(("profile", "days"), [("classic", 90), ("short-lived", 7)])
def test_order_echoes_its_profile_and_the_certificate_follows_it(
    profiled: Lab, profile: str, days: int
) -> None:
    """acme.md C66"""
    client = profiled.account()
    order = client.ordered([new_name()], profile=profile)
    assert order.document["profile"] == profile
    certificate = order.ready(profiled.http).certified()
    assert timedelta(days=days) <= _lifetime(certificate) <= timedelta(days=days, hours=2)
    assert order.read()["profile"] == profile


def test_order_without_a_profile_gets_the_default_one(profiled: Lab) -> None:
    """acme.md C66"""
    certificate = profiled.issue()
    assert _lifetime(certificate) >= timedelta(days=90)


@pytest.mark.parametrize("profile", ["unknown", "", "Classic", "classic "])
def test_unknown_profile_is_invalid(profiled: Lab, profile: str) -> None:
    """acme.md C66"""
    answer = profiled.account().new_order([new_name()], profile=profile)
    assert answer.status == 400, answer.text
    assert answer.problem in ("invalidProfile", "malformed")


def test_profile_where_none_is_offered_is_invalid(profiled: Lab) -> None:
    """acme.md C66"""
    profiled.account("without").new_order([new_name()], profile="classic").refused(400, "invalidProfile")


@pytest.mark.parametrize("profile", [7, ["classic"], {"a": 1}, True])
def test_profile_that_is_no_text_is_malformed(profiled: Lab, profile: object) -> None:
    """acme.md C66"""
    profiled.account().new_order([new_name()], profile=profile).refused(400, "malformed")


def test_order_must_name_a_profile_where_there_is_no_default(profiled: Lab) -> None:
    """acme.md C66: refused at once, and not when it is finalized."""
    client = profiled.account("by-choice")
    answer = client.new_order([new_name()])
    assert answer.status in (400, 403), answer.text
    assert answer.problem
    assert client.new_order([new_name()], profile="classic").status == 201


def test_profile_beyond_the_external_account_is_refused(profiled: Lab) -> None:
    """acme.md C66, B4: the credential bounds the profiles too."""
    mac = profiled.external_account("bound", "--profiles", "short-lived")
    client = profiled.client("bound")
    client.new_account(externalAccountBinding=client.binding(*mac)).ok(201)
    answer = client.new_order([new_name()], profile="classic")
    assert answer.status in (400, 403), answer.text
    assert answer.problem in ("invalidProfile", "unauthorized", "rejectedIdentifier")
    assert client.new_order([new_name()], profile="short-lived").status == 201
