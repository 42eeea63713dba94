"""Background work is started again when it fails, and readiness says so meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from gateway.composition import background
from gateway.composition.background import Background
from gateway.errors import StoreUnavailable


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.02)


async def _until(condition: object) -> None:
    async with asyncio.timeout(60):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_failed_periodic_work_is_told_tried_again_and_forgotten_when_it_succeeds() -> None:
    tries, seen = 0, asyncio.Event()

    async def renew() -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            await seen.wait()
        if tries < 3:
            raise OSError(28, "No space left on device")

    work = Background()
    work.every("tls-renewal", 0.01, renew)
    await _until(lambda: tries == 2)
    assert work.problems() == {"tls-renewal": "OSError: [Errno 28] No space left on device"}
    seen.set()
    await _until(lambda: tries >= 3 and not work.problems())
    await work.stop()


async def test_endless_work_that_fails_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    starts, seen = 0, asyncio.Event()

    async def pause(_stop: asyncio.Event, seconds: float) -> None:
        if seconds > 0:
            await seen.wait()

    async def follow() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise StoreUnavailable("the database is gone")
        await asyncio.Event().wait()

    monkeypatch.setattr(background, "_wait", pause)
    work = Background()
    work.forever("policies", follow)
    await _until(lambda: work.problems() == {"policies": "the database is gone"})
    assert starts == 1
    seen.set()
    await _until(lambda: starts == 2 and not work.problems())
    await work.stop()


async def test_work_that_ends_by_itself_is_waited_for_at_the_stop() -> None:
    stop, finished = asyncio.Event(), False

    async def jobs() -> None:
        nonlocal finished
        await stop.wait()
        await asyncio.sleep(0.05)
        finished = True

    work = Background()
    work.until("jobs", stop, jobs)
    await asyncio.sleep(0)
    stop.set()
    await work.stop()
    assert finished
