"""``pkigate credential add``: user names with secrets, external accounts of ACME (RFC 8555 section 7.3.4),
challenge passwords of SCEP (RFC 8894 section 7.3), shared secrets of CMP (RFC 9810 section 5.1.3.1)."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.credential_document import credential_document
from gateway.cli.credential_kinds import KINDS, check_given_secret, kind_of, refuse_foreign_options
from gateway.cli.credential_labels import read_labels
from gateway.cli.given_secrets import read_password, read_secret
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, actor
from gateway.cli.output import note, print_fields, print_json
from gateway.cli.session import Session, open_session
from gateway.cli.times import future
from gateway.credentials.bounds import UnfitValue
from gateway.credentials.draft import PROTOCOLS, Draft, Wishes, drafted
from gateway.errors import Conflict
from gateway.model.evidence import ACME_EAB, API_TOKEN, CMP_SECRET, SCEP_CHALLENGE

if TYPE_CHECKING:
    from gateway.credentials.making import NewCredential
    from gateway.store.credentials import CredentialRow

# By the path of an UnfitValue; every other has the name of its path.
_OPTIONS = {
    "endpoints": "--endpoint",
    "permissions": "--allow",
    "groups": "--group",
    "labels": "--label",
}


ProtocolArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROTOCOL|acme-eab|scep-challenge|cmp-secret|api-token",
        help="The front end that a user name and secret is for; or acme-eab for an external account of ACME, "
        "scep-challenge for a challenge password, cmp-secret for a reference with a shared secret, "
        "api-token for a token of the REST API.",
    ),
]
UserOption = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="User name, unique among all. Needed where there is one."),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="acme-eab: its key identifier; scep-challenge: what it is called here. Default: a random one. "
        "api-token: what it is called; needed.",
    ),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option("--ref", metavar="R", help="cmp-secret: its reference, which clients send as senderKID."),
]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        metavar="E",
        help="Only there; may be repeated. Default: all. api-token: it makes, shows and revokes credentials "
        "for these only.",
    ),
]
NamesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--names",
        metavar="SUFFIX",
        help="Only DNS names under these suffixes, and IP addresses or networks that are named; with commas "
        "or repeated; policy still decides.",
    ),
]
ProfilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--profiles",
        metavar="P",
        help="Only these profiles; with commas or repeated. Not for user names with secrets.",
    ),
]
PrevalidatedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prevalidated",
        metavar="SUFFIX",
        help="acme-eab: names under these suffixes, and named IP addresses or networks, need no challenge.",
    ),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PERMISSION",
        help="api-token: what it may do: credential.add, credential.read, credential.revoke; with commas or "
        "repeated.",
    ),
]
GroupOption = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        metavar="G",
        help="A group that policies may ask for; may be repeated. api-token: it makes credentials of these "
        "groups only. Default: none; api-token: any.",
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=VALUE",
        help="What policies may speak of, for example site=brno; no secret; may be repeated.",
    ),
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="WHEN",
        help="90d, 12h, 30m, or 2030-01-31. Default: never; of a challenge that is not static: 1h.",
    ),
]
UsesOption = Annotated[
    int | None,
    typer.Option(
        "--uses",
        min=1,
        metavar="N",
        help="Good for so many certificates; acme-eab: for binding so many accounts. Default: no count; of a "
        "challenge: 1.",
    ),
]
StaticOption = Annotated[
    bool,
    typer.Option("--static", help="scep-challenge: good for many devices, as often as wanted."),
]
PasswordOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read a person's password from standard input.")
]
SecretOption = Annotated[
    bool,
    typer.Option(
        "--secret-stdin",
        help="cmp-secret, scep-challenge --static: read the secret from standard input. Default: a random "
        "one.",
    ),
]


def add(
    protocol: ProtocolArgument = "est",
    user: UserOption = None,
    name: NameOption = None,
    ref: ReferenceOption = None,
    endpoint: EndpointOption = None,
    names: NamesOption = None,
    profiles: ProfilesOption = None,
    prevalidated: PrevalidatedOption = None,
    allow: AllowOption = None,
    group: GroupOption = None,
    label: LabelOption = None,
    expires: ExpiresOption = None,
    uses: UsesOption = None,
    static: StaticOption = False,
    password_stdin: PasswordOption = False,
    secret_stdin: SecretOption = False,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a credential. A generated secret is shown once; it cannot be shown again."""
    kind = kind_of(protocol)
    named = {"--user": user, "--name": name, "--ref": ref}
    particular = {"--profiles": profiles, "--prevalidated": prevalidated, "--static": static}
    bounds = {"--names": names, "--uses": uses, "--allow": allow}
    given_by_people = {"--password-stdin": password_stdin, "--secret-stdin": secret_stdin}
    refuse_foreign_options(kind, {**named, **particular, **bounds, **given_by_people})
    if secret_stdin:
        check_given_secret(kind, static=static)
    now = datetime.now(UTC).replace(microsecond=0)
    wishes = Wishes(
        kind=kind.kind,
        protocol=PROTOCOLS.get(kind.kind, protocol),
        name=named[kind.name_option],
        endpoints=endpoint or None,
        names=_parts(names),
        profiles=_parts(profiles),
        prevalidated=_parts(prevalidated),
        permissions=_parts(allow),
        expires_at=None if expires is None else future(expires, now, "--expires"),
        uses=uses,
        static=static,
        groups=group or None,
        labels=read_labels(label),
    )
    try:
        draft = drafted(wishes, now)
    except UnfitValue as exc:
        option = _OPTIONS.get(exc.path, f"--{exc.path}")
        raise typer.BadParameter(str(exc), param_hint=option) from exc
    given = read_password() if password_stdin else None
    if secret_stdin:
        given = read_secret(kind.secret_word)
    with open_session(config_file, data_dir) as session:
        made, warnings = _record(session, draft, given)
    for warning in warnings:
        note(f"warning: {warning}")
    _print_new(made.row, made.secret, as_json=as_json)


def _parts(entries: list[str] | None) -> list[str] | None:
    """What stands between the commas, of an option that may be repeated too."""
    return [part.strip() for part in ",".join(entries).split(",")] if entries else None


def _record(session: Session, draft: Draft, given: str | None) -> tuple[NewCredential, list[str]]:
    """The credential once it is recorded, and what people should know of it. Raises Conflict."""
    from gateway.credentials import making
    from gateway.store.unit import Unit

    made = making.new_credential(session.data.server_key(), draft, source="cli", given=given)
    known = session.read(making.recorded_endpoints) if draft.endpoints else None
    warnings = [] if known is None else making.endpoint_warnings(made.row, known)
    if given is not None:
        session.read(lambda connection: making.check_unused(connection, made.row))
    unit = Unit()
    making.add(unit, made.row, actor())
    try:
        session.store.recorder.commit_blocking(unit)
    except Conflict as exc:
        raise making.name_is_taken(draft.name) from exc
    return made, warnings


def _print_new(row: CredentialRow, secret: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({**credential_document(row), **_shown_once(row, secret)})
        return
    kind = KINDS.get(row.kind)
    print_fields(
        [
            ("id", row.id),
            ("protocol", row.protocol),
            (kind.name_word if kind else "user", row.name),
            (kind.secret_word if kind else "secret", secret),
            ("endpoints", row.endpoints or "all"),
            ("names", None if row.kind == API_TOKEN else row.names or "any that policy allows"),
            ("profiles", row.profiles),
            ("allowed", row.permissions),
            ("prevalidated", row.prevalidated),
            ("groups", row.groups),
            ("labels", [f"{name}={value}" for name, value in row.labels]),
            ("uses", row.uses_left),
            ("expires", row.expires_at or "never"),
            *_client_flags(row, secret or ""),
        ]
    )
    if secret is not None:
        note("Keep the secret now: it cannot be shown again.")


def _shown_once(row: CredentialRow, secret: str | None) -> dict[str, object]:
    """What the JSON document holds besides the bounds, by the names of quickstart.json."""
    if row.kind == ACME_EAB:
        return {"kid": row.name, "hmac_key": secret}
    generated: dict[str, object] = {} if secret is None else {"secret": secret}
    if row.kind == SCEP_CHALLENGE:
        return {} if secret is None else {"challenge": secret}
    if row.kind == API_TOKEN:
        return {"token": secret}
    return {"ref": row.name, **generated} if row.kind == CMP_SECRET else generated


def _client_flags(row: CredentialRow, secret: str) -> tuple[tuple[str, str], ...]:
    if row.kind == CMP_SECRET:
        # "file:/dev/stdin" keeps the secret off the command line, which everybody on the machine can see.
        return (("openssl cmp", f"-ref {shlex.quote(row.name)} -secret file:/dev/stdin"),)
    if row.kind != ACME_EAB:
        return ()
    return (
        ("certbot", f"--eab-kid {row.name} --eab-hmac-key {secret}"),
        ("lego", f"--eab --kid {row.name} --hmac {secret}"),
        ("acme.sh", f"--eab-kid {row.name} --eab-hmac-key {secret}"),
    )
