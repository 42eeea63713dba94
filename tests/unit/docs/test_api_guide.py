"""docs/api.md names every operation, permission, field and kind of refusal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.admin import authorization, body, credentials, problems
from gateway.admin.application import AdminServices, api_application
from gateway.admin.documents import ListQuery, NewAcmeAccount, NewCmpSecret, NewScepChallenge
from gateway.model.permissions import Permission

GUIDE = (Path(__file__).resolve().parents[3] / "docs/api.md").read_text()
FIELDS = {
    field
    for model in (NewAcmeAccount, NewCmpSecret, NewScepChallenge, ListQuery)
    for field in model.model_fields
}


def _operations() -> dict[str, str]:
    """By method and path, the permission."""
    nothing: Any = None
    document = api_application(AdminServices(nothing, nothing, nothing)).openapi()
    return {
        f"{method.upper()} {path}": operation["x-permission"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


@pytest.mark.parametrize("operation", _operations())
def test_every_operation_stands_beside_its_permission(operation: str) -> None:
    (row,) = [line for line in GUIDE.splitlines() if f"`{operation}`" in line and line.startswith("|")]
    assert row.startswith(f"| `{_operations()[operation]}` |" if _operations()[operation] else "| none |")


@pytest.mark.parametrize("word", sorted({*FIELDS, *Permission}))
def test_every_field_and_permission_stands_in_the_guide(word: str) -> None:
    assert f"`{word}`" in GUIDE


def test_every_kind_of_refusal_stands_in_the_table() -> None:
    found = set(problems._TITLES)
    for module in (authorization, body, credentials):
        text = Path(module.__file__ or "").read_text()
        found |= set(re.findall(r'Problem\(\s*\d{3},\s*"([a-z-]+)"', text))
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \| [0-9, ]+ \|", GUIDE, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert listed == found
