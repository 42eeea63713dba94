"""What a stored credential is good for, asked once its secret was found right."""

from __future__ import annotations

from datetime import datetime

from gateway.authn.refusal import CredentialRefused
from gateway.model.reasons import ReasonCode
from gateway.store.credentials import CredentialRow


def in_scope(row: CredentialRow, protocol: str, endpoint: str) -> bool:
    """Whether the credential is for this protocol and endpoint."""
    return row.protocol in {None, protocol} and (row.endpoints is None or endpoint in row.endpoints)


def check_scope(row: CredentialRow, protocol: str, endpoint: str) -> None:
    """The secret was right, so the answer may say what is wrong with the credential. Raises
    CredentialRefused."""
    if not in_scope(row, protocol, endpoint):
        raise CredentialRefused(
            f"this credential is not for {protocol} at the endpoint {endpoint!r}",
            code=ReasonCode.AUTH_CREDENTIAL_SCOPE,
            detail=f"credential {row.id}",
        )


def check_begins(row: CredentialRow, now: datetime, *, told: str = "") -> None:
    """Whether a new request may begin with it. Raises CredentialRefused.

    ``told`` is said to the client instead of what is wrong, which the record holds in any case.
    """
    if row.expires_at is not None and row.expires_at <= now:
        at = f"expired at {row.expires_at:%Y-%m-%d %H:%M}Z"
        raise CredentialRefused(
            told or f"this credential {at}; ask for a new one", detail=f"credential {row.id} {at}"
        )
    if row.uses_left is not None and row.uses_left <= 0:
        raise CredentialRefused(
            told or "this credential has been used up; ask for a new one",
            detail=f"credential {row.id} is used up",
        )


def revocation_text(row: CredentialRow) -> str:
    """For the operator. ``row`` is revoked."""
    return f"credential {row.id} was revoked at {row.revoked_at:%Y-%m-%d %H:%M}Z"
