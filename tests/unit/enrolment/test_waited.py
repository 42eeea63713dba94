"""Requests that waited: a client's dates stay, those of policy move on, and accounts may have ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from ca_backend.api import RetryClass
from gateway.enrolment.approval import approve
from gateway.enrolment.plan_json import asked_dates_from_json, plan_from_json, plan_to_json
from gateway.enrolment.waited import date_reasons, shifted
from gateway.errors import BackendUnavailable
from gateway.model.enrolment import CertificatePlan, EnrolmentRequest
from gateway.model.names import DistinguishedName
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import ReasonCode
from tests.unit.enrolment.orders import OrderHouse, presented

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NONE: frozenset[str] = frozenset()
BEGIN, END = frozenset({"not_before"}), frozenset({"not_after"})
SLOW = ["acme-slow", "acme-slow-foreign"]


def _plan(not_before: datetime = NOW - 5 * MINUTE, not_after: datetime = NOW + DAY) -> CertificatePlan:
    return CertificatePlan(DistinguishedName(), (), b"key", not_before, not_after)


# -- dates --


@pytest.mark.parametrize(
    ("plan", "asked", "expected"),
    [
        (_plan(), NONE, (NOW + 55 * MINUTE, LATER + DAY)),
        (_plan(), END, (NOW + 55 * MINUTE, NOW + DAY)),
        (_plan(), BEGIN, (NOW - 5 * MINUTE, LATER + DAY)),
        (_plan(), BEGIN | END, (NOW - 5 * MINUTE, NOW + DAY)),
        # It begins after the wait: its life is counted from there, so the wait makes it no longer.
        (_plan(NOW + 2 * HOUR, NOW + 2 * HOUR + DAY), BEGIN, (NOW + 2 * HOUR, NOW + 2 * HOUR + DAY)),
        (_plan(NOW + HOUR / 2, NOW + HOUR / 2 + DAY), BEGIN, (NOW + HOUR / 2, LATER + DAY)),
    ],
    ids=["none", "end", "begin", "both", "begin ahead", "begin passed"],
)
def test_wait_moves_the_dates_of_policy_and_none_of_the_client(
    plan: CertificatePlan, asked: frozenset[str], expected: tuple[datetime, datetime]
) -> None:
    """acme.md C65."""
    moved = shifted(plan, asked, NOW, LATER, None)
    assert (moved.not_before, moved.not_after) == expected


def test_wait_moves_no_end_beyond_the_issuer_s() -> None:
    assert shifted(_plan(), NONE, NOW, LATER, NOW + DAY).not_after == NOW + DAY


@pytest.mark.parametrize(
    ("not_after", "asked", "latest", "said"),
    [
        (LATER + MINUTE, END, None, ""),
        (LATER + timedelta(seconds=59), END, None, "less than a minute away"),
        (LATER - HOUR, END, None, "past"),
        (LATER + DAY, END, LATER + DAY, ""),
        (LATER + DAY, END, LATER + HOUR, "after the end of the issuing CA's own certificate"),
        (LATER + timedelta(seconds=1), NONE, None, ""),
        (LATER, NONE, LATER, "waited too long"),
    ],
)
def test_end_that_has_come_near_is_refused(
    not_after: datetime, asked: frozenset[str], latest: datetime | None, said: str
) -> None:
    found = date_reasons(_plan(not_after=not_after), asked, LATER, latest)
    assert bool(found) is bool(said)
    for reason in found:
        assert (reason.code, reason.path) == (ReasonCode.VALIDITY, "not_after")
        assert said in reason.message


def test_end_before_the_begin_is_refused() -> None:
    plan = _plan(LATER + DAY, LATER + HOUR)
    for asked in (NONE, BEGIN, BEGIN | END):
        assert [one.code for one in date_reasons(plan, asked, LATER, None)] == [ReasonCode.VALIDITY]


@pytest.mark.parametrize("asked", [NONE, BEGIN, END, BEGIN | END])
def test_plan_in_json_tells_which_dates_the_client_named(asked: frozenset[str]) -> None:
    stored = plan_to_json(_plan(), asked)
    assert (plan_from_json(stored), asked_dates_from_json(stored)) == (_plan(), asked)
    assert asked_dates_from_json({**stored, "asked_dates": []}) == NONE
    del stored["asked_dates"]  # as an earlier release wrote it
    assert asked_dates_from_json(stored) == NONE


# -- approval --


@pytest.mark.parametrize("endpoint", SLOW)
async def test_approved_order_keeps_the_dates_that_it_named(order_house: OrderHouse, endpoint: str) -> None:
    """acme.md C65: notBefore and notAfter are honoured exactly."""
    begin, end = order_house.clock.now() - MINUTE, order_house.clock.now() + 5 * DAY
    request = order_house.order("o1", endpoint=endpoint)
    await _approved(order_house, replace(request, not_before=begin, not_after=end), State.ISSUED)
    issued = await order_house.outcome_of("o1", endpoint)
    assert isinstance(issued, Issued)
    certificate = x509.load_der_x509_certificate(issued.certificate_der)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (begin, end)


@pytest.mark.parametrize("endpoint", SLOW)
async def test_approved_order_that_named_no_end_gets_its_whole_life(
    order_house: OrderHouse, endpoint: str
) -> None:
    request = order_house.order("o1", endpoint=endpoint)
    await _approved(order_house, request, State.ISSUED)
    issued = await order_house.outcome_of("o1", endpoint)
    assert isinstance(issued, Issued)
    certificate = x509.load_der_x509_certificate(issued.certificate_der)
    assert certificate.not_valid_after_utc == order_house.clock.now() + 90 * DAY


@pytest.mark.parametrize("endpoint", SLOW)
@pytest.mark.parametrize("left", [-MINUTE, timedelta(seconds=59)])
async def test_order_is_refused_if_its_end_has_come_when_it_is_approved(
    order_house: OrderHouse, endpoint: str, left: timedelta
) -> None:
    """acme.md C65: a notAfter that cannot be kept is refused, never moved."""
    end = order_house.clock.now() + HOUR / 2 + left
    request = replace(order_house.order("o1", endpoint=endpoint), not_after=end)
    await _approved(order_house, request, State.REFUSED)
    refused = await order_house.outcome_of("o1", endpoint)
    assert _codes(refused) == [ReasonCode.VALIDITY]
    assert await order_house.submit(request) == refused
    assert (order_house.foreign.calls, await order_house.issued_count()) == ([], 0)


async def test_order_whose_end_has_come_while_its_ca_was_away_is_refused(order_house: OrderHouse) -> None:
    order_house.foreign.retry = RetryClass.NEITHER
    order_house.foreign.before = _away
    end = order_house.clock.now() + HOUR
    request = replace(order_house.order("o1", endpoint="acme-foreign"), not_after=end)
    outcome = await order_house.submit(request)
    assert isinstance(outcome, Unavailable)
    order_house.foreign.before = lambda _: None
    order_house.clock.advance(minutes=59, seconds=1)
    async with order_house.at_work():
        await order_house.reaches(outcome.request_id, State.REFUSED, seconds=1)
    refused = await order_house.outcome_of("o1", "acme-foreign")
    assert _codes(refused) == [ReasonCode.VALIDITY]
    assert isinstance(refused, Refused)
    assert "the requested notAfter" in refused.reasons[0].message
    assert order_house.foreign.calls.count("issue") == 1


# -- external accounts --


@pytest.mark.parametrize("endpoint", SLOW)
@pytest.mark.parametrize(
    ("minutes", "state"), [(30, State.REFUSED), (31, State.ISSUED)], ids=["ended", "not yet"]
)
async def test_order_is_refused_if_its_external_account_ended_before_the_approval(
    order_house: OrderHouse, endpoint: str, minutes: int, state: State
) -> None:
    """acme.md B15: who approves after the credential's end approves in vain."""
    ends = order_house.clock.now() + minutes * MINUTE
    row = await order_house.external_account("kid-1", expires_at=ends)
    account = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    request = order_house.order("o1", endpoint=endpoint, account=account)
    await _approved(order_house, request, state)
    outcome = await order_house.outcome_of("o1", endpoint)
    assert await order_house.issued_count() == (state is State.ISSUED)
    if state is State.REFUSED:
        assert _codes(outcome) == [ReasonCode.AUTH_ACCOUNT]
        assert isinstance(outcome, Refused)
        assert f"'kid-1' behind this request expired at {ends:%Y-%m-%d %H:%M}Z" in outcome.reasons[0].message


async def test_order_whose_external_account_ended_while_its_ca_was_away_is_refused(
    order_house: OrderHouse,
) -> None:
    row = await order_house.external_account(expires_at=order_house.clock.now() + HOUR)
    account = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    order_house.foreign.retry = RetryClass.NEITHER
    order_house.foreign.before = _away
    outcome = await order_house.submit(order_house.order("o1", endpoint="acme-foreign", account=account))
    assert isinstance(outcome, Unavailable)
    order_house.foreign.before = lambda _: None
    order_house.clock.advance(hours=1)
    async with order_house.at_work():
        await order_house.reaches(outcome.request_id, State.REFUSED, seconds=1)
    assert _codes(await order_house.outcome_of("o1", "acme-foreign")) == [ReasonCode.AUTH_ACCOUNT]


async def _approved(house: OrderHouse, request: EnrolmentRequest, state: State) -> None:
    """Submit, wait for half an hour, approve and let the jobs run."""
    pending = await house.submit(request)
    assert isinstance(pending, Pending)
    house.clock.advance(minutes=30)
    approve(house.store, pending.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        await house.reaches(pending.request_id, state)


def _away(_: str) -> Any:
    raise BackendUnavailable("away", retry_after_s=1)


def _codes(outcome: Outcome | None) -> list[ReasonCode]:
    assert isinstance(outcome, Refused), outcome
    return [reason.code for reason in outcome.reasons]
