"""CAs that stand in for others: only where one is known not to have acted, and never two certificates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509

from ca_backend.api import CaAnswer, RetryClass
from gateway.enrolment.approval import approve
from gateway.enrolment.doubt import order_again
from gateway.enrolment.settle import NOT_ACTED
from gateway.errors import BackendInDoubt, BackendUnavailable, NotActed
from gateway.model.outcome import Issued, Outcome, Pending, State, Unavailable
from gateway.store import audit, certificates
from gateway.store.recorder import Recorder
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import pki, policies
from tests.unit.enrolment.house import ForeignCa, House, SetClock

REMOTE = {"type": "sample-remote", "options": {"address": "unix:/nowhere"}}


def _documents() -> tuple[policies.Document, ...]:
    """Endpoints ``first`` (foreign, then second, then embedded), ``last`` (embedded, then second) and
    ``slow`` (as first, with approval)."""
    on = ["connect-error", "ca-offline", "5xx"]
    first: Any = [{"backend": "foreign", "fallback": ["second", "embedded"], "fallback_on": on}]
    last: Any = [{"backend": "embedded", "fallback": ["second"]}]
    slow: Any = {"required": 1, "expires": "1h", "retry_after": "5s"}
    return (
        policies.document("Backend", "second", **REMOTE),
        policies.endpoint("first"),
        policies.enroll_policy("first", "first", priority=100, issue=first),
        policies.endpoint("only-second"),
        policies.enroll_policy(
            "only-second",
            "only-second",
            priority=101,
            issue=[{"backend": "foreign", "fallback": ["second"], "fallback_on": "connect-error"}],
        ),
        policies.endpoint("last"),
        policies.enroll_policy("last", "last", priority=102, issue=last),
        policies.endpoint("slow-first"),
        policies.enroll_policy("slow-first", "slow-first", priority=103, issue=first, approval=slow),
    )


class FallbackHouse(House):
    """A house with a second foreign CA."""

    def __init__(
        self, directory: Path, store: Store, clock: SetClock, foreign: ForeignCa, second: ForeignCa
    ) -> None:
        super().__init__(directory, store, clock, foreign, *_documents())
        self.second = second
        second.name = "second"
        self.backends.replace("second", second)

    @property
    def signed(self) -> list[str]:
        """The orders that one of the foreign CAs has signed, each as often as it was."""
        counts = [ca.ca.journal.issued_count for ca in (self.foreign, self.second)]
        return [order for count in counts for order, times in count.items() for _ in range(times)]


@pytest.fixture
def second(tmp_path: Path) -> ForeignCa:
    return ForeignCa(tmp_path / "second")


@pytest.fixture
def fallback_house(
    house: House, tmp_path: Path, clock: SetClock, foreign: ForeignCa, second: ForeignCa
) -> FallbackHouse:
    return FallbackHouse(tmp_path, house.store, clock, foreign, second)


def fails(error: Exception, times: int = 1_000_000) -> Callable[[str], None]:
    """Makes ``issue`` fail before the CA has it, so many times."""
    left = iter(range(times))

    def before(call: str) -> None:
        if call == "issue" and next(left, None) is not None:
            raise error

    return before


def unreachable(kind: NotActed | None = NotActed.CONNECT_ERROR) -> BackendUnavailable:
    return BackendUnavailable("the CA cannot be reached", retry_after_s=5, not_acted=kind)


async def _submitted(house: FallbackHouse, endpoint: str = "first", **more: Any) -> Outcome:
    if not await house.rows():
        await house.credential("device")
    return await house.submit(house.request("a.test", endpoint=endpoint, **more))


def _issuer(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Issued), outcome
    return outcome.chain_der[0]


@pytest.mark.parametrize("kind", list(NotActed))
async def test_ca_that_did_not_act_is_stood_in_for(fallback_house: FallbackHouse, kind: NotActed) -> None:
    house = fallback_house
    house.foreign.before = fails(unreachable(kind))
    outcome = await _submitted(house)
    assert _issuer(outcome) == house.second.ca.root_der()
    assert isinstance(outcome, Issued)
    row = await house.row(outcome.request_id)
    assert (row.backend, row.state) == ("second", State.ISSUED)
    assert row.decision is not None
    step = cast("list[dict[str, str]]", row.decision["trace"])[-1]
    assert (step["step"], step["message"]) == (
        "route",
        f"backend second, since foreign did not act ({kind})",
    )
    (record,) = (await house.store.reader.read(certificates.search)).records
    assert record.backend == "second"
    events = [json.loads(line) for line in await house.store.reader.read(lambda c: list(audit.export(c)))]
    details = [one["details"] for one in events if one.get("action") == "request.fallback"]
    assert [(one["instead_of"], one["backend"]) for one in details] == [("foreign", "second")]


async def test_stand_ins_are_asked_in_turn_down_to_the_embedded_ca(fallback_house: FallbackHouse) -> None:
    house = fallback_house
    house.foreign.before = house.second.before = fails(unreachable())
    outcome = await _submitted(house)
    assert _issuer(outcome) in await house.backends.certificates("embedded")
    assert (house.foreign.calls, house.second.calls) == (["issue"], ["issue"])


@pytest.mark.parametrize("retry", list(RetryClass))
@pytest.mark.parametrize(
    "error",
    [unreachable(None), BackendInDoubt("no answer", retry_after_s=5), RuntimeError("a plug-in's fault")],
)
async def test_ca_that_may_have_acted_is_never_stood_in_for(
    fallback_house: FallbackHouse, retry: RetryClass, error: Exception
) -> None:
    """It has issued, and its answer is a 5xx, lost, or none that can be understood."""
    house = fallback_house
    house.foreign.retry = retry
    house.foreign.ca.switches.retry = retry.value

    def lost(answer: CaAnswer) -> CaAnswer:
        raise error

    house.foreign.altered = lost
    outcome = await _submitted(house)
    assert isinstance(outcome, Unavailable)
    house.foreign.altered = lambda answer: answer
    assert (await house.row(outcome.request_id)).backend == "foreign"
    assert len(house.signed) == 1
    if retry is RetryClass.NEITHER:
        return
    async with house.at_work():
        row = await house.reaches(outcome.request_id, State.ISSUED, seconds=5)
    assert (row.backend, house.second.calls) == ("foreign", [])
    assert len(house.signed) == 1


@pytest.mark.parametrize("retry", [RetryClass.IDEMPOTENT, RetryClass.FINDABLE])
async def test_ca_that_had_the_order_once_keeps_it_although_it_is_out_of_reach_then(
    fallback_house: FallbackHouse, retry: RetryClass
) -> None:
    house = fallback_house
    house.foreign.retry = retry
    house.foreign.before = fails(unreachable(None), times=1)  # it may have acted
    outcome = await _submitted(house)
    assert isinstance(outcome, Unavailable)
    house.foreign.before = fails(unreachable())
    asked = len(house.foreign.calls)
    async with house.at_work(), asyncio.timeout(60):
        while len(house.foreign.calls) < asked + 3:
            if not any(job.state == "running" for job in await house.jobs()):
                house.clock.advance(seconds=5)
            house.runner.wake()
            await asyncio.sleep(0.01)
    assert house.second.calls == []
    assert (await house.row(outcome.request_id)).backend == "foreign"


async def test_error_that_the_policy_does_not_name_is_waited_out(fallback_house: FallbackHouse) -> None:
    house = fallback_house
    house.foreign.before = fails(unreachable(NotActed.CA_OFFLINE), times=1)
    outcome = await _submitted(house, "only-second")
    assert isinstance(outcome, Unavailable)
    async with house.at_work():
        row = await house.reaches(outcome.request_id, State.ISSUED, seconds=5)
    assert (row.backend, house.second.calls) == ("foreign", [])


async def test_when_no_ca_can_be_asked_all_are_asked_again_from_the_first(
    fallback_house: FallbackHouse,
) -> None:
    house = fallback_house
    house.foreign.before = fails(unreachable(), times=2)
    house.second.before = fails(unreachable())
    outcome = await _submitted(house, "only-second")
    assert isinstance(outcome, Unavailable)
    row = await house.row(outcome.request_id)
    assert (row.backend, row.state, row.ca_handle) == ("foreign", State.SUBMITTING, NOT_ACTED)
    async with house.at_work():
        row = await house.reaches(outcome.request_id, State.ISSUED, seconds=5)
    assert (row.backend, row.ca_handle) == ("foreign", None)
    assert house.foreign.calls.count("issue") == 3
    assert len(house.signed) == 1


class _Closed:
    """The embedded CA without the use of its key."""

    name, retry, needs_csr, signs_in_process = "embedded", RetryClass.IDEMPOTENT, False, True

    def __init__(self, house: FallbackHouse) -> None:
        self._house = house

    async def issue(self, order: object) -> CaAnswer:
        raise BackendUnavailable("the key cannot be used")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._house.embedded, name)


async def test_embedded_ca_that_cannot_sign_is_stood_in_for(fallback_house: FallbackHouse) -> None:
    house = fallback_house
    house.backends.replace("embedded", cast("Any", _Closed(house)))
    outcome = await _submitted(house, "last")
    assert _issuer(outcome) == house.second.ca.root_der()
    house.second.before = fails(unreachable())
    for endpoint, first in (("last", "embedded"), ("first", "foreign")):
        house.foreign.before = fails(unreachable())
        waiting = await house.submit(house.request("b.test", endpoint=endpoint))
        assert isinstance(waiting, Unavailable)
        row = await house.row(waiting.request_id)
        assert (row.backend, row.ca_handle) == (first, NOT_ACTED)


async def test_ca_whose_own_end_is_not_known_is_stood_in_for(fallback_house: FallbackHouse) -> None:
    """As after a start without it: not even its certificates could be had."""
    house = fallback_house

    async def no_chain() -> tuple[bytes, ...]:
        raise unreachable()

    house.foreign.chain = no_chain  # type: ignore[method-assign]
    assert _issuer(await _submitted(house)) == house.second.ca.root_der()
    assert house.foreign.calls == []


async def test_life_ends_with_the_ca_that_stands_in(fallback_house: FallbackHouse) -> None:
    house = fallback_house
    end = (await house.backends.issuer("second")).not_after
    house.foreign.before = fails(unreachable())
    house.clock.moment = end.replace(microsecond=0)
    house.clock.advance(days=-10)
    outcome = await _submitted(house, "only-second")
    assert isinstance(outcome, Issued), outcome
    assert x509.load_der_x509_certificate(outcome.certificate_der).not_valid_after_utc <= end


async def test_stand_in_is_asked_after_an_approval_too(fallback_house: FallbackHouse) -> None:
    house = fallback_house
    house.foreign.before = fails(unreachable())
    pending = await _submitted(house, "slow-first")
    assert isinstance(pending, Pending)
    approve(house.store, pending.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        row = await house.reaches(pending.request_id, State.ISSUED, seconds=1)
    assert row.backend == "second"


async def test_operator_who_says_that_the_ca_has_not_issued_lets_another_one_issue(
    fallback_house: FallbackHouse,
) -> None:
    house = fallback_house
    house.foreign.retry = RetryClass.NEITHER
    house.foreign.before = fails(BackendInDoubt("no answer"), times=1)
    outcome = await _submitted(house)
    assert isinstance(outcome, Unavailable)
    assert (await house.row(outcome.request_id)).state is State.IN_DOUBT
    house.foreign.before = fails(unreachable())
    assert outcome.request_id is not None
    order_again(house.store, outcome.request_id, "cli:anna", clock=house.clock)
    async with house.at_work():
        row = await house.reaches(outcome.request_id, State.ISSUED, seconds=1)
    assert row.backend == "second"
    assert len(house.signed) == 1


class Killed(BaseException):
    """The process is gone; nothing of ours catches this."""


@dataclass(slots=True)
class Steps:
    """Kills its process before the step with this number; None: it lives."""

    last: int | None = None
    done: int = 0

    def __call__(self) -> None:
        if self.done == self.last:
            raise Killed
        self.done += 1


class MortalRecorder:
    """Each write is two steps: who dies before it wrote nothing, who dies after it told nobody."""

    def __init__(self, recorder: Recorder, steps: Steps) -> None:
        self._recorder = recorder
        self._steps = steps

    async def commit(self, unit: Unit) -> None:
        self._steps()
        await self._recorder.commit(unit)
        self._steps()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)


class MortalStore(Store):
    steps = Steps()

    @property
    def recorder(self) -> Recorder:
        return cast("Recorder", MortalRecorder(super().recorder, self.steps))


@pytest.fixture
def mortal_store(each_database: str, clock: SetClock) -> Iterator[MortalStore]:
    with MortalStore(each_database, clock=clock) as store:
        yield store


@pytest.mark.parametrize("retry", list(RetryClass))
async def test_process_killed_at_any_step_of_a_fallback_leaves_one_certificate(
    tmp_path: Path, mortal_store: MortalStore, clock: SetClock, retry: RetryClass
) -> None:
    """The first CA is out of reach until the process was killed, and comes back then."""
    foreign, second = (ForeignCa(tmp_path / name, retry) for name in ("foreign", "second"))
    killed_at = 0
    while True:
        steps, private_key = Steps(killed_at), pki.key()

        def answered(answer: CaAnswer, steps: Steps = steps) -> CaAnswer:
            steps()
            return answer

        mortal_store.steps = Steps()
        house = FallbackHouse(tmp_path, mortal_store, clock, foreign, second)
        if killed_at == 0:
            await house.credential("device")
        before_orders = len(house.signed)
        mortal_store.steps = steps
        foreign.before = fails(unreachable())
        second.before, second.altered = lambda call, steps=steps: steps(), answered
        request = house.request(f"h{killed_at}.test", endpoint="first", private_key=private_key)
        try:
            outcome = await house.submit(request)
        except Killed:
            mortal_store.steps = Steps()
            await _taken_over(FallbackHouse(tmp_path, mortal_store, clock, foreign, second), request)
            assert len(house.signed) == before_orders + 1
            killed_at += 1
        else:
            assert isinstance(outcome, Issued)
            break
    assert steps.done >= 8


async def _taken_over(house: FallbackHouse, request: Any) -> None:
    """The next process goes on, with every CA in reach; an operator looks where it cannot."""
    for ca in (house.foreign, house.second):
        ca.before, ca.altered = lambda call: None, lambda answer: answer
    house.clock.advance(minutes=10)
    async with asyncio.timeout(60), house.at_work():
        while not isinstance(outcome := await house.submit(request), Issued):
            house.runner.wake()
            await asyncio.sleep(0.01)
            if any(job.state == "running" for job in await house.jobs()):
                continue
            row = await house.row(outcome.request_id) if outcome.request_id else None
            if row is not None and row.state is State.IN_DOUBT:
                if any(row.id in ca.ca.journal.issued_count for ca in (house.foreign, house.second)):
                    return  # as the operator sees there: no other one is ordered
                order_again(house.store, row.id, "cli:anna", clock=house.clock)
            house.clock.advance(seconds=30)
