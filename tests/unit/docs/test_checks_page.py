"""docs/policies/checks.md: its YAML loads, its own tests pass; it speaks of every word, code and error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from gateway.errors import NotActed
from gateway.plugins import load_plugins
from gateway.policy.check_documents import CheckCode
from gateway.policy.expression_functions import FUNCTIONS, MATCHES
from gateway.policy.expressions import MAX_MACROS, MAX_VALUES, WORDS
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.routing_documents import FallbackOn
from gateway.policy.rules import CompiledPolicy

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "policies" / "checks.md").read_text()
BACKEND = """\
apiVersion: pkigate/v1
kind: Backend
metadata: {name: embedded}
type: embedded
options: {issuing: [{name: issuing}, {name: scep, key: rsa-2048}]}
"""


def test_example_of_the_checks_page_loads_and_passes_its_own_tests() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    source = PolicySource("checks.md", "---\n".join([BACKEND, *blocks]))
    (policy,) = load_bundle((source,), load_plugins().registry(lab=False)).policies
    assert isinstance(policy, CompiledPolicy)
    assert len(policy.conditions.checks) == 3
    assert len(policy.routes) == 2


def test_checks_page_speaks_of_every_word_code_and_error() -> None:
    for word in (*WORDS, *(name for name in FUNCTIONS if name != MATCHES)):
        assert re.search(rf"`{word}\b", PAGE), word
    for word in (*get_args(CheckCode), *get_args(FallbackOn)):
        assert f"| `{word}`" in PAGE, word
    assert set(get_args(FallbackOn)) == {one.value for one in NotActed}


def test_checks_page_says_the_bounds_that_hold() -> None:
    assert f"{MAX_MACROS} macros" in PAGE
    bounds = PAGE.partition("## Bounds")[2].partition("## Several")[0]
    assert all(f"{most:,}" in bounds for most in MAX_VALUES.values())
