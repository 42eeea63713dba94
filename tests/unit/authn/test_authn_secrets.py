"""Secrets at rest and in memory."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from gateway.authn.secrets import (
    MAX_SECRET_BYTES,
    PasswordMemory,
    human_verifier,
    is_machine_verifier,
    machine_secret_matches,
    machine_verifier,
    new_machine_secret,
)

KEY = b"k" * 32


def test_machine_secret_matches_its_own_verifier_only() -> None:
    secret = new_machine_secret()
    verifier = machine_verifier(KEY, secret)
    assert is_machine_verifier(verifier)
    assert secret not in verifier
    assert machine_secret_matches(KEY, verifier, secret.encode())
    assert not machine_secret_matches(KEY, verifier, new_machine_secret().encode())
    assert not machine_secret_matches(b"other" * 8, verifier, secret.encode())


@pytest.mark.parametrize("verifier", [None, "hmac-sha256:" + "0" * 64, "$argon2id$v=19$nothing", ""])
def test_nothing_matches_where_there_is_no_machine_verifier(verifier: str | None) -> None:
    assert not machine_secret_matches(KEY, verifier, b"anything")


def test_overlong_secret_never_matches_by_its_beginning() -> None:
    secret = "x" * MAX_SECRET_BYTES
    verifier = machine_verifier(KEY, secret)
    assert machine_secret_matches(KEY, verifier, secret.encode())
    assert not machine_secret_matches(KEY, verifier, secret.encode() + b"y")


def test_password_matches_its_argon2id_verifier_only() -> None:
    memory = PasswordMemory(lambda: 0.0)
    verifier = human_verifier("correct horse")
    assert verifier.startswith("$argon2id$")
    assert memory.verify(verifier, b"correct horse")
    assert not memory.verify(verifier, b"wrong horse")
    assert not memory.verify("no verifier", b"correct horse")
    assert not memory.verify(verifier, b"x" * (MAX_SECRET_BYTES + 1))


def test_verified_password_is_remembered_for_its_lifetime_and_its_verifier() -> None:
    now = [0.0]
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    memory = PasswordMemory(lambda: now[0], lifetime_s=300, hasher=quick)
    memory.remember("verifier", b"secret")
    assert memory.remembers("verifier", b"secret")
    assert not memory.remembers("verifier", b"other")
    assert not memory.remembers("changed", b"secret")
    now[0] = 301
    assert not memory.remembers("verifier", b"secret")


def test_memory_forgets_the_oldest_beyond_its_size() -> None:
    memory = PasswordMemory(lambda: 0.0, size=2)
    for number in range(3):
        memory.remember("verifier", b"%d" % number)
    assert [memory.remembers("verifier", b"%d" % number) for number in range(3)] == [False, True, True]
