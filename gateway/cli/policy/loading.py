"""Policy files to a bundle, with every installed front end and backend known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.options import load_config

if TYPE_CHECKING:
    from gateway.policy.load import Bundle, Registry


def load_policies(path: Path, *, lab: bool) -> Bundle:
    """Compile a directory or a file with every installed front end and backend known.

    Raises ConfigurationError.
    """
    from gateway.policy.load import load_bundle
    from gateway.policy.sources import read_sources

    return load_bundle(read_sources(path), policy_registry(lab=lab))


def policy_registry(*, lab: bool) -> Registry:
    """What the installed front ends and backends bring. Raises ConfigurationError."""
    from gateway.plugins import load_plugins

    return load_plugins().registry(lab=lab)


def policy_files(
    path: Path | None, config_file: Path | None, data_dir: Path | None, *, lab: bool
) -> tuple[Path, bool]:
    """The named files, else those of the configuration, which says then whether it is lab mode.

    Raises ConfigurationError.
    """
    if path is not None:
        return path, lab
    configuration = load_config(config_file, data_dir)
    return configuration.policies, lab or configuration.lab.enabled


def policy_warnings(bundle: Bundle) -> list[str]:
    """What is allowed but hardly meant."""
    from gateway.policy.guardrail_reach import bounded_policies
    from gateway.policy.handed_out import foreign_issuers
    from gateway.policy.reach import hidden_policies

    return [
        str(warning)
        for warning in (*hidden_policies(bundle), *foreign_issuers(bundle), *bounded_policies(bundle))
    ]
