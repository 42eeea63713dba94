"""Validation as durable work: repeats, crashes, and what changes meanwhile (acme.md C57, C77, C96, E13)."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.acme.plugin import AcmeFrontEnd
from gateway.acme.tables import accounts, authorizations
from gateway.acme.tables.authorizations import INVALID, PROCESSING, VALID
from gateway.composition.services import GatewayServices
from gateway.frontend import Unit
from gateway.store.store import Store
from tests.support.acme_responders import Http01Responder, http01_responder
from tests.support.ports import spare_port
from tests.unit.acme.answering import (
    KIND,
    authorization_url,
    challenge_of,
    http_challenge,
    looking_house,
    settled,
    waiting_jobs,
)
from tests.unit.acme.authorized import row_of
from tests.unit.acme.house import House, SetClock, document, header, problem


def replace_worker(services: GatewayServices, name: str) -> GatewayServices:
    """The same services, given to another worker."""
    found = copy.copy(services)
    found.worker = name
    return found


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


async def test_result_takes_its_job_along(looking: House, responder: Http01Responder) -> None:
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    (job,) = await waiting_jobs(looking)
    assert job.run_at == looking.clock.now() + timedelta(seconds=25)
    assert page.gate is not None
    page.gate.set()
    await settled(looking, client, url)
    assert await waiting_jobs(looking) == []


async def test_fault_that_may_pass_is_shown_while_processing_and_looked_at_again(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C77; RFC 8555 section 8.2"""
    client, url, challenge = await http_challenge(looking, endpoint="again")
    await client.post(challenge["url"], {})
    async with asyncio.timeout(60):
        while (await row_of(looking, client, url)).error is None:
            await asyncio.sleep(0.01)
    shown = document(await client.post(challenge["url"]))
    assert (shown["status"], shown["error"]["status"]) == ("processing", 403)
    assert "status 404" in shown["error"]["detail"]
    (job,) = await waiting_jobs(looking)
    elsewhere = AcmeFrontEnd().mount(replace_worker(looking.services, "another")).jobs[KIND]
    assert await elsewhere(job.args) == looking.clock.now() + timedelta(seconds=26)
    assert responder.times_asked(challenge["token"]) == 1
    responder.answer(challenge["token"], client.key)
    row = await settled(looking, client, url)
    assert (row.status, row.error, (row.evidence or {})["attempts"]) == (VALID, None, 2)


async def test_last_look_makes_the_authorization_and_its_order_invalid(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C77"""
    client = await looking.client("again").registered()
    answer = await client.new_order(["a.test"])
    url = document(answer)["authorizations"][0]
    challenge = await challenge_of(client, url, "http-01")
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    assert (row.status, row.evidence) == (INVALID, {"attempts": 2})
    assert responder.times_asked(challenge["token"]) == 2
    order = document(await client.post(str(header(answer, "Location"))))
    assert order["status"] == "invalid"
    assert "status 404" in str(order["error"])


async def test_result_for_what_expired_meanwhile_is_dropped(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C72: it was invalid for its client already."""
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    while not responder.asked:
        await asyncio.sleep(0.005)
    looking.clock.advance(days=8)
    assert page.gate is not None
    page.gate.set()
    await asyncio.sleep(0.2)
    assert (await row_of(looking, client, url)).validated_at is None


@pytest.mark.parametrize("what", ["account", "authorization"])
async def test_result_for_what_was_deactivated_meanwhile_is_dropped(
    looking: House, responder: Http01Responder, what: str
) -> None:
    """acme.md E13"""
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    while not responder.asked:
        await asyncio.sleep(0.005)
    target = str(client.kid) if what == "account" else url
    assert (await client.post(target, {"status": "deactivated"})).status == 200
    assert page.gate is not None
    page.gate.set()
    await asyncio.sleep(0.2)
    assert (await row_of(looking, client, url)).status != VALID
    assert (await row_of(looking, client, url)).validated_at is None


async def test_key_change_meanwhile_leaves_the_answer_as_it_was_made(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C57, E5: the key authorization is that of the POST."""
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    row = await row_of(looking, client, url)
    assert (row.status, row.key_authorization) == (PROCESSING, page.body.decode())
    account = await looking.services.records.read(
        lambda connection: accounts.get(connection, "default", row.account_id)
    )
    assert account is not None
    unit = Unit()
    accounts.change(unit, account, replace(account, thumbprint="another"))
    await looking.services.records.commit(unit)
    assert page.gate is not None
    page.gate.set()
    assert (await settled(looking, client, url)).status == VALID


async def test_failures_use_up_what_is_allowed(looking: House, responder: Http01Responder) -> None:
    """acme.md C96, E11"""
    client, url, challenge = await http_challenge(looking, endpoint="limited")
    await client.post(challenge["url"], {})
    assert (await settled(looking, client, url)).status == INVALID
    url = await authorization_url(client, "a.test")
    challenge = await challenge_of(client, url, "http-01")
    answer = await client.post(challenge["url"], {})
    assert (answer.status, problem(answer)) == (429, "rateLimited")
    assert int(header(answer, "Retry-After") or "0") > 0
    assert (await row_of(looking, client, url)).status == authorizations.PENDING
    url = await authorization_url(client, "b.test")
    challenge = await challenge_of(client, url, "http-01")
    assert (await client.post(challenge["url"], {})).status == 200
    await settled(looking, client, url)


async def test_validation_of_a_worker_that_died_is_done_by_its_job(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md F: a validation is a durable job."""
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    (job,) = await waiting_jobs(looking)
    assert await looking.mounted.jobs[KIND](job.args) == looking.clock.now() + timedelta(seconds=20)
    while not responder.asked:
        await asyncio.sleep(0.005)
    await looking.aclose()
    (hastened,) = await waiting_jobs(looking)
    assert hastened.run_at == looking.clock.now()
    assert (await row_of(looking, client, url)).status == PROCESSING
    assert page.gate is not None
    page.gate.set()
    assert await AcmeFrontEnd().mount(looking.services).jobs[KIND](job.args) is None
    row = await row_of(looking, client, url)
    assert (row.status, row.validated_at) == (VALID, looking.clock.now())
    assert responder.times_asked(challenge["token"]) == 2


async def test_worker_takes_up_what_the_one_in_its_place_left_undone(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md F: no wait for the job of a worker that was killed."""
    client, _, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    (job,) = await waiting_jobs(looking)
    assert job.run_at > looking.clock.now()
    other = AcmeFrontEnd().mount(replace_worker(looking.services, "another"))
    same = AcmeFrontEnd().mount(replace_worker(looking.services, looking.services.worker))
    assert other.start is not None
    assert same.start is not None
    await other.start()
    assert await waiting_jobs(looking) == [job]
    await same.start()
    (hastened,) = await waiting_jobs(looking)
    assert hastened.run_at == looking.clock.now()
    assert page.gate is not None
    page.gate.set()


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_what_a_worker_left_undone_is_done_at_once_by_any_other(
    looking: House, responder: Http01Responder, end: str
) -> None:
    """acme.md F: it need not be the one in its place that finds the job."""
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    (job,) = await waiting_jobs(looking)
    other = AcmeFrontEnd().mount(replace_worker(looking.services, "another"))
    assert await other.jobs[KIND](job.args) == job.run_at
    if end == "stopped":
        while not responder.asked:
            await asyncio.sleep(0.005)
        await looking.aclose()
    else:
        same = AcmeFrontEnd().mount(replace_worker(looking.services, looking.services.worker))
        assert same.start is not None
        await same.start()
    (left,) = await waiting_jobs(looking)
    assert left.run_at == looking.clock.now()
    assert page.gate is not None
    page.gate.set()
    assert await other.jobs[KIND](left.args) is None
    assert (await row_of(looking, client, url)).status == VALID


async def test_job_looks_again_later_where_the_fault_may_pass(
    looking: House, responder: Http01Responder
) -> None:
    client, url, challenge = await http_challenge(looking, endpoint="again")
    page = responder.show(challenge["token"], b"", status=503, gate=threading.Event())
    await client.post(challenge["url"], {})
    (job,) = await waiting_jobs(looking)
    await looking.aclose()
    assert page.gate is not None
    page.gate.set()
    run = AcmeFrontEnd().mount(looking.services).jobs[KIND]
    assert await run(job.args) == looking.clock.now() + timedelta(seconds=1)
    assert (await row_of(looking, client, url)).status == PROCESSING
    assert await run(job.args) is None
    assert (await row_of(looking, client, url)).status == INVALID


async def test_job_of_an_attempt_that_is_over_does_nothing(
    looking: House, responder: Http01Responder
) -> None:
    client, _, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    await client.post(challenge["url"], {})
    (job,) = await waiting_jobs(looking)
    await looking.aclose()
    assert page.gate is not None
    page.gate.set()
    run = AcmeFrontEnd().mount(looking.services).jobs[KIND]
    asked = len(responder.asked)
    assert await run({**job.args, "attempt": "another"}) is None
    assert await run({**job.args, "account": "another"}) is None
    looking.clock.advance(days=8)
    assert await run(job.args) is None
    assert len(responder.asked) == asked


async def test_answer_and_result_are_in_the_audit_log(looking: House, responder: Http01Responder) -> None:
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key)
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    told = await looking.services.records.read(
        lambda connection: connection.exec_driver_sql(
            "SELECT action, actor, outcome, details FROM audit WHERE object_id = ? ORDER BY seq", (row.id,)
        ).all()
    )
    assert [tuple(one[:3]) for one in told] == [
        ("authorization.answer", f"acme:{row.account_id}", "ok"),
        ("authorization.valid", "system", "ok"),
    ]
    assert f"127.0.0.1:{responder.port}" in told[1][3]
