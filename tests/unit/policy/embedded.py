"""Runs tests that stand in policies."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigurationError
from gateway.plugins import load_plugins
from gateway.policy.load import load_bundle, load_with_tests
from gateway.policy.sources import PolicySource
from tests.unit.policy.sample import HOUSE


def results(*documents: str) -> list[tuple[str, str, str]]:
    """Name, verdict and what differs of every test."""
    source = PolicySource("p.yaml", HOUSE + "---\n".join(documents))
    _, found = load_with_tests((source,), load_plugins().registry(lab=False))
    return [
        (
            one.name,
            one.verdict,
            "; ".join(f"{one.document.where((*one.path, *d.at))} {d.text}" for d in one.differences),
        )
        for one in found
    ]


def fault(*documents: str) -> str:
    """What the loader says."""
    with pytest.raises(ConfigurationError) as caught:
        load_bundle(
            (PolicySource("p.yaml", HOUSE + "---\n".join(documents)),), load_plugins().registry(lab=False)
        )
    return str(caught.value)


def only(request: str, expect: str) -> str:
    """The text of one test."""
    return f"[{{name: one, request: {request}, expect: {expect}}}]"
