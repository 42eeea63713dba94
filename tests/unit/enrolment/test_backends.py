"""The set of backends while one of them is replaced: what the earlier one says is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.enrolment.backends import BackendSet
from gateway.pki.certificate import parse_certificate
from tests.unit.ca_backend import embedded_ca
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


async def test_keys_of_cas_are_those_in_this_process_and_those_that_were_met(tmp_path: Path) -> None:
    embedded = embedded_ca.opened(tmp_path / "ca")
    foreign = ForeignCa(tmp_path / "far")
    backends = BackendSet({"near": embedded, "far": foreign})
    near = {parse_certificate(one.certificate_der).spki_sha256 for one in embedded.authorities()}
    far = {parse_certificate(one).spki_sha256 for one in await foreign.chain()}
    assert len(near) >= 2
    assert backends.ca_keys() == near
    await backends.issuer("far")
    assert backends.ca_keys() == near | far
    backends.replace("far", ForeignCa(tmp_path / "later"))
    assert backends.ca_keys() == near
