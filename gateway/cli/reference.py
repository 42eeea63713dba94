"""Makes docs/cli.md from the commands themselves: ``python -m gateway.cli.reference > docs/cli.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from gateway.cli.commands import app
from gateway.cli.exit_codes import ExitCode

_WIDTH = 100
_INTRODUCTION = """\
# Command line

`pkigate` starts the gateway and administers it. The commands besides `serve` work on the gateway's database
and files, whether it runs or not; they find them by `--data-dir` or `--config`, or by `PKIGATE_DATA_DIR`
(`PKIGATE_DATA_DIRECTORY` is the same) and `PKIGATE_CONFIG`. Without any of them the data directory is
`/var/lib/pkigate` for root, else `~/.local/share/pkigate`. Approvals and revocations are only written down
here: a worker of the gateway issues, and the next CRL that is fetched names the revocation.

- `--json` prints one JSON document on standard output. Notes and errors go to standard error.
- Without `--json`, lists are tables: coloured on a terminal, plain columns in a pipe.
- An error is one line per mistake, never a traceback; `PKIGATE_TRACEBACK=1` shows one for a report.
- Shell completion: `pkigate --install-completion`.

This file is made by `python -m gateway.cli.reference`; do not edit it by hand.

## Exit codes

| code | meaning |
|---|---|
"""


def cli_markdown() -> str:
    """The text of docs/cli.md."""
    codes = "".join(f"| {code.value} | {code.meaning} |\n" for code in ExitCode)
    return _INTRODUCTION + codes + "".join(_sections(typer.main.get_command(app), "pkigate"))


def _sections(command: Any, path: str) -> Iterator[str]:
    # Any: typer brings its own copy of click, whose classes have no public names.
    context = typer.Context(command, info_name=path, terminal_width=_WIDTH, max_content_width=_WIDTH)
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"\n## {path}\n\n```text\n{help_text}\n```\n"
    for name, inner in getattr(command, "commands", {}).items():
        yield from _sections(inner, f"{path} {name}")


if __name__ == "__main__":
    sys.stdout.write(cli_markdown())
