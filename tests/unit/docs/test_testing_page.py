"""The YAML of docs/policies/testing.md loads, and its tables name every key of a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.plugins import load_plugins
from gateway.policy.load import PolicySource, load_with_tests
from gateway.policy.sample_documents import Expected, SampleRequest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "policies" / "testing.md"


def test_example_of_the_page_loads_and_its_tests_pass() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    _, results = load_with_tests((PolicySource("page.md", block),), load_plugins().registry(lab=False))
    assert [(one.verdict, one.differences) for one in results] == [("allow", ()), ("deny", ()), ("deny", ())]


@pytest.mark.parametrize("model", [SampleRequest, Expected])
def test_page_names_every_key(model: type[SampleRequest] | type[Expected]) -> None:
    text = PAGE.read_text()
    for name, info in model.model_fields.items():
        assert re.search(rf"`{info.alias or name}[`:]", text), info.alias or name
