"""The FastAPI application of ``/api/v1``, with its OpenAPI document and without pages for browsers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from gateway import __version__
from gateway.admin.authorization import Verify
from gateway.admin.credentials import credential_routes
from gateway.admin.operations import PermittedRoute, needs_nothing
from gateway.admin.problems import MEDIA_TYPE, install
from gateway.clock import Clock
from gateway.credentials.service import CredentialService

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the gateway gives to the API."""

    credentials: CredentialService
    verify: Verify
    clock: Clock


def api_application(services: AdminServices) -> FastAPI:
    """Raises TypeError where an operation does not say which permission it asks for."""
    app = FastAPI(
        title="pkigate",
        version=__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    # Whatever is added to the application, by whomever: it says what it asks for, or there is no start.
    app.router.route_class = PermittedRoute
    app.state.verify = services.verify
    install(app)
    routers = (_about(), credential_routes(PREFIX, services.credentials, services.clock))
    for router in routers:
        app.include_router(router)
    app.state.methods_at = partial(_methods_at, [route for router in routers for route in router.routes])
    _document_problems(app)
    return app


def _about() -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["about"], route_class=PermittedRoute)

    @router.get("/version", openapi_extra=needs_nothing())
    async def version() -> dict[str, str]:
        """The version of this gateway."""
        return {"version": __version__}

    return router


def _methods_at(routes: Sequence[BaseRoute], path: str) -> str:
    """The value of an Allow field (RFC 9110 section 10.2.1)."""
    here = [route for route in routes if isinstance(route, APIRoute) and route.path_regex.fullmatch(path)]
    return ", ".join(sorted({method for route in here for method in route.methods or ()})) or "GET, HEAD"


def _document_problems(app: FastAPI) -> None:
    """Say in the OpenAPI document that refusals are problem documents; FastAPI takes them for plain JSON."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path in (document := written())["paths"].values():
                for operation in path.values():
                    _mark(operation["responses"])
            return document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # how FastAPI wants it extended


def _mark(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        content = response.get("content", {})
        if status.startswith(("4", "5")) and "application/json" in content:
            content[MEDIA_TYPE] = content.pop("application/json")
