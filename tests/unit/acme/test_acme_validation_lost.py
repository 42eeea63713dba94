"""Validations that nobody is at any more, and jobs that must wait (acme.md C74, C77, E11, E13)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection

from gateway.acme.slots import Slots
from gateway.acme.tables import unwatched
from gateway.acme.tables.authorizations import INVALID, PROCESSING, VALID
from gateway.acme.validation import VALIDATE_JOB, Validations
from gateway.frontend import Unit
from gateway.outbound import connect as connect_module
from gateway.outbound.network import Network, NetworkSettings
from gateway.store import jobs
from gateway.store.jobs import Job
from gateway.store.store import Store
from tests.support.acme_responders import Http01Responder, http01_responder
from tests.support.ports import spare_port
from tests.unit.acme.answering import (
    authorization_url,
    challenge_of,
    http_challenge,
    looking_house,
    settled,
    waiting_jobs,
)
from tests.unit.acme.authorized import row_of
from tests.unit.acme.house import LAB_SUFFIXES, Client, House, SetClock, document, problem

LATE = timedelta(seconds=25)


@pytest.fixture
def responder() -> Iterator[Http01Responder]:
    with http01_responder(spare_port()) as running:
        yield running


@pytest_asyncio.fixture
async def looking(
    tmp_path: Path, store: Store, clock: SetClock, responder: Http01Responder
) -> AsyncIterator[House]:
    opened = looking_house(tmp_path, store, clock, http_port=responder.port)
    yield opened
    await opened.aclose()


async def left_alone(
    house: House, responder: Http01Responder, endpoint: str = "default"
) -> tuple[Client, str, dict[str, Any]]:
    """An answered challenge whose worker has ended; its job waits."""
    client, url, challenge = await http_challenge(house, endpoint=endpoint)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    await house.aclose()
    assert page.gate is not None
    page.gate.set()
    return client, url, challenge


async def lose_job(house: House, how: str) -> Job:
    """End the one waiting job without a result: it is gone, or given up after its attempts."""
    (job,) = await waiting_jobs(house)
    unit = Unit()
    if how == "gone":
        jobs.withdraw(unit, VALIDATE_JOB, job.dedup_key)
    else:
        (taken,) = await jobs.claim(house.store.recorder, [VALIDATE_JOB], "worker", house.clock.now())
        jobs.fail(unit, replace(taken, attempts=taken.max_attempts), "broken", house.clock.now())
    await house.services.records.commit(unit)
    assert await waiting_jobs(house) == []
    return job


async def keep_house(house: House) -> None:
    assert house.mounted.housekeeping is not None
    await house.mounted.housekeeping()


async def test_validation_without_a_job_is_queued_by_housekeeping_once_it_is_overdue(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md E13: no challenge stays processing for ever"""
    client, url, _ = await left_alone(looking, responder)
    await lose_job(looking, "gone")
    await keep_house(looking)
    assert await waiting_jobs(looking) == []
    looking.clock.advance(seconds=25)
    await keep_house(looking)
    await keep_house(looking)
    (job,) = await waiting_jobs(looking)
    assert job.run_at <= looking.clock.now()
    assert await looking.mounted.jobs[VALIDATE_JOB](job.args) is None
    assert (await row_of(looking, client, url)).status == VALID


async def test_validation_whose_job_was_given_up_is_invalid_by_a_fault_of_the_server(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C77, E13; and it is no failure of the client's (C96)"""
    client, url, challenge = await left_alone(looking, responder, "limited")
    await lose_job(looking, "given up")
    looking.clock.advance(seconds=25)
    await keep_house(looking)
    row = await row_of(looking, client, url)
    assert (row.status, (row.error or {})["status"]) == (INVALID, 500)
    assert str((row.error or {})["type"]).endswith(":serverInternal")
    assert document(await client.post(challenge["url"]))["error"]["status"] == 500
    assert await waiting_jobs(looking) == []
    other = await challenge_of(client, await authorization_url(client, "a.test"), "http-01")
    assert (await client.post(other["url"], {})).status == 200  # where one failure an hour is allowed


async def test_housekeeping_leaves_alone_what_a_job_is_there_for_or_nobody_wants(
    looking: House, responder: Http01Responder
) -> None:
    await left_alone(looking, responder)
    (job,) = await waiting_jobs(looking)
    client, _, _ = await left_alone(looking, responder, "again")
    (mine,) = [one for one in await waiting_jobs(looking) if one.id != job.id]
    unit = Unit()
    jobs.withdraw(unit, VALIDATE_JOB, mine.dedup_key)
    await looking.services.records.commit(unit)
    assert (await client.post(str(client.kid), {"status": "deactivated"})).status == 200
    looking.clock.advance(seconds=25)
    await keep_house(looking)
    assert await waiting_jobs(looking) == [job]


@pytest.mark.parametrize(("how", "status"), [("gone", "processing"), ("given up", "invalid")])
async def test_post_to_an_overdue_challenge_has_it_taken_up_again(
    looking: House, responder: Http01Responder, how: str, status: str
) -> None:
    """acme.md C74, E13"""
    client, url, challenge = await left_alone(looking, responder)
    await lose_job(looking, how)
    assert document(await client.post(challenge["url"], {}))["status"] == "processing"
    assert await waiting_jobs(looking) == []
    looking.clock.advance(seconds=25)
    assert document(await client.post(challenge["url"], {}))["status"] == status
    found = await waiting_jobs(looking)
    assert len(found) == (1 if how == "gone" else 0)
    for job in found:
        assert await looking.mounted.jobs[VALIDATE_JOB](job.args) is None
        assert (await row_of(looking, client, url)).status == VALID


async def test_other_worker_waits_until_the_first_look_is_overdue(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C74: one look, however long it waits for its turn."""
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    (job,) = await waiting_jobs(looking)
    late = looking.clock.now() + LATE
    assert (await row_of(looking, client, url)).evidence == {"overdue_at": int(late.timestamp())}
    looking.services.worker = "another"
    elsewhere = Validations(looking.services)
    assert await elsewhere.job(job.args) == late
    assert page.gate is not None
    page.gate.set()
    assert (await settled(looking, client, url)).status == VALID
    assert responder.times_asked(challenge["token"]) == 1


async def test_job_that_finds_no_slot_ends_at_once_and_comes_again(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md E11: waiting jobs keep no others from running"""
    await left_alone(looking, responder)
    (job,) = await waiting_jobs(looking)
    slots, now = Slots(total=1), looking.clock.now()
    validations = Validations(looking.services, slots)
    times = set()
    async with slots.taken("another", "b.test", 0), asyncio.timeout(60):
        for _ in range(5):
            again_at = await validations.job(job.args)
            assert again_at is not None
            assert timedelta(seconds=10) <= again_at - now <= timedelta(seconds=40)
            times.add(again_at)
    assert len(times) == 5
    assert len(responder.asked) == 1
    assert await validations.job(job.args) is None


async def test_look_at_a_busy_address_is_put_off_and_no_attempt(
    looking: House, responder: Http01Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.md E11"""
    monkeypatch.setattr(connect_module, "_MAX_TURN_S", 0.05)
    client, url, _ = await left_alone(looking, responder)
    (job,) = await waiting_jobs(looking)
    settings = NetworkSettings((), responder.port, 443, True, LAB_SUFFIXES)
    looking.services.network = Network(settings, per_target=1)
    page = responder.show("held", b"", gate=threading.Event())
    held = asyncio.create_task(
        looking.services.network.fetch(
            "http://b.test/.well-known/acme-challenge/held", allowed=(), timeout_s=5
        )
    )
    while not responder.times_asked("held"):
        await asyncio.sleep(0.005)
    again_at = await looking.mounted.jobs[VALIDATE_JOB](job.args)
    assert again_at is not None
    assert again_at >= looking.clock.now() + timedelta(seconds=10)
    row = await row_of(looking, client, url)
    assert (row.status, row.error) == (PROCESSING, None)
    assert page.gate is not None
    page.gate.set()
    await held
    assert await looking.mounted.jobs[VALIDATE_JOB](job.args) is None
    assert (await row_of(looking, client, url)).status == VALID


async def test_answers_to_two_types_at_once_are_one_answer_and_one_refusal(
    looking: House, responder: Http01Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.md C74: the one that lost is told so"""
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key)
    other = await challenge_of(client, url, "dns-01")
    second = replace(client, nonce=None)
    arrived, commit, both = 0, looking.services.records.commit, asyncio.Event()

    async def together(unit: Unit) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 2:
            both.set()
        async with asyncio.timeout(60):
            await both.wait()
        await commit(unit)

    monkeypatch.setattr(looking.services.records, "commit", together)
    answers = await asyncio.gather(client.post(challenge["url"], {}), second.post(other["url"], {}))
    assert sorted(answer.status for answer in answers) == [200, 400]
    (refused,) = [answer for answer in answers if answer.status == 400]
    assert problem(refused) == "malformed"
    assert "already" in document(refused)["detail"]


async def test_search_for_lost_validations_uses_the_indexes(looking: House) -> None:
    def plan(connection: Connection) -> str:
        sql = unwatched._FIND.sql("sqlite")[0]
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", (1, "x", 5, 0)).all()
        return " | ".join(str(row[-1]) for row in rows)

    found = await looking.services.records.read(plan)
    assert "USING INDEX acme_authorization_" in found, found
    assert "job_active_key" in found, found
