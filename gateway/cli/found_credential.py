"""The credential that a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.credential_kinds import STORED_KINDS
from gateway.cli.session import Session
from gateway.errors import Conflict, NotFound

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.credentials import CredentialRow

CredentialArgument = Annotated[
    str,
    typer.Argument(metavar="ID|NAME", help="The credential's id, user name, key identifier or reference."),
]


def find_credential(session: Session, credential: str) -> CredentialRow:
    """By its id, or by its name where only one is called that. Raises NotFound and Conflict."""
    from gateway.store import credentials

    def find(connection: Connection) -> list[CredentialRow]:
        by_id = credentials.get(connection, credential)
        if by_id is not None:
            return [by_id]
        named = (credentials.by_name(connection, str(kind), credential) for kind in STORED_KINDS)
        return [row for row in named if row is not None]

    found = session.read(find)
    if not found:
        raise NotFound(f"there is no credential {credential!r}; see `pkigate credential list`")
    if len(found) > 1:
        listed = " or ".join(f"{row.id} ({row.kind})" for row in found)
        raise Conflict(f"{len(found)} credentials are called {credential!r}; say the id: {listed}")
    return found[0]
