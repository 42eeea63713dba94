"""What the table modules write and find again, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from gateway.enrolment.states import CLOSED
from gateway.errors import Conflict
from gateway.model.ids import reason_id
from gateway.model.outcome import State
from gateway.store import jobs, requests
from gateway.store.requests import Approval
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.unit.store.samples import (
    NOW,
    NOW_S,
    issued_unit,
    request_row,
    request_unit,
)


def commit(store: Store, unit: Unit) -> None:
    store.recorder.commit_blocking(unit)


def test_request_comes_back_as_it_was_written(store: Store) -> None:
    row = request_row(
        state=State.REFUSED,
        identity="basic:7",
        identity_label="dévice",
        subject="CN=a",
        sans=("dns:a.test", "ip:192.0.2.1"),
        spki_sha256="c" * 64,
        csr_der=b"\x00\xff",
        renews_sha256="d" * 64,
        policy="web",
        bundle_sha256="e" * 64,
        backend="embedded",
        profile="p",
        plan={"subject": "CN=a", "usages": ["x"]},
        decision={"trace": [["names", "ok"]]},
        ca_handle="https://ca.test/1",
        approvals=(Approval("cli:x", NOW, "fine"),),
        approvals_required=2,
        expires_at=NOW + timedelta(days=1),
        retry_after_s=60,
        certificate_sha256="f" * 64,
        closed_at=NOW,
        answers_until=NOW + timedelta(minutes=10),
        transaction_id="018f\u00e9",
        content_sha256="1" * 64,
        confirm_within_s=300,
        confirm_by=NOW + timedelta(minutes=5),
        confirmed_by_sha256="2" * 64,
    )
    unit = Unit()
    requests.insert(unit, row)
    commit(store, unit)
    assert store.reader.read_blocking(lambda connection: requests.get(connection, row.id)) == row
    assert row.reason_id is not None
    by_reason = row.reason_id
    assert store.reader.read_blocking(lambda connection: requests.get(connection, by_reason)) == row
    assert store.reader.read_blocking(lambda connection: requests.get(connection, "PG-00000000")) is None


def test_request_that_keeps_no_short_id_is_found_by_it_all_the_same(store: Store) -> None:
    """A client that must wait is told the short id too; the newest counts, should two be alike."""
    unit = Unit()
    older, newer = (
        replace(request_row(), id=f"{start}-ac96-7b74-bcce-b302099a8057", reason_id=None, correlation=None)
        for start in ("01890a5d", "01890a5e")
    )
    for row in (older, newer):
        requests.insert(unit, row)
    commit(store, unit)

    def found(key: str) -> str | None:
        row = store.reader.read_blocking(lambda connection: requests.get(connection, key))
        return None if row is None else row.id

    assert found(reason_id(older.id)) == newer.id
    assert [found(key) for key in ("PG-", "PG-%", "PG-________", "PG-ILOU0000", "PG-00000000")] == [None] * 5


def test_move_changes_state_version_and_named_columns_only(store: Store) -> None:
    unit, row = request_unit()
    commit(store, unit)
    later = NOW + timedelta(seconds=5)
    moving = Unit()
    requests.move(
        moving,
        row.id,
        1,
        State.AWAITING_APPROVAL,
        from_state=State.AWAITING_APPROVAL,
        at=later,
        approvals=(Approval("cli:x", later),),
        decision={"k": 1},
        expires_at=later,
    )
    commit(store, moving)
    found = store.reader.read_blocking(lambda connection: requests.get(connection, row.id))
    assert found is not None
    assert (found.version, found.updated_at, found.closed_at) == (2, later, None)
    assert found.approvals == (Approval("cli:x", later),)
    assert (found.decision, found.expires_at, found.correlation) == ({"k": 1}, later, row.correlation)


@pytest.mark.parametrize("state", list(State))
def test_move_closes_exactly_the_states_that_nothing_follows(store: Store, state: State) -> None:
    unit, row = request_unit(state=State.SUBMITTING)
    commit(store, unit)
    moving = Unit()
    requests.move(moving, row.id, 1, state, from_state=State.SUBMITTING, at=NOW)
    commit(store, moving)
    found = store.reader.read_blocking(lambda connection: requests.get(connection, row.id))
    assert found is not None
    assert (found.closed_at is not None) == (state in CLOSED)


def test_move_from_another_state_or_version_is_a_conflict(store: Store) -> None:
    unit, row = request_unit()
    commit(store, unit)
    for version, state in ((2, State.AWAITING_APPROVAL), (1, State.SUBMITTING)):
        moving = Unit()
        requests.move(moving, row.id, version, State.REFUSED, from_state=state, at=NOW)
        with pytest.raises(Conflict):
            commit(store, moving)


def test_closed_request_keeps_its_correlation_until_it_is_retired(store: Store) -> None:
    unit, row, _ = issued_unit()
    commit(store, unit)
    assert row.correlation is not None
    correlation = row.correlation
    copy, _, _ = issued_unit(correlation=correlation)
    with pytest.raises(Conflict):
        commit(store, copy)
    latest = store.reader.read_blocking(lambda c: requests.by_correlation(c, correlation))
    assert latest is not None
    assert latest.id == row.id
    successor, successor_row, _ = issued_unit(correlation=correlation)
    requests.retire(successor, row.id)
    commit(store, successor)
    latest = store.reader.read_blocking(lambda c: requests.by_correlation(c, correlation))
    assert latest is not None
    assert latest.id == successor_row.id
    late, _, _ = issued_unit(correlation=correlation)
    requests.retire(late, row.id)
    with pytest.raises(Conflict):
        commit(store, late)


def test_many_messages_without_correlation_stand_side_by_side(store: Store) -> None:
    for _ in range(3):
        unit, _ = request_unit(correlation=None)
        commit(store, unit)


def test_request_search_filters_and_pages_newest_first(store: Store) -> None:
    ids = []
    for number in range(7):
        unit, row = request_unit(
            endpoint="a" if number % 2 else "b",
            state=State.REFUSED if number < 2 else State.AWAITING_APPROVAL,
            received_at=NOW + timedelta(seconds=number),
            transaction_id="t" if number == 4 else None,
        )
        commit(store, unit)
        ids.append(row.id)
    newest_first = sorted(ids, reverse=True)
    seen: list[str] = []
    before: str | None = None
    while True:
        page = store.reader.read_blocking(partial(requests.search, limit=3, before_id=before))
        seen += [row.id for row in page.rows]
        before = page.next_before_id
        if before is None:
            break
    assert seen == newest_first

    def found(**filters: object) -> set[str]:
        page = store.reader.read_blocking(lambda c: requests.search(c, **filters))  # type: ignore[arg-type]
        return {row.id for row in page.rows}

    assert found(state=State.REFUSED) == set(ids[:2])
    assert found(state=State.AWAITING_APPROVAL, endpoint="a") == {ids[3], ids[5]}
    assert found(since=NOW + timedelta(seconds=5)) == set(ids[5:])
    assert found(protocol="scep") == set()
    assert found(transaction_id="t") == {ids[4]}
    assert found(transaction_id="u") == set()


def test_open_requests_that_nobody_goes_on_with_are_found(store: Store) -> None:
    early = NOW - timedelta(minutes=10)
    past = NOW - timedelta(minutes=3)
    both: dict[str, Any] = {"approvals_required": 2, "version": 3}
    rows: dict[str, dict[str, Any]] = {
        "expired": {"approvals_required": 1, "expires_at": past},
        "approved": {**both, "updated_at": early},
        "submitting": {"state": State.SUBMITTING, "updated_at": early},
        "at the CA": {"state": State.AWAITING_CA, "updated_at": early},
        "half approved": {"approvals_required": 2, "version": 2, "updated_at": early},
        "just approved": both,
        "just submitted": {"state": State.SUBMITTING},
        "closed": {"state": State.REFUSED, "expires_at": past, "closed_at": past, "updated_at": early},
        "in doubt": {"state": State.IN_DOUBT, "updated_at": early},
        "has a job": {"state": State.SUBMITTING, "updated_at": early},
        "not confirmed": {"state": State.UNCONFIRMED, "confirm_by": past},
        "to be confirmed": {"state": State.UNCONFIRMED, "confirm_by": NOW, "updated_at": early},
    }
    names = {}
    for name, columns in rows.items():
        unit, row = request_unit(**columns)
        if name == "has a job":
            jobs.enqueue(unit, "settle", row.id, {}, NOW)
        else:
            jobs.enqueue(unit, "other", row.id, {}, NOW)
        commit(store, unit)
        names[row.id] = name

    found = store.reader.read_blocking(
        lambda c: requests.stranded(
            c, ["settle"], idle_since_s=NOW_S - 300, expired_at_s=NOW_S - 120, limit=100
        )
    )
    assert {names[row.id] for row in found} == {
        "expired",
        "approved",
        "submitting",
        "at the CA",
        "not confirmed",
    }
