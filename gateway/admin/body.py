"""A JSON body that is small, and that no two readers understand differently (RFC 8259)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from fastapi import Request

from gateway.admin.problems import Problem

MAX_BODY_BYTES = 16 * 1024


async def with_json(request: Request) -> Request:
    """The same request with its body read and found to be JSON. Raises Problem (400, 413, 415).

    Also raises what reading raises: starlette's ClientDisconnect, RequestTimeout.
    """
    declared = request.headers.get("content-type", "")
    if declared.partition(";")[0].strip().lower() != "application/json":
        raise Problem(
            415, "media-type", "The body has another type", "send JSON, with Content-Type: application/json"
        )
    body = await _read(request)
    try:
        json.loads(body.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        what = f": {exc}" if isinstance(exc, json.JSONDecodeError | _AmbiguousError) else ""
        raise Problem(
            400, "json", "The body is not JSON", f"the body is not one JSON value in UTF-8{what}"
        ) from exc

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)


async def _read(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Problem(
                413,
                "too-large",
                "The body is too large",
                f"a body has at most {MAX_BODY_BYTES} bytes here",
                headers=(("Connection", "close"),),
            )
        parts.append(part)
    return b"".join(parts)


class _AmbiguousError(ValueError):
    """JSON that other readers take."""


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _AmbiguousError("a member stands twice in one object")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise _AmbiguousError("NaN and Infinity are no JSON numbers")
