"""The YAML of docs/policies/keys.md and lifetime.md loads, and no word of their rules is missing there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.plugins import load_plugins
from gateway.policy.extension_documents import ExtensionsRules
from gateway.policy.key_documents import KeyRules, Reject
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.rule_documents import RenewalRules, ValidityRules

PAGES = Path(__file__).resolve().parents[3] / "docs" / "policies"
HOUSE = """\
apiVersion: pkigate/v1
kind: Backend
metadata: {name: embedded}
type: embedded
---
apiVersion: pkigate/v1
kind: Endpoint
metadata: {name: default}
protocol: est
backend: embedded
---
apiVersion: pkigate/v1
kind: Endpoint
metadata: {name: default}
protocol: acme
backend: embedded
---
apiVersion: pkigate/v1
kind: TrustStore
metadata: {name: own}
backends: [embedded]
---
"""


def _blocks() -> list[str]:
    text = (PAGES / "keys.md").read_text() + (PAGES / "lifetime.md").read_text()
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("block", _blocks())
def test_example_of_the_pages_on_keys_and_lifetime_loads(block: str) -> None:
    bundle = load_bundle((PolicySource("page.md", HOUSE + block),), load_plugins().registry(lab=False))
    assert len(bundle.policies) == 1


def test_every_word_of_what_is_rejected_is_explained() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", (PAGES / "keys.md").read_text(), re.MULTILINE)
    assert {*Reject} <= {*rows}


def test_every_key_about_times_and_extensions_is_spoken_of() -> None:
    pages = "".join((PAGES / name).read_text() for name in ("keys.md", "lifetime.md", "README.md"))
    for model in (KeyRules, ExtensionsRules, ValidityRules, RenewalRules):
        for key in model.model_fields:
            assert re.search(rf"\b{key}\b", pages), key
