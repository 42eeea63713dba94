"""docs/dependencies.md names every package of pyproject.toml, and none besides those and their parts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Parts of what fastapi and uvicorn bring that our own code builds on by name.
PARTS = {"starlette"}


def normal(requirement: str) -> str:
    """The distribution's name as PEP 503 compares it, without extras and versions."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def test_every_dependency_has_its_reason_and_no_other_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {normal(one) for one in project["project"]["dependencies"]}
    wanted |= {normal(one) for extra in project["project"]["optional-dependencies"].values() for one in extra}
    wanted |= {normal(one) for group in project["dependency-groups"].values() for one in group}
    wanted |= {normal(one) for one in project["build-system"]["requires"]}
    page = (ROOT / "docs/dependencies.md").read_text()
    rows = re.findall(r"^\| (?!package|-)([^|]+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    listed = {normal(name.strip()) for row in rows for name in re.sub(r"\(.*?\)", "", row).split(",")}
    assert listed == wanted | PARTS
