"""Files and functions stay readable (style rule 4)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "manager", "managers", "util", "helper"}
SOURCES = sorted(
    path
    for directory in ("gateway", "ca_backend", "bench", "fuzz", "tests")
    for path in (ROOT / directory).rglob("*.py")
    if path.parent.name != "versions"  # a migration is one flat list of statements
)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_sources_are_found() -> None:
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_file_and_its_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE, f"{_name(path)} has {text.count(chr(10))} lines"
    long = [
        f"{_name(path)}:{node.lineno} {node.name}: {length} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [_name(path) for path in SOURCES if path.stem in FORBIDDEN_NAMES]
