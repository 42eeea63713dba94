"""Rows of enrolment credentials. Secrets stand here only as verifiers or sealed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, or_, select, update

from gateway.clock import to_epoch_s
from gateway.store.columns import optional_time, pairs, pairs_column, texts, texts_column, time_column
from gateway.store.schema import CREDENTIAL
from gateway.store.statement import Statement
from gateway.store.unit import Unit


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """``endpoints``, ``names`` and ``profiles`` None: no bound. ``protocol`` None: any.

    ``verifier`` is ``hmac-sha256:HEX`` or an argon2 string; ``sealed`` holds a secret that must be readable
    again, sealed under the server key. ``uses_left`` None: as often as wanted. ``source``: ``cli``, ``api``,
    ``demo``. ``prevalidated``: name suffixes that need no challenge (ACME). ``permissions``: what an API
    token may do, None for every other kind. ``groups`` and ``labels`` (name and value) are for policies to
    speak of, and no secrets.
    """

    id: str
    kind: str
    name: str
    created_at: datetime
    protocol: str | None = None
    endpoints: tuple[str, ...] | None = None
    verifier: str | None = None
    sealed: bytes | None = None
    names: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    uses_left: int | None = None
    revoked_at: datetime | None = None
    source: str = "cli"
    profiles: tuple[str, ...] | None = None
    prevalidated: tuple[str, ...] | None = None
    permissions: tuple[str, ...] | None = None
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"CredentialRow(id={self.id!r}, kind={self.kind!r}, name={self.name!r})"


@dataclass(frozen=True, slots=True)
class CredentialPage:
    """Newest first; ``next_before_id`` continues, None at the end."""

    rows: tuple[CredentialRow, ...]
    next_before_id: str | None


def insert(unit: Unit, row: CredentialRow) -> None:
    """Add a credential. Commit raises Conflict if an unrevoked one of this kind has the same name."""
    unit.insert(
        CREDENTIAL,
        {
            "id": row.id,
            "kind": row.kind,
            "protocol": row.protocol,
            "endpoints": None if row.endpoints is None else texts_column(row.endpoints),
            "name": row.name,
            "verifier": row.verifier,
            "sealed": row.sealed,
            "names": None if row.names is None else texts_column(row.names),
            "created_at": to_epoch_s(row.created_at),
            "expires_at": time_column(row.expires_at),
            "uses_left": row.uses_left,
            "revoked_at": time_column(row.revoked_at),
            "source": row.source,
            "profiles": None if row.profiles is None else texts_column(row.profiles),
            "prevalidated": None if row.prevalidated is None else texts_column(row.prevalidated),
            "permissions": None if row.permissions is None else texts_column(row.permissions),
            "groups": texts_column(row.groups) if row.groups else None,
            "labels": pairs_column(row.labels) if row.labels else None,
        },
    )


def describe(
    unit: Unit, credential_id: str, groups: tuple[str, ...], labels: tuple[tuple[str, str], ...]
) -> None:
    """Put other groups and labels in the place of those that it has. Commit raises Conflict if it is revoked
    or unknown."""
    values = {
        "credential_id": credential_id,
        "new_groups": texts_column(groups) if groups else None,
        "new_labels": pairs_column(labels) if labels else None,
    }
    unit.move(_DESCRIBE, values)


def revoke(unit: Unit, credential_id: str, at: datetime) -> None:
    """Commit raises Conflict if it is revoked already or unknown."""
    unit.move(_REVOKE, {"credential_id": credential_id, "at": to_epoch_s(at)})


def use(unit: Unit, credential_id: str, now: datetime) -> None:
    """Take one use off a credential that has a count of them.

    Commit raises Conflict if none is left, or it was revoked or has expired; so a one-time secret serves one
    request, however many come at once.
    """
    unit.move(_USE, {"credential_id": credential_id, "now_s": to_epoch_s(now)})


def by_name(connection: Connection, kind: str, name: str) -> CredentialRow | None:
    """The unrevoked credential of this kind and name; its expiry is for the caller to judge."""
    if not _askable(name):
        return None
    row = _BY_NAME.first(connection, kind=kind, name=name)
    return None if row is None else _row(row)


def revoked_by_name(connection: Connection, kind: str, name: str) -> CredentialRow | None:
    """The revoked credential of this kind and name, the newest of several."""
    if not _askable(name):
        return None
    row = _REVOKED_BY_NAME.first(connection, kind=kind, name=name)
    return None if row is None else _row(row)


def by_verifier(connection: Connection, kind: str, verifier: str) -> CredentialRow | None:
    """The newest credential of this kind and verifier; a revoked one only where none is unrevoked."""
    row = _BY_VERIFIER.first(connection, kind=kind, verifier=verifier)
    return None if row is None else _row(row)


def get(connection: Connection, credential_id: str) -> CredentialRow | None:
    row = _BY_ID.first(connection, credential_id=credential_id)
    return None if row is None else _row(row)


def search(
    connection: Connection,
    *,
    kind: str | None = None,
    protocol: str | None = None,
    source: str | None = None,
    with_revoked: bool = False,
    limit: int = 200,
    before_id: str | None = None,
    where: Sequence[ColumnElement[bool]] = (),
    keep: Callable[[CredentialRow], bool] = lambda _row: True,
    look_at: int | None = None,
) -> CredentialPage:
    """Pages of credentials, newest first. ``where``: further conditions, of ``credential_filters``.

    ``keep`` says which of those that were found are shown; with it ``look_at`` must be given: the page ends,
    however short it is then, after so many rows.
    """
    most = limit + 1 if look_at is None else look_at
    query: Select[Any] = select(*_COLUMNS).order_by(CREDENTIAL.c.id.desc()).limit(most)
    last_id = None if look_at is None else _last_looked_at(connection, before_id, look_at)
    if last_id is not None:
        query = query.where(CREDENTIAL.c.id >= last_id)
    query = query.where(*where)
    if kind is not None:
        query = query.where(CREDENTIAL.c.kind == kind)
    if protocol is not None:
        query = query.where(or_(CREDENTIAL.c.protocol == protocol, CREDENTIAL.c.protocol.is_(None)))
    if source is not None:
        query = query.where(CREDENTIAL.c.source == source)
    if not with_revoked:
        query = query.where(CREDENTIAL.c.revoked_at.is_(None))
    if before_id is not None:
        query = query.where(CREDENTIAL.c.id < before_id)
    found = filter(keep, map(_row, connection.execute(query)))
    rows = tuple(itertools.islice(found, limit + 1))
    return CredentialPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else last_id)


def _last_looked_at(connection: Connection, before_id: str | None, count: int) -> str | None:
    """The id of the last of the next ``count`` rows; None: there are fewer."""
    query = select(CREDENTIAL.c.id).order_by(CREDENTIAL.c.id.desc()).limit(1).offset(count - 1)
    if before_id is not None:
        query = query.where(CREDENTIAL.c.id < before_id)
    found: str | None = connection.execute(query).scalar()
    return found


_COLUMNS = tuple(column for column in CREDENTIAL.c if column.name != "pk")
_NAMES = tuple(column.name for column in _COLUMNS)
_BY_NAME = Statement(
    select(*_COLUMNS).where(
        CREDENTIAL.c.kind == bindparam("kind"),
        CREDENTIAL.c.name == bindparam("name"),
        CREDENTIAL.c.revoked_at.is_(None),
    ),
    ("kind", "name"),
)
_REVOKED_BY_NAME = Statement(
    select(*_COLUMNS)
    .where(
        CREDENTIAL.c.kind == bindparam("kind"),
        CREDENTIAL.c.name == bindparam("name"),
        CREDENTIAL.c.revoked_at.is_not(None),
    )
    .order_by(CREDENTIAL.c.pk.desc())
    .limit(1),
    ("kind", "name"),
)
_BY_VERIFIER = Statement(
    select(*_COLUMNS)
    .where(CREDENTIAL.c.kind == bindparam("kind"), CREDENTIAL.c.verifier == bindparam("verifier"))
    .order_by(CREDENTIAL.c.revoked_at.is_not(None), CREDENTIAL.c.pk.desc())
    .limit(1),
    ("kind", "verifier"),
)
_BY_ID = Statement(select(*_COLUMNS).where(CREDENTIAL.c.id == bindparam("credential_id")), ("credential_id",))
_REVOKE = Statement(
    update(CREDENTIAL)
    .where(CREDENTIAL.c.id == bindparam("credential_id"), CREDENTIAL.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at")),
    ("at", "credential_id"),
)
_DESCRIBE = Statement(
    update(CREDENTIAL)
    .where(CREDENTIAL.c.id == bindparam("credential_id"), CREDENTIAL.c.revoked_at.is_(None))
    .values(groups=bindparam("new_groups"), labels=bindparam("new_labels")),
    ("new_groups", "new_labels", "credential_id"),
)
_USE = Statement(
    update(CREDENTIAL)
    .where(
        CREDENTIAL.c.id == bindparam("credential_id"),
        CREDENTIAL.c.revoked_at.is_(None),
        or_(CREDENTIAL.c.expires_at.is_(None), CREDENTIAL.c.expires_at > bindparam("now_s")),
        or_(CREDENTIAL.c.uses_left.is_(None), CREDENTIAL.c.uses_left > 0),
    )
    # NULL - 1 is NULL: a credential without a count stays without.
    .values(uses_left=CREDENTIAL.c.uses_left - 1),
    ("credential_id", "now_s"),
)


def _askable(name: str) -> bool:
    """Whether a database can be asked for it at all; none of what cannot was ever stored."""
    try:
        return b"\x00" not in name.encode()  # no character of PostgreSQL's
    except UnicodeEncodeError:
        return False


def _row(row: Any) -> CredentialRow:
    values = dict(zip(_NAMES, row, strict=True))
    for name in ("created_at", "expires_at", "revoked_at"):
        values[name] = optional_time(values[name])
    for name in ("endpoints", "names", "profiles", "prevalidated", "permissions"):
        if values[name] is not None:
            values[name] = texts(values[name])
    values["groups"] = () if values["groups"] is None else texts(values["groups"])
    values["labels"] = () if values["labels"] is None else pairs(values["labels"])
    return CredentialRow(**values)
