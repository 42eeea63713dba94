"""``pkigate acme``: accounts of ACME clients (RFC 8555 section 7.1.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, LimitOption, actor
from gateway.cli.output import note, print_fields, print_json, print_table
from gateway.cli.session import Session, open_session
from gateway.errors import Conflict, NotFound

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.acme.tables.accounts import AccountRow
    from gateway.store.credentials import CredentialRow

app = typer.Typer(name="acme", help="Look after ACME accounts.", no_args_is_help=True, rich_markup_mode=None)
account = typer.Typer(
    name="account",
    help="List ACME accounts and turn them off.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(account)

AccountArgument = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="The account's id: the last part of its URL.")
]


@account.command("list")
def list_accounts(
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="E", help="Only at this endpoint.")
    ] = None,
    credential: Annotated[
        str | None,
        typer.Option(
            "--credential", metavar="ID|KID", help="Only those that are bound to this external account."
        ),
    ] = None,
    limit: LimitOption = 200,
    before: Annotated[
        int | None, typer.Option("--before", metavar="PLACE", help="Go on where a page ended.")
    ] = None,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List accounts, newest first."""
    from gateway.acme.tables import account_search

    with open_session(config_file, data_dir) as session:
        bound_to = None if credential is None else _credential(session, credential).id
        page = session.read(
            lambda connection: account_search.search(
                connection, endpoint=endpoint, credential_id=bound_to, limit=limit, before=before
            )
        )
    if as_json:
        print_json({"accounts": [_document(row) for row in page.rows], "next_before": page.next_before})
        return
    print_table(
        ("ID", "ENDPOINT", "STATUS", "CONTACTS", "CREATED", "EXTERNAL ACCOUNT"),
        (
            (row.id, row.endpoint, row.status, row.contacts, row.created_at, row.credential_id)
            for row in page.rows
        ),
        empty="No accounts.",
    )
    if page.next_before is not None:
        note(f"More with --before {page.next_before}")


@account.command()
def show(
    account_id: AccountArgument,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one account and the external account that it is bound to."""
    from gateway.store import credentials

    with open_session(config_file, data_dir) as session:
        row = _find(session, account_id)
        bound_to = session.read(
            lambda connection: (
                None if row.credential_id is None else credentials.get(connection, row.credential_id)
            )
        )
    document = _document(row)
    document["external_account_name"] = None if bound_to is None else bound_to.name
    if as_json:
        print_json(document)
    else:
        print_fields((name.replace("_", " "), value) for name, value in document.items())


@account.command()
def deactivate(
    account_id: AccountArgument,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turn an account off for good: its status becomes revoked. Certificates that it got stay valid."""
    from gateway.acme.tables import accounts, events
    from gateway.store.unit import Unit

    with open_session(config_file, data_dir) as session:
        row = _find(session, account_id)
        if row.status != accounts.VALID:
            raise Conflict(f"the account {row.id} is {row.status} already")
        # RFC 8555 section 7.1.2: "revoked" is the server's doing, "deactivated" the client's.
        after = replace(row, status=accounts.REVOKED)
        unit = Unit()
        accounts.change(unit, row, after)
        events.revoked_account_event(unit, actor(), row)
        session.store.recorder.commit_blocking(unit)
    if as_json:
        print_json(_document(after))
    else:
        typer.echo(f"Turned off the account {row.id} of {row.label}.")


def _find(session: Session, account_id: str) -> AccountRow:
    from gateway.acme.tables import account_search

    wanted = account_id.rpartition("/")[2]  # people paste the whole URL
    row = session.read(lambda connection: account_search.find(connection, wanted))
    if row is None:
        raise NotFound(f"there is no account {wanted!r}; see `pkigate acme account list`")
    return row


def _credential(session: Session, name: str) -> CredentialRow:
    from gateway.model.evidence import ACME_EAB
    from gateway.store import credentials

    def find(connection: Connection) -> CredentialRow | None:
        return (
            credentials.get(connection, name)
            or credentials.by_name(connection, str(ACME_EAB), name)
            or credentials.revoked_by_name(connection, str(ACME_EAB), name)
        )

    row = session.read(find)
    if row is None:
        raise NotFound(f"there is no external account {name!r}; see `pkigate credential list`")
    return row


def _document(row: AccountRow) -> dict[str, object]:
    return {
        "id": row.id,
        "endpoint": row.endpoint,
        "status": row.status,
        "contacts": row.contacts,
        "key_thumbprint": row.thumbprint,
        "terms_of_service": row.terms_of_service,
        "external_account_id": row.credential_id,
        "created_at": row.created_at,
    }
