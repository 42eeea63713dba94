"""Labels of credentials as the command line takes them."""

from __future__ import annotations

from collections.abc import Sequence

import typer


def read_labels(entries: Sequence[str] | None) -> dict[str, str] | None:
    """NAME=VALUE each; None where there are none. Raises BadParameter."""
    found: dict[str, str] = {}
    for entry in entries or ():
        name, equals, value = entry.partition("=")
        if not equals or name in found:
            what = "is there twice" if equals else "has no value"
            raise typer.BadParameter(f"{name!r} {what}; write for example site=brno", param_hint="--label")
        found[name] = value
    return found or None
