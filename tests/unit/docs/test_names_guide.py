"""The YAML of docs/policies/names.md loads, its own tests pass, and every word and way in it exists."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.plugins import load_plugins
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.name_kinds import KINDS
from gateway.policy.reach import hidden_policies
from gateway.policy.template import FILTERS, WORDS

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "policies" / "names.md").read_text()
EMBEDDED = "apiVersion: pkigate/v1\nkind: Backend\nmetadata: {name: embedded}\ntype: embedded\n"


def test_examples_of_the_names_guide_load_and_pass_their_own_tests() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    bundle = load_bundle(
        (PolicySource("names.md", "---\n".join([EMBEDDED, *blocks])),), load_plugins().registry(lab=False)
    )
    assert {policy.name for policy in bundle.policies} == {"plant-devices", "staff"}
    assert hidden_policies(bundle) == ()


def test_names_guide_speaks_of_every_kind_filter_and_word() -> None:
    for word in (*KINDS, *FILTERS, *WORDS):
        if word not in ("now", "san"):  # no text, so that no template can say them
            assert re.search(rf"\b{word}\b", GUIDE), word
