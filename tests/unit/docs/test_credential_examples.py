"""The YAML of docs/policies/credentials.md loads as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.plugins import load_plugins
from gateway.policy.load import PolicySource, load_bundle

PAGE = Path(__file__).resolve().parents[3] / "docs" / "policies" / "credentials.md"
_ENDPOINTS = (("est", "line1"), ("est", "factory"), ("acme", "web"), ("scep", "network"))
_BACKEND = (
    "apiVersion: pkigate/v1\nkind: Backend\nmetadata: {name: embedded}\ntype: embedded\n"
    "options: {issuing: [{name: issuing, key: ec-p256}, {name: scep, key: rsa-2048}]}\n"
)
_HOUSE = [
    _BACKEND,
    "apiVersion: pkigate/v1\nkind: TrustStore\nmetadata: {name: vendor}\nbackends: [embedded]\n",
    *(
        f"apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {{name: {name}}}\nprotocol: {protocol}\n"
        "backend: embedded\n"
        for protocol, name in _ENDPOINTS
    ),
]


def test_examples_about_credentials_load() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    source = PolicySource("credentials.md", "---\n".join([*_HOUSE, *blocks]))
    bundle = load_bundle((source,), load_plugins().registry(lab=False))
    names = {policy.name for policy in bundle.policies}
    assert names == {"press-line", "web-team", "routers", "factory-bootstrap"}
