"""Refusals: what the client hears, what the operator finds, and which of them are written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.enrolment.approval import approve
from gateway.enrolment.refusals import RECORDED_REFUSALS
from gateway.enrolment.revocation import revoke
from gateway.errors import BackendUnavailable
from gateway.model.certificate import RevocationReason
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import ReasonCode
from gateway.store import certificates, credentials
from gateway.store.unit import Unit
from tests.support import pki
from tests.unit.enrolment.house import House


async def _revoke(house: House, issued: Outcome, reason: RevocationReason) -> None:
    assert isinstance(issued, Issued)
    request_id = issued.request_id
    record = await house.store.reader.read(lambda connection: certificates.by_request(connection, request_id))
    assert record is not None
    revoke(house.store, record, reason, "cli:anna", clock=house.clock)


def _codes(outcome: Outcome) -> list[ReasonCode]:
    assert isinstance(outcome, Refused), outcome
    return [reason.code for reason in outcome.reasons]


async def _trace(house: House, outcome: Outcome) -> str:
    row = await house.row(outcome.request_id)
    decision: Any = row.decision
    return "\n".join(f"{step['step']} {step['verdict']} {step['message']}" for step in decision["trace"])


@pytest.mark.parametrize("endpoint", ["default", "foreign", "approval"])
async def test_compromised_key_gets_no_certificate_whoever_asks(house: House, endpoint: str) -> None:
    await house.credential("device")
    await house.credential("other")
    private_key = pki.key()
    first = await house.submit(house.request("a.test", private_key=private_key))
    await _revoke(house, first, RevocationReason.KEY_COMPROMISE)
    for user, host in (("device", "a.test"), ("other", "b.test")):
        request = house.request(host, user=user, endpoint=endpoint, private_key=private_key)
        assert _codes(await house.submit(request)) == [ReasonCode.KEY_WEAK]
    assert house.foreign.calls == []


async def test_key_that_was_superseded_gets_another_certificate(house: House) -> None:
    await house.credential("device")
    private_key = pki.key()
    first = await house.submit(house.request("a.test", private_key=private_key))
    await _revoke(house, first, RevocationReason.SUPERSEDED)
    again = await house.submit(house.request("a.test", private_key=private_key))
    assert isinstance(again, Issued)


async def test_key_compromised_while_the_request_waits_is_not_certified(house: House) -> None:
    await house.credential("device")
    private_key = pki.key()
    first = await house.submit(house.request("a.test", private_key=private_key))
    request = house.request("a.test", private_key=private_key, endpoint="approval")
    waiting = await house.submit(request)
    assert isinstance(waiting, Pending)
    await _revoke(house, first, RevocationReason.KEY_COMPROMISE)
    approve(house.store, waiting.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        row = await house.reaches(waiting.request_id, State.REFUSED)
    assert row.certificate_sha256 is None
    assert _codes(await house.submit(request)) == [ReasonCode.KEY_WEAK]


async def test_trace_tells_unknown_user_wrong_secret_and_revoked_credential_apart(house: House) -> None:
    await house.credential("device")
    gone = await house.credential("gone")
    unit = Unit()
    credentials.revoke(unit, gone.id, house.clock.now())
    await house.store.recorder.commit(unit)
    unknown = await house.submit(house.request("a.test", user="nobody"))
    wrong = await house.submit(house.request("a.test", secret="guess"))
    revoked = await house.submit(house.request("a.test", user="gone"))
    assert "no credential has the name 'nobody'" in await _trace(house, unknown)
    assert "wrong secret for 'device'" in await _trace(house, wrong)
    assert f"credential {gone.id} of that name was revoked" in await _trace(house, revoked)
    heard = [outcome.reasons for outcome in (unknown, wrong, revoked) if isinstance(outcome, Refused)]
    assert len(heard) == 3
    assert len(set(heard)) == 1, "the client's text is an oracle"


async def test_refusal_shows_an_id_exactly_if_it_leads_to_a_row(house: House) -> None:
    await house.credential("device")
    recorded = await house.submit(house.request("a.test", secret="guess"))
    first_try = await house.submit(house.request("a.test", user=None))
    assert isinstance(recorded, Refused)
    assert isinstance(first_try, Refused)
    assert [row.id for row in await house.rows()] == [recorded.request_id]
    assert first_try.request_id is None


async def test_throttled_guess_shows_no_id(house: House) -> None:
    await house.credential("device")
    outcomes = [await house.submit(house.request("a.test", secret=f"guess {n}")) for n in range(12)]
    throttled = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert {outcome.request_id for outcome in throttled} == {None}
    assert len(await house.rows()) == 10


async def test_refusal_beyond_the_bound_of_its_address_shows_no_id(house: House) -> None:
    await house.credential("device")
    request = house.request("a.example.com", address="2001:db8::1")
    last: Outcome = await house.submit(request)
    for number in range(RECORDED_REFUSALS.burst):
        elsewhere = replace(request, remote=replace(request.remote, address=f"2001:db8::{number:x}"))
        last = await house.submit(elsewhere)
    assert isinstance(last, Refused)
    assert last.request_id is None
    other = await house.submit(replace(request, remote=replace(request.remote, address="2001:db8:1::1")))
    assert isinstance(other, Refused)
    assert other.request_id is not None


async def test_request_whose_ca_cannot_tell_its_chain_shows_no_id(house: House) -> None:
    await house.credential("device")

    async def away() -> tuple[bytes, ...]:
        raise BackendUnavailable("the CA is away")

    house.foreign.chain = away  # type: ignore[method-assign]  # the CA's own answer
    outcome = await house.submit(house.request("a.test", endpoint="foreign"))
    assert isinstance(outcome, Unavailable)
    assert outcome.request_id is None
    assert await house.rows() == ()
