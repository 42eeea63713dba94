"""Renewals that wait for confirmation, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.errors import Conflict
from gateway.model.outcome import State
from gateway.store import renewals, requests
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.unit.store.samples import NOW, request_row

OLD, OTHER = "a" * 64, "b" * 64
LATER = NOW + timedelta(minutes=5)


def _renewal(request_id: str, state: State = State.UNCONFIRMED, **changes: object) -> Unit:
    """A renewal of OLD, to be confirmed until LATER, unless another one waits."""
    columns = {"renews_sha256": OLD, "confirm_by": LATER, **changes}
    row = request_row(id=request_id, state=state, **columns)
    unit = Unit()
    renewals.demand_no_other(unit, request_id, str(row.renews_sha256), NOW)
    requests.insert(unit, row)
    return unit


def _until(store: Store, now: datetime = NOW) -> datetime | None:
    return store.reader.read_blocking(lambda connection: renewals.unconfirmed(connection, OLD, now))


def test_renewal_waits_until_its_last_second(store: Store) -> None:
    assert _until(store) is None
    store.recorder.commit_blocking(_renewal("first"))
    assert _until(store) == _until(store, LATER) == LATER
    assert _until(store, LATER + timedelta(seconds=1)) is None


@pytest.mark.parametrize("state", [State.ISSUED, State.WITHDRAWN, State.SUBMITTING, State.AWAITING_CA])
def test_renewal_in_another_state_waits_for_no_confirmation(store: Store, state: State) -> None:
    store.recorder.commit_blocking(_renewal("first", state))
    assert _until(store) is None
    store.recorder.commit_blocking(_renewal("second"))


def test_unit_of_a_second_renewal_is_in_conflict_and_leaves_nothing(store: Store) -> None:
    store.recorder.commit_blocking(_renewal("first"))
    for state in (State.UNCONFIRMED, State.ISSUED, State.SUBMITTING):
        with pytest.raises(Conflict):
            store.recorder.commit_blocking(_renewal("second", state))
    assert store.reader.read_blocking(lambda connection: requests.get(connection, "second")) is None
    store.recorder.commit_blocking(_renewal("of another", renews_sha256=OTHER))


def test_renewal_whose_time_is_up_is_in_nobody_s_way(store: Store) -> None:
    store.recorder.commit_blocking(_renewal("late", confirm_by=NOW - timedelta(seconds=1)))
    store.recorder.commit_blocking(_renewal("next"))


def _written(store: Store, units: Sequence[Unit]) -> list[bool]:
    """Which of these units, written as one batch, are in conflict."""
    verdicts = store.recorder._writer.write(units)  # nothing else writes while the batch is made by hand
    return [isinstance(verdict, Conflict) for verdict in verdicts]


def test_of_renewals_in_one_batch_the_first_is_written(store: Store) -> None:
    """Whatever the order of a unit's operations is: the guard stands before the row that it guards."""
    units = [_renewal("first"), _renewal("of another", renews_sha256=OTHER), _renewal("second")]
    assert _written(store, units) == [False, False, True]


def test_look_up_uses_the_index_of_unconfirmed_renewals(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)
    with Store(url) as store:
        for statement in (renewals._UNCONFIRMED, renewals._NO_OTHER):
            text, _ = statement.sql("sqlite")
            plan = store.reader.read_blocking(
                lambda c, text=text: c.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN {text}", (1,) * text.count("?")
                ).all()
            )
            told = " ".join(str(row[-1]) for row in plan)
            assert "request_unconfirmed_renewal" in told
            assert "SCAN" not in told
