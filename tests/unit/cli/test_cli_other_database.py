"""A command that was pointed at another database than the running gateway's says so and does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.cli.exit_codes import ExitCode
from gateway.datadir import DataDirectory

Run = Callable[..., Any]


@pytest.mark.parametrize("command", [("request", "list"), ("credential", "add", "scep-challenge")])
def test_file_left_behind_by_a_gateway_that_moved_to_postgresql_is_not_used(
    on_data: Run, data: DataDirectory, command: tuple[str, ...]
) -> None:
    before = on_data("credential", "list", "--json").document
    data.quickstart_file.write_text(json.dumps({"version": 1, "database": "postgresql"}))
    ended = on_data(*command)
    assert (ended.code, ended.out) == (ExitCode.FAILED, "")
    assert "runs on postgresql, but this command would use sqlite" in ended.err
    assert "PKIGATE_DATABASE_URL" in ended.err
    data.quickstart_file.unlink()
    assert on_data("credential", "list", "--json").document == before


@pytest.mark.parametrize("content", ['{"database": "sqlite"}', "{}", "[]", '{"database": 7}', "not JSON"])
def test_same_database_or_none_that_can_be_told_is_used(
    on_data: Run, data: DataDirectory, content: str
) -> None:
    data.quickstart_file.write_text(content)
    assert on_data("request", "list", "--json").document["requests"] == []
