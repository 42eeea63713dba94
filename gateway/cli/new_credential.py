"""``pkigate credential add``: user names with secrets, external accounts of ACME (RFC 8555 7.3.4)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.credential_arguments import (
    checked_bound,
    checked_endpoints,
    checked_profiles,
    checked_user,
    key_identifier,
    read_password,
)
from gateway.cli.credential_document import credential_document
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, actor
from gateway.cli.output import note, print_fields, print_json
from gateway.cli.session import Session, open_session
from gateway.cli.times import future
from gateway.errors import Conflict
from gateway.model.evidence import ACME_EAB, BASIC

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.credentials import CredentialRow


ProtocolArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROTOCOL|acme-eab",
        help="The front end that a user name and secret is for; or acme-eab for an external account of ACME.",
    ),
]
UserOption = Annotated[
    str | None,
    typer.Option("--user", metavar="NAME", help="User name, unique among all. Needed, but for acme-eab."),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="KID", help="acme-eab: its key identifier. Default: a random one."),
]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option("--endpoint", metavar="E", help="Only there; may be repeated. Default: all."),
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
    typer.Option("--profiles", metavar="P", help="acme-eab: only these profiles; with commas or repeated."),
]
PrevalidatedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prevalidated",
        metavar="SUFFIX",
        help="acme-eab: names under these suffixes, and named IP addresses or networks, need no challenge.",
    ),
]
ExpiresOption = Annotated[
    str | None,
    typer.Option("--expires", metavar="WHEN", help="90d, 12h, 30m, or 2030-01-31. Default: never."),
]
UsesOption = Annotated[
    int | None,
    typer.Option(
        "--uses",
        min=1,
        metavar="N",
        help="Good for so many certificates; acme-eab: for binding so many accounts. Default: no count.",
    ),
]
PasswordOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read a person's password from standard input.")
]


@dataclass(frozen=True, slots=True)
class Draft:
    """A credential before it has its secret. ``kind`` is ``basic`` or ``acme-eab``."""

    kind: str
    protocol: str
    name: str
    endpoints: tuple[str, ...] | None
    names: tuple[str, ...] | None
    profiles: tuple[str, ...] | None
    prevalidated: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    uses: int | None


def add(
    protocol: ProtocolArgument = "est",
    user: UserOption = None,
    name: NameOption = None,
    endpoint: EndpointOption = None,
    names: NamesOption = None,
    profiles: ProfilesOption = None,
    prevalidated: PrevalidatedOption = None,
    expires: ExpiresOption = None,
    uses: UsesOption = None,
    password_stdin: PasswordOption = False,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a credential. A generated secret is shown once; it cannot be shown again."""
    external = protocol == ACME_EAB
    if external:
        _refuse(external, {"--user": user, "--password-stdin": password_stdin or None})
    else:
        _check_protocol(protocol)
        _refuse(external, {"--name": name, "--profiles": profiles, "--prevalidated": prevalidated})
    now = datetime.now(UTC).replace(microsecond=0)
    draft = Draft(
        kind=str(ACME_EAB if external else BASIC),
        protocol="acme" if external else protocol,
        name=key_identifier(name) if external else checked_user(user),
        endpoints=checked_endpoints(endpoint),
        names=checked_bound(names, "--names"),
        profiles=checked_profiles(profiles),
        prevalidated=checked_bound(prevalidated, "--prevalidated"),
        created_at=now,
        expires_at=None if expires is None else future(expires, now, "--expires"),
        uses=uses,
    )
    password = read_password() if password_stdin else None
    with open_session(config_file, data_dir) as session:
        unknown = _unknown_endpoints(session, draft)
        row, secret = _store(session, draft, password)
    for warning in unknown:
        note(f"warning: {warning}")
    _print_new(row, secret, as_json=as_json)


def _refuse(external: bool, given: dict[str, object]) -> None:
    """Complain about options that mean nothing for this kind of credential."""
    for option, value in given.items():
        if value is not None:
            text = "is not for acme-eab" if external else "is for acme-eab only"
            raise typer.BadParameter(text, param_hint=option)


def _check_protocol(protocol: str) -> None:
    """Every installed front end may look at a user name and secret; its policies say whether it does."""
    from gateway.plugins import load_plugins

    if protocol == "acme":
        text = "ACME knows no user names; write acme-eab to make an external account"
        raise typer.BadParameter(text, param_hint="PROTOCOL")
    known = sorted({*load_plugins().frontends, str(ACME_EAB)} - {"acme"})
    if protocol not in known:
        text = f"no front end for {protocol!r} is installed; write {' or '.join(known)}"
        raise typer.BadParameter(text, param_hint="PROTOCOL")


def _unknown_endpoints(session: Session, draft: Draft) -> list[str]:
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


def _store(session: Session, draft: Draft, password: str | None) -> tuple[CredentialRow, str | None]:
    """Record a credential; the second value is the generated secret, None for a person's password."""
    from gateway.authn.secrets import human_verifier, machine_verifier, new_machine_secret
    from gateway.model.ids import new_id
    from gateway.store import credentials
    from gateway.store.unit import AuditEvent, Unit

    credential_id = str(new_id())
    secret = verifier = sealed = None
    if password is not None:
        verifier = human_verifier(password)
    elif draft.kind == ACME_EAB:
        secret, sealed = _new_hmac_key(session.data.server_key(), credential_id)
    else:
        secret = new_machine_secret()
        verifier = machine_verifier(session.data.server_key(), secret)
    row = credentials.CredentialRow(
        id=credential_id,
        kind=draft.kind,
        protocol=draft.protocol,
        name=draft.name,
        endpoints=draft.endpoints,
        names=draft.names,
        verifier=verifier,
        sealed=sealed,
        created_at=draft.created_at,
        expires_at=draft.expires_at,
        uses_left=draft.uses,
        source="cli",
        profiles=draft.profiles,
        prevalidated=draft.prevalidated,
    )
    unit = Unit()
    credentials.insert(unit, row)
    unit.audit(AuditEvent(actor(), "credential.add", row.id, details=_audit_details(row)))
    try:
        session.store.recorder.commit_blocking(unit)
    except Conflict as exc:
        raise Conflict(
            f"a credential for {draft.name!r} exists; revoke it first, or take another name"
        ) from exc
    return row, secret


def _new_hmac_key(server_key: bytes, credential_id: str) -> tuple[str, bytes]:
    """A MAC key in base64url as clients want it, and sealed. None begins with "-", which programs would take
    for an option."""
    from gateway.authn.external import new_hmac_key
    from gateway.authn.sealing import seal
    from gateway.quickstart import base64url

    while (text := base64url(key := new_hmac_key())).startswith("-"):
        continue
    return text, seal(server_key, credential_id, key)


def _print_new(row: CredentialRow, secret: str | None, *, as_json: bool) -> None:
    external = row.kind == ACME_EAB
    if as_json:
        shown_once: dict[str, object] = {} if secret is None else {"secret": secret}
        if external:
            shown_once = {"kid": row.name, "hmac_key": secret}
        print_json({**credential_document(row), **shown_once})
        return
    print_fields(
        [
            ("id", row.id),
            ("protocol", row.protocol),
            ("key identifier" if external else "user", row.name),
            ("HMAC key" if external else "secret", secret),
            ("endpoints", row.endpoints or "all"),
            ("names", row.names or "any that policy allows"),
            ("profiles", row.profiles),
            ("prevalidated", row.prevalidated),
            ("uses", row.uses_left),
            ("expires", row.expires_at or "never"),
            *(_client_flags(row.name, secret or "") if external else ()),
        ]
    )
    if secret is not None:
        note("Keep the secret now: it cannot be shown again.")


def _client_flags(kid: str, hmac_key: str) -> tuple[tuple[str, str], ...]:
    return (
        ("certbot", f"--eab-kid {kid} --eab-hmac-key {hmac_key}"),
        ("lego", f"--eab --kid {kid} --hmac {hmac_key}"),
        ("acme.sh", f"--eab-kid {kid} --eab-hmac-key {hmac_key}"),
    )


def _audit_details(row: CredentialRow) -> dict[str, object]:
    """Every bound of it, and never its secret."""
    bounds = {
        "endpoints": row.endpoints,
        "names": row.names,
        "profiles": row.profiles,
        "prevalidated": row.prevalidated,
    }
    return {
        "kind": row.kind,
        "protocol": row.protocol,
        "name": row.name,
        **{name: None if bound is None else list(bound) for name, bound in bounds.items()},
        "uses": row.uses_left,
        "expires_at": None if row.expires_at is None else int(row.expires_at.timestamp()),
    }
