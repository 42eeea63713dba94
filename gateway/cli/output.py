"""What commands print: one JSON document, or a table for people (rich on a terminal, plain in a pipe).

Texts that came from clients never reach a terminal raw: control characters are escaped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import typer

from gateway.cli.exit_codes import ExitCode


def print_json(document: object) -> None:
    """Print one JSON document to standard output."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=True, default=_json_value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under headings, or ``empty`` to standard error where there are none."""
    cells = [[shown(value) for value in row] for row in rows]
    if not cells:
        typer.echo(empty, err=True)
    elif sys.stdout.isatty():
        _print_rich_table(columns, cells)
    else:
        widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
        for line in [list(columns), *cells]:
            typer.echo(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            )


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print one object as ``name  value`` lines; values that are None or empty are left out."""
    lines = [(name, shown(value)) for name, value in fields]
    width = max((len(name) for name, value in lines if value), default=0)
    for name, value in lines:
        if value:
            typer.echo(f"{typer.style(name.ljust(width), bold=True)}  {value}")


def note(message: str) -> None:
    """Say something to people, on standard error."""
    typer.echo(message, err=True)


def fail(message: str, code: ExitCode = ExitCode.FAILED) -> typer.Exit:
    """Print one line on standard error and give the exception that ends the command with this code."""
    print_error(message)
    return typer.Exit(int(code))


def print_error(message: str) -> None:
    """Print each line of a message on standard error, marked as an error."""
    for line in message.splitlines() or [""]:
        typer.echo(f"{typer.style('error:', fg='red', bold=True)} {escaped(line)}", err=True)


def shown(value: object) -> str:
    """A value as people read it: times in UTC, sequences with commas."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%SZ}"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(part) for part in value)
    return escaped(str(value))


def escaped(text: str) -> str:
    """The text with everything that could steer a terminal written as ``\\xNN`` or ``\\uNNNN``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, (bytes, bytearray)):
        raise TypeError("bytes have no JSON form; the command must choose one")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def _print_rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in cells:
        table.add_row(*(Text(cell) for cell in line))  # Text: brackets in names are no markup
    Console().print(table)
