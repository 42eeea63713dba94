"""Who may ask for a revocation: verified by the policy for revocations, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model.enrolment import EnrolmentRequest, Operation, RequestedIdentity
from gateway.model.evidence import BASIC, Evidence
from gateway.model.ids import EndpointName
from gateway.model.keys import KeyToCome
from gateway.model.names import DistinguishedName
from gateway.model.outcome import Refused, State, Unavailable
from gateway.model.reasons import ReasonCode
from gateway.store.statement import driver_of
from tests.unit.enrolment.transactions import Device, TransactionHouse


def _revocation(house: TransactionHouse, user: str | None = "device", secret: str = "") -> EnrolmentRequest:
    message = house.message(Device("host.evil"), transaction="revocation", user=user or "")
    request = house.request("host.evil", user=user, **({"secret": secret} if secret else {}))
    return replace(
        message,
        operation=Operation.REVOKE,
        identity=RequestedIdentity(DistinguishedName()),
        key=KeyToCome(),
        csr_der=None,
        presented=request.presented,
    )


async def test_verified_requester_of_a_revocation_is_told_to_the_front_end(
    transactions: TransactionHouse,
) -> None:
    """cmp.md C77: keys, names and dates are not looked at."""
    row = await transactions.credential("device")
    found = await transactions.service.authorize(_revocation(transactions))
    assert isinstance(found, Evidence)
    assert [(one.kind, one.identity) for one in found.credentials] == [(BASIC, f"basic:{row.id}")]
    assert (await transactions.rows(), transactions.outcomes) == ((), [])


async def test_revocation_with_a_wrong_secret_is_refused_and_recorded(transactions: TransactionHouse) -> None:
    await transactions.credential("device")
    refused = await transactions.service.authorize(_revocation(transactions, secret="guess"))
    assert isinstance(refused, Refused)
    assert [(one.code, one.rule) for one in refused.reasons] == [(ReasonCode.AUTH_FAILED, "revocations")]
    row = await transactions.row(refused.request_id)
    assert (row.state, row.operation, row.policy) == (State.REFUSED, "revoke", "revocations")
    assert transactions.outcomes == [("refused", "auth.failed")]


async def test_revocation_without_credentials_is_refused(transactions: TransactionHouse) -> None:
    refused = await transactions.service.authorize(_revocation(transactions, user=None))
    assert isinstance(refused, Refused)
    assert [one.code for one in refused.reasons] == [ReasonCode.AUTH_MISSING]


async def test_revocation_where_no_policy_is_for_revocations_is_refused(
    transactions: TransactionHouse,
) -> None:
    """Unknown means deny: whoever may enrol at an endpoint may not revoke there for that."""
    await transactions.credential("device")
    elsewhere = replace(_revocation(transactions), endpoint=EndpointName("slow"))
    refused = await transactions.service.authorize(elsewhere)
    assert isinstance(refused, Refused)
    assert [one.code for one in refused.reasons] == [ReasonCode.POLICY_NO_MATCH]


async def test_request_for_a_certificate_is_not_authorized_as_a_revocation(
    transactions: TransactionHouse,
) -> None:
    await transactions.credential("device")
    asked = replace(_revocation(transactions), operation=Operation.ENROLL)
    assert isinstance(await transactions.service.authorize(asked), Refused)
    revocation = await transactions.submit(_revocation(transactions))
    assert isinstance(revocation, Refused)


async def test_expired_and_used_up_credentials_revoke_nothing(transactions: TransactionHouse) -> None:
    await transactions.credential("device", expires_at=transactions.clock.now())
    refused = await transactions.service.authorize(_revocation(transactions))
    assert isinstance(refused, Refused)
    assert "expired" in refused.reasons[0].message


async def test_guesses_at_revocations_are_throttled(transactions: TransactionHouse) -> None:
    await transactions.credential("device")
    for _ in range(100):
        found = await transactions.service.authorize(_revocation(transactions, secret="guess"))
        if isinstance(found, Unavailable):
            break
    assert isinstance(found, Unavailable)
    assert found.reason.code is ReasonCode.AUTH_THROTTLED
    assert transactions.outcomes[-1] == ("unavailable", "auth.throttled")


@pytest.mark.parametrize("each_database", ["sqlite"], indirect=True)
async def test_authorization_reads_the_credential_alone(transactions: TransactionHouse) -> None:
    await transactions.credential("device")
    seen: list[str] = []
    reader = transactions.store.reader
    await reader.read(lambda connection: driver_of(connection).set_trace_callback(seen.append))
    assert isinstance(await transactions.service.authorize(_revocation(transactions)), Evidence)
    await reader.read(lambda connection: driver_of(connection).set_trace_callback(None))
    assert [statement.split("FROM ")[1].split()[0] for statement in seen] == ["credential"]
