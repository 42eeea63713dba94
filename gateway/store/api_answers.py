"""Answers of the REST API by their Idempotency-Key: a request that comes again makes nothing twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, select, update

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.store.retention import Sweep
from gateway.store.schema import API_ANSWER
from gateway.store.statement import Statement
from gateway.store.store import Store
from gateway.store.unit import Unit

SECRET_KEPT = timedelta(minutes=10)  # how long an answer with its secret can be had again
KEY_KEPT = timedelta(days=1)  # how long a key is known


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """``token_id`` is the credential id of the token that sent the key. ``content_sha256`` is of the request;
    ``sealed`` the whole answer, sealed under the server key, None once it is forgotten."""

    token_id: str
    key_sha256: str
    content_sha256: str
    credential_id: str
    made_at: datetime
    sealed: bytes | None


def insert(unit: Unit, answer: ApiAnswer) -> None:
    """Commit raises Conflict where this token has sent this key before."""
    unit.insert(
        API_ANSWER,
        {
            "token_id": answer.token_id,
            "key_sha256": answer.key_sha256,
            "content_sha256": answer.content_sha256,
            "credential_id": answer.credential_id,
            "made_at": to_epoch_s(answer.made_at),
            "sealed": answer.sealed,
        },
    )


def get(connection: Connection, token_id: str, key_sha256: str) -> ApiAnswer | None:
    row = _BY_KEY.first(connection, token_id=token_id, key_sha256=key_sha256)
    if row is None:
        return None
    token_id, key_sha256, content_sha256, credential_id, made_at, sealed = row
    kept = None if sealed is None else bytes(sealed)
    return ApiAnswer(token_id, key_sha256, content_sha256, credential_id, from_epoch_s(made_at), kept)


class AnswerRetention:
    """Forgets secrets first and keys later."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sweep = Sweep(API_ANSWER, API_ANSWER.c.made_at < bindparam("before_s", type_=BigInteger))

    async def prune(self, now: datetime) -> None:
        """Forget what is older. Raises StoreUnavailable and Overloaded."""
        unit = Unit()
        unit.move(_FORGET, {"before_s": to_epoch_s(now - SECRET_KEPT)})
        await self._store.recorder.commit(unit)
        await self._sweep.run(self._store.reader.read, self._store.recorder.commit, now - KEY_KEPT)


_COLUMNS: tuple[Any, ...] = tuple(column for column in API_ANSWER.c if column.name != "pk")
_BY_KEY = Statement(
    select(*_COLUMNS).where(
        API_ANSWER.c.token_id == bindparam("token_id"), API_ANSWER.c.key_sha256 == bindparam("key_sha256")
    ),
    ("token_id", "key_sha256"),
)
_FORGET = Statement(
    update(API_ANSWER)
    .where(API_ANSWER.c.sealed.is_not(None), API_ANSWER.c.made_at < bindparam("before_s", type_=BigInteger))
    .values(sealed=None),
    ("before_s",),
    exact=False,
)
