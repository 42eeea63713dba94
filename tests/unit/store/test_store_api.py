"""Credentials as the REST API looks for them, and answers by Idempotency-Key, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import ColumnElement

from gateway.errors import Conflict
from gateway.model.api_caller import ApiCaller
from gateway.store import api_answers, credential_filters, credentials
from gateway.store.api_answers import KEY_KEPT, SECRET_KEPT, AnswerRetention, ApiAnswer
from gateway.store.credentials import CredentialPage, CredentialRow
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.unit.store.samples import NOW

# "items" and "v" are also the keys of the JSON that holds the list.
BOUNDS: dict[str, tuple[str, ...] | None] = {
    "everywhere": None,
    "one": ("line4",),
    "both": ("line4", "line5"),
    "longer": ("line44",),
    "items": ("items",),
    "v": ("v",),
    "mixed": ("line4", "v"),
}


def _insert(store: Store, *rows: CredentialRow) -> None:
    for row in rows:
        unit = Unit()
        credentials.insert(unit, row)
        store.recorder.commit_blocking(unit)


def _row(name: str, number: int = 0, **more: object) -> CredentialRow:
    values = {"kind": "scep-challenge", "created_at": NOW, **more}
    return CredentialRow(id=f"{number:036d}", name=name, **values)  # type: ignore[arg-type]  # a test's own


def _search(store: Store, *where: ColumnElement[bool], **more: object) -> CredentialPage:
    return store.reader.read_blocking(
        lambda connection: credentials.search(connection, with_revoked=True, where=where, **more)  # type: ignore[arg-type]  # as above
    )


def _names(page: CredentialPage) -> set[str]:
    return {row.name for row in page.rows}


@pytest.fixture
def bounded(store: Store) -> Store:
    rows = [_row(name, number, endpoints=bound) for number, (name, bound) in enumerate(BOUNDS.items())]
    _insert(store, *rows)
    return store


@pytest.mark.parametrize(
    "endpoints",
    [
        ("line4",),
        ("line4", "line5"),
        ("line5",),
        ("v", "items", "line4"),
        tuple(f"line{n}" for n in range(100)),
    ],
    ids=lambda endpoints: f"{len(endpoints)} from {endpoints[0]}",
)
def test_token_for_endpoints_finds_what_is_for_no_other(bounded: Store, endpoints: tuple[str, ...]) -> None:
    caller = ApiCaller("id", "name", frozenset(), endpoints)
    found = _search(bounded, keep=lambda row: caller.reaches(row.endpoints), look_at=500)
    wanted = {name for name, bound in BOUNDS.items() if bound is not None and set(bound) <= set(endpoints)}
    assert _names(found) == wanted
    assert found.next_before_id is None


@pytest.mark.parametrize("endpoint", ["line4", "line5", "line44", "items", "v", "line"])
def test_search_by_endpoint_finds_what_is_usable_there(bounded: Store, endpoint: str) -> None:
    wanted = {name for name, bound in BOUNDS.items() if bound is None or endpoint in bound}
    assert _names(_search(bounded, credential_filters.usable_at(endpoint))) == wanted


def test_search_by_state_and_kind_parts_credentials_as_people_would(store: Store) -> None:
    past, future = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    _insert(
        store,
        _row("plain", 1),
        _row("counted", 2, uses_left=1, expires_at=future),
        _row("over", 3, expires_at=NOW),
        _row("empty", 4, uses_left=0, expires_at=future),
        _row("empty and over", 5, uses_left=0, expires_at=past),
        _row("withdrawn", 6, revoked_at=past, expires_at=past, uses_left=0),
        _row("token", 7, kind="api-token", permissions=("credential.read",)),
    )
    challenges = credential_filters.of_kinds(("scep-challenge",))
    found = {
        state: _names(_search(store, challenges, credential_filters.in_state(state, NOW)))
        for state in ("active", "revoked", "expired", "used up", "unheard of")
    }
    assert found == {
        "active": {"plain", "counted"},
        "revoked": {"withdrawn"},
        "expired": {"over", "empty and over"},
        "used up": {"empty"},
        "unheard of": set(),
    }
    (token,) = _search(store, credential_filters.of_kinds(("api-token",))).rows
    assert token.permissions == ("credential.read",)


def test_page_that_looked_at_enough_rows_ends_there_and_goes_on_after_them(store: Store) -> None:
    """One who may see little does not make the database read everything at once."""
    _insert(store, *(_row(f"n{number}", number, endpoints=("a",)) for number in range(10)))
    _insert(store, _row("mine", 10, endpoints=("b",)), *[_row("first", 11, endpoints=("b",))])
    found, sizes, before_id = [], [], None
    while True:
        page = _search(store, keep=lambda row: row.endpoints == ("b",), look_at=4, before_id=before_id)
        found += [row.name for row in page.rows]
        sizes.append(len(page.rows))
        before_id = page.next_before_id
        if before_id is None:
            break
    assert found == ["first", "mine"]
    assert sizes == [2, 0, 0, 0]
    assert len(_search(store, look_at=12, limit=12).rows) == 12
    first, rest = (
        _search(store, look_at=12, limit=5),
        _search(store, look_at=12, limit=5, before_id=f"{7:036d}"),
    )
    assert [len(page.rows) for page in (first, rest)] == [5, 5]
    assert first.next_before_id == f"{7:036d}"


def _answer(key: str, minutes_ago: int, token_id: str = "token") -> ApiAnswer:
    made_at = NOW - timedelta(minutes=minutes_ago)
    return ApiAnswer(token_id, key, "c" * 64, "credential", made_at, b"sealed")


def test_key_is_taken_once_for_each_token(store: Store) -> None:
    for answer in (_answer("k", 0), _answer("k", 0, "other")):
        unit = Unit()
        api_answers.insert(unit, answer)
        store.recorder.commit_blocking(unit)
    unit = Unit()
    api_answers.insert(unit, _answer("k", 0))
    with pytest.raises(Conflict):
        store.recorder.commit_blocking(unit)
    found = store.reader.read_blocking(lambda connection: api_answers.get(connection, "token", "k"))
    assert found == _answer("k", 0)
    assert store.reader.read_blocking(lambda connection: api_answers.get(connection, "token", "l")) is None


async def test_secret_of_an_answer_is_forgotten_before_its_key(store: Store) -> None:
    minute = timedelta(minutes=1)
    ages = {"new": 0, "older": SECRET_KEPT // minute + 1, "oldest": KEY_KEPT // minute + 1}
    for key, age in ages.items():
        unit = Unit()
        api_answers.insert(unit, _answer(key, age))
        await store.recorder.commit(unit)
    await AnswerRetention(store).prune(NOW)
    found = {
        key: store.reader.read_blocking(lambda connection, key=key: api_answers.get(connection, "token", key))
        for key in ages
    }
    assert {key: answer and answer.sealed for key, answer in found.items()} == {
        "new": b"sealed",
        "older": None,
        "oldest": None,
    }
    assert found["oldest"] is None
    assert found["older"] is not None
