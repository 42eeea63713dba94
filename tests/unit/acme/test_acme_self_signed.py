"""The bound on messages that bring their own key (acme.md C38, C96, E7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.acme import self_signed
from gateway.acme.errors import AcmeError
from gateway.acme.self_signed import BURST, PER_S, SelfSignedBound
from gateway.store import requests
from gateway.store.store import Store
from gateway.token_buckets import source_of
from tests.support import pki
from tests.unit.acme import doors
from tests.unit.acme.house import House, SetClock, header, problem


class Seconds:
    """A monotonic clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def house(
    tmp_path: Path, store: Store, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    """Three messages with a key of their own, and then next to none."""
    monkeypatch.setattr(self_signed, "BURST", 3)
    monkeypatch.setattr(self_signed, "PER_S", 0.001)
    opened = doors.opened(tmp_path, store, clock)
    yield opened
    await opened.aclose()


def passed(bound: SelfSignedBound, address: str, count: int) -> int:
    """How many of so many messages are let through."""
    through = 0
    for _ in range(count):
        try:
            bound.take(address)
        except AcmeError:
            continue
        through += 1
    return through


def test_burst_passes_and_then_as_many_as_grow_again() -> None:
    """acme.md C96"""
    clock = Seconds()
    bound = SelfSignedBound(clock)
    assert passed(bound, "192.0.2.1", 2 * BURST) == BURST
    clock.now += 3
    assert passed(bound, "192.0.2.1", 2 * BURST) == int(3 * PER_S)
    clock.now += 3600
    assert passed(bound, "192.0.2.1", 2 * BURST) == BURST


def test_refusal_is_rate_limited_tells_when_and_is_not_recorded() -> None:
    """acme.md C96"""
    clock = Seconds()
    bound = SelfSignedBound(clock)
    passed(bound, "192.0.2.1", BURST)
    with pytest.raises(AcmeError) as refused:
        bound.take("192.0.2.1")
    error = refused.value
    assert (error.status, error.type, error.recorded) == (429, "rateLimited", False)
    assert dict(error.headers)["Retry-After"] == "1"
    clock.now += 1
    bound.take("192.0.2.1")


def test_other_addresses_are_not_harmed_but_one_ipv6_site_is_one() -> None:
    """acme.md C96"""
    bound = SelfSignedBound(Seconds())
    assert passed(bound, "2001:db8::1", BURST) == BURST
    assert passed(bound, "2001:db8:0:0:ffff::2", 1) == 0
    assert passed(bound, "2001:db8:0:1::1", 1) == 1
    assert passed(bound, "192.0.2.1", 1) == 1
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1")


async def test_flood_of_new_keys_uses_up_no_nonce_beyond_the_bound(house: House, store: Store) -> None:
    """acme.md C38, C96: nothing of it is kept, neither nonce nor record; accounts that exist go on."""
    known = await house.client().registered()
    for _ in range(2):
        await house.client(key=pki.key()).registered()
    stranger = house.client()
    nonce = await stranger.new_nonce()
    answer = await stranger.post("/new-account", {"termsOfServiceAgreed": True}, nonce=nonce)
    assert (answer.status, problem(answer)) == (429, "rateLimited")
    assert int(header(answer, "Retry-After") or 0) > 0
    assert header(answer, "Replay-Nonce")
    assert (await known.post("/new-order", {"identifiers": []}, nonce=nonce)).status == 400
    again = await known.post("/directory", nonce=nonce)
    assert problem(again) == "badNonce"
    recorded = await store.reader.read(requests.search)
    assert "new-account" not in [row.operation for row in recorded.rows]


async def test_message_with_a_wrong_signature_takes_nothing_of_the_bound(house: House) -> None:
    """acme.md C38: who cannot sign neither burns nonces nor the allowance of his neighbours."""
    forger = house.client()
    for _ in range(3):
        bad = await forger.post("/new-account", {}, changes={"alg": "ES384"})
        assert bad.status == 400
    assert (await house.client().registered()).kid
