"""The generated documents are what the generators give now."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.reference import cli_markdown
from gateway.config import Config, config_markdown

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_configuration_document_is_current() -> None:
    assert (DOCS / "configuration.md").read_text() == config_markdown(), (
        "run: pkigate config reference > docs/configuration.md"
    )


def test_command_line_document_is_current() -> None:
    assert (DOCS / "cli.md").read_text() == cli_markdown(), (
        "run: python -m gateway.cli.reference > docs/cli.md"
    )


@pytest.mark.parametrize("name", list(Config.model_fields))
def test_every_setting_has_its_heading(name: str) -> None:
    assert f"### {name}\n" in config_markdown()
