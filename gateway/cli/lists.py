"""``pkigate list``: which entries of a single-use list served a request, and giving them back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, actor
from gateway.cli.output import print_fields, print_json, print_table
from gateway.cli.session import Session, open_session
from gateway.errors import Conflict, NotFound

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.lists import EntryUse, FetchState

app = typer.Typer(
    name="list", help="Lists of the active policies.", no_args_is_help=True, rich_markup_mode=None
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The list's metadata.name.")]


@app.command()
def show(
    name: NameArgument,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a list of the active policies: where its content is, and which entries served a request."""
    from gateway.store import lists

    def read(connection: Connection) -> tuple[FetchState | None, tuple[EntryUse, ...]]:
        return lists.fetch_states(connection).get(name), lists.uses_of(connection, name)

    with open_session(config_file, data_dir) as session:
        document = _document(session, name)
        fetched, uses = session.read(read)
    facts = {
        "name": name,
        "type": document["type"],
        "source": document.get("file") or document.get("url") or "entries",
        "single_use": document.get("single_use", "false") == "true",
        "content_sha256": fetched.sha256 if fetched is not None else None,
        "fetched_at": fetched.good_at if fetched is not None else None,
        "problem": fetched.problem if fetched is not None else None,
    }
    keys = _keys(document)
    used = [
        {
            "key": keys.get(use.key_sha256),
            "key_sha256": use.key_sha256,
            "request": use.request_id,
            "used_at": use.used_at,
        }
        for use in uses
    ]
    if as_json:
        print_json({**facts, "used": used})
        return
    print_fields((key.replace("_", " "), value) for key, value in facts.items())
    print_table(
        ("ENTRY", "REQUEST", "USED"),
        ((one["key"] or f"sha256 {one['key_sha256']}", one["request"], one["used_at"]) for one in used),
        empty="No entry has served a request.",
    )


@app.command()
def release(
    name: NameArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The entry, as it stands in the list.")],
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let an entry of a single-use list serve one more request. What it was granted for stays as it is."""
    from gateway.policy.list_content import ListType, normal_entry
    from gateway.store import lists
    from gateway.store.unit import AuditEvent, Unit

    with open_session(config_file, data_dir) as session:
        document = _document(session, name)
        try:
            entry = normal_entry(ListType(document["type"]), key)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="KEY") from error
        unit = Unit()
        lists.release(unit, name, entry)
        unit.audit(AuditEvent(actor(), "list.release", name, details={"key": entry[:200]}))
        try:
            session.store.recorder.commit_blocking(unit)
        except Conflict as error:
            raise NotFound(f"the entry {key!r} of the list {name!r} has served no request") from error
    if as_json:
        print_json({"list": name, "key": entry, "released_at": datetime.now(UTC)})
    else:
        typer.echo(f"Released {entry} of {name}: it may serve one more request.")


def _document(session: Session, name: str) -> dict[str, Any]:
    """The List document of the active bundle. Raises NotFound."""
    from gateway.store import bundles

    def read(connection: Connection) -> bundles.BundleRow | None:
        active = bundles.active(connection)
        return None if active is None else bundles.get(connection, active)

    row = session.read(read)
    documents = json.loads(row.documents) if row is not None else []
    found = [one for one in documents if one.get("kind") == "List"]
    for one in found:
        if one["metadata"]["name"] == name:
            return dict(one)
    known = ", ".join(sorted(one["metadata"]["name"] for one in found)) or "none"
    raise NotFound(f"the active policies have no list {name!r}; they have: {known}")


def _keys(document: dict[str, Any]) -> dict[str, str]:
    """The entries that stand in the document, by how the database names them."""
    from gateway.policy.list_content import ListType, normal_entry
    from gateway.store.lists import key_sha256

    entries = document.get("entries", ())
    given = [entries] if isinstance(entries, str) else entries
    normal = [normal_entry(ListType(document["type"]), one) for one in given]
    return {key_sha256(one): one for one in normal}
