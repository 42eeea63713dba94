"""``pkigate policy fmt``: policy files in the canonical layout."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, load_config
from gateway.cli.output import fail, note
from gateway.errors import ConfigurationError


def fmt(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR|FILE",
            help="Directory of *.yaml files, or one file alone. Default: the gateway's directory.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say which files would change; exit code 1 if any.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Rewrite the files.")] = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
) -> None:
    """Show or make the canonical layout of policy files; comments and what the files say stay as they are.

    Without options, the changes are printed and nothing is written.
    """
    from gateway.policy.format import format_text
    from gateway.policy.sources import read_sources

    if check and write:
        raise fail("say either --check or --write", ExitCode.USAGE)
    if path is None:
        path = load_config(config_file, data_dir).policies
    changed = 0
    mistakes: list[str] = []
    for source in read_sources(path):
        try:
            text = format_text(source.name, source.text)
        except ConfigurationError as error:
            mistakes.append(str(error))
            continue
        if text != source.text:
            changed += 1
            if write:
                _rewrite(path / source.name if path.is_dir() else path, text)
            _tell(source.name, source.text, text, in_short=write or check)
    if mistakes:
        raise fail("\n".join(mistakes))
    if not changed:
        note("Nothing to change.")
    elif check:
        raise typer.Exit(int(ExitCode.FAILED))


def _rewrite(file: Path, text: str) -> None:
    from gateway.durable_file import write_durably

    file = file.resolve()
    before = file.stat()
    write_durably(file, text.encode(), mode=before.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(file, before.st_uid, before.st_gid)  # else the gateway could no longer read it


def _tell(name: str, before: str, after: str, *, in_short: bool) -> None:
    if in_short:
        typer.echo(name)
        return
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="")
    for line in lines:
        typer.echo(line)
