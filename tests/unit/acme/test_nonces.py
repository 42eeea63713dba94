"""Anti-replay nonces (acme.md C5, C29, C30, C38, C39, E7)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from gateway.acme import base64url
from gateway.acme.errors import AcmeError
from gateway.acme.nonces import LIFETIME, Nonces
from gateway.clock import SystemClock
from gateway.frontend import Services
from gateway.store.once import MemoryOnce, Once


@dataclass(slots=True)
class Worker:
    """One process: what nonces want of its services."""

    server_key: bytes = b"k" * 32
    once_only: Once = field(
        default_factory=lambda: MemoryOnce(SystemClock(), since=datetime.now(UTC) - timedelta(days=1))
    )

    def shared_key(self, purpose: str) -> bytes:
        return (purpose.encode() + self.server_key)[:32]


def nonces_of(worker: Worker, *, ago_s: float = 0) -> Nonces:
    """Those of a worker whose clock is so many seconds behind."""
    return Nonces(cast(Services, worker), now_ms=lambda: int((time.time() - ago_s) * 1000))


async def refusal(nonces: Nonces, nonce: str) -> tuple[int, str, bool]:
    with pytest.raises(AcmeError) as refused:
        await nonces.redeem(nonce)
    return refused.value.status, refused.value.type, refused.value.recorded


BAD_NONCE = (400, "badNonce", False)


async def test_nonce_is_good_once() -> None:
    """acme.md C29, C39"""
    nonces = Nonces(cast(Services, Worker()))
    nonce = nonces.make()
    await nonces.redeem(nonce)
    assert await refusal(nonces, nonce) == BAD_NONCE


async def test_of_parallel_uses_exactly_one_passes() -> None:
    """acme.md C39"""
    nonces = nonces_of(Worker())
    nonce = nonces.make()
    outcomes = await asyncio.gather(*(nonces.redeem(nonce) for _ in range(20)), return_exceptions=True)
    assert [outcome is None for outcome in outcomes].count(True) == 1


def test_nonces_differ_and_hold_enough_that_nobody_guesses() -> None:
    """acme.md C5: at least 128 bit behind a MAC, base64url without padding."""
    nonces = nonces_of(Worker())
    made = [nonces.make() for _ in range(1000)]
    assert len(set(made)) == 1000
    for nonce in made[:10]:
        octets = base64url.decode(nonce)
        assert len(octets) == 6 + 12 + 16
    assert len({base64url.decode(nonce)[6:18] for nonce in made}) == 1000


async def test_nonce_of_another_worker_with_the_same_server_key_is_good() -> None:
    """acme.md B1, E7: no storms behind a load balancer."""
    shared = MemoryOnce(SystemClock(), since=datetime.now(UTC) - timedelta(days=1))
    here, there = nonces_of(Worker(once_only=shared)), nonces_of(Worker(once_only=shared))
    nonce = here.make()
    await there.redeem(nonce)
    assert await refusal(here, nonce) == BAD_NONCE


async def test_nonce_of_another_server_key_is_refused() -> None:
    """acme.md C29"""
    nonce = nonces_of(Worker(server_key=b"x" * 32)).make()
    assert await refusal(nonces_of(Worker()), nonce) == BAD_NONCE


@pytest.mark.parametrize("place", [0, 5, 6, 17, 18, 33])
async def test_nonce_with_one_bit_changed_is_refused(place: int) -> None:
    """acme.md C29"""
    nonces = nonces_of(Worker())
    octets = bytearray(base64url.decode(nonces.make()))
    octets[place] ^= 1
    assert await refusal(nonces, base64url.encode(bytes(octets))) == BAD_NONCE


@pytest.mark.parametrize("octets", [b"", b"x", b"x" * 18, b"x" * 33, b"x" * 35, b"x" * 10_000])
async def test_base64url_of_another_length_is_refused(octets: bytes) -> None:
    """acme.md C29"""
    assert await refusal(nonces_of(Worker()), base64url.encode(octets)) == BAD_NONCE


@pytest.mark.parametrize("nonce", ["=", "AAAA=", "a b", "+/+/", "é", "A", "AB", "\x00", "AAAA\n"])
async def test_nonce_that_is_not_base64url_is_malformed(nonce: str) -> None:
    """acme.md C30 (RFC 8555 section 6.5.2)"""
    assert (await refusal(nonces_of(Worker()), nonce))[:2] == (400, "malformed")


async def test_nonce_lives_for_an_hour() -> None:
    """acme.md C29: expired ones are refused."""
    worker = Worker()
    life_s = LIFETIME.total_seconds()
    await nonces_of(worker).redeem(nonces_of(worker, ago_s=life_s - 60).make())
    assert await refusal(nonces_of(worker), nonces_of(worker, ago_s=life_s + 1).make()) == BAD_NONCE


async def test_nonce_from_the_future_is_refused_but_for_a_little() -> None:
    """Clocks of replicas differ; a clock that was set back must not make nonces live longer."""
    worker = Worker()
    await nonces_of(worker).redeem(nonces_of(worker, ago_s=-60).make())
    assert await refusal(nonces_of(worker), nonces_of(worker, ago_s=-3600).make()) == BAD_NONCE


async def test_nonce_from_before_a_restart_is_refused() -> None:
    """acme.md C29: one process forgets what was used, so what it did not give out counts as used."""
    worker = Worker()
    nonces = nonces_of(worker)
    used = nonces_of(worker, ago_s=30).make()
    await nonces.redeem(used)
    worker.once_only = MemoryOnce(SystemClock(), since=datetime.now(UTC) - timedelta(seconds=10))
    assert await refusal(nonces, used) == BAD_NONCE
    await nonces.redeem(nonces.make())


async def test_forged_nonce_uses_up_no_memory() -> None:
    """acme.md C38"""
    worker = Worker(once_only=MemoryOnce(SystemClock(), most_tokens=2))
    nonces = nonces_of(worker)
    for _ in range(10):
        await refusal(nonces, base64url.encode(b"x" * 34))
    since = worker.once_only.since
    await nonces.redeem(nonces.make())
    assert worker.once_only.since == since
