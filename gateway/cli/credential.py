"""``pkigate credential``: secrets that enrolments are authenticated by."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, LimitOption, actor
from gateway.cli.output import fail, note, print_fields, print_json, print_table
from gateway.cli.session import Session, open_session
from gateway.cli.times import future
from gateway.errors import Conflict, MalformedMessage, NotFound
from gateway.model.evidence import BASIC

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.credentials import CredentialRow

app = typer.Typer(
    name="credential",
    help="Make and withdraw enrolment credentials.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MIN_PASSWORD_CHARACTERS = 12
MAX_USER_CHARACTERS = 128
_ENDPOINT = re.compile(r"[a-z0-9-]{1,40}")


@app.command()
def add(
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="User name, unique among EST users.")],
    protocol: Annotated[
        str, typer.Argument(metavar="PROTOCOL", help="The front end that it is for.")
    ] = "est",
    endpoint: Annotated[
        list[str] | None,
        typer.Option("--endpoint", metavar="E", help="Only there; may be repeated. Default: all."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--names",
            metavar="SUFFIX",
            help="Only DNS names under these suffixes, with commas or repeated; policy still decides.",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="WHEN", help="90d, 12h, 30m, or 2030-01-31. Default: never."),
    ] = None,
    uses: Annotated[
        int | None,
        typer.Option("--uses", min=1, metavar="N", help="Good for so many certificates. Default: no count."),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read a person's password from standard input.")
    ] = False,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a credential. A generated secret of 192 bits is shown once; only its check value is kept."""
    _check_protocol(protocol)
    now = datetime.now(UTC).replace(microsecond=0)
    draft = _Draft(
        user=_checked_user(user),
        protocol=protocol,
        endpoints=_checked_endpoints(endpoint),
        names=_checked_suffixes(names),
        created_at=now,
        expires_at=None if expires is None else future(expires, now, "--expires"),
        uses=uses,
    )
    password = _read_password() if password_stdin else None
    with open_session(config_file, data_dir) as session:
        unknown = _unknown_endpoints(session, draft)
        row, secret = _store(session, draft, password)
    for warning in unknown:
        note(f"warning: {warning}")
    _print_new(row, secret, as_json=as_json)


def _check_protocol(protocol: str) -> None:
    """Every installed front end may look at a user name and secret; its policies say whether it does."""
    from gateway.plugins import load_plugins

    known = sorted(load_plugins().frontends)
    if protocol not in known:
        text = f"no front end for {protocol!r} is installed; write {' or '.join(known)}"
        raise typer.BadParameter(text, param_hint="PROTOCOL")


@dataclass(frozen=True, slots=True)
class _Draft:
    user: str
    protocol: str
    endpoints: tuple[str, ...] | None
    names: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    uses: int | None


def _unknown_endpoints(session: Session, draft: _Draft) -> list[str]:
    """Endpoints that the active bundle does not have: allowed, since it may come later."""
    from gateway.store import bundles

    def documents(connection: Connection) -> str | None:
        active = bundles.active(connection)
        row = None if active is None else bundles.get(connection, active)
        return None if row is None else row.documents

    text = session.read(documents) if draft.endpoints else None
    if text is None:
        return []  # no gateway has started on this database yet
    known = sorted(
        str(document["metadata"]["name"])
        for document in json.loads(text)
        if document["kind"] == "Endpoint" and document["protocol"] == draft.protocol
    )
    listed = ", ".join(known) or "none"
    return [
        f"the active policies have no {draft.protocol} endpoint {name!r} (known: {listed}); the "
        "credential is of use once there is an Endpoint document of that name"
        for name in draft.endpoints or ()
        if name not in known
    ]


def _store(session: Session, draft: _Draft, password: str | None) -> tuple[CredentialRow, str | None]:
    """Record a credential; the second value is the generated secret, None for a person's password."""
    from gateway.authn.secrets import human_verifier, machine_verifier, new_machine_secret
    from gateway.model.ids import new_id
    from gateway.store import credentials
    from gateway.store.unit import AuditEvent, Unit

    if password is not None:
        secret, verifier = None, human_verifier(password)
    else:
        secret = new_machine_secret()
        verifier = machine_verifier(session.data.server_key(), secret)
    row = credentials.CredentialRow(
        id=str(new_id()),
        kind=str(BASIC),
        protocol=draft.protocol,
        name=draft.user,
        endpoints=draft.endpoints,
        names=draft.names,
        verifier=verifier,
        created_at=draft.created_at,
        expires_at=draft.expires_at,
        uses_left=draft.uses,
        source="cli",
    )
    unit = Unit()
    credentials.insert(unit, row)
    unit.audit(AuditEvent(actor(), "credential.add", row.id, details=_audit_details(row)))
    try:
        session.store.recorder.commit_blocking(unit)
    except Conflict as exc:
        raise Conflict(
            f"a credential for {draft.user!r} exists; revoke it first, or take another name"
        ) from exc
    return row, secret


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
        print_json({"credentials": [_document(row) for row in page.rows], "next_before": page.next_before_id})
        return
    print_table(
        ("ID", "PROTOCOL", "USER", "ENDPOINTS", "NAMES", "EXPIRES", "SOURCE", "STATE"),
        (
            (
                row.id,
                row.protocol or "any",
                row.name,
                row.endpoints or "all",
                row.names or "any",
                row.expires_at or "never",
                row.source,
                _state(row),
            )
            for row in page.rows
        ),
        empty="No credentials.",
    )
    if page.next_before_id:
        note(f"More with --before {page.next_before_id}")


@app.command()
def revoke(
    credential: Annotated[str, typer.Argument(metavar="ID|USER", help="The credential's id or user name.")],
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a credential. It counts at once; certificates that it got stay valid."""
    from gateway.store import credentials
    from gateway.store.unit import AuditEvent, Unit

    def find(connection: Connection) -> CredentialRow | None:
        return credentials.get(connection, credential) or credentials.by_name(
            connection, str(BASIC), credential
        )

    with open_session(config_file, data_dir) as session:
        row = session.read(find)
        if row is None:
            raise NotFound(f"there is no credential {credential!r}; see `pkigate credential list`")
        unit = Unit()
        credentials.revoke(unit, row.id, datetime.now(UTC))
        unit.audit(AuditEvent(actor(), "credential.revoke", row.id, details={"name": row.name}))
        try:
            session.store.recorder.commit_blocking(unit)
        except Conflict as exc:
            raise Conflict(f"the credential {row.id} of {row.name!r} is revoked already") from exc
    if as_json:
        print_json({"id": row.id, "user": row.name, "revoked": True})
    else:
        typer.echo(f"Revoked the credential {row.id} of {row.name}.")


def _checked_user(user: str) -> str:
    # RFC 7617 section 2: a user-id holds neither a colon nor control characters.
    if not user or ":" in user or not user.isprintable() or len(user) > MAX_USER_CHARACTERS:
        raise typer.BadParameter(
            f"a user name has 1 to {MAX_USER_CHARACTERS} printable characters and no colon",
            param_hint="--user",
        )
    if user != user.strip():
        raise typer.BadParameter("a user name neither begins nor ends with a blank", param_hint="--user")
    return user


def _checked_endpoints(endpoints: list[str] | None) -> tuple[str, ...] | None:
    for endpoint in endpoints or ():
        if not _ENDPOINT.fullmatch(endpoint):
            raise typer.BadParameter(
                f"{endpoint!r} is no endpoint; write its name, for example default", param_hint="--endpoint"
            )
    return tuple(dict.fromkeys(endpoints)) if endpoints else None


def _checked_suffixes(names: list[str] | None) -> tuple[str, ...] | None:
    from gateway.pki.name_syntax import normal_dns

    if not names:
        return None
    suffixes: dict[str, None] = {}
    for part in ",".join(names).split(","):
        # People write *.example, .example and example and mean the same suffix.
        bare = part.strip().removeprefix("*").removeprefix(".")
        try:
            suffixes[normal_dns(bare)] = None
        except MalformedMessage as exc:
            raise typer.BadParameter(
                f"{exc}; write for example devices.example", param_hint="--names"
            ) from exc
    return tuple(suffixes)


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise fail(f"the password is shorter than {MIN_PASSWORD_CHARACTERS} characters; choose a longer one")
    return password


def _print_new(row: CredentialRow, secret: str | None, *, as_json: bool) -> None:
    shown_once = {} if secret is None else {"secret": secret}
    if as_json:
        print_json({**_document(row), **shown_once})
        return
    print_fields(
        [
            ("id", row.id),
            ("protocol", row.protocol),
            ("user", row.name),
            ("secret", secret),
            ("endpoints", row.endpoints or "all"),
            ("names", row.names or "any that policy allows"),
            ("expires", row.expires_at or "never"),
        ]
    )
    if secret is not None:
        note("Keep the secret now: it is not stored and cannot be shown again.")


def _audit_details(row: CredentialRow) -> dict[str, object]:
    return {
        "kind": row.kind,
        "protocol": row.protocol,
        "name": row.name,
        "endpoints": None if row.endpoints is None else list(row.endpoints),
        "names": None if row.names is None else list(row.names),
        "expires_at": None if row.expires_at is None else int(row.expires_at.timestamp()),
    }


def _document(row: CredentialRow) -> dict[str, object]:
    return {
        "id": row.id,
        "kind": row.kind,
        "protocol": row.protocol,
        "user": row.name,
        "endpoints": row.endpoints,
        "names": row.names,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "uses_left": row.uses_left,
        "revoked_at": row.revoked_at,
        "source": row.source,
        "state": _state(row),
    }


def _state(row: CredentialRow) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        return "expired"
    return "used up" if row.uses_left == 0 else "active"
