"""Rows of lists: entries that were used up, and the content of lists that are fetched."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, exists, select, text

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.store.columns import optional_time, time_column
from gateway.store.many import ByKeys
from gateway.store.schema import LIST_CONTENT, LIST_USE, REQUEST
from gateway.store.statement import Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_update


@dataclass(frozen=True, slots=True)
class EntryUse:
    """An entry that served a request."""

    key_sha256: str
    request_id: str
    used_at: datetime


@dataclass(frozen=True, slots=True)
class FetchState:
    """How the fetches of a list stand: ``good_at`` is the last good answer, ``asked_at`` the last one at all;
    ``problem`` says what was wrong with that, or is empty."""

    name: str
    url: str
    asked_at: datetime
    sha256: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    good_at: datetime | None = None
    problem: str = ""


def key_sha256(key: str) -> str:
    """How an entry, in the normal form of its list, is named in a row."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def use(unit: Unit, list_name: str, key: str, request_id: str, at: datetime) -> None:
    """Use an entry up. Commit raises Conflict where it serves another request already, unless that one was
    refused after all."""
    unit.move(
        _USE,
        {
            "list_name": list_name,
            "key_sha256": key_sha256(key),
            "request_id": request_id,
            "used_at": to_epoch_s(at),
        },
    )


def used(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], EntryUse]:
    """Which of these entries (name of the list, key) serve a request."""
    wanted = {(name, key_sha256(key)): (name, key) for name, key in keys}
    if not wanted:
        return {}
    rows = _USED.all(connection, sorted({sha256 for _, sha256 in wanted}), {})
    return {
        wanted[row[0], row[1]]: EntryUse(str(row[1]), str(row[2]), from_epoch_s(row[3]))
        for row in rows
        if (row[0], row[1]) in wanted
    }


def uses_of(connection: Connection, list_name: str) -> tuple[EntryUse, ...]:
    """Every entry of a list that serves a request, in the order of their use."""
    rows = _USES.all(connection, list_name=list_name)
    return tuple(EntryUse(str(row[0]), str(row[1]), from_epoch_s(row[2])) for row in rows)


def release(unit: Unit, list_name: str, key: str) -> None:
    """Let an entry serve once more. Commit raises Conflict where it serves none."""
    unit.move(_RELEASE, {"of_list": list_name, "of_key": key_sha256(key)})


def fetch_states(connection: Connection) -> dict[str, FetchState]:
    """Every fetched list, by name, without its content."""
    return {
        str(row[0]): FetchState(
            name=str(row[0]),
            url=str(row[1]),
            sha256=row[2],
            etag=row[3],
            last_modified=row[4],
            good_at=optional_time(row[5]),
            asked_at=from_epoch_s(row[6]),
            problem=str(row[7]),
        )
        for row in _STATES.all(connection)
    }


def fetched(connection: Connection, name: str) -> bytes | None:
    """The last good content of a list."""
    row = _CONTENT.first(connection, name=name)
    return None if row is None or row[0] is None else zlib.decompress(bytes(row[0]))


def put(unit: Unit, state: FetchState, content: bytes | None) -> None:
    """Note an answer; ``content`` None where it brought nothing new: what is kept stays."""
    packed = None if content is None else zlib.compress(content, 1)
    unit.move(
        _NOTE if content is None else _KEEP,
        {
            "name": state.name,
            "url": state.url,
            "sha256": state.sha256,
            "content": packed,
            "etag": state.etag,
            "last_modified": state.last_modified,
            "good_at": time_column(state.good_at),
            "asked_at": to_epoch_s(state.asked_at),
            "problem": state.problem,
        },
    )


_U, _F = LIST_USE.c, LIST_CONTENT.c
# A request that was refused after all has used nothing.
_USE = insert_or_update(
    LIST_USE,
    "list_name, key_sha256",
    "SET request_id = excluded.request_id, used_at = excluded.used_at "
    "WHERE EXISTS (SELECT 1 FROM request r WHERE r.id = list_use.request_id AND r.state = 'refused')",
)
_IN_USE = ~exists().where(REQUEST.c.id == _U.request_id, REQUEST.c.state == text("'refused'"))
_USED = ByKeys(select(_U.list_name, _U.key_sha256, _U.request_id, _U.used_at).where(_IN_USE), _U.key_sha256)
_USES = Statement(
    select(_U.key_sha256, _U.request_id, _U.used_at)
    .where(_U.list_name == bindparam("list_name"), _IN_USE)
    .order_by(_U.pk),
    ("list_name",),
)
_RELEASE = Statement(
    delete(LIST_USE).where(_U.list_name == bindparam("of_list"), _U.key_sha256 == bindparam("of_key")),
    ("of_list", "of_key"),
)
_STATES = Statement(
    select(_F.name, _F.url, _F.sha256, _F.etag, _F.last_modified, _F.good_at, _F.asked_at, _F.problem), ()
)
_CONTENT = Statement(select(_F.content).where(_F.name == bindparam("name")), ("name",))
_NOTED = ("url", "sha256", "etag", "last_modified", "good_at", "asked_at", "problem")
_KEEP = insert_or_update(
    LIST_CONTENT, "name", "SET " + ", ".join(f"{name} = excluded.{name}" for name in (*_NOTED, "content"))
)
_NOTE = insert_or_update(
    LIST_CONTENT, "name", "SET " + ", ".join(f"{name} = excluded.{name}" for name in _NOTED)
)
