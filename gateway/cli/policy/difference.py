"""``pkigate policy diff``: what changes in meaning from one bundle to another."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, load_config
from gateway.cli.output import escaped, print_json
from gateway.cli.policy.history import LabOption, bundle_named
from gateway.cli.policy.loading import load_policies, policy_registry
from gateway.cli.session import open_session

if TYPE_CHECKING:
    from gateway.policy.compare_bundles import BundleDifference, DocumentKey, KeyChange, Leaf
    from gateway.policy.rules import Bundle

_HELP = "A directory, a file, the name of a stored bundle or its first digits, or `active`."


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help=_HELP)] = "active",
    after: Annotated[
        str | None, typer.Argument(metavar="B", help="As A. Default: the gateway's policy directory.")
    ] = None,
    lab: LabOption = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what changes in meaning from A to B, and which policies then serve what.

    Layout, comments, the order of documents and keys that hold their default are no change. Exit code 0: no
    difference, 1: some.
    """
    from gateway.policy.compare_bundles import compare_bundles

    config = load_config(config_file, data_dir)
    lab = lab or config.lab.enabled

    def load(word: str) -> Bundle:
        path = Path(word)
        if word != "active" and path.exists():
            return load_policies(path, lab=lab)
        return _stored(word, config_file, data_dir, lab=lab)

    found = compare_bundles(load(before), load(after or str(config.policies)), policy_registry(lab=lab))
    if as_json:
        print_json({"same": found.is_empty, **asdict(found)})
    else:
        for line in _lines(found):
            typer.echo(escaped(line))
    if not found.is_empty:
        raise typer.Exit(int(ExitCode.FAILED))


def _stored(word: str, config_file: Path | None, data_dir: Path | None, *, lab: bool) -> Bundle:
    from gateway.composition.policies import compile_kept, texts_of_documents

    with open_session(config_file, data_dir) as session:
        row = bundle_named(session, word)
    return compile_kept((row.texts or texts_of_documents(row)).encode(), policy_registry(lab=lab)).bundle


def _lines(found: BundleDifference) -> list[str]:
    if found.is_empty:
        return ["Nothing changes."]
    lines: list[str] = []
    signs = {"added": "+", "removed": "-", "changed": "~"}
    for document in found.documents:
        lines.append(f"{signs[document.change]} {_title(document.key)} {document.change}")
        lines += [f"    {_told(change)}" for change in document.keys]
    if found.places:
        lines.append("Served by, in this order:")
    for place in found.places:
        protocol, endpoint, operation = place.place
        was, becomes = " > ".join(place.before) or "nothing", " > ".join(place.after) or "nothing"
        lines.append(f"    {protocol}/{endpoint} {operation}: {was}  ->  {becomes}")
    return lines + [f"Hidden now: {line}" for line in found.newly_hidden]


def _title(key: DocumentKey) -> str:
    kind, protocol, name = key
    return f"{kind} {protocol}/{name}" if protocol else f"{kind} {name}"


def _told(change: KeyChange) -> str:
    if isinstance(change.before, tuple) and isinstance(change.after, tuple):
        gone = [f"-{word}" for word in change.before if word not in change.after]
        new = [f"+{word}" for word in change.after if word not in change.before]
        if gone or new:
            return f"{change.path}: {' '.join([*gone, *new])}"
    return f"{change.path}: {_shown(change.before)} -> {_shown(change.after)}"


def _shown(value: Leaf | None) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "[" + ", ".join(value) + "]" if isinstance(value, tuple) else str(value)
