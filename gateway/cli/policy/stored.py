"""Bundles and certificates of the gateway's database, for commands that decide on recorded requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.policy.loading import load_policies, policy_registry
from gateway.cli.session import Session
from gateway.errors import ConfigurationError, NotFound

if TYPE_CHECKING:
    from gateway.policy.rules import Bundle

BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        metavar="DIR",
        help="Policies to decide by: a directory or a file. Default: those of the gateway.",
    ),
]


def bundle_for(session: Session, path: Path | None, *, lab: bool) -> Bundle:
    """The named policies, else the active ones of the database. Raises ConfigurationError, NotFound."""
    from gateway.store import bundles

    lab = lab or session.config.lab.enabled
    if path is not None:
        return load_policies(path, lab=lab)
    active = session.read(bundles.active)
    if active is None:
        raise NotFound("the database names no active policies; give some with --bundle DIR")
    found = stored_bundle(session, active, lab=lab)
    if found is None:
        raise ConfigurationError(f"the active bundle {active} cannot be compiled here; give --bundle DIR")
    return found


def stored_bundle(session: Session, sha256: str, *, lab: bool) -> Bundle | None:
    """A bundle of the database by its name; None if it is not there, or not good for this program."""
    from dataclasses import replace

    from gateway.composition.policies import compile_kept, texts_of_documents
    from gateway.store import bundles

    row = session.read(lambda connection: bundles.get(connection, sha256))
    if row is None:
        return None
    kept = (row.texts or texts_of_documents(row)).encode()
    try:
        policies = compile_kept(kept, policy_registry(lab=lab or session.config.lab.enabled))
    except ConfigurationError:
        return None
    # Another version of the program may write the documents out otherwise; the name stays the stored one.
    return replace(policies.bundle, sha256=sha256)


def certificate_finder(session: Session) -> Callable[[str], bytes | None]:
    """Gives the DER of a certificate of the database by its SHA-256."""
    from gateway.store import certificates

    def find(sha256: str) -> bytes | None:
        record = session.read(lambda connection: certificates.by_sha256(connection, sha256))
        return None if record is None else record.certificate_der

    return find
