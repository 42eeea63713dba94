"""A data directory with a migrated SQLite database, and the command line run on it in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import main
from gateway.datadir import DataDirectory, prepare
from gateway.store.migrate import migrate


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as its one JSON document."""
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PKIGATE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def pkigate(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run ``pkigate`` with these arguments through its real entry point."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["pkigate", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as exc:
            code = int(exc.code or 0)
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    """The data directory of a gateway whose database is migrated."""
    directory = prepare(tmp_path / "data")
    migrate(f"sqlite:///{directory.path}/pkigate.sqlite3")
    return directory


@pytest.fixture
def on_data(pkigate: Run, data: DataDirectory) -> Run:
    """As ``pkigate``, with ``--data-dir``."""
    return lambda *arguments: pkigate(*arguments, "--data-dir", data.path)
