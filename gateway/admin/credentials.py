"""``/api/v1/credentials``: make, list, show and revoke."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Body, Header, Query, Request, Response

from gateway.admin.documents import (
    CreatedCredential,
    CredentialDocument,
    CredentialList,
    ListQuery,
    NewCredentialDocument,
    State,
)
from gateway.admin.operations import Caller, PermittedRoute, needs, problems
from gateway.admin.problems import NO_STORE, Problem, edge_request
from gateway.clock import Clock
from gateway.credentials.draft import drafted
from gateway.credentials.making import NewCredential, state_of
from gateway.credentials.service import Asked, CredentialService, Filter
from gateway.model.permissions import Permission
from gateway.store.credentials import CredentialRow

MAX_KEY_CHARACTERS = 255


def credential_routes(prefix: str, service: CredentialService, clock: Clock) -> APIRouter:
    """The operations on credentials."""
    router = APIRouter(prefix=f"{prefix}/credentials", tags=["credentials"], route_class=PermittedRoute)
    operations = _Operations(service, clock)
    router.add_api_route(
        "",
        operations.create,
        methods=["POST"],
        status_code=201,
        response_model=CreatedCredential,
        responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
        openapi_extra=needs(Permission.CREDENTIAL_ADD),
    )
    router.add_api_route(
        "",
        operations.page,
        methods=["GET"],
        responses=problems(401, 403, 422, 429, 503),
        openapi_extra=needs(Permission.CREDENTIAL_READ),
    )
    router.add_api_route(
        "/{credential_id}",
        operations.show,
        methods=["GET"],
        responses=problems(401, 403, 404, 429, 503),
        openapi_extra=needs(Permission.CREDENTIAL_READ),
    )
    router.add_api_route(
        "/{credential_id}/revoke",
        operations.revoke,
        methods=["POST"],
        responses=problems(401, 403, 404, 429, 503),
        openapi_extra=needs(Permission.CREDENTIAL_REVOKE),
    )
    return router


class _Operations:
    """Between the API's documents and the use cases. Docstrings go into the OpenAPI document."""

    def __init__(self, service: CredentialService, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    async def create(
        self,
        request: Request,
        caller: Caller,
        wanted: Annotated[NewCredentialDocument, Body()],
        idempotency_key: Annotated[
            str | None,
            Header(description="The same key and body again make nothing new and give the same answer."),
        ] = None,
    ) -> Response:
        """Make a credential. The answer is the only one that holds its secret."""
        key = _checked_key(request, idempotency_key)
        now = self._clock.now()
        asked = Asked(caller, _content(wanted), key, _origin(request))

        def write(made: NewCredential, warnings: Sequence[str]) -> bytes:
            return _written(made, warnings, now)

        answer = await self._service.create(asked, lambda: drafted(wanted.wishes(now), now), write)
        headers = {"Location": f"{request.url.path}/{answer.credential_id}", **dict(NO_STORE)}
        if answer.replayed:
            headers["Idempotency-Replayed"] = "true"
        edge_request(request).log["object"] = answer.credential_id
        return Response(answer.body, 201, headers, media_type="application/json")

    async def page(
        self, response: Response, caller: Caller, query: Annotated[ListQuery, Query()]
    ) -> CredentialList:
        """The credentials within the token's endpoints, without secrets."""
        response.headers.update(dict(NO_STORE))
        state = None if query.state is None else query.state.replace("-", " ")
        wanted = Filter(query.kind, query.endpoint, state, query.limit, query.before)
        found = await self._service.page(caller, wanted)
        now = self._clock.now()
        rows = [_document(row, now) for row in found.rows]
        return CredentialList(credentials=rows, next_before=found.next_before_id)

    async def show(self, response: Response, caller: Caller, credential_id: str) -> CredentialDocument:
        """One credential, without its secret."""
        response.headers.update(dict(NO_STORE))
        return _document(await self._service.get(caller, credential_id), self._clock.now())

    async def revoke(
        self, request: Request, response: Response, caller: Caller, credential_id: str
    ) -> CredentialDocument:
        """Revoke it. It counts at once; certificates stay valid. Again changes nothing."""
        response.headers.update(dict(NO_STORE))
        row = await self._service.revoke(caller, credential_id, _origin(request))
        return _document(row, self._clock.now())


def _checked_key(request: Request, key: str | None) -> str | None:
    if len(request.headers.getlist("idempotency-key")) > 1:
        key = ""
    if key is not None and (
        not 1 <= len(key) <= MAX_KEY_CHARACTERS or not (key.isascii() and key.isprintable())
    ):
        text = f"send one, of 1 to {MAX_KEY_CHARACTERS} printable ASCII characters, for example a UUID"
        raise Problem(400, "idempotency-key", "The Idempotency-Key is not possible", text)
    return key


def _content(wanted: NewCredentialDocument) -> bytes:
    """What is asked for in one form: the same however the JSON was written."""
    return json.dumps(wanted.model_dump(mode="json"), sort_keys=True).encode()


def _origin(request: Request) -> dict[str, object]:
    seen = edge_request(request)
    return {"remote": seen.client_address, "request_id": seen.request_id}


def _written(made: NewCredential, warnings: Sequence[str], now: datetime) -> bytes:
    assert made.secret is not None
    document = _document(made.row, now).model_dump()
    created = CreatedCredential(**document, secret=made.secret, warnings=list(warnings))
    return created.model_dump_json().encode()


def _document(row: CredentialRow, now: datetime) -> CredentialDocument:
    lists = {
        "endpoints": row.endpoints,
        "names": row.names,
        "profiles": row.profiles,
        "prevalidated": row.prevalidated,
    }
    bounds = {name: None if entries is None else list(entries) for name, entries in lists.items()}
    return CredentialDocument(
        id=row.id,
        kind=row.kind,
        protocol=row.protocol,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        uses_left=row.uses_left,
        revoked_at=row.revoked_at,
        source=row.source,
        groups=list(row.groups),
        labels=dict(row.labels),
        state=cast("State", state_of(row, now).replace(" ", "-")),
        **bounds,
    )
