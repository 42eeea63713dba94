"""What stops an order: rechecks after a wait, lost external accounts, verdicts beforehand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ca_backend.api import CaAnswer, RetryClass
from gateway.enrolment.approval import approve
from gateway.enrolment.doubt import order_again
from gateway.errors import BackendUnavailable
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.ids import EndpointName
from gateway.model.keys import KeyToCome
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.statement import driver_of
from gateway.store.unit import Unit
from tests.support import pki
from tests.unit.enrolment.house import House
from tests.unit.enrolment.orders import ACME, OrderHouse, presented
from tests.unit.enrolment.test_people import lost_answer

GONE = Reason(ReasonCode.AUTH_ACCOUNT, "the account was deactivated")


class Asked:
    """A recheck that notes what it was asked; with ``reasons`` it says no."""

    def __init__(self, *reasons: Reason) -> None:
        self.reasons = reasons
        self.seen: list[tuple[str, str]] = []

    async def __call__(self, endpoint: EndpointName, transaction_id: str) -> tuple[Reason, ...]:
        self.seen.append((endpoint, transaction_id))
        return self.reasons


def _codes(outcome: Outcome | None) -> list[ReasonCode]:
    assert isinstance(outcome, Refused), outcome
    return [reason.code for reason in outcome.reasons]


async def _approved(house: OrderHouse, pending: Outcome, state: State) -> None:
    assert isinstance(pending, Pending)
    approve(house.store, pending.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        await house.reaches(pending.request_id, state)


async def _revoked(house: House, row: CredentialRow) -> None:
    unit = Unit()
    credentials.revoke(unit, row.id, house.clock.now())
    await house.store.recorder.commit(unit)


# -- rechecks --


@pytest.mark.parametrize("endpoint", ["acme-slow", "acme-slow-foreign"])
async def test_approved_order_whose_front_end_says_no_is_refused_and_no_ca_is_asked(
    order_house: OrderHouse, endpoint: str
) -> None:
    """acme.md E14."""
    recheck = order_house.rechecks[ACME] = Asked(GONE)
    pending = await order_house.submit(order_house.order("o1", endpoint=endpoint))
    assert recheck.seen == []
    await _approved(order_house, pending, State.REFUSED)
    assert recheck.seen == [(endpoint, "o1")]
    refused = await order_house.outcome_of("o1", endpoint)
    assert isinstance(refused, Refused)
    assert refused.reasons == (GONE,)
    assert (order_house.foreign.calls, await order_house.issued_count()) == ([], 0)


async def test_approved_order_whose_front_end_agrees_is_issued(order_house: OrderHouse) -> None:
    recheck = order_house.rechecks[ACME] = Asked()
    pending = await order_house.submit(order_house.order("o1", endpoint="acme-slow"))
    await _approved(order_house, pending, State.ISSUED)
    assert recheck.seen == [("acme-slow", "o1")]


async def test_request_of_another_protocol_is_not_rechecked(order_house: OrderHouse) -> None:
    recheck = order_house.rechecks[ACME] = Asked(GONE)
    await order_house.credential("device")
    pending = await order_house.submit(order_house.request("a.test", endpoint="approval"))
    await _approved(order_house, pending, State.ISSUED)
    assert recheck.seen == []


async def test_order_that_never_reached_its_ca_is_rechecked_before_it_is_sent_again(
    order_house: OrderHouse,
) -> None:
    def away(_: str) -> None:
        raise BackendUnavailable("away", retry_after_s=1)

    order_house.foreign.retry = RetryClass.NEITHER
    order_house.foreign.before = away
    outcome = await order_house.submit(order_house.order("o1", endpoint="acme-foreign"))
    assert isinstance(outcome, Unavailable)
    order_house.foreign.before = lambda _: None
    order_house.rechecks[ACME] = Asked(GONE)
    async with order_house.at_work():
        await order_house.reaches(outcome.request_id, State.REFUSED, seconds=1)
    assert order_house.foreign.calls.count("issue") == 1
    assert await order_house.issued_count() == 0


async def test_order_that_an_operator_sends_again_is_rechecked(order_house: OrderHouse) -> None:
    outcome = await lost_answer(order_house, order_house.order("o1", endpoint="acme-foreign"))
    order_house.rechecks[ACME] = Asked(GONE)
    assert outcome.request_id is not None
    order_again(order_house.store, outcome.request_id, "cli:anna", clock=order_house.clock)
    async with order_house.at_work():
        await order_house.reaches(outcome.request_id, State.REFUSED, seconds=1)
    assert order_house.foreign.calls.count("issue") == 1


@pytest.mark.parametrize(
    ("reached", "state", "issued"),
    [(False, State.REFUSED, 0), (True, State.ISSUED, 1)],
    ids=["unknown to the CA", "issued by the CA"],
)
async def test_order_that_can_be_found_is_rechecked_only_if_the_ca_does_not_have_it(
    order_house: OrderHouse, reached: bool, state: State, issued: int
) -> None:
    def lose(answer: CaAnswer) -> CaAnswer:
        raise BackendUnavailable("the answer was lost", retry_after_s=1)

    def away(call: str) -> None:
        if call == "issue":
            raise BackendUnavailable("away", retry_after_s=1)

    order_house.foreign.retry = RetryClass.FINDABLE
    order_house.foreign.ca.switches.retry = RetryClass.FINDABLE.value
    if reached:
        order_house.foreign.altered = lose
    else:
        order_house.foreign.before = away
    outcome = await order_house.submit(order_house.order("o1", endpoint="acme-foreign"))
    assert isinstance(outcome, Unavailable)
    order_house.foreign.altered, order_house.foreign.before = (lambda answer: answer), (lambda _: None)
    order_house.rechecks[ACME] = Asked(GONE)
    async with order_house.at_work():
        await order_house.reaches(outcome.request_id, state, seconds=1)
    assert await order_house.issued_count() == issued


# -- external accounts --


async def test_order_of_an_account_whose_external_account_was_revoked_is_refused(
    order_house: OrderHouse,
) -> None:
    """acme.md B15."""
    row = await order_house.external_account("kid-1")
    account = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    assert isinstance(await order_house.submit(order_house.order("o1", account=account)), Issued)
    await _revoked(order_house, row)
    refused = await order_house.submit(order_house.order("o2", account=account))
    assert _codes(refused) == [ReasonCode.AUTH_ACCOUNT]
    assert isinstance(refused, Refused)
    assert "'kid-1'" in refused.reasons[0].message
    assert "no longer good" in refused.reasons[0].message
    assert (await order_house.row(refused.request_id)).identity_label == "ops@a.test"
    gone = replace(account, credential_id="nothing")
    assert _codes(await order_house.submit(order_house.order("o3", account=gone))) == [
        ReasonCode.AUTH_ACCOUNT
    ]


async def test_expired_external_account_stops_new_orders_and_no_answer_to_an_old_one(
    order_house: OrderHouse,
) -> None:
    row = await order_house.external_account(expires_at=order_house.clock.now() + timedelta(hours=1))
    account = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    request = order_house.order("o1", account=account)
    issued = await order_house.submit(request)
    order_house.clock.advance(hours=1)
    assert await order_house.submit(request) == issued
    refused = await order_house.submit(order_house.order("o2", account=account))
    assert _codes(refused) == [ReasonCode.AUTH_ACCOUNT]


async def test_order_whose_external_account_was_revoked_while_it_waited_is_refused(
    order_house: OrderHouse,
) -> None:
    row = await order_house.external_account()
    account = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    pending = await order_house.submit(order_house.order("o1", endpoint="acme-slow", account=account))
    await _revoked(order_house, row)
    await _approved(order_house, pending, State.REFUSED)
    assert _codes(await order_house.outcome_of("o1", "acme-slow")) == [ReasonCode.AUTH_ACCOUNT]


async def test_orders_take_no_use_off_an_external_account(order_house: OrderHouse) -> None:
    row = await order_house.external_account(uses_left=1)
    account = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    for number in range(3):
        assert isinstance(await order_house.submit(order_house.order(f"o{number}", account=account)), Issued)
    kept = await order_house.store.reader.read(lambda connection: credentials.get(connection, row.id))
    assert kept is not None
    assert kept.uses_left == 1


async def test_external_account_bounds_names_and_stands_in_for_challenges(order_house: OrderHouse) -> None:
    """acme.md B4."""
    row = await order_house.external_account(names=("line.test",), prevalidated=("line.test",))
    account = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    beyond = await order_house.submit(order_house.order("o1", "a.test", account=account))
    assert ReasonCode.AUTH_CREDENTIAL_SCOPE in _codes(beyond)
    asked = replace(order_house.order("o2", "x.line.test", account=account), key=KeyToCome(), csr_der=None)
    found = await order_house.service.preview(asked)
    assert (found.reasons, [name.value for name in found.prevalidated]) == ((), ["x.line.test"])


async def test_profiles_of_an_external_account_bound_its_orders(order_house: OrderHouse) -> None:
    row = await order_house.external_account(profiles=("short",))
    account = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    assert isinstance(await order_house.submit(order_house.order("o1", account=account)), Refused)
    request = order_house.order("o2", account=account, profile="short")
    assert isinstance(await order_house.submit(request), Issued)


# -- verdicts beforehand --


async def test_preview_tells_challenges_and_what_is_refused_and_records_nothing(
    order_house: OrderHouse,
) -> None:
    asked = replace(order_house.order("o1", "a.test", "b.test", proven=[]), key=KeyToCome(), csr_der=None)
    found = await order_house.service.preview(asked)
    assert (found.reasons, found.policy, found.reuse_s) == ((), "acme-web", 12 * 3600)
    assert found.challenges == ("http-01", "dns-01", "tls-alpn-01")
    names = order_house.order("o1", "a.test", "evil.com", "b.test", "worse.com", proven=[])
    found = await order_house.service.preview(replace(names, key=KeyToCome(), csr_der=None))
    assert {reason.path for reason in found.reasons} == {"identity.sans[1]", "identity.sans[3]"}
    nowhere = replace(asked, endpoint=EndpointName("nowhere"))
    found = await order_house.service.preview(nowhere)
    assert [reason.code for reason in found.reasons] == [ReasonCode.POLICY_NO_MATCH]
    assert await order_house.rows() == ()


async def test_preview_refuses_an_external_account_that_is_good_no_longer(order_house: OrderHouse) -> None:
    row = await order_house.external_account(expires_at=order_house.clock.now() + timedelta(hours=1))
    account = presented(order_house.clock.now(), credential_id=row.id)
    asked = replace(order_house.order("o1", account=account), key=KeyToCome(), csr_der=None)
    assert (await order_house.service.preview(asked)).reasons == ()
    order_house.clock.advance(hours=1)
    found = await order_house.service.preview(asked)
    assert [(reason.code, reason.rule) for reason in found.reasons] == [(ReasonCode.AUTH_ACCOUNT, "acme-web")]
    assert found.policy == "acme-web"


async def test_profiles_of_an_endpoint_are_those_of_its_policies(order_house: OrderHouse) -> None:
    assert order_house.service.profiles(ACME, EndpointName("acme")) == {}


# -- work done --


@pytest.mark.parametrize("each_database", ["sqlite"], indirect=True)
async def test_each_protocol_reads_no_more_rows_than_it_needs(order_house: OrderHouse) -> None:
    """EST: credential, earlier request, compromised key, whose key it was. Its policy asks for the last."""
    await order_house.credential("device")
    request = order_house.request("a.test", private_key=pki.key())
    assert await _reads(order_house, request) == ["credential", "request", "certificate", "certificate"]
    assert await _reads(order_house, order_house.order("o1")) == ["request", "certificate"]
    row = await order_house.external_account()
    bound = presented(order_house.clock.now(), "a.test", credential_id=row.id)
    order = order_house.order("o2", account=bound)
    assert await _reads(order_house, order) == ["credential", "request", "certificate"]


async def _reads(house: House, request: EnrolmentRequest) -> list[str]:
    """The tables that one submission reads, in order."""
    seen: list[str] = []

    def note(statement: str) -> None:
        seen.append(statement.split("FROM ")[1].split()[0])

    await house.store.reader.read(lambda connection: driver_of(connection).set_trace_callback(note))
    outcome = await house.submit(request)
    await house.store.reader.read(lambda connection: driver_of(connection).set_trace_callback(None))
    assert isinstance(outcome, Issued)
    return seen
