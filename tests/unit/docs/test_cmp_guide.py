"""docs/cmp.md names every option, and its YAML loads as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.cmp.options import CmpOptions, MacOptions
from gateway.cmp.paths import OPERATION_BODIES
from gateway.plugins import load_plugins
from gateway.policy.load import PolicySource, load_bundle

GUIDE = (Path(__file__).resolve().parents[3] / "docs/cmp.md").read_text()
BACKEND = "apiVersion: pkigate/v1\nkind: Backend\nmetadata: {name: embedded}\ntype: embedded\n"
OWN = "apiVersion: pkigate/v1\nkind: TrustStore\nmetadata: {name: own}\nbackends: [embedded]\n"


def test_policies_of_the_guide_load_together() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    text = "---\n".join([BACKEND, OWN, *blocks])
    bundle = load_bundle((PolicySource("docs/cmp.md", text),), load_plugins().registry(lab=False))
    assert ("cmp", "line4") in bundle.endpoints


@pytest.mark.parametrize("option", [*CmpOptions.model_fields, *MacOptions.model_fields])
def test_every_option_stands_in_the_guide(option: str) -> None:
    assert f"`{option}`" in GUIDE


@pytest.mark.parametrize("operation", OPERATION_BODIES)
def test_every_operation_that_is_served_stands_in_the_guide(operation: str) -> None:
    """nested is recognised and refused."""
    assert (f"`/{operation}`" in GUIDE) is (operation != "nested")
