"""Lists whose entries serve one granted request each, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ca_backend.api import CaAnswer, CaRefused
from gateway.enrolment.approval import reject
from gateway.model.outcome import Issued, Outcome, Pending, Refused
from gateway.model.reasons import ReasonCode
from gateway.store import lists
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import policies
from tests.unit.enrolment.house import ForeignCa, House, SetClock

Open = Callable[..., AbstractContextManager[House]]
BY_FOREIGN: dict[str, Any] = {"issue": [{"backend": "foreign"}]}
HOSTS = ["a.test", "b.test"]
SUBJECT = {"CN": {"source": "csr", "allow": {"list": "hosts"}}}
NAMES = {"subject": SUBJECT, "dns": {"suffix": ["test"]}}


def listed(*, single_use: bool = True, **parts: Any) -> list[policies.Document]:
    entries = policies.document("List", "hosts", type="dns", entries=HOSTS, single_use=single_use)
    listed_policy = policies.enroll_policy("listed", "listed", priority=500, names=NAMES, **parts)
    return [entries, policies.endpoint("listed"), listed_policy]


@pytest.fixture
def opened(each_database: str, tmp_path: Path, clock: SetClock, foreign: ForeignCa) -> Open:
    @contextmanager
    def open_house(*documents: policies.Document) -> Iterator[House]:
        with Store(each_database, clock=clock) as store:
            yield House(tmp_path, store, clock, foreign, *documents)

    return open_house


async def enroll(house: House, host: str) -> Outcome:
    return await house.submit(house.request(host, endpoint="listed"))


def used_up(outcome: Outcome) -> bool:
    return isinstance(outcome, Refused) and [one.code for one in outcome.reasons] == [
        ReasonCode.AUTH_CREDENTIAL_SCOPE
    ]


async def test_fifty_at_once_with_one_entry_get_one_certificate(opened: Open) -> None:
    with opened(*listed()) as house:
        await house.credential("device")
        outcomes = await asyncio.gather(*(enroll(house, "A.test") for _ in range(50)))
        assert sum(isinstance(outcome, Issued) for outcome in outcomes) == 1
        assert sum(used_up(outcome) for outcome in outcomes) == 49


async def test_repeat_uses_no_entry_and_gets_the_same_certificate(opened: Open) -> None:
    with opened(*listed()) as house:
        await house.credential("device")
        request = house.request("a.test", endpoint="listed")
        outcomes = await asyncio.gather(*(house.submit(request) for _ in range(5)))
        assert len({one.certificate_der for one in outcomes if isinstance(one, Issued)}) == 1
        assert all(isinstance(outcome, Issued) for outcome in outcomes)
        assert isinstance(await enroll(house, "b.test"), Issued)
        assert used_up(await enroll(house, "a.test"))


async def test_refused_request_uses_no_entry(opened: Open, foreign: ForeignCa) -> None:
    with opened(*listed(**BY_FOREIGN)) as house:
        await house.credential("device")
        wrong = house.request("a.test", endpoint="listed", secret="no secret")
        assert isinstance(await house.submit(wrong), Refused)

        def refuse(answer: CaAnswer) -> CaAnswer:
            return CaRefused("no", "not this one")

        foreign.altered = refuse
        assert isinstance(await enroll(house, "a.test"), Refused)
        foreign.altered = lambda answer: answer
        assert isinstance(await enroll(house, "a.test"), Issued)
        assert used_up(await enroll(house, "a.test"))


async def test_entry_of_a_waiting_request_is_free_again_once_it_was_rejected(opened: Open) -> None:
    slow: dict[str, Any] = {"approval": {"required": 1, "expires": "1h", "retry_after": "5s"}}
    with opened(*listed(**slow)) as house:
        await house.credential("device")
        waiting = await enroll(house, "a.test")
        assert isinstance(waiting, Pending)
        assert used_up(await enroll(house, "a.test"))
        reject(house.store, waiting.request_id, "cli:anna", clock=house.clock)
        assert isinstance(await enroll(house, "a.test"), Pending)


async def test_released_entry_serves_once_more(opened: Open) -> None:
    with opened(*listed()) as house:
        await house.credential("device")
        assert isinstance(await enroll(house, "a.test"), Issued)
        unit = Unit()
        lists.release(unit, "hosts", "a.test")
        await house.store.recorder.commit(unit)
        assert isinstance(await enroll(house, "a.test"), Issued)
        assert used_up(await enroll(house, "a.test"))


async def test_entries_of_other_lists_serve_again_and_again(opened: Open) -> None:
    with opened(*listed(single_use=False)) as house:
        await house.credential("device")
        for _ in range(3):
            issued = await enroll(house, "a.test")
            assert isinstance(issued, Issued)
        row = await house.row(issued.request_id)
        decision: Any = row.decision
        (step,) = [step for step in decision["trace"] if step["step"] == "lists"]
        assert step["rule"] == "list:hosts"
        assert len(step["message"].rpartition(" ")[2]) == 64


async def test_name_that_does_not_stand_in_the_list_is_refused(opened: Open) -> None:
    with opened(*listed()) as house:
        await house.credential("device")
        refused = await enroll(house, "c.test")
        assert isinstance(refused, Refused)
        assert not used_up(refused)
