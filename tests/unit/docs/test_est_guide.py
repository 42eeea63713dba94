"""docs/est.md names every option, and its YAML loads as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.est.options import EstOptions
from gateway.plugins import load_plugins
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.reach import hidden_policies

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs/est.md").read_text()


def test_policies_of_the_est_guide_load_beside_the_default_bundle_and_take_nothing_from_it() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    sources = (
        PolicySource("default.yaml", (ROOT / "policies/default.yaml").read_text()),
        PolicySource("docs/est.md", block),
    )
    bundle = load_bundle(sources, load_plugins().registry(lab=False))
    own = [policy for policy in bundle.policies if policy.name.startswith("line4-est")]
    assert [policy.endpoints for policy in own] == [{"line4"}, {"line4"}]
    assert hidden_policies(bundle) == ()


@pytest.mark.parametrize("option", EstOptions.model_fields)
def test_every_option_of_est_stands_in_its_guide(option: str) -> None:
    assert f"| `{option}` |" in GUIDE
