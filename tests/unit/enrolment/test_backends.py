"""The set of backends while one of them is replaced: what the earlier one says is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.enrolment.backends import BackendSet
from tests.unit.enrolment.house import ForeignCa

Ask = Callable[[BackendSet], Awaitable[Any]]


class SlowToTell(ForeignCa):
    """Says at once that it was asked for its chain, and tells it when it may."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.asked, self.may_tell = asyncio.Event(), asyncio.Event()

    async def chain(self) -> tuple[bytes, ...]:
        self.asked.set()
        await self.may_tell.wait()
        return await super().chain()


@pytest.mark.parametrize(
    "ask",
    [
        lambda backends: backends.issuer("far"),
        lambda backends: backends.certificates("far"),
        lambda backends: backends.chain("far"),
    ],
    ids=["issuer", "certificates", "chain"],
)
async def test_chain_of_a_backend_that_was_replaced_meanwhile_is_not_kept(tmp_path: Path, ask: Ask) -> None:
    earlier, later = SlowToTell(tmp_path / "earlier"), ForeignCa(tmp_path / "later")
    backends = BackendSet({"far": earlier})
    asking = asyncio.ensure_future(ask(backends))
    await earlier.asked.wait()
    backends.replace("far", later)
    earlier.may_tell.set()
    await asking
    assert (await backends.issuer("far")).chain_der == await later.chain()
    assert await backends.certificates("far") == await later.chain()
    assert await backends.chain("far") == await later.chain()
