"""States of orders and authorizations as they follow from rows and time (acme.md C72, C76 to C78)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.acme.objects import render_authorization, render_challenge
from gateway.acme.order_state import (
    OrderState,
    OrderView,
    authorization_state,
    derived_state,
    may_be_finalized,
)
from gateway.acme.paths import Links
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.acme.tables.orders import OrderRow
from gateway.model.ids import RequestId
from gateway.model.outcome import Issued, Outcome, Pending, Refused, Unavailable
from gateway.model.reasons import Reason, ReasonCode

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LINKS = Links("https://acme.test/acme")
URN = "urn:ietf:params:acme:error:"


def row(status: str, *, lasts: timedelta = timedelta(days=1), **changes: object) -> AuthorizationRow:
    made = AuthorizationRow(
        id="one",
        endpoint="default",
        account_id="account",
        kind="dns",
        name="a.test",
        wildcard=False,
        status=status,
        token="token",
        challenges=("http-01", "dns-01"),
        created_at=NOW,
        expires_at=NOW + lasts,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # names and types are the test's


def order_of(*rows: AuthorizationRow, lasts: timedelta = timedelta(days=1)) -> OrderView:
    order = OrderRow(
        id="order",
        endpoint="default",
        account_id="account",
        identifiers=tuple(f"dns:{index}.test" for index, _ in enumerate(rows)),
        authorizations=tuple(f"{index}" for index, _ in enumerate(rows)),
        created_at=NOW,
        expires_at=NOW + lasts,
    )
    return OrderView(order, rows)


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (["valid"], "ready"),
        (["valid", "valid"], "ready"),
        (["valid", "pending"], "pending"),
        (["valid", "processing"], "pending"),
        (["pending"], "pending"),
        (["valid", "invalid"], "invalid"),
        (["valid", "deactivated"], "invalid"),
        (["pending", "deactivated"], "invalid"),
    ],
)
def test_order_is_ready_only_when_every_authorization_is_valid(statuses: list[str], state: str) -> None:
    """acme.md C76, C77, C78"""
    assert derived_state(order_of(*map(row, statuses)), None, NOW).status == state


@pytest.mark.parametrize("status", ["pending", "processing", "valid"])
def test_expired_authorization_makes_the_order_invalid(status: str) -> None:
    """acme.md C72"""
    view = order_of(row("valid"), row(status, lasts=timedelta(0)))
    assert derived_state(view, None, NOW).status == "invalid"


def test_order_that_lacks_an_authorization_is_invalid() -> None:
    """acme.md E2"""
    view = replace(order_of(row("valid"), row("valid")), authorizations=(row("valid"),))
    assert derived_state(view, None, NOW).status == "invalid"


def test_order_without_any_authorization_is_never_ready() -> None:
    """acme.md E2"""
    view = replace(order_of(row("valid")), authorizations=())
    assert derived_state(view, None, NOW).status == "invalid"


@pytest.mark.parametrize(
    ("status", "lasts", "state"),
    [
        ("pending", 1, "pending"),
        ("processing", 1, "pending"),
        ("valid", 1, "valid"),
        ("pending", 0, "invalid"),
        ("processing", 0, "invalid"),
        ("valid", 0, "expired"),
        ("invalid", 0, "invalid"),
        ("deactivated", 0, "deactivated"),
    ],
)
def test_status_of_an_authorization_follows_from_row_and_time(status: str, lasts: int, state: str) -> None:
    """acme.md C72"""
    assert authorization_state(row(status, lasts=timedelta(seconds=lasts)), NOW) == state


REFUSED = Refused(RequestId("0"), (Reason(ReasonCode.BACKEND_REFUSED, "the CA said no"),))


@pytest.mark.parametrize(
    ("outcome", "state", "retry_after_s"),
    [
        (Issued(RequestId("0"), b"", ()), "valid", None),
        (Pending(RequestId("0"), "approval", 30), "processing", 30),
        (Unavailable(Reason(ReasonCode.BACKEND_UNAVAILABLE, "no answer"), 0), "processing", 1),
        (REFUSED, "invalid", None),
    ],
)
def test_finalization_decides_whatever_the_authorizations_have_become(
    outcome: Outcome, state: str, retry_after_s: int | None
) -> None:
    """acme.md C89, C90"""
    view = order_of(row("deactivated"), lasts=timedelta(0))
    found = derived_state(view, outcome, NOW)
    assert (found.status, found.retry_after_s) == (state, retry_after_s)


def test_order_that_the_ca_refused_tells_why() -> None:
    """acme.md C89"""
    error = derived_state(order_of(row("valid")), REFUSED, NOW).error
    assert error is not None
    assert error["type"] == f"{URN}unauthorized"
    assert "the CA said no" in str(error["detail"])
    assert isinstance(error["status"], int)


def test_order_with_a_failed_authorization_names_it_and_why() -> None:
    """acme.md C77"""
    problem = {"type": f"{URN}dns", "detail": "no such name"}
    state = derived_state(order_of(row("valid"), row("invalid", error=problem)), None, NOW)
    assert state.error is not None
    assert state.error["subproblems"] == [{**problem, "identifier": {"type": "dns", "value": "a.test"}}]


@pytest.mark.parametrize(
    ("statuses", "possible"),
    [
        (["valid", "valid"], True),
        (["valid", "deactivated"], True),
        (["valid", "pending"], False),
        (["processing"], False),
        (["invalid"], False),
    ],
)
def test_finalization_is_looked_for_only_where_all_names_were_once_valid(
    statuses: list[str], possible: bool
) -> None:
    assert may_be_finalized(order_of(*map(row, statuses))) is possible


def test_state_without_outcome_has_no_retry_after() -> None:
    assert OrderState("pending").retry_after_s is None


def test_pending_authorization_shows_every_challenge() -> None:
    """acme.md C68"""
    found = render_authorization(LINKS, row("pending"), NOW)
    assert found["status"] == "pending"
    assert [one["status"] for one in challenges(found)] == ["pending", "pending"]


def test_authorization_under_validation_is_pending_with_one_challenge_processing() -> None:
    """acme.md C73, C74"""
    found = render_authorization(LINKS, row("processing", method="dns-01"), NOW)
    assert found["status"] == "pending"
    assert [one["status"] for one in challenges(found)] == ["pending", "processing"]


def test_valid_authorization_shows_the_challenge_that_was_passed() -> None:
    """acme.md C76"""
    found = render_authorization(LINKS, row("valid", method="dns-01", validated_at=NOW), NOW)
    assert [(one["type"], one["status"], one["validated"]) for one in challenges(found)] == [
        ("dns-01", "valid", "2030-01-01T00:00:00Z")
    ]


def test_failed_authorization_shows_the_challenge_that_failed_with_its_error() -> None:
    """acme.md C77"""
    problem = {"type": f"{URN}connection", "detail": "refused"}
    found = render_authorization(LINKS, row("invalid", method="http-01", error=problem), NOW)
    (challenge,) = challenges(found)
    assert (challenge["type"], challenge["status"]) == ("http-01", "invalid")
    assert challenge["error"] == {**problem, "status": 400}


def test_prevalidated_authorization_shows_no_challenge() -> None:
    found = render_authorization(LINKS, row("valid", method="prevalidated", validated_at=NOW), NOW)
    assert found["challenges"] == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"validated_at": NOW}, "valid"),
        ({"error": {"type": f"{URN}dns", "detail": "x"}}, "invalid"),
        ({}, "pending"),
    ],
)
def test_challenge_of_a_deactivated_authorization_stays_what_it_was(
    changes: dict[str, object], status: str
) -> None:
    """acme.md C78"""
    found = render_challenge(LINKS, row("deactivated", method="http-01", **changes), "http-01")
    assert found["status"] == status


def challenges(authorization: dict[str, object]) -> list[dict[str, object]]:
    found = authorization["challenges"]
    assert isinstance(found, list)
    return found
