"""The FastAPI application beside the protocols: the REST API, and health on every listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from gateway.admin.application import AdminServices, api_application
from gateway.admin.operations import needs_nothing

Components = Callable[[], Awaitable[dict[str, str]]]


def web_application(components: Components, services: AdminServices) -> FastAPI:
    """``components`` gives each part's state: "ok", "degraded: why", or "down: why"."""
    app = api_application(services)

    health: dict[str, Any] = {"methods": ["GET", "HEAD"], "include_in_schema": False}

    @app.api_route("/healthz", openapi_extra=needs_nothing(), **health)
    async def healthz() -> Response:
        """The process lives."""
        return Response("ok\n", media_type="text/plain")

    @app.api_route("/readyz", openapi_extra=needs_nothing(), **health)
    async def readyz() -> Response:
        """503 only where this replica cannot serve at all; what is degraded is named."""
        found = await components()
        down = sorted(name for name, state in found.items() if state.startswith("down"))
        degraded = sorted(name for name, state in found.items() if state.startswith("degraded"))
        body: dict[str, Any] = {"ready": not down, "components": found, "degraded": degraded}
        return JSONResponse(body, status_code=503 if down else 200)

    return app
