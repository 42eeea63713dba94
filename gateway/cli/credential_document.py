"""A credential as ``--json`` shows it: everything but its secret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.store.credentials import CredentialRow


def credential_document(row: CredentialRow) -> dict[str, object]:
    """``user`` is the name that is unique within its kind: of ``acme-eab`` the key identifier,
    of ``cmp-secret`` the reference."""
    return {
        "id": row.id,
        "kind": row.kind,
        "protocol": row.protocol,
        "user": row.name,
        "endpoints": row.endpoints,
        "names": row.names,
        "profiles": row.profiles,
        "prevalidated": row.prevalidated,
        "permissions": row.permissions,
        "groups": row.groups,
        "labels": dict(row.labels),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "uses_left": row.uses_left,
        "revoked_at": row.revoked_at,
        "source": row.source,
        "state": credential_state(row),
    }


def credential_state(row: CredentialRow) -> str:
    """``active``, or why it is good no longer."""
    from gateway.credentials.making import state_of

    return state_of(row, datetime.now(UTC))
