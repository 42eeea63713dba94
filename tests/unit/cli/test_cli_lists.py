"""`pkigate list` on a real database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.datadir import DataDirectory
from gateway.model.outcome import State
from gateway.store import bundles, lists
from gateway.store.bundles import Activation, BundleRow
from gateway.store.unit import Unit
from tests.support import policies
from tests.unit.cli.recorded import database_of, record_request

Run = Callable[..., Any]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def used(data: DataDirectory) -> str:
    """A bundle with a list, of which ``A1`` has served the request whose id this is."""
    document = policies.document("List", "devices", type="serial", entries=["a1", "a2"], single_use="true")
    text = json.dumps([document])
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    row = record_request(data, State.ISSUED)
    with database_of(data) as store:
        unit = Unit()
        bundles.insert(unit, BundleRow(sha256, text, "files", NOW))
        bundles.activate(unit, Activation(sha256, NOW))
        lists.use(unit, "devices", "A1", row.id, NOW)
        store.recorder.commit_blocking(unit)
    return row.id


def test_entry_that_served_a_request_is_shown(on_data: Run, used: str) -> None:
    shown = on_data("list", "show", "devices", "--json").document
    assert shown["single_use"] is True
    (one,) = shown["used"]
    assert (one["key"], one["request"], one["used_at"]) == ("A1", used, "2026-11-23T12:00:00Z")
    assert used in on_data("list", "show", "devices").out


def test_released_entry_is_free_and_audited(on_data: Run, used: str) -> None:
    assert used
    assert on_data("list", "release", "devices", "a1").out.startswith("Released A1 of devices")
    assert on_data("list", "show", "devices", "--json").document["used"] == []
    exported = on_data("audit", "export").out.splitlines()
    assert [json.loads(line)["action"] for line in exported][-1] == "list.release"


def test_unknown_list_and_unused_entry_are_told(on_data: Run, used: str) -> None:
    assert used
    missing = on_data("list", "show", "device")
    assert missing.code == 3
    assert "they have: devices" in missing.err
    unused = on_data("list", "release", "devices", "A2")
    assert unused.code == 3
    assert "has served no request" in unused.err
