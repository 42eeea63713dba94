"""Options that several commands share, and the configuration that they lead to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gateway.config import Config

DataDirectoryOption = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Data directory of the gateway.", file_okay=False),
]
ConfigFileOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration file (pkigate.yaml), or $PKIGATE_CONFIG."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many lines.")]


def load_config(config_file: Path | None, data_dir: Path | None) -> Config:
    """The configuration that a command works with. Raises ConfigurationError."""
    from gateway.config import Flags, load

    return load(config_file, flags=Flags(data_dir=data_dir), environment=os.environ)


def actor() -> str:
    """Who does it, for the audit: ``cli:`` and the name of the operating system's user."""
    import pwd

    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    # sudo tells who is really there; it is a hint, not a proof.
    behind = os.environ.get("SUDO_USER", "")
    return f"cli:{name}" if not behind or uid != 0 else f"cli:{name}({behind})"
