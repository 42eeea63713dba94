"""What the REST API's use cases remember of an answer, and for how long, on a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.credentials.draft import Draft, Wishes, drafted
from gateway.credentials.making import NewCredential
from gateway.credentials.service import Answer, Asked, CredentialService, SecretForgotten
from gateway.errors import SecretUnavailable
from gateway.model.api_caller import ApiCaller
from gateway.model.evidence import SCEP_CHALLENGE
from gateway.model.permissions import Permission
from gateway.store import api_answers, credentials
from gateway.store.api_answers import KEY_KEPT, SECRET_KEPT, AnswerRetention
from gateway.store.migrate import migrate
from gateway.store.store import Store

BEGAN = datetime(2031, 5, 1, 12, 0, tzinfo=UTC)
SERVER_KEY = bytes(range(64))
CALLER = ApiCaller("token", "portal", frozenset(Permission), None)
SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class HandClock:
    """Shows what it was set to."""

    at: datetime = BEGAN

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)
    with Store(url) as opened:
        yield opened


def _write(made: NewCredential, warnings: Sequence[str]) -> bytes:
    return json.dumps([made.row.id, made.secret, *warnings]).encode()


async def _create(
    store: Store, clock: HandClock, key: str | None = "key", server_key: bytes = SERVER_KEY
) -> Answer:
    service = CredentialService(store, server_key, clock, tuple)

    def draft() -> Draft:
        return drafted(Wishes(SCEP_CHALLENGE, "scep"), clock.now())

    return await service.create(Asked(CALLER, b"content", key, {}), draft, _write)


def _count(store: Store) -> int:
    return len(store.reader.read_blocking(credentials.search).rows)


async def test_same_key_gives_the_same_secret_until_it_is_forgotten(store: Store, clock: HandClock) -> None:
    first = await _create(store, clock)
    clock.at = BEGAN + SECRET_KEPT - SECOND
    again = await _create(store, clock)
    assert (again.body, again.credential_id) == (first.body, first.credential_id)
    assert (first.replayed, again.replayed) == (False, True)
    clock.at = BEGAN + SECRET_KEPT
    with pytest.raises(SecretForgotten) as refusal:
        await _create(store, clock)
    assert refusal.value.credential_id == first.credential_id
    assert "revoke that one and make another" in str(refusal.value)
    assert _count(store) == 1


async def test_key_outlives_its_secret_and_is_free_after_a_day(store: Store, clock: HandClock) -> None:
    retention, first = AnswerRetention(store), await _create(store, clock)
    clock.at = BEGAN + SECRET_KEPT + SECOND
    await retention.prune(clock.at)
    found = store.reader.read_blocking(
        lambda connection: connection.exec_driver_sql("SELECT sealed FROM api_answer")
    )
    assert found.all() == [(None,)]
    with pytest.raises(SecretForgotten):
        await _create(store, clock)
    clock.at = BEGAN + KEY_KEPT + SECOND
    await retention.prune(clock.at)
    second = await _create(store, clock)
    assert second.credential_id != first.credential_id
    assert _count(store) == 2


async def test_request_without_a_key_leaves_nothing_behind_that_could_be_opened(
    store: Store, clock: HandClock
) -> None:
    await _create(store, clock, key=None)
    await _create(store, clock, key=None)
    assert _count(store) == 2
    found = store.reader.read_blocking(
        lambda connection: connection.exec_driver_sql("SELECT count(*) FROM api_answer").scalar()
    )
    assert found == 0


async def test_answer_opens_under_its_server_key_only(store: Store, clock: HandClock) -> None:
    """A copied database alone gives no secret away."""
    first = await _create(store, clock)
    with pytest.raises(SecretUnavailable):
        await _create(store, clock, server_key=bytes(64))
    secret = json.loads(first.body)[1]
    row = store.reader.read_blocking(
        lambda connection: connection.exec_driver_sql("SELECT sealed, key_sha256 FROM api_answer").one()
    )
    assert secret.encode() not in row[0]
    assert api_answers.SECRET_KEPT < api_answers.KEY_KEPT
