"""``pkigate audit``: verify and export the audit trail."""

from __future__ import annotations

import dataclasses
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption
from gateway.cli.output import fail, note, print_json
from gateway.cli.session import open_session

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.audit import AuditHead

_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-fA-F]{64})")

app = typer.Typer(
    name="audit", help="Verify and export the audit trail.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def verify(
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="SEQ:HASH",
            help="A head that verify printed earlier, kept elsewhere; the chain must contain it.",
        ),
    ] = None,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the hash chain. It proves the order and content up to a head that was kept elsewhere."""
    from gateway.store.audit import verify_chain

    kept = None if head is None else _read_head(head)
    with open_session(config_file, data_dir) as session:
        verdict = session.read(lambda connection: verify_chain(connection, kept))
    if as_json:
        print_json(dataclasses.asdict(verdict))
    elif verdict.ok:
        contained = "" if kept is None else f" It contains the head {kept.seq} that was kept."
        typer.echo(f"The audit chain is whole: {verdict.checked} events, head {verdict.head}.{contained}")
    else:
        raise fail(f"audit: {verdict.what}; {verdict.checked} events before it fit together")
    raise typer.Exit(int(ExitCode.OK if verdict.ok else ExitCode.FAILED))


def _read_head(text: str) -> AuditHead:
    from gateway.store.audit import AuditHead

    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            "a head is a number, a colon and 64 hexadecimal digits, as `pkigate audit verify` prints it",
            param_hint="--head",
        )
    return AuditHead(int(found[1]), found[2].lower())


@app.command()
def export(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="New file, mode 0600. Default: stdout."),
    ] = None,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document instead of one per line.")
    ] = False,
) -> None:
    """Write every event as a line of JSON, oldest first, with its hashes."""
    from gateway.store.audit import export as exported_lines

    with open_session(config_file, data_dir) as session, ExitStack() as stack:
        stream = None
        if output is not None:
            try:
                descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as exc:
                raise fail(f"{output}: {exc.strerror}; name a new file in a directory that exists") from exc
            stream = stack.enter_context(os.fdopen(descriptor, "w"))

        def write(connection: Connection) -> int:
            count = 0
            for line in exported_lines(connection):
                opening = ("[\n" if count == 0 else ",\n") if as_json else ""
                typer.echo(opening + line, file=stream, nl=not as_json)
                count += 1
            if as_json:
                typer.echo("\n]" if count else "[]", file=stream)
            return count

        count = session.read(write)
    note(f"{count} events written.")
