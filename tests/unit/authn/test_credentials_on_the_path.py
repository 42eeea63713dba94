"""Challenges and MACs on the one path: taken once, told apart in the record, looked at again after a wait.

The sample front end lends its protocol's name, so that nothing of SCEP's or CMP's wire is needed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.authn.authenticate import NO_SUCH_CHALLENGE
from gateway.authn.sealing import seal
from gateway.authn.secrets import machine_verifier
from gateway.enrolment.approval import approve
from gateway.enrolment.record import credentials_behind, reasons_of
from gateway.model.enrolment import Correlation, EnrolmentRequest
from gateway.model.evidence import (
    BASIC,
    CMP_SECRET,
    SCEP_CHALLENGE,
    PresentedChallenge,
    PresentedCredential,
    PresentedMac,
    PresentedPassword,
    SecretBytes,
)
from gateway.model.ids import ProtocolName, new_id
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import ReasonCode
from gateway.store import audit, credentials, requests
from gateway.store.credentials import CredentialRow
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import pki, policies
from tests.unit.enrolment.house import SECRET, SERVER_KEY, ForeignCa, House, SetClock

SAMPLE = ProtocolName("sample")
CHALLENGE = "planted-challenge-0123456789abcdef"
_SLOW: Any = {"approval": {"required": 1, "expires": "7d", "retry_after": "600s"}}
_ANY: Any = {"require": "any", "basic": {}, "challenge": {}, "mac": {}}


def _of_sample(*documents: policies.Document) -> tuple[policies.Document, ...]:
    for one in documents:
        (one if one["kind"] == "Endpoint" else one["match"])["protocol"] = SAMPLE
    return documents


class SecretHouse(House):
    """Endpoints ``direct``, ``slow`` (approval) and ``one-time`` (no static challenge)."""

    def __init__(self, directory: Path, store: Store, clock: SetClock, foreign: ForeignCa) -> None:
        one_time: Any = {"challenge": {"accept": ["dynamic"]}}
        super().__init__(
            directory,
            store,
            clock,
            foreign,
            *_of_sample(
                policies.endpoint("direct"),
                policies.enroll_policy("directly", "direct", priority=210, authenticate=_ANY),
                policies.endpoint("slow"),
                policies.enroll_policy("slowly", "slow", priority=220, authenticate=_ANY, **_SLOW),
                policies.endpoint("one-time"),
                policies.enroll_policy("once", "one-time", priority=230, authenticate=one_time),
            ),
        )

    async def challenge(self, secret: str = CHALLENGE, name: str = "line 4", **changes: Any) -> CredentialRow:
        verifier = machine_verifier(SERVER_KEY, secret)
        return await self.credential(name, kind=SCEP_CHALLENGE, **{"verifier": verifier, **changes})

    async def shared_secret(self, **changes: Any) -> CredentialRow:
        credential_id = new_id()
        sealed = seal(SERVER_KEY, credential_id, b"secret")
        return await self.credential(
            "ref-1", kind=CMP_SECRET, **{"id": credential_id, "verifier": None, "sealed": sealed, **changes}
        )

    def message(
        self, host: str, *presented: PresentedCredential, endpoint: str = "direct", address: str = "192.0.2.1"
    ) -> EnrolmentRequest:
        request = self.request(host, endpoint=endpoint, address=address, private_key=pki.key())
        return replace(
            request,
            protocol=SAMPLE,
            correlation=Correlation((host.encode(),), with_identity=False),
            presented=presented,
        )

    async def revoke(self, row: CredentialRow) -> None:
        unit = Unit()
        credentials.revoke(unit, row.id, self.clock.now())
        await self.store.recorder.commit(unit)

    async def uses_left(self, row: CredentialRow) -> int | None:
        found = await self.store.reader.read(lambda connection: credentials.get(connection, row.id))
        assert found is not None
        return found.uses_left

    async def told(self, refused: Outcome) -> str:
        """What the record says of a refused credential."""
        assert isinstance(refused, Refused)
        row = await self.row(refused.request_id)
        steps = (row.decision or {})["trace"]
        assert isinstance(steps, list)
        return str([step["message"] for step in steps if step["step"] == "authenticate"][-1])


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SecretHouse]:
    url = f"sqlite:///{tmp_path}/gateway.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
    migrate(url)
    clock = SetClock()
    with Store(url, clock=clock) as store:
        yield SecretHouse(tmp_path, store, clock, ForeignCa(tmp_path / "foreign"))


def _challenge(secret: str = CHALLENGE) -> PresentedChallenge:
    return PresentedChallenge(SecretBytes(secret.encode()))


async def test_one_time_challenge_serves_one_request_and_every_repeat_of_it(house: SecretHouse) -> None:
    """scep.md C39."""
    row = await house.challenge(uses_left=1, expires_at=house.clock.now() + timedelta(hours=1))
    first = house.message("a.test", _challenge())
    issued = await house.submit(first)
    assert isinstance(issued, Issued)
    assert (await house.row(issued.request_id)).identity == f"challenge:{row.id}"
    assert await house.submit(first) == issued
    second = await house.submit(house.message("b.test", _challenge()))
    assert isinstance(second, Refused)
    assert (second.reasons[0].code, second.reasons[0].message) == (ReasonCode.AUTH_FAILED, NO_SUCH_CHALLENGE)
    assert f"(credential {row.id} is used up)" in await house.told(second)
    assert await house.submit(first) == issued


async def test_refused_request_takes_no_use_off_its_challenge(house: SecretHouse) -> None:
    """scep.md C39: it is consumed on an accepted request alone."""
    row = await house.challenge(uses_left=1)
    assert isinstance(await house.submit(house.message("not.allowed.org", _challenge())), Refused)
    assert await house.uses_left(row) == 1
    assert isinstance(await house.submit(house.message("a.test", _challenge())), Issued)
    assert await house.uses_left(row) == 0


async def test_fifty_devices_with_one_one_time_challenge_at_once_leave_one_certificate(
    house: SecretHouse,
) -> None:
    """scep.md C39."""
    row = await house.challenge(uses_left=1)
    messages = [house.message(f"d{number}.test", _challenge()) for number in range(50)]
    outcomes = await asyncio.gather(*map(house.submit, messages))
    assert len([one for one in outcomes if isinstance(one, Issued)]) == 1
    assert {type(one) for one in outcomes} <= {Issued, Refused, Unavailable}
    again = [await house.submit(message) for message in messages]
    assert [type(one) for one in again].count(Issued) == 1
    assert all(isinstance(one, Issued | Refused) for one in again)
    assert await house.uses_left(row) == 0


async def test_wrong_absent_expired_and_revoked_are_one_answer_and_four_records(house: SecretHouse) -> None:
    """scep.md C38, C39, C51."""
    revoked = await house.challenge("planted-revoked", name="revoked")
    await house.revoke(revoked)
    expired = await house.challenge("planted-expired", name="expired", expires_at=house.clock.now())
    given = ["planted-wrong", "", "planted-revoked", "planted-expired"]
    refused = [await house.submit(house.message(f"d{n}.test", _challenge(x))) for n, x in enumerate(given)]
    assert len({one.reasons for one in refused if isinstance(one, Refused)}) == 1
    told = [await house.told(one) for one in refused]
    assert all(one.startswith(NO_SUCH_CHALLENGE) for one in told)
    assert "no credential has this challenge password" in told[0]
    assert "the message brings none" in told[1]
    assert f"credential {revoked.id} was revoked" in told[2]
    assert f"credential {expired.id} expired" in told[3]


async def test_guesses_are_throttled_without_a_record_of_each(house: SecretHouse) -> None:
    """scep.md C51."""
    outcomes = [await house.submit(house.message("a.test", _challenge("wrong"))) for _ in range(12)]
    assert [type(one) for one in outcomes] == [Refused] * 10 + [Unavailable] * 2
    assert isinstance(outcomes[-1], Unavailable)
    assert outcomes[-1].reason.code is ReasonCode.AUTH_THROTTLED
    assert outcomes[-1].retry_after_s > 0


async def test_static_challenge_is_refused_where_only_one_time_ones_are_accepted(house: SecretHouse) -> None:
    await house.challenge()
    await house.challenge("planted-once", name="once", uses_left=1)
    static = await house.submit(house.message("a.test", _challenge(), endpoint="one-time"))
    assert isinstance(static, Refused)
    assert static.reasons[0].code is ReasonCode.AUTH_CREDENTIAL_SCOPE
    once = house.message("b.test", _challenge("planted-once"), endpoint="one-time")
    assert isinstance(await house.submit(once), Issued)


async def test_challenge_bounds_the_names_of_its_requests(house: SecretHouse) -> None:
    await house.challenge(names=("line.test",))
    beyond = await house.submit(house.message("a.test", _challenge()))
    assert isinstance(beyond, Refused)
    assert ReasonCode.AUTH_CREDENTIAL_SCOPE in {reason.code for reason in beyond.reasons}
    assert isinstance(await house.submit(house.message("a.line.test", _challenge())), Issued)


async def test_mac_of_a_counted_secret_is_taken_and_its_repeat_is_answered(house: SecretHouse) -> None:
    row = await house.shared_secret(uses_left=1)
    message = house.message("a.test", PresentedMac(row.id, row.name))
    issued = await house.submit(message)
    assert isinstance(issued, Issued)
    assert (await house.row(issued.request_id)).identity == f"mac:{row.id}"
    assert await house.submit(message) == issued
    second = await house.submit(house.message("b.test", PresentedMac(row.id, row.name)))
    assert isinstance(second, Refused)
    assert "has been used up" in second.reasons[0].message


async def test_record_of_a_refused_mac_says_whose_it_was(house: SecretHouse) -> None:
    row = await house.shared_secret()
    await house.revoke(row)
    refused = await house.submit(house.message("a.test", PresentedMac(row.id, row.name)))
    assert isinstance(refused, Refused)
    assert refused.reasons[0].code is ReasonCode.AUTH_FAILED
    assert f"credential {row.id} was revoked" in await house.told(refused)
    assert (await house.row(refused.request_id)).identity_label == "ref-1"


# -- after a wait for approval --


async def _stored(house: SecretHouse, kind: str, **changes: Any) -> tuple[CredentialRow, PresentedCredential]:
    if kind == SCEP_CHALLENGE:
        return await house.challenge(**changes), _challenge()
    if kind == CMP_SECRET:
        row = await house.shared_secret(**changes)
        return row, PresentedMac(row.id, row.name)
    row = await house.credential("device", **changes)
    return row, PresentedPassword("device", SecretBytes(SECRET.encode()))


async def _approved(house: SecretHouse, pending: Outcome, state: State) -> requests.RequestRow:
    assert isinstance(pending, Pending)
    approve(house.store, pending.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        return await house.reaches(pending.request_id, state)


@pytest.mark.parametrize("kind", [BASIC, SCEP_CHALLENGE, CMP_SECRET])
async def test_request_whose_credential_was_revoked_while_it_waited_is_refused(
    house: SecretHouse, kind: str
) -> None:
    row, presented = await _stored(house, kind)
    pending = await house.submit(house.message("a.test", presented, endpoint="slow"))
    await house.revoke(row)
    refused = await _approved(house, pending, State.REFUSED)
    (reason,) = reasons_of(refused)
    assert (reason.code, reason.rule) == (ReasonCode.AUTH_FAILED, "stored-credential")
    assert "was revoked while it waited" in reason.message


@pytest.mark.parametrize("kind", [BASIC, SCEP_CHALLENGE, CMP_SECRET])
async def test_request_whose_credential_expired_and_was_used_up_while_it_waited_is_issued(
    house: SecretHouse, kind: str
) -> None:
    """A challenge of one hour says until when a request may begin, not until when people must approve it."""
    end = house.clock.now() + timedelta(hours=1)
    row, presented = await _stored(house, kind, uses_left=1, expires_at=end)
    pending = await house.submit(house.message("a.test", presented, endpoint="slow"))
    assert await house.uses_left(row) == 0
    house.clock.advance(hours=2)
    await _approved(house, pending, State.ISSUED)


async def test_request_that_waits_since_before_an_upgrade_keeps_its_external_account(
    house: SecretHouse,
) -> None:
    row, presented = await _stored(house, CMP_SECRET)
    pending = await house.submit(house.message("a.test", presented, endpoint="slow"))
    assert isinstance(pending, Pending)
    waiting = await house.row(pending.request_id)
    assert credentials_behind(waiting) == (row.id,)
    assert credentials_behind(replace(waiting, decision={"external_accounts": ["id-1"]})) == ("id-1",)
    assert credentials_behind(replace(waiting, decision=None)) == ()


# -- silence --


async def test_challenge_is_in_no_row_and_in_no_audit_event(house: SecretHouse) -> None:
    """scep.md C40."""
    await house.challenge(uses_left=1)
    for secret in (CHALLENGE, CHALLENGE, CHALLENGE + "-wrong"):
        host = f"h{len(secret)}.test"
        await house.submit(house.message(host, _challenge(secret)))
    rows = await house.rows()
    assert {row.state for row in rows} == {State.ISSUED, State.REFUSED}
    events = await house.store.reader.read(lambda connection: list(audit.export(connection)))
    written = repr(rows) + json.dumps([row.decision for row in rows]) + "".join(map(str, events))
    assert written.count("request.") > 0
    assert "planted" not in written
