"""Policy files to a bundle, with every installed front end and backend known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.policy.load import Bundle


def load_policies(path: Path, *, lab: bool) -> Bundle:
    """Compile a directory or a file with every installed front end and backend known.

    Raises ConfigurationError.
    """
    from gateway.plugins import load_plugins
    from gateway.policy.load import load_bundle
    from gateway.policy.sources import read_sources

    return load_bundle(read_sources(path), load_plugins().registry(lab=lab))


def policy_warnings(bundle: Bundle) -> list[str]:
    """What is allowed but hardly meant."""
    from gateway.policy.handed_out import foreign_issuers
    from gateway.policy.reach import hidden_policies

    return [str(warning) for warning in (*hidden_policies(bundle), *foreign_issuers(bundle))]
