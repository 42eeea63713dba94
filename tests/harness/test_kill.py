"""``kill -9`` of workers and of the whole tree, judged by the clients' journal (reliability: C2 #1)."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.harness.journal import Journal
from tests.harness.kill_harness import SABOTAGED, Plan, Report, run
from tests.support.gateway import Gateway, running

pytestmark = [pytest.mark.harness, pytest.mark.timeout(3600)]
KILLS = int(os.environ.get("KILLS", "2000"))
TREE_KILLS = int(os.environ.get("TREE_KILLS", "50"))
# The control ends as soon as the judge has found it out; an honest recorder would live through all rounds.
CONTROL_ROUNDS, KILLS_PER_ROUND = 10, 50
# Orders whose outcome was answered but never recorded may stand still for ever there; that is found out too.
CONTROL_PATIENCE_S = 10.0


def _run(gateway: Gateway, plan: Plan) -> Report:
    with Journal(gateway.directory / "journal.jsonl") as journal:
        report = asyncio.run(run(gateway, journal, plan))
    print(json.dumps(report.as_json()))
    return report


def test_nothing_is_lost_or_doubled_when_workers_and_trees_are_killed(
    tmp_path: Path, database_url: str | None
) -> None:
    workers = 1 if database_url is None else 2
    with running(tmp_path, database_url=database_url, workers=workers) as gateway:
        report = _run(gateway, Plan(KILLS, TREE_KILLS))
        assert report.verdict.clean, report.as_json()
        assert report.kills == KILLS
        assert report.tree_kills == TREE_KILLS
        # Kills that hit nobody would prove nothing.
        assert report.kills_in_flight > KILLS / 2


def test_judge_finds_a_recorder_that_answers_before_commit(tmp_path: Path) -> None:
    with running(tmp_path, launcher=SABOTAGED) as gateway:
        for _ in range(CONTROL_ROUNDS):
            report = _run(gateway, Plan(KILLS_PER_ROUND, 0, patience_s=CONTROL_PATIENCE_S))
            if report.verdict.lost:
                break
        assert report.verdict.lost, "answers before COMMIT were not found out"
        assert not report.verdict.clean
