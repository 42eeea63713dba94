"""The YAML of docs/policies/lists-and-limits.md loads as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.plugins import load_plugins
from gateway.policy.limit_rules import LimitScope, OnExceed
from gateway.policy.list_content import ListType
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.rules import CompiledPolicy

PAGE = Path(__file__).resolve().parents[3] / "docs" / "policies" / "lists-and-limits.md"
BACKEND = "apiVersion: pkigate/v1\nkind: Backend\nmetadata: {name: embedded}\ntype: embedded\n"


def test_examples_of_lists_and_limits_load_together() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    source = PolicySource("page.md", "---\n".join([BACKEND, *blocks]))
    bundle = load_bundle((source,), load_plugins().registry(lab=False))
    assert set(bundle.lists) == {"lobby-printers", "inventory", "line-serials"}
    (policy,) = bundle.policies
    assert isinstance(policy, CompiledPolicy)
    assert len(policy.limits) == 3
    (guardrail,) = bundle.guardrails
    assert len(guardrail.limits) == 1


def test_page_names_every_type_scope_and_consequence() -> None:
    text = PAGE.read_text()
    for word in (*ListType, *LimitScope, *OnExceed):
        assert f"`{word}`" in text
