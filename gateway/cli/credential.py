"""``pkigate credential``: secrets that enrolments are authenticated by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli.credential_document import credential_document, credential_state
from gateway.cli.found_credential import CredentialArgument, find_credential
from gateway.cli.new_credential import add
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, LimitOption, actor
from gateway.cli.output import note, print_fields, print_json, print_table
from gateway.cli.session import open_session
from gateway.cli.set_credential import set_groups_and_labels
from gateway.errors import Conflict

app = typer.Typer(
    name="credential",
    help="Make and withdraw enrolment credentials.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(add)
app.command("set")(set_groups_and_labels)


@app.command("list")
def list_credentials(
    revoked: Annotated[bool, typer.Option("--revoked", help="Also those that were revoked.")] = False,
    limit: LimitOption = 200,
    before: Annotated[
        str | None, typer.Option("--before", metavar="ID", help="Go on after this credential.")
    ] = None,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List credentials, newest first. Secrets are never shown again."""
    from gateway.store import credentials

    with open_session(config_file, data_dir) as session:
        page = session.read(
            lambda connection: credentials.search(
                connection, with_revoked=revoked, limit=limit, before_id=before
            )
        )
    if as_json:
        print_json(
            {
                "credentials": [credential_document(row) for row in page.rows],
                "next_before": page.next_before_id,
            }
        )
        return
    print_table(
        ("ID", "KIND", "PROTOCOL", "NAME", "ENDPOINTS", "NAMES", "GROUPS", "EXPIRES", "SOURCE", "STATE"),
        (
            (
                row.id,
                row.kind,
                row.protocol or "any",
                row.name,
                row.endpoints or "all",
                row.names or "any",
                row.groups,
                row.expires_at or "never",
                row.source,
                credential_state(row),
            )
            for row in page.rows
        ),
        empty="No credentials.",
    )
    if page.next_before_id:
        note(f"More with --before {page.next_before_id}")


@app.command()
def show(
    credential: CredentialArgument,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one credential with all its bounds. Its secret is never shown again."""
    with open_session(config_file, data_dir) as session:
        row = find_credential(session, credential)
    document = credential_document(row)
    if as_json:
        print_json(document)
        return
    document["labels"] = [f"{name}={value}" for name, value in row.labels]
    document["endpoints"] = row.endpoints or "all"
    document["names"] = row.names or "any that policy allows"
    document["expires_at"] = row.expires_at or "never"
    document["uses_left"] = "as often as wanted" if row.uses_left is None else str(row.uses_left)
    print_fields((name.replace("_", " "), value) for name, value in document.items())


@app.command()
def revoke(
    credential: CredentialArgument,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a credential. It counts at once, for ACME accounts that are bound to it too; certificates stay
    valid."""
    from gateway.credentials import making
    from gateway.store.unit import Unit

    with open_session(config_file, data_dir) as session:
        row = find_credential(session, credential)
        unit = Unit()
        making.revoke(unit, row, actor(), datetime.now(UTC))
        try:
            session.store.recorder.commit_blocking(unit)
        except Conflict as exc:
            raise Conflict(f"the credential {row.id} of {row.name!r} is revoked already") from exc
    if as_json:
        print_json({"id": row.id, "user": row.name, "revoked": True})
    else:
        typer.echo(f"Revoked the credential {row.id} of {row.name}.")
