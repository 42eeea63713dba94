"""The way from the edge into the FastAPI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from gateway.errors import ClientGone, GatewayError, PayloadTooLarge, RequestTimeout
from gateway.http.message import HttpRequest

log = structlog.get_logger("gateway.http.application")

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
APP_BODY_BYTES = 1024 * 1024


class BodyReader:
    """The body of one request as its handler reads it. Raises RequestTimeout and ClientGone."""

    __slots__ = ("_receive", "complete", "received")

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self.complete = False
        self.received = 0

    async def __call__(self) -> bytes:
        """The next part that is not empty, or b"" at the end."""
        if self.complete:
            return b""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            self.complete = not message.get("more_body", False)
            self.received += len(part)
            if part or self.complete:
                return part

    async def wait_for_end(self) -> Any:
        """Wait until the client is gone or the response is out, as ASGI's receive does after the body."""
        return await self._receive()


class ApplicationCall:
    """One request to the application. ``run`` raises GatewayError where its body is refused."""

    def __init__(self, request: HttpRequest, body: BodyReader, send: Any) -> None:
        self._request = request
        self._body = body
        self._send_on = send
        self._refusal: GatewayError | None = None
        self._started = False
        self._ended = False
        self.status = 0
        self.sent = 0

    async def run(self, app: AsgiApp, scope: Any) -> None:
        request = self._request
        inner = {
            **scope,
            "path": request.path,
            "headers": list(request.headers),
            "scheme": request.scheme,
            "client": (request.client_address, scope["client"][1] if scope.get("client") else 0),
            "state": {**scope.get("state", {}), "request_id": request.request_id, "request": request},
        }
        try:
            await app(inner, self._receive, self._send)
        except Exception:
            if self._refusal is None and not self._started:
                raise
            if self._refusal is None:  # the answer is out already, so that only the log can tell
                log.exception("request.fault", request_id=request.request_id, path=request.path)
        if self._refusal is not None and not self._started:
            raise self._refusal

    async def _receive(self) -> Any:
        if self._ended:
            return await self._body.wait_for_end()
        try:
            part = await self._body()
            if self._body.received > APP_BODY_BYTES:
                raise PayloadTooLarge(
                    f"the body is larger than the {APP_BODY_BYTES} bytes that are read here"
                )
        except ClientGone:
            return {"type": "http.disconnect"}
        except (PayloadTooLarge, RequestTimeout) as refusal:
            self._refusal = refusal
            raise
        self._ended = self._body.complete
        return {"type": "http.request", "body": part, "more_body": not self._ended}

    async def _send(self, message: Any) -> None:
        if self._refusal is not None and not self._started:
            return  # the framework's words for our own refusal
        if message["type"] == "http.response.start":
            self._started, self.status = True, message["status"]
            headers = [
                *message.get("headers", ()),
                (b"x-request-id", self._request.request_id.encode("ascii")),
            ]
            message = {**message, "headers": headers}
        else:
            self.sent += len(message.get("body", b""))
        await self._send_on(message)
