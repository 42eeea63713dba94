"""The FastAPI application beside the protocols: the REST API, and health on every listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from gateway.admin.application import AdminServices, api_application

Components = Callable[[], Awaitable[dict[str, str]]]


def web_application(components: Components, services: AdminServices) -> FastAPI:
    """``components`` gives each part's state: "ok", "degraded: why", or "down: why"."""
    app = api_application(services)

    @app.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
    async def healthz() -> Response:
        """The process lives."""
        return Response("ok\n", media_type="text/plain")

    @app.api_route("/readyz", methods=["GET", "HEAD"], include_in_schema=False)
    async def readyz() -> Response:
        """503 only where this replica cannot serve at all; what is degraded is named."""
        found = await components()
        down = sorted(name for name, state in found.items() if state.startswith("down"))
        degraded = sorted(name for name, state in found.items() if state.startswith("degraded"))
        body: dict[str, Any] = {"ready": not down, "components": found, "degraded": degraded}
        return JSONResponse(body, status_code=503 if down else 200)

    return app
