"""`pkigate request settle` and what people left in the record of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.datadir import DataDirectory
from gateway.model.outcome import State
from gateway.store import jobs
from tests.unit.cli.recorded import database_of, record_request

Run = Callable[..., Any]


def test_request_in_doubt_is_ordered_again(on_data: Run, data: DataDirectory) -> None:
    row = record_request(data, State.IN_DOUBT, plan={})
    settled = on_data("request", "settle", row.id, "--retry", "--note", "the CA knows nothing of it")
    assert (settled.code, settled.out) == (0, f"The order of {row.id} is sent again.\n")
    shown = on_data("request", "show", row.id, "--json").document
    assert (shown["state"], shown["people"][0]["note"]) == ("submitting", "the CA knows nothing of it")
    with database_of(data) as store:
        (job,) = store.reader.read_blocking(jobs.search)
    assert (job.kind, job.dedup_key, job.state) == ("settle", row.id, "ready")
    assert "request.settle" in on_data("audit", "export").out


def test_request_in_doubt_is_refused_and_found_by_its_reason_id(on_data: Run, data: DataDirectory) -> None:
    row = record_request(data, State.IN_DOUBT, plan={})
    settled = on_data("request", "settle", row.id, "--refuse", "--json").document
    assert settled["state"] == "refused"
    shown = on_data("request", "show", settled["reason_id"], "--json").document
    assert shown["id"] == row.id
    assert shown["people"][0]["actor"].startswith("cli:")


@pytest.mark.parametrize("options", [[], ["--retry", "--refuse"]])
def test_settling_says_exactly_one_way(on_data: Run, data: DataDirectory, options: list[str]) -> None:
    row = record_request(data, State.IN_DOUBT, plan={})
    ended = on_data("request", "settle", row.id, *options)
    assert ended.code == 2
    assert "--retry" in ended.err


@pytest.mark.parametrize("state", [State.SUBMITTING, State.ISSUED, State.AWAITING_APPROVAL])
def test_request_that_is_not_in_doubt_is_left_alone(on_data: Run, data: DataDirectory, state: State) -> None:
    row = record_request(data, state, plan={})
    ended = on_data("request", "settle", row.id, "--retry")
    assert ended.code == 1
    assert f"it is {state}" in ended.err
    assert on_data("request", "settle", "PG-00000000", "--retry").code == 3


def test_rejection_shows_who_and_why_to_the_operator_only(on_data: Run, data: DataDirectory) -> None:
    row = record_request(data, State.AWAITING_APPROVAL, approvals_required=1)
    on_data("request", "reject", row.id, "--note", "Anna has left")
    shown = on_data("request", "show", row.id)
    assert "rejected cli:" in shown.out
    assert "Anna has left" in shown.out
    document = on_data("request", "show", row.id, "--json").document
    assert [reason["message"] for reason in document["decision"]["reasons"]] == [
        "a person refused this request"
    ]
    assert "Anna has left" in on_data("audit", "export").out
