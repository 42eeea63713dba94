"""Passwords under attack and under load: nothing is verified unbounded, successes cost nothing."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.authn.authenticate import MAX_AT_ONCE, MAX_WAITING, Authenticator, Looked
from gateway.authn.claims import Claims
from gateway.authn.refusal import CredentialRefused
from gateway.authn.secrets import human_verifier
from gateway.authn.throttle import PER_USER_AND_ADDRESS
from gateway.errors import Overloaded
from gateway.model.evidence import BASIC, PresentedPassword, SecretBytes
from gateway.model.reasons import ReasonCode
from gateway.store.credentials import CredentialRow
from tests.unit.policy import sample

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PASSWORD = "correct horse"
VERIFIER = human_verifier(PASSWORD)


def _row(name: str = "anna", **changes: Any) -> CredentialRow:
    return CredentialRow("id-1", BASIC, name, NOW, verifier=VERIFIER, **changes)


class Door:
    """An authenticator whose argon2 runs are counted, and slow if a test says so."""

    def __init__(self) -> None:
        self.authenticator = Authenticator(b"k" * 32, lambda: 0.0)
        self.gate = threading.Event()
        self.gate.set()
        self.runs = self.at_once = self.most = 0
        self._lock = threading.Lock()
        self._verify = self.authenticator._memory.verify
        self.authenticator._memory.verify = self._counted  # type: ignore[method-assign]

    def _counted(self, verifier: str, password: bytes) -> bool:
        with self._lock:
            self.runs += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.gate.wait(60)
        try:
            return self._verify(verifier, password)
        finally:
            with self._lock:
                self.at_once -= 1

    async def knock(self, password: str = PASSWORD, user: str = "anna", **row: Any) -> str:
        claims = Claims(PresentedPassword(user, SecretBytes(password.encode())), None)
        evidence = await self.authenticator.verify(
            claims, Looked(_row(user, **row)), sample.request(), None, NOW
        )
        return evidence.label


async def test_few_passwords_are_verified_at_once() -> None:
    door = Door()
    tries = (door.knock(f"guess {n}", user=f"user-{n}") for n in range(8))
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert all(isinstance(one, CredentialRefused) for one in found)
    assert (door.runs, door.most) == (8, MAX_AT_ONCE)


async def test_same_password_at_the_same_time_is_verified_once() -> None:
    door = Door()
    door.gate.clear()
    waiting = [asyncio.create_task(door.knock()) for _ in range(3 * PER_USER_AND_ADDRESS.burst)]
    await asyncio.sleep(0.05)
    door.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"anna"}
    assert door.runs == 1
    assert await door.knock() == "anna"
    assert door.runs == 1


async def test_guesses_at_the_same_time_count_against_each_other() -> None:
    door = Door()
    found = await asyncio.gather(*(door.knock(f"guess {n}") for n in range(30)), return_exceptions=True)
    codes = [one.code for one in found if isinstance(one, CredentialRefused)]
    assert codes.count(ReasonCode.AUTH_FAILED) == PER_USER_AND_ADDRESS.burst
    assert codes.count(ReasonCode.AUTH_THROTTLED) == 30 - PER_USER_AND_ADDRESS.burst
    assert door.runs == PER_USER_AND_ADDRESS.burst


async def test_too_many_waiting_passwords_are_turned_away() -> None:
    door = Door()
    door.gate.clear()
    waiting = [asyncio.create_task(door.knock(f"x{n}", user=f"user-{n}")) for n in range(MAX_WAITING)]
    await asyncio.sleep(0.05)
    with pytest.raises(Overloaded):
        await door.knock("x", user="one-more")
    for task in waiting:
        task.cancel()
    door.gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    while door.authenticator._verifying:
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"protocol": "scep"}, ReasonCode.AUTH_CREDENTIAL_SCOPE),
        ({"endpoints": ("other",)}, ReasonCode.AUTH_CREDENTIAL_SCOPE),
        ({"revoked_at": NOW}, ReasonCode.AUTH_FAILED),
    ],
)
async def test_right_password_of_a_credential_for_elsewhere_is_refused(
    row: dict[str, Any], code: ReasonCode
) -> None:
    with pytest.raises(CredentialRefused) as refused:
        await Door().knock(**row)
    assert refused.value.code is code
