"""docs/policies/choosing.md and guardrails.md: their YAML loads as it stands there and does what they say."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from gateway.plugins import load_plugins
from gateway.policy.guardrail_documents import Guardrail
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.match_documents import Alternative
from gateway.policy.reach import hidden_policies
from gateway.policy.rules import Bundle, CompiledPolicy

PAGES = Path(__file__).resolve().parents[3] / "docs" / "policies"
HOUSE = """\
apiVersion: pkigate/v1
kind: Backend
metadata: {name: embedded}
type: embedded
---
apiVersion: pkigate/v1
kind: TrustStore
metadata: {name: own}
backends: [embedded]
---
apiVersion: pkigate/v1
kind: Endpoint
metadata: {name: web}
protocol: acme
backend: embedded
"""


def _page(name: str) -> str:
    return (PAGES / name).read_text()


def _bundle() -> Bundle:
    blocks = [
        block
        for name in ("choosing.md", "guardrails.md")
        for block in re.findall(r"```yaml\n(.*?)```", _page(name), re.DOTALL)
    ]
    source = PolicySource("pages.md", "---\n".join([HOUSE, *blocks]))
    return load_bundle((source,), load_plugins().registry(lab=False))


def test_examples_of_both_pages_load_together_and_hide_nothing() -> None:
    bundle = _bundle()
    assert [policy.name for policy in bundle.policies] == ["base-stations", "welding-robots"]
    assert [policy.name for policy in bundle.shadows] == ["welding-robots-next"]
    assert hidden_policies(bundle) == ()


def test_heir_of_the_page_has_what_its_comments_say() -> None:
    (_, heir) = _bundle().policies
    assert isinstance(heir, CompiledPolicy)
    assert (heir.keys.rsa_min, heir.keys.curves) == (3072, {"P-384"})
    assert (heir.validity.default, heir.validity.backdate) == (timedelta(days=30), timedelta(hours=1))
    assert heir.conditions.approving is None


def test_guardrails_of_the_page_hold_where_it_says() -> None:
    bundle = _bundle()
    assert [one.name for one in bundle.guardrails_at("acme", "web")] == ["internet", "organisation-floor"]
    assert [one.name for one in bundle.guardrails_at("est", "welding")] == ["organisation-floor"]


def test_pages_speak_of_every_key() -> None:
    table = _page("guardrails.md")
    for key in set(Guardrail.model_fields) - {"apiVersion", "kind", "metadata"}:
        assert f"| `{key}` |" in table, key
    for key in Alternative.model_fields:
        assert f"`{key}`" in _page("choosing.md"), key
