"""``pkigate policy replay``: which recorded requests other policies would have decided otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption
from gateway.cli.output import escaped, print_json
from gateway.cli.policy.stored import BundleOption, bundle_for, certificate_finder, stored_bundle
from gateway.cli.session import Session, open_session
from gateway.cli.times import moment

if TYPE_CHECKING:
    from gateway.enrolment.replay import Rejudged, Verdict
    from gateway.policy.rules import Bundle
    from gateway.store.requests import RequestRow

_PAGE = 200


def replay(
    last: Annotated[
        int, typer.Option("--last", min=1, max=1_000_000, help="So many requests, from the newest back.")
    ] = 1000,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="12h (before now), or 2030-01-31.")
    ] = None,
    bundle: BundleOption = None,
    lab: Annotated[bool, typer.Option("--lab", help="Compile as lab mode does.")] = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide recorded requests again, by other policies, and list every verdict that changes.

    Nothing is written, and no credential is verified again: what was found then counts. Requests that cannot
    be judged are counted, with the reasons. Ends with 1 if a verdict changes.
    """
    after = None if since is None else moment(since, datetime.now(UTC), "--since", backwards=True)
    with open_session(config_file, data_dir) as session:
        chosen = bundle_for(session, bundle, lab=lab)
        counts: Counter[str] = Counter()
        unjudged: Counter[str] = Counter()
        changed: list[dict[str, object]] = []
        for found in _rejudged(session, chosen, last, after, lab=lab):
            counts["looked_at"] += 1
            if found.now is None:
                unjudged[found.why_not] += 1
            elif not found.changed:
                counts["same"] += 1
            elif as_json:
                changed.append(_document(found))
            else:
                _print(found)
            counts["changed"] += found.changed
    if as_json:
        print_json(
            {
                "bundle_sha256": chosen.sha256,
                "looked_at": counts["looked_at"],
                "same": counts["same"],
                "changed": changed,
                "not_judged": [{"why": why, "requests": number} for why, number in unjudged.most_common()],
            }
        )
    else:
        _print_summary(chosen, counts, unjudged)
    if counts["changed"]:
        raise typer.Exit(int(ExitCode.FAILED))


def _rejudged(
    session: Session, bundle: Bundle, last: int, since: datetime | None, *, lab: bool
) -> Iterator[Rejudged]:
    from gateway.enrolment.active_lists import ActiveLists
    from gateway.enrolment.replay import Replay

    replayed = Replay(
        bundle,
        ActiveLists(bundle.lists).at(bundle.lists, datetime.now(UTC)),
        lambda sha256: stored_bundle(session, sha256, lab=lab),
        certificate_finder(session),
    )
    for row in _rows(session, last, since):
        yield replayed.rejudge(row)


def _rows(session: Session, last: int, since: datetime | None) -> Iterator[RequestRow]:
    """From the newest back, page by page: no more than one page is held."""
    from gateway.store import requests

    before: str | None = None
    while last > 0:
        query = partial(requests.search, since=since, limit=min(_PAGE, last), before_id=before)
        page = session.read(query)
        yield from page.rows
        last -= len(page.rows)
        before = page.next_before_id
        if before is None:
            return


def _document(found: Rejudged) -> dict[str, object]:
    row = found.row
    return {
        "id": row.id,
        "reason_id": row.reason_id,
        "received_at": row.received_at,
        "protocol": row.protocol,
        "endpoint": row.endpoint,
        "operation": row.operation,
        "subject": row.subject,
        "names": row.sans,
        "identity_label": row.identity_label,
        "then": _verdict(found.then),
        "now": _verdict(found.now),
    }


def _verdict(verdict: Verdict | None) -> dict[str, object] | None:
    if verdict is None:
        return None
    names = ("verdict", "policy", "code", "rule", "where", "backend", "profile")
    return {name: value for name in names if (value := getattr(verdict, name))}


def _print(found: Rejudged) -> None:
    row = found.row
    what = ", ".join(filter(None, (row.subject, *row.sans[:3]))) or "no names"
    typer.echo(f"{row.id}  {row.protocol}/{row.endpoint} {row.operation}  {escaped(what)}")
    typer.echo(f"    then: {escaped(str(found.then))}")
    where = f"  [{found.now.where}]" if found.now is not None and found.now.where else ""
    typer.echo(f"    now:  {escaped(str(found.now))}{where}")


def _print_summary(bundle: Bundle, counts: Counter[str], unjudged: Counter[str]) -> None:
    typer.echo(
        f"{counts['looked_at']} requests decided again by the bundle {bundle.sha256[:12]}: "
        f"{counts['changed']} change, {counts['same']} do not, {unjudged.total()} could not be judged."
    )
    for why, number in unjudged.most_common():
        typer.echo(f"    {number}: {escaped(why)}")
