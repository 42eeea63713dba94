"""How an operation of the API is declared: with the permission that it asks for, or it does not start."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import ClientDisconnect

from gateway.admin.authorization import Verify, authorized
from gateway.admin.body import with_json
from gateway.admin.problems import ProblemDocument
from gateway.http.answers import STATUS_CLIENT_GONE
from gateway.model.api_caller import ApiCaller
from gateway.model.permissions import Permission

_PERMISSION = "x-permission"
_SCHEME = HTTPBearer(scheme_name="ApiToken", auto_error=False, description="pkigate credential add api-token")


def needs(permission: Permission) -> dict[str, Any]:
    """``openapi_extra`` of an operation that asks for this permission."""
    return {_PERMISSION: permission.value}


def needs_nothing() -> dict[str, Any]:
    """``openapi_extra`` of an operation that is for everybody."""
    return {_PERMISSION: ""}  # FastAPI leaves a null out of the OpenAPI document


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of an operation: these refusals, each a problem document."""
    return {status: {"model": ProblemDocument} for status in statuses}


class PermittedRoute(APIRoute):
    """Looks at the token first, at the bounds of the body second, at the token once more, and only then lets
    FastAPI read it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Raises TypeError where the operation does not say what it asks for."""
        if _PERMISSION not in (self.openapi_extra or {}):
            raise TypeError(f"{self.path} declares no permission")
        wanted = (self.openapi_extra or {})[_PERMISSION]
        permission = Permission(wanted) if wanted else None
        answer, has_body = super().get_route_handler(), self.body_field is not None

        async def handle(request: Request) -> Response:
            verify: Verify = request.app.state.verify
            try:
                if permission is not None:
                    request.state.caller = await authorized(request, permission, verify)
                if has_body:
                    request = await with_json(request)
                    if permission is not None:  # a body may take its time, and the token end meanwhile
                        request.state.caller = await authorized(request, permission, verify)
                return await answer(request)
            except ClientDisconnect:
                return Response(status_code=STATUS_CLIENT_GONE)  # to nobody

        return handle


def _caller(
    request: Request, _token: Annotated[HTTPAuthorizationCredentials | None, Depends(_SCHEME)]
) -> ApiCaller:
    """``_token`` is there for the OpenAPI document; who it is was found out before."""
    caller = request.state.caller
    assert isinstance(caller, ApiCaller)
    return caller


Caller = Annotated[ApiCaller, Depends(_caller)]
