"""Makes the secret of a new credential and records it, with its audit event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.cli.credential_kinds import Draft
from gateway.cli.options import actor
from gateway.cli.session import Session
from gateway.errors import Conflict
from gateway.model.evidence import ACME_EAB, BASIC, CMP_SECRET, SCEP_CHALLENGE

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.credentials import CredentialRow


def unknown_endpoints(session: Session, draft: Draft) -> list[str]:
    """Warnings of endpoints that the active bundle does not have: allowed, since they may come later."""
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


def record(session: Session, draft: Draft, given: str | None) -> tuple[CredentialRow, str | None]:
    """Record a credential; the second value is the generated secret, None for one that was ``given``.

    Raises Conflict.
    """
    from gateway.model.ids import new_id
    from gateway.store import credentials
    from gateway.store.unit import AuditEvent, Unit

    credential_id = str(new_id())
    generated, verifier, sealed = _secret(session.data.server_key(), draft, credential_id, given)
    row = credentials.CredentialRow(
        id=credential_id,
        kind=str(draft.kind.kind),
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
    if row.kind == SCEP_CHALLENGE:
        _check_unused(session, row)
    unit = Unit()
    credentials.insert(unit, row)
    unit.audit(AuditEvent(actor(), "credential.add", row.id, details=_audit_details(row)))
    try:
        session.store.recorder.commit_blocking(unit)
    except Conflict as exc:
        raise Conflict(
            f"a credential for {draft.name!r} exists; revoke it first, or take another name"
        ) from exc
    return row, generated


def _secret(
    server_key: bytes, draft: Draft, credential_id: str, given: str | None
) -> tuple[str | None, str | None, bytes | None]:
    """The generated secret, and the verifier or the sealed secret that is stored."""
    from gateway.authn.sealing import seal
    from gateway.authn.secrets import (
        human_verifier,
        machine_verifier,
        new_challenge,
        new_machine_secret,
    )

    kind = draft.kind.kind
    if kind == ACME_EAB:
        text, key = _new_hmac_key()
        return text, None, seal(server_key, credential_id, key)
    if kind == CMP_SECRET:
        generated = None if given is not None else new_machine_secret()
        return generated, None, seal(server_key, credential_id, (given or generated or "").encode())
    if kind == SCEP_CHALLENGE:
        generated = None if given is not None else new_challenge()
        return generated, machine_verifier(server_key, given or generated or ""), None
    assert kind == BASIC
    if given is not None:
        return None, human_verifier(given), None
    generated = new_machine_secret()
    return generated, machine_verifier(server_key, generated), None


def _new_hmac_key() -> tuple[str, bytes]:
    """A MAC key in base64url as clients want it, and its bytes. None begins with "-", which programs would
    take for an option."""
    from gateway.authn.external import new_hmac_key
    from gateway.quickstart import base64url

    while (text := base64url(key := new_hmac_key())).startswith("-"):
        continue
    return text, key


def _check_unused(session: Session, row: CredentialRow) -> None:
    """A challenge is found by what it is: two equal ones could not be told apart."""
    from gateway.store import credentials

    same = session.read(lambda connection: credentials.by_verifier(connection, row.kind, row.verifier or ""))
    if same is not None and same.revoked_at is None:
        raise Conflict(
            f"the credential {same.id} of {same.name!r} has this very challenge; revoke it first, or choose "
            "another one"
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
