"""Rows of accounts (RFC 8555 section 7.1.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection, bindparam, select, update

from gateway.acme.tables.schema import ACCOUNT
from gateway.clock import from_epoch_s, to_epoch_s
from gateway.store import credentials
from gateway.store.columns import storable_text, texts, texts_column
from gateway.store.statement import Row, Statement
from gateway.store.unit import Unit

VALID, DEACTIVATED, REVOKED = "valid", "deactivated", "revoked"
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class AccountRow:
    """``jwk`` is the canonical JSON of RFC 7638 section 3.2, ``thumbprint`` its SHA-256 in base64url.

    ``terms_of_service`` is the URL that was agreed to. ``credential_id`` names the external account,
    ``external_account`` is the binding's JWS as it was sent.
    """

    id: str
    endpoint: str
    thumbprint: str
    jwk: str
    status: str
    contacts: tuple[str, ...]
    created_at: datetime
    terms_of_service: str | None = None
    credential_id: str | None = None
    external_account: str | None = None
    version: int = 1

    @property
    def label(self) -> str:
        """For people: the first contact, else the id."""
        return self.contacts[0].removeprefix("mailto:") if self.contacts else self.id


def insert(unit: Unit, row: AccountRow) -> None:
    """Add an account. Commit raises Conflict if the endpoint has an account with this key."""
    unit.insert(
        ACCOUNT,
        {
            "id": row.id,
            "endpoint": row.endpoint,
            "thumbprint": row.thumbprint,
            "jwk": row.jwk,
            "status": row.status,
            "contacts": texts_column([storable_text(contact) for contact in row.contacts]),
            "terms_of_service": row.terms_of_service,
            "credential_id": row.credential_id,
            "external_account": row.external_account,
            "created_at": to_epoch_s(row.created_at),
            "version": row.version,
        },
    )


def change(unit: Unit, before: AccountRow, after: AccountRow) -> None:
    """Write contacts, terms, status, key and binding. Commit raises Conflict if the row has moved on, or if
    another account of the endpoint has the new key."""
    unit.move(
        _CHANGE,
        {
            "row_id": before.id,
            "version_was": before.version,
            "new_status": after.status,
            "new_contacts": texts_column([storable_text(contact) for contact in after.contacts]),
            "new_terms": after.terms_of_service,
            "new_thumbprint": after.thumbprint,
            "new_jwk": after.jwk,
            "new_credential_id": after.credential_id,
            "new_external_account": after.external_account,
        },
    )


def get(connection: Connection, endpoint: str, account_id: str) -> AccountRow | None:
    row = _BY_ID.first(connection, endpoint=endpoint, account_id=account_id)
    return None if row is None else row_of(row)


def by_thumbprint(connection: Connection, endpoint: str, thumbprint: str) -> AccountRow | None:
    row = _BY_THUMBPRINT.first(connection, endpoint=endpoint, thumbprint=thumbprint)
    return None if row is None else row_of(row)


@lru_cache(maxsize=_REMEMBERED)
def row_of(columns: Row) -> AccountRow:
    """The row that these values of COLUMNS are; kept, since every request of an account needs it again."""
    id_, endpoint, thumbprint, jwk, status, contacts, created_at, *rest = columns
    return AccountRow(
        id_, endpoint, thumbprint, jwk, status, texts(contacts), from_epoch_s(created_at), *rest
    )


def key_in_use(connection: Connection, thumbprint: str) -> bool:
    """Whether any account, of whatever endpoint and status, has this key."""
    return _ANY_THUMBPRINT.first(connection, thumbprint=thumbprint) is not None


def binding_holds(connection: Connection, credential_id: str, now: datetime) -> bool:
    """Whether what an account is bound to is neither revoked nor expired; uses count for new ones only."""
    row = credentials.get(connection, credential_id)
    return row is not None and row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


COLUMNS = tuple(ACCOUNT.c[name] for name in AccountRow.__slots__)
_BY_ID = Statement(
    select(*COLUMNS).where(
        ACCOUNT.c.id == bindparam("account_id"), ACCOUNT.c.endpoint == bindparam("endpoint")
    ),
    ("endpoint", "account_id"),
)
_BY_THUMBPRINT = Statement(
    select(*COLUMNS).where(
        ACCOUNT.c.thumbprint == bindparam("thumbprint"), ACCOUNT.c.endpoint == bindparam("endpoint")
    ),
    ("endpoint", "thumbprint"),
)
_ANY_THUMBPRINT = Statement(
    select(ACCOUNT.c.pk).where(ACCOUNT.c.thumbprint == bindparam("thumbprint")).limit(1), ("thumbprint",)
)
_CHANGE = Statement(
    update(ACCOUNT)
    .where(ACCOUNT.c.id == bindparam("row_id"), ACCOUNT.c.version == bindparam("version_was"))
    .values(
        status=bindparam("new_status"),
        contacts=bindparam("new_contacts"),
        terms_of_service=bindparam("new_terms"),
        thumbprint=bindparam("new_thumbprint"),
        jwk=bindparam("new_jwk"),
        credential_id=bindparam("new_credential_id"),
        external_account=bindparam("new_external_account"),
        version=ACCOUNT.c.version + 1,
    ),
    (
        "row_id",
        "version_was",
        "new_status",
        "new_contacts",
        "new_terms",
        "new_thumbprint",
        "new_jwk",
        "new_credential_id",
        "new_external_account",
    ),
)
