"""Gives a drafted credential its secret, and writes it down with its audit event."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from gateway.authn.external import new_hmac_key
from gateway.authn.sealing import seal
from gateway.authn.secrets import (
    human_verifier,
    machine_verifier,
    new_api_token,
    new_challenge,
    new_machine_secret,
)
from gateway.credentials.draft import Draft
from gateway.errors import Conflict
from gateway.model.evidence import ACME_EAB, API_TOKEN, BASIC, CMP_SECRET, SCEP_CHALLENGE
from gateway.model.ids import new_id
from gateway.store import bundles, credentials
from gateway.store.credentials import CredentialRow
from gateway.store.unit import AuditEvent, Unit


@dataclass(frozen=True, slots=True)
class NewCredential:
    """``secret`` is the generated one, to be shown once; None where a person gave it."""

    row: CredentialRow
    secret: str | None

    def __repr__(self) -> str:
        return f"NewCredential({self.row!r})"


def new_credential(
    server_key: bytes, draft: Draft, *, source: str, given: str | None = None
) -> NewCredential:
    """The row of a drafted credential. ``given`` is a secret that a person chose."""
    credential_id = str(new_id())
    generated, verifier, sealed = _secret(server_key, draft, credential_id, given)
    row = CredentialRow(
        id=credential_id,
        kind=str(draft.kind),
        protocol=draft.protocol,
        name=draft.name,
        endpoints=draft.endpoints,
        names=draft.names,
        verifier=verifier,
        sealed=sealed,
        created_at=draft.created_at,
        expires_at=draft.expires_at,
        uses_left=draft.uses,
        source=source,
        profiles=draft.profiles,
        prevalidated=draft.prevalidated,
        permissions=draft.permissions,
        groups=draft.groups,
        labels=draft.labels,
    )
    return NewCredential(row, generated)


def add(unit: Unit, row: CredentialRow, actor: str, more: Mapping[str, object] | None = None) -> None:
    """Insert it with its audit event, to whose details ``more`` is added.

    Commit raises Conflict where an unrevoked one of its kind has its name (``name_is_taken`` says so).
    """
    credentials.insert(unit, row)
    unit.audit(AuditEvent(actor, "credential.add", row.id, details={**_audit_details(row), **(more or {})}))


def revoke(
    unit: Unit, row: CredentialRow, actor: str, at: datetime, more: Mapping[str, object] | None = None
) -> None:
    """Revoke it with its audit event. Commit raises Conflict where it is revoked already."""
    credentials.revoke(unit, row.id, at)
    unit.audit(AuditEvent(actor, "credential.revoke", row.id, details={"name": row.name, **(more or {})}))


def describe(
    unit: Unit, row: CredentialRow, groups: tuple[str, ...], labels: tuple[tuple[str, str], ...], actor: str
) -> None:
    """Give it these groups and labels, with an audit event of what they were and are. Commit raises Conflict
    where it was revoked meanwhile."""
    credentials.describe(unit, row.id, groups, labels)
    details: dict[str, object] = {
        "name": row.name,
        "groups": list(groups),
        "labels": dict(labels),
        "groups_before": list(row.groups),
        "labels_before": dict(row.labels),
    }
    unit.audit(AuditEvent(actor, "credential.set", row.id, details=details))


def name_is_taken(name: str) -> Conflict:
    return Conflict(f"a credential for {name!r} exists; revoke it first, or take another name")


def check_unused(connection: Connection, row: CredentialRow) -> None:
    """A challenge is found by what it is: two equal ones could not be told apart. Raises Conflict."""
    same = credentials.by_verifier(connection, row.kind, row.verifier or "")
    if row.kind == SCEP_CHALLENGE and same is not None and same.revoked_at is None:
        raise Conflict(
            f"the credential {same.id} of {same.name!r} has this very challenge; revoke it first, or choose "
            "another one"
        )


def recorded_endpoints(connection: Connection) -> frozenset[tuple[str, str]] | None:
    """Protocol and name of each endpoint of the active bundle; None: no gateway has started here yet."""
    active = bundles.active(connection)
    bundle = None if active is None else bundles.get(connection, active)
    if bundle is None:
        return None
    documents = json.loads(bundle.documents)
    found = [document for document in documents if document["kind"] == "Endpoint"]
    return frozenset((str(one["protocol"]), str(one["metadata"]["name"])) for one in found)


def endpoint_warnings(row: CredentialRow, endpoints: Collection[tuple[str, str]]) -> list[str]:
    """Of endpoints that are not among these (protocol, name): allowed, since they may come later."""
    every = row.kind == API_TOKEN  # bounds what it makes, whatever the protocol
    known = sorted({name for protocol, name in endpoints if every or protocol == row.protocol})
    listed = ", ".join(known) or "none"
    what = "endpoint" if every else f"{row.protocol} endpoint"
    return [
        f"the active policies have no {what} {name!r} (known: {listed}); the "
        "credential is of use once there is an Endpoint document of that name"
        for name in row.endpoints or ()
        if name not in known
    ]


def state_of(row: CredentialRow, now: datetime) -> str:
    """``active``, or why it is good no longer: ``revoked``, ``expired``, ``used up``."""
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= now:
        return "expired"
    return "used up" if row.uses_left == 0 else "active"


def _secret(
    server_key: bytes, draft: Draft, credential_id: str, given: str | None
) -> tuple[str | None, str | None, bytes | None]:
    """The generated secret, and the verifier or the sealed secret that is stored."""
    if draft.kind == ACME_EAB:
        text, key = _new_hmac_key()
        return text, None, seal(server_key, credential_id, key)
    if draft.kind == API_TOKEN:
        generated = new_api_token()
        return generated, machine_verifier(server_key, generated), None
    if draft.kind == SCEP_CHALLENGE:
        challenge = given if given is not None else new_challenge()
        return None if given is not None else challenge, machine_verifier(server_key, challenge), None
    if draft.kind == BASIC and given is not None:
        return None, human_verifier(given), None
    secret = given if given is not None else new_machine_secret()
    shown = None if given is not None else secret
    if draft.kind == CMP_SECRET:
        return shown, None, seal(server_key, credential_id, secret.encode())
    assert draft.kind == BASIC
    return shown, machine_verifier(server_key, secret), None


def _new_hmac_key() -> tuple[str, bytes]:
    """A MAC key in base64url as clients want it, and its bytes. None begins with "-", which programs would
    take for an option."""
    while (text := _base64url(key := new_hmac_key())).startswith("-"):
        continue
    return text, key


def _base64url(value: bytes) -> str:
    """Without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _audit_details(row: CredentialRow) -> dict[str, object]:
    """Every bound of it, and never its secret."""
    bounds = {
        "endpoints": row.endpoints,
        "names": row.names,
        "profiles": row.profiles,
        "prevalidated": row.prevalidated,
    }
    details: dict[str, object] = {
        "kind": row.kind,
        "protocol": row.protocol,
        "name": row.name,
        **{name: None if bound is None else list(bound) for name, bound in bounds.items()},
        "uses": row.uses_left,
        "expires_at": None if row.expires_at is None else int(row.expires_at.timestamp()),
    }
    if row.groups:
        details["groups"] = list(row.groups)
    if row.labels:
        details["labels"] = dict(row.labels)
    if row.permissions is not None:
        details["permissions"] = list(row.permissions)
    return details
