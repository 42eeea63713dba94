"""``pkigate policy activate|rollback|history|show``: the bundles of the database and which one decides."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, LimitOption, actor
from gateway.cli.output import fail, note, print_json, print_table
from gateway.cli.policy.loading import policy_registry, policy_warnings
from gateway.cli.session import Session, open_session
from gateway.errors import ConfigurationError, NotFound

if TYPE_CHECKING:
    from gateway.store.bundles import BundleRow
    from gateway.store.unit import Unit

NoteOption = Annotated[
    str, typer.Option("--note", metavar="TEXT", help="Why; stands in the history and in the audit log.")
]
LabOption = Annotated[bool, typer.Option("--lab", help="Compile as lab mode does.")]
_SHOWN_DIGITS = 12
_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_GIT_S = 10


def activate(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="DIR|FILE", help="Policy files. Default: the gateway's directory."),
    ] = None,
    why: NoteOption = "",
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision", metavar="REV", help="Revision of the files. Default: git's, if there is one."
        ),
    ] = None,
    lab: LabOption = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store policy files in the database and make them the ones that decide, in every gateway on it.

    They must load without a mistake, and their own tests must pass.
    """
    from gateway.clock import SystemClock
    from gateway.composition.policies import read_policies
    from gateway.composition.stored_policies import activation
    from gateway.policy.sources import read_sources
    from gateway.store.bundles import Activation

    with open_session(config_file, data_dir) as session:
        path = path or session.config.policies
        policies = read_policies(read_sources(path), policy_registry(lab=lab or session.config.lab.enabled))
        for warning in policy_warnings(policies.bundle):
            note(f"warning: {warning}")
        sha256 = policies.bundle.sha256
        told = Activation(
            sha256,
            SystemClock().now(),
            actor(),
            "activate",
            why,
            _git_revision(path) if revision is None else revision,
        )
        _commit(session, sha256, lambda previous: activation(previous, policies, told), as_json=as_json)


def rollback(
    sha256: Annotated[
        str | None,
        typer.Argument(metavar="SHA", help="Name of the bundle, or its first digits (see policy history)."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=1000, help="So many activations back. Default: 1.")
    ] = None,
    why: NoteOption = "",
    lab: LabOption = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bundle decide again that was active before. The policy files stay as they are."""
    from gateway.clock import SystemClock
    from gateway.composition.policies import compile_kept, texts_of_documents
    from gateway.composition.stored_policies import reactivation
    from gateway.store.bundles import Activation

    if sha256 is not None and steps is not None:
        raise fail("name a bundle or say --steps, not both", ExitCode.USAGE)
    with open_session(config_file, data_dir) as session:
        row = bundle_named(session, sha256) if sha256 is not None else _steps_back(session, steps or 1)
        kept = (row.texts or texts_of_documents(row)).encode()
        compile_kept(kept, policy_registry(lab=lab or session.config.lab.enabled))
        told = Activation(row.sha256, SystemClock().now(), actor(), "rollback", why)
        _commit(session, row.sha256, lambda previous: reactivation(previous, told), as_json=as_json)


def history(
    limit: LimitOption = 50,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what became active when, by whom and why, newest first."""
    from gateway.store import bundles

    with open_session(config_file, data_dir) as session:
        active = session.read(bundles.active)
        found = session.read(lambda connection: bundles.activations(connection, limit))
        stored = session.read(lambda connection: bundles.history(connection, limit))
    known = {one.sha256 for one in found}
    # Bundles of versions that did not write down who activated them.
    older = [
        bundles.Activation(row.sha256, row.created_at, "", row.source)
        for row in stored
        if row.sha256 not in known
    ]
    current = next((one for one in found if one.sha256 == active), None)
    entries = [
        (one, one is current or (current is None and one.sha256 == active)) for one in (*found, *older)
    ]
    if as_json:
        print_json(
            {
                "active": active,
                "activations": [
                    {
                        "sha256": one.sha256,
                        "at": one.at,
                        "by": one.actor,
                        "how": one.how,
                        "note": one.note,
                        "revision": one.revision,
                        "active": is_active,
                    }
                    for one, is_active in entries[:limit]
                ],
            }
        )
        return
    print_table(
        ("BUNDLE", "ACTIVATED", "BY", "HOW", "REVISION", "NOTE", "ACTIVE"),
        (
            (
                one.sha256[:_SHOWN_DIGITS],
                one.at,
                one.actor,
                one.how,
                one.revision[:_SHOWN_DIGITS],
                one.note,
                "yes" if is_active else "",
            )
            for one, is_active in entries[:limit]
        ),
        empty="No bundle was ever active.",
    )


def show(
    sha256: Annotated[
        str, typer.Argument(metavar="SHA|active", help="Name of the bundle, or its first digits.")
    ] = "active",
    documents: Annotated[
        bool,
        typer.Option("--documents", help="Its documents in the canonical layout, files written out."),
    ] = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a stored bundle: its files as they were written, or its documents."""
    from gateway.policy.format import documents_text

    with open_session(config_file, data_dir) as session:
        row = bundle_named(session, sha256)
    if as_json:
        print_json(
            {"sha256": row.sha256, "stored_at": row.created_at, "documents": json.loads(row.documents)}
        )
    elif documents or row.texts is None:
        typer.echo(documents_text(json.loads(row.documents)), nl=False)
    else:
        kept = json.loads(row.texts)
        texts = [f"# {one['name']}\n{one['text'].rstrip()}\n" for one in kept["sources"]]
        typer.echo("---\n".join(texts), nl=False)
        if kept["files"]:
            note(f"It uses files that are stored with it: {', '.join(sorted(kept['files']))}.")


def bundle_named(session: Session, word: str) -> BundleRow:
    """The stored bundle of this name, of these first digits, or ``active``.

    Raises NotFound, ConfigurationError where several begin so.
    """
    from gateway.store import bundles

    if word == "active":
        active = session.read(bundles.active)
        if active is None:
            raise NotFound("no bundle is active yet; start the gateway or run `pkigate policy activate`")
        word = active
    if not _PREFIX.fullmatch(word):
        raise NotFound(f"{word!r} names no bundle; give at least four of its digits (see `policy history`)")
    rows = session.read(lambda connection: bundles.beginning_with(connection, word))
    if not rows:
        raise NotFound(f"the database has no bundle {word}; `pkigate policy history` lists them")
    if len(rows) > 1:
        raise ConfigurationError(f"several bundles begin with {word}; give more digits")
    return rows[0]


def _steps_back(session: Session, steps: int) -> BundleRow:
    from gateway.store import bundles

    found = session.read(lambda connection: bundles.activations(connection, steps + 1))
    if len(found) <= steps:
        raise NotFound(f"the history holds {max(0, len(found) - 1)} activations before the last one")
    return bundle_named(session, found[steps].sha256)


def _commit(session: Session, sha256: str, make: Callable[[str | None], Unit], *, as_json: bool) -> None:
    from gateway.store import bundles

    previous = session.read(bundles.active)
    unit = make(previous)
    if unit.operations:
        session.store.recorder.commit_blocking(unit)
    if as_json:
        print_json({"active": sha256, "previous": previous, "changed": bool(unit.operations)})
    elif unit.operations:
        typer.echo(
            f"{sha256} is active. Running gateways take it within seconds; /readyz tells if one cannot."
        )
    else:
        typer.echo(f"{sha256} was active already.")


def _git_revision(path: Path) -> str:
    """The revision of the work tree that the files are in, with ``-dirty`` if they differ; else nothing."""
    directory = path if path.is_dir() else path.parent
    command = ("git", "-C", str(directory), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=False)  # noqa: S603  # our own words
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""
