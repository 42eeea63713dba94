"""What callers of the REST API may do with credentials, each within the endpoints of its token.

API tokens themselves are made, seen and revoked on the command line only: no token can make its own heirs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from gateway.authn.sealing import seal, unseal
from gateway.clock import Clock
from gateway.credentials import making
from gateway.credentials.draft import Draft
from gateway.credentials.making import NewCredential
from gateway.errors import Conflict, GatewayError, NotFound
from gateway.model.api_caller import ApiCaller
from gateway.model.evidence import ACME_EAB, BASIC, CMP_SECRET, SCEP_CHALLENGE
from gateway.model.reasons import ReasonCode
from gateway.store import api_answers, credential_filters, credentials
from gateway.store.api_answers import SECRET_KEPT, ApiAnswer
from gateway.store.credentials import CredentialPage, CredentialRow
from gateway.store.store import Store
from gateway.store.unit import Unit

KINDS = (BASIC, ACME_EAB, SCEP_CHALLENGE, CMP_SECRET)
SOURCE = "api"
LOOK_AT = 250  # rows for one page: who may see little must not make the database read everything
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


class OutOfReach(GatewayError):
    """The token is not for these endpoints or groups. ``lacking`` are those that it would need, where the
    caller said which; ``what`` says what they are."""

    default_code = ReasonCode.AUTH_CREDENTIAL_SCOPE

    def __init__(self, public_text: str, lacking: Sequence[str] = (), what: str = "endpoint") -> None:
        super().__init__(public_text)
        self.what = what
        self.lacking = tuple(lacking)


class KeyReused(GatewayError):
    """The Idempotency-Key came before, with another request."""

    default_code = ReasonCode.MESSAGE_JSON


class SecretForgotten(GatewayError):
    """The request was answered before, and its secret is kept no longer. It made ``credential_id``."""

    default_code = ReasonCode.MESSAGE_JSON

    def __init__(self, public_text: str, credential_id: str) -> None:
        super().__init__(public_text)
        self.credential_id = credential_id


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it goes into the record. ``key``: its Idempotency-Key; ``content``: what it asks for, in
    one form whatever the JSON looked like; ``origin``: for the audit, from where it came."""

    caller: ApiCaller
    content: bytes
    key: str | None
    origin: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` holds the secret. ``replayed``: it was given before."""

    credential_id: str
    body: bytes
    replayed: bool = False

    def __repr__(self) -> str:
        return f"Answer({self.credential_id!r})"


@dataclass(frozen=True, slots=True)
class Filter:
    """None: whatever it is. ``state``: as ``making.state_of`` gives it."""

    kind: str | None = None
    endpoint: str | None = None
    state: str | None = None
    limit: int = 100
    before_id: str | None = None


class CredentialService:
    """Use cases of ``/api/v1/credentials``."""

    def __init__(
        self,
        store: Store,
        server_key: bytes,
        clock: Clock,
        endpoints: Callable[[], Collection[tuple[str, str]]],
    ) -> None:
        """``endpoints``: protocol and name of those of the active bundle."""
        self._store = store
        self._server_key = server_key
        self._clock = clock
        self._endpoints = endpoints

    async def create(
        self,
        asked: Asked,
        draft_of: Callable[[], Draft],
        write: Callable[[NewCredential, Sequence[str]], bytes],
    ) -> Answer:
        """Make a credential, once for each Idempotency-Key; durable on return.

        ``draft_of`` checks what is wanted, if it is new; ``write`` makes the answer's body of the credential
        and of warnings. The same key again gives the same body for ``SECRET_KEPT``. Raises UnfitValue,
        OutOfReach, KeyReused, SecretForgotten, Conflict (the name is taken), Overloaded, StoreUnavailable.
        """
        known = await self._known(asked)
        if known is not None:
            return known
        draft = draft_of()
        if not asked.caller.reaches(draft.endpoints):
            raise _out_of_reach(asked.caller, draft.endpoints)
        _check_groups(asked.caller, draft)
        made = making.new_credential(self._server_key, draft, source=SOURCE)
        body = write(made, making.endpoint_warnings(made.row, self._endpoints()))
        unit = Unit()
        making.add(unit, made.row, asked.caller.actor, _audited(asked))
        if asked.key is not None:
            sealed = seal(self._server_key, _sealed_for(made.row.id), body)
            api_answers.insert(
                unit,
                ApiAnswer(
                    asked.caller.token_id,
                    _sha256(asked.key.encode()),
                    _sha256(asked.content),
                    made.row.id,
                    draft.created_at,
                    sealed,
                ),
            )
        try:
            await self._store.recorder.commit(unit)
        except Conflict as exc:
            # The same request at the same time was first, or the name is taken.
            known = await self._known(asked)
            if known is None:
                raise making.name_is_taken(draft.name) from exc
            return known
        return Answer(made.row.id, body)

    async def page(self, caller: ApiCaller, wanted: Filter) -> CredentialPage:
        """Newest first, what the caller reaches; a page may be short and go on all the same.

        Raises OutOfReach and StoreUnavailable.
        """
        conditions: list[ColumnElement[bool]] = [credential_filters.of_kinds(KINDS)]
        if wanted.endpoint is not None:
            if not caller.reaches((wanted.endpoint,)):
                raise _out_of_reach(caller, (wanted.endpoint,))
            conditions.append(credential_filters.usable_at(wanted.endpoint))
        if wanted.state is not None:
            conditions.append(credential_filters.in_state(wanted.state, self._clock.now()))
        return await self._store.reader.read(
            lambda connection: credentials.search(
                connection,
                kind=wanted.kind,
                with_revoked=True,
                limit=wanted.limit,
                before_id=wanted.before_id,
                where=conditions,
                keep=lambda row: caller.reaches(row.endpoints),
                look_at=LOOK_AT,
            )
        )

    async def get(self, caller: ApiCaller, credential_id: str) -> CredentialRow:
        """Raises NotFound, OutOfReach and StoreUnavailable."""
        row = None
        if _ID(credential_id):
            row = await self._store.reader.read(lambda connection: credentials.get(connection, credential_id))
        if row is None or row.kind not in KINDS:
            raise NotFound(
                f"there is no credential {credential_id[:40]!r}; list them with GET /api/v1/credentials"
            )
        if not caller.reaches(row.endpoints):
            own = " and ".join(caller.endpoints or ())
            raise OutOfReach(f"this token is for the endpoint {own} only, and the credential is for others")
        return row

    async def revoke(
        self, caller: ApiCaller, credential_id: str, origin: Mapping[str, object]
    ) -> CredentialRow:
        """Revoke it, unless it is revoked already; durable on return.

        Raises NotFound, OutOfReach, Overloaded and StoreUnavailable.
        """
        row = await self.get(caller, credential_id)
        if row.revoked_at is not None:
            return row
        unit = Unit()
        making.revoke(unit, row, caller.actor, self._clock.now(), {"token": caller.name, **origin})
        try:
            await self._store.recorder.commit(unit)
        except Conflict:
            # Somebody else revoked it at this moment. Rows are kept for a year after their end.
            return await self.get(caller, credential_id)
        return await self.get(caller, credential_id)

    async def _known(self, asked: Asked) -> Answer | None:
        """What this key was answered with, if it came before."""
        if asked.key is None:
            return None
        token_id, key_sha256 = asked.caller.token_id, _sha256(asked.key.encode())
        found = await self._store.reader.read(
            lambda connection: api_answers.get(connection, token_id, key_sha256)
        )
        if found is None:
            return None
        if found.content_sha256 != _sha256(asked.content):
            raise KeyReused(
                "this Idempotency-Key came before with another request; take a new key for this one"
            )
        if found.sealed is None or found.made_at + SECRET_KEPT <= self._clock.now():
            at = f"{found.made_at:%Y-%m-%d %H:%M:%S}Z"
            raise SecretForgotten(
                f"this request made the credential {found.credential_id} at {at}, and its secret is kept no "
                "longer; revoke that one and make another with a new Idempotency-Key",
                found.credential_id,
            )
        body = unseal(self._server_key, _sealed_for(found.credential_id), found.sealed).reveal()
        return Answer(found.credential_id, body, replayed=True)


def _audited(asked: Asked) -> dict[str, object]:
    return {"token": asked.caller.name, **asked.origin}


def _sealed_for(credential_id: str) -> str:
    """Not the id alone: a sealed secret of the credential itself must never be taken for an answer."""
    return f"api answer {credential_id}"


def _sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def _check_groups(caller: ApiCaller, draft: Draft) -> None:
    """Raises OutOfReach where the credential would be in a group that the token is not for."""
    lacking = [group for group in draft.groups if group not in caller.groups] if caller.groups else []
    if lacking:
        own = " and ".join(caller.groups)
        text = f"this token makes credentials of the group {own} only, not of {' and '.join(lacking)}"
        raise OutOfReach(text, lacking, "group")


def _out_of_reach(caller: ApiCaller, endpoints: Sequence[str] | None) -> OutOfReach:
    own = " and ".join(caller.endpoints or ())
    if endpoints is None:
        return OutOfReach(
            f"a credential without endpoints is for all of them, and this token is for {own} only; name "
            "endpoints among these"
        )
    lacking = [one for one in endpoints if one not in (caller.endpoints or ())]
    other = " and ".join(lacking)
    text = f"this token is for the endpoint {own} only, not for {other}; ask for a token with that endpoint"
    return OutOfReach(text, lacking)
