"""``pkigate credential set``: other groups and labels of a credential that exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from gateway.cli.credential_document import credential_document
from gateway.cli.credential_labels import read_labels
from gateway.cli.found_credential import CredentialArgument, find_credential
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, actor
from gateway.cli.output import print_json
from gateway.cli.session import open_session
from gateway.credentials.bounds import UnfitValue, checked_groups, checked_labels
from gateway.errors import Conflict

GroupsOption = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="G", help="In these groups instead of those it had; may be repeated."),
]
NoGroupsOption = Annotated[bool, typer.Option("--no-groups", help="In no group.")]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label", metavar="NAME=VALUE", help="This label has this value now; others stay. May be repeated."
    ),
]
NoLabelOption = Annotated[
    list[str] | None, typer.Option("--no-label", metavar="NAME", help="Without it; may be repeated.")
]


def set_groups_and_labels(
    credential: CredentialArgument,
    group: GroupsOption = None,
    no_groups: NoGroupsOption = False,
    label: LabelsOption = None,
    no_label: NoLabelOption = None,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change groups and labels. It counts from the next request on, for ACME accounts that are bound to it
    too. Its secret and its bounds stay as they are."""
    from dataclasses import replace

    from gateway.credentials import making
    from gateway.store.unit import Unit

    if not (group or no_groups or label or no_label):
        raise typer.BadParameter("say what to change: --group, --no-groups, --label or --no-label")
    if group and no_groups:
        raise typer.BadParameter("cannot be together with --group", param_hint="--no-groups")
    with open_session(config_file, data_dir) as session:
        row = find_credential(session, credential)
        groups = _groups(group) if group or no_groups else row.groups
        changed = replace(row, groups=groups, labels=_labels(dict(row.labels), label, no_label))
        unit = Unit()
        making.describe(unit, row, changed.groups, changed.labels, actor())
        try:
            session.store.recorder.commit_blocking(unit)
        except Conflict as exc:
            raise Conflict(f"the credential {row.id} of {row.name!r} is revoked") from exc
    if as_json:
        print_json(credential_document(changed))
    else:
        typer.echo(f"Changed the credential {row.id} of {row.name}.")


def _groups(given: Sequence[str] | None) -> tuple[str, ...]:
    try:
        return checked_groups(given)
    except UnfitValue as exc:
        raise typer.BadParameter(str(exc), param_hint="--group") from exc


def _labels(
    labels: dict[str, str], given: Sequence[str] | None, without: Sequence[str] | None
) -> tuple[tuple[str, str], ...]:
    for name in without or ():
        if labels.pop(name, None) is None:
            raise typer.BadParameter(f"it has no label {name!r}", param_hint="--no-label")
    try:
        return checked_labels({**labels, **(read_labels(given) or {})})
    except UnfitValue as exc:
        raise typer.BadParameter(str(exc), param_hint="--label") from exc
