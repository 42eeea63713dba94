"""``pkigate request``: look at recorded requests and decide those that wait for approval."""

from __future__ import annotations

import base64
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, LimitOption, actor
from gateway.cli.output import note, print_fields, print_json, print_table
from gateway.cli.session import Session, open_session
from gateway.cli.times import moment
from gateway.cli.trace import trace_lines
from gateway.errors import NotFound
from gateway.model.ids import reason_id
from gateway.model.outcome import State

if TYPE_CHECKING:
    from gateway.store.requests import RequestRow

app = typer.Typer(
    name="request",
    help="Look at requests and decide those that wait for approval.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

RequestArgument = Annotated[
    str,
    typer.Argument(metavar="REQUEST", help="Request id, or the reason id PG-... that a client was shown."),
]
NoteOption = Annotated[
    str, typer.Option("--note", metavar="TEXT", help="Why; kept with the request and in the audit.")
]

TransactionOption = Annotated[
    str | None,
    typer.Option(
        "--transaction",
        metavar="T",
        help="Only of this transaction: an ACME order's id, or the transactionID of SCEP or CMP.",
    ),
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="12h (before now), or 2030-01-31.")
]


@app.command("list")
def list_requests(
    state: Annotated[State | None, typer.Option("--state", help="Only in this state.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", metavar="P", help="Only by this protocol.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="E", help="Only at this endpoint.")
    ] = None,
    transaction: TransactionOption = None,
    since: SinceOption = None,
    limit: LimitOption = 50,
    before: Annotated[
        str | None, typer.Option("--before", metavar="ID", help="Go on after this request.")
    ] = None,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List requests, newest first: issued, waiting and refused ones."""
    from gateway.store import requests

    after = None if since is None else moment(since, datetime.now(UTC), "--since", backwards=True)
    with open_session(config_file, data_dir) as session:
        page = session.read(
            lambda connection: requests.search(
                connection,
                state=state,
                protocol=protocol,
                endpoint=endpoint,
                transaction_id=transaction,
                since=after,
                limit=limit,
                before_id=before,
            )
        )
    if as_json:
        print_json({"requests": [_summary(row) for row in page.rows], "next_before": page.next_before_id})
        return
    print_table(
        ("ID", "RECEIVED", "STATE", "PROTOCOL", "ENDPOINT", "SUBJECT", "NAMES", "BY", "REASON ID"),
        (
            (
                row.id,
                row.received_at,
                row.state,
                row.protocol,
                row.endpoint,
                row.subject,
                row.sans,
                row.identity_label,
                _short_id(row),
            )
            for row in page.rows
        ),
        empty="No requests.",
    )
    if page.next_before_id:
        note(f"More with --before {page.next_before_id}")


@app.command()
def show(
    request: RequestArgument,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one request and, as a tree, how policy came to its decision."""
    with open_session(config_file, data_dir) as session:
        row = _find(session, request)
    if as_json:
        print_json(_document(row))
        return
    document = _summary(row)
    document["approvals"] = [
        f"{one.actor} at {one.at:%Y-%m-%d %H:%M:%SZ} {one.note}" for one in row.approvals
    ]
    document["approvals_required"] = row.approvals_required or None
    document["people"] = [" ".join(str(one[key]) for key in _PERSON if one.get(key)) for one in _people(row)]
    remote = row.remote or {}
    document["remote"] = ", ".join(f"{name} {value}" for name, value in remote.items() if value)
    print_fields((name.replace("_", " "), value) for name, value in document.items())
    for line in trace_lines(row.decision or {}):
        typer.echo(line)


@app.command()
def approve(
    request: RequestArgument,
    reason: NoteOption = "",
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a waiting request; a worker of the gateway then issues the certificate."""
    from gateway.enrolment.approval import approve as approve_request

    with open_session(config_file, data_dir) as session:
        row = approve_request(session.store, _find(session, request).id, actor(), reason)
    if as_json:
        print_json(_summary(row))
    else:
        missing = max(row.approvals_required - len(row.approvals), 0)
        more = f"; {missing} more needed" if missing else ""
        typer.echo(f"Approved {row.id}: {len(row.approvals)} of {row.approvals_required}{more}.")


@app.command()
def reject(
    request: RequestArgument,
    reason: NoteOption = "",
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reject a waiting request for good."""
    from gateway.enrolment.approval import reject as reject_request

    with open_session(config_file, data_dir) as session:
        row = reject_request(session.store, _find(session, request).id, actor(), reason)
    if as_json:
        print_json(_summary(row))
    else:
        typer.echo(f"Rejected {row.id}.")


@app.command()
def settle(
    request: RequestArgument,
    retry: Annotated[bool, typer.Option("--retry", help="It has not issued: send the order again.")] = False,
    refuse: Annotated[
        bool, typer.Option("--refuse", help="End the request; the device may ask anew.")
    ] = False,
    reason: NoteOption = "",
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the doubt about a request whose CA may have issued: look there first, then say what to do."""
    from gateway.enrolment.doubt import end_without_certificate, order_again

    if retry == refuse:
        raise typer.BadParameter(
            "say --retry if the CA has not issued, or --refuse to end the request; exactly one of them",
            param_hint="--retry / --refuse",
        )
    with open_session(config_file, data_dir) as session:
        end = order_again if retry else end_without_certificate
        row = end(session.store, _find(session, request).id, actor(), reason)
    if as_json:
        print_json(_summary(row))
    else:
        typer.echo(f"Refused {row.id}." if refuse else f"The order of {row.id} is sent again.")


def _find(session: Session, identifier: str) -> RequestRow:
    from gateway.store import requests

    key = identifier.upper() if identifier.upper().startswith("PG-") else identifier.lower()
    row = session.read(lambda connection: requests.get(connection, key))
    if row is None:
        raise NotFound(f"there is no request {identifier!r}; see `pkigate request list`")
    return row


def _short_id(row: RequestRow) -> str | None:
    """The PG-... that its client was told: of a request that was refused, or that is not decided yet."""
    return row.reason_id or (reason_id(row.id) if row.closed_at is None else None)


def _summary(row: RequestRow) -> dict[str, object]:
    return {
        "id": row.id,
        "reason_id": _short_id(row),
        "state": row.state,
        "protocol": row.protocol,
        "endpoint": row.endpoint,
        "operation": row.operation,
        "transaction_id": row.transaction_id,
        "subject": row.subject,
        "names": row.sans,
        "identity": row.identity,
        "identity_label": row.identity_label,
        "policy": row.policy,
        "bundle_sha256": row.bundle_sha256,
        "backend": row.backend,
        "profile": row.profile,
        "spki_sha256": row.spki_sha256,
        "certificate_sha256": row.certificate_sha256,
        "renews_sha256": row.renews_sha256,
        "received_at": row.received_at,
        "updated_at": row.updated_at,
        "closed_at": row.closed_at,
        "expires_at": row.expires_at,
        "confirm_by": row.confirm_by,
        "approvals_required": row.approvals_required,
        "approvals": [{"actor": one.actor, "at": one.at, "note": one.note} for one in row.approvals],
        "people": _people(row),
    }


_PERSON = ("what", "actor", "at", "note")


def _people(row: RequestRow) -> list[dict[str, object]]:
    """What people did about a request besides approving it: rejections, and ends of doubt."""
    found = (row.decision or {}).get("people")
    return [dict(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _document(row: RequestRow) -> dict[str, object]:
    csr_pem = None
    if row.csr_der is not None:
        body = "\n".join(textwrap.wrap(base64.b64encode(row.csr_der).decode(), 64))
        csr_pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"
    return {
        **_summary(row),
        "version": row.version,
        "content_sha256": row.content_sha256,
        "confirmed_by_sha256": row.confirmed_by_sha256,
        "remote": row.remote,
        "decision": row.decision,
        "plan": row.plan,
        "csr_pem": csr_pem,
    }
