"""The YAML of README and docs/policies/README.md loads as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.plugins import load_plugins
from gateway.policy.handed_out import foreign_issuers
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.reach import hidden_policies

ROOT = Path(__file__).resolve().parents[3]
OWN = "apiVersion: pkigate/v1\nkind: TrustStore\nmetadata: {name: own}\nbackends: [embedded]\n"
_YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def _blocks(name: str) -> list[str]:
    return _YAML.findall((ROOT / name).read_text())


def test_examples_of_the_policy_guide_load_together() -> None:
    blocks = [
        block.replace("files: [vendor-ca.pem]", "backends: [embedded]")
        for block in _blocks("docs/policies/README.md")
    ]
    bundle = load_bundle(
        (PolicySource("policies.md", "---\n".join([*blocks, OWN])),), load_plugins().registry(lab=False)
    )
    assert {policy.name for policy in bundle.policies} == {
        "presses",
        "presses-renewal",
        "web-servers",
        "datacentre-servers",
        "printers",
        "printers-renewal",
        "plant-devices",
        "plant-authority",
        "plant-revocation",
    }
    assert hidden_policies(bundle) == ()
    assert foreign_issuers(bundle) == ()


README_ENDPOINTS = {"presses": "line1", "servers": "servers"}


@pytest.mark.parametrize("block", _blocks("README.md"))
def test_example_of_the_readme_loads_beside_the_default_bundle_and_takes_nothing_from_it(block: str) -> None:
    default = PolicySource("default.yaml", (ROOT / "policies" / "default.yaml").read_text())
    bundle = load_bundle((default, PolicySource("README.md", block)), load_plugins().registry(lab=False))
    (policy,) = (policy for policy in bundle.policies if policy.name in README_ENDPOINTS)
    assert policy.endpoints == {README_ENDPOINTS[policy.name]}
    assert hidden_policies(bundle) == ()
    assert foreign_issuers(bundle) == ()


def test_readme_shows_a_policy_for_each_protocol() -> None:
    assert len(_blocks("README.md")) == len(README_ENDPOINTS)
