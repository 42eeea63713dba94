"""The copy of the active policies: what a worker takes when it is started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.composition.policies import PolicyFiles, are_packaged
from gateway.config import Config
from gateway.datadir import DataDirectory, prepare
from gateway.errors import ConfigurationError
from gateway.plugins import load_plugins


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return prepare(tmp_path / "data")


@pytest.fixture
def files(data: DataDirectory) -> PolicyFiles:
    return PolicyFiles(Config(data_directory=data.path), data, load_plugins())


def test_active_policies_keep_their_places_whatever_the_files_say(
    data: DataDirectory, files: PolicyFiles
) -> None:
    before = files.drafts()
    default = data.policies / "default.yaml"
    default.write_text("# moved\n" + default.read_text())
    moved = files.drafts()
    assert moved.bundle.sha256 == before.bundle.sha256
    assert files.activate(moved)
    default.write_text("kind: Polcy")
    active = files.active(before)
    assert active.kept == moved.kept
    assert [policy.where for policy in active.bundle.policies] == [
        policy.where for policy in moved.bundle.policies
    ]
    with pytest.raises(ConfigurationError):
        files.drafts()


def test_same_policies_are_activated_once(data: DataDirectory, files: PolicyFiles) -> None:
    policies = files.drafts()
    assert files.mark() is None
    assert files.activate(policies)
    mark = files.mark()
    assert not files.activate(files.drafts())
    assert files.mark() == mark
    assert oct(data.active_policies_file.stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize(
    "damaged", [b"", b"{}", b'{"version": 2}', b"[1]", b'{"version": 1, "sources": [{}]}']
)
def test_lost_or_damaged_copy_leaves_what_the_supervisor_read(
    data: DataDirectory, files: PolicyFiles, damaged: bytes
) -> None:
    known = files.drafts()
    assert files.active(known) is known
    data.active_policies_file.write_bytes(damaged)
    assert files.active(known) is known


def test_policies_are_the_packaged_ones_until_somebody_edits_them(data: DataDirectory) -> None:
    assert are_packaged(data.policies)
    (data.policies / "mine.yml").write_text("kind: Policy")
    assert not are_packaged(data.policies)
    assert not are_packaged(data.path / "absent")
