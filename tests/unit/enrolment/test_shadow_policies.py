"""``mode: shadow``: what a policy on trial would say stands in the record, and changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.model.outcome import Issued, Outcome, Pending, Refused
from gateway.model.reasons import ReasonCode
from gateway.store import credentials
from gateway.store.migrate import migrate
from gateway.store.store import Store
from tests.support import policies
from tests.unit.enrolment.house import ForeignCa, House, SetClock

Open = Callable[..., AbstractContextManager[House]]
AT = "tried"
EC_ONLY: policies.Document = {"ec": ["P-384"]}
SLOW = {"required": 1, "expires": "1h", "retry_after": "5s"}


@pytest.fixture
def opened(tmp_path: Path, clock: SetClock, foreign: ForeignCa) -> Open:
    @contextmanager
    def open_house(*documents: policies.Document) -> Iterator[House]:
        url = f"sqlite:///{tmp_path}/gateway.db"
        migrate(url)
        with Store(url, clock=clock) as store:
            house = House(tmp_path, store, clock, foreign, policies.endpoint(AT), *documents)
            seen: list[tuple[str, str, bool]] = []
            house.service._shadows._observe = lambda *said: seen.append(said)
            house.shadows = seen  # type: ignore[attr-defined]  # for these tests only
            yield house

    return open_house


def deciding(**parts: Any) -> policies.Document:
    return policies.enroll_policy("deciding", AT, priority=500, **parts)


def on_trial(name: str = "trial", *, priority: int = 400, **parts: Any) -> policies.Document:
    return {**policies.enroll_policy(name, AT, priority=priority, **parts), "mode": "shadow"}


def said(house: House) -> list[tuple[str, str, bool]]:
    found: list[tuple[str, str, bool]] = house.shadows  # type: ignore[attr-defined]
    return found


async def shadow_steps(house: House, outcome: Outcome) -> list[dict[str, str]]:
    assert isinstance(outcome, Issued | Refused | Pending)
    decision = (await house.row(outcome.request_id)).decision or {}
    trace: Any = decision["trace"]
    return [step for step in trace if step["step"] == "shadow"]


async def enroll(house: House, **changes: Any) -> Outcome:
    return await house.submit(house.request("a.test", endpoint=AT, **changes))


async def test_refusal_by_a_policy_on_trial_is_recorded_and_the_certificate_is_issued(opened: Open) -> None:
    with opened(deciding(), on_trial(keys=EC_ONLY)) as house:
        await house.credential("device")
        outcome = await enroll(house)
        assert isinstance(outcome, Issued)
        first, second = await shadow_steps(house, outcome)
        assert (first["rule"], first["verdict"]) == ("trial", "deny")
        assert first["message"] == "would refuse it, which differs: the verdict was allow"
        assert (second["rule"], second["verdict"]) == ("trial.keys", "would-refuse")
        assert second["message"].startswith("key.curve: ")
        assert said(house) == [("trial", "deny", True)]
        row = await house.row(outcome.request_id)
        assert row.policy == "deciding"
        assert "reasons" not in (row.decision or {})


async def test_policy_on_trial_that_agrees_is_told_so(opened: Open) -> None:
    with opened(deciding(), on_trial()) as house:
        await house.credential("device")
        (step,) = await shadow_steps(house, await enroll(house))
        assert (step["verdict"], step["message"]) == ("allow", "would grant it, as was decided")
        assert said(house) == [("trial", "allow", False)]


async def test_other_certificate_and_other_people_are_told_apart(opened: Open) -> None:
    with opened(deciding(), on_trial(validity={"default": "1d"})) as house:
        await house.credential("device")
        (step,) = await shadow_steps(house, await enroll(house))
        assert step["message"] == "would grant it, with a difference in not_after"
    assert said(house) == [("trial", "allow", True)]


async def test_approval_that_a_policy_on_trial_wants_is_not_waited_for(opened: Open) -> None:
    with opened(deciding(), on_trial(approval=SLOW)) as house:
        await house.credential("device")
        outcome = await enroll(house)
        assert isinstance(outcome, Issued)
        (step,) = await shadow_steps(house, outcome)
        assert step["message"] == "would ask people, which differs: the verdict was allow"


async def test_request_that_waits_for_people_is_compared_as_such(opened: Open) -> None:
    with opened(deciding(approval=SLOW), on_trial(approval=SLOW)) as house:
        await house.credential("device")
        outcome = await enroll(house)
        assert isinstance(outcome, Pending)
        assert said(house) == [("trial", "pend", False)]


async def test_policy_on_trial_that_would_grant_what_is_refused_grants_nothing(opened: Open) -> None:
    with opened(deciding(keys=EC_ONLY), on_trial()) as house:
        await house.credential("device")
        outcome = await enroll(house)
        assert isinstance(outcome, Refused)
        assert [reason.code for reason in outcome.reasons] == [ReasonCode.KEY_CURVE]
        (step,) = await shadow_steps(house, outcome)
        assert step["message"] == "would grant it, which differs: the verdict was deny"


async def test_first_policy_on_trial_before_the_deciding_one_is_looked_at(opened: Open) -> None:
    with opened(
        deciding(), on_trial("late", priority=501), on_trial("second", priority=450), on_trial("first")
    ) as house:
        await house.credential("device")
        await enroll(house)
        assert said(house) == [("first", "allow", False)]
    with opened(deciding(), on_trial("late", priority=501)) as house:
        outcome = await house.submit(house.request("b.test", endpoint=AT))
        assert await shadow_steps(house, outcome) == []
        assert said(house) == []


async def test_where_no_policy_decides_the_one_on_trial_is_asked_with_what_it_can_verify(
    opened: Open,
) -> None:
    with opened(on_trial()) as house:
        await house.credential("device")
        outcome = await enroll(house)
        assert isinstance(outcome, Refused)
        assert [reason.code for reason in outcome.reasons] == [ReasonCode.POLICY_NO_MATCH]
        first, second = await shadow_steps(house, outcome)
        # Nobody has verified the password, and a guess is never made for a policy on trial.
        assert (first["verdict"], second["message"]) == (
            "deny",
            "auth.missing: what was presented is not verified",
        )


async def test_wrong_password_is_charged_once_and_not_tried_again(opened: Open) -> None:
    with opened(deciding(), on_trial()) as house:
        await house.credential("device")
        for _ in range(3):
            outcome = await enroll(house, secret="wrong")
            assert isinstance(outcome, Refused)
            assert [reason.code for reason in outcome.reasons] == [ReasonCode.AUTH_FAILED]
        assert {verdict for _, verdict, _ in said(house)} == {"deny"}
        assert {differs for _, _, differs in said(house)} == {False}


async def test_counted_credential_loses_one_use(opened: Open) -> None:
    with opened(deciding(), on_trial()) as house:
        row = await house.credential("device", uses_left=2)
        assert isinstance(await enroll(house), Issued)
        kept = await house.store.reader.read(lambda connection: credentials.get(connection, row.id))
        assert kept is not None
        assert kept.uses_left == 1


async def test_repeat_of_an_answered_request_is_not_counted_again(opened: Open) -> None:
    with opened(deciding(), on_trial()) as house:
        await house.credential("device")
        request = house.request("a.test", endpoint=AT)
        first, again = await house.submit(request), await house.submit(request)
        assert isinstance(first, Issued)
        assert isinstance(again, Issued)
        assert first.request_id == again.request_id
        assert len(said(house)) == 1


async def test_limits_of_a_policy_on_trial_hold_nobody_up(opened: Open) -> None:
    limits = [{"per": "client", "count": 1, "window": "1h"}]
    with opened(deciding(), on_trial(limits=limits)) as house:
        await house.credential("device")
        for host in ("a.test", "b.test", "c.test"):
            assert isinstance(await house.submit(house.request(host, endpoint=AT)), Issued)
