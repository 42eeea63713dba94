"""The sample CA's protocol: a JSON line each way per connection, over TCP (HOST:PORT) or ``unix:PATH``."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from datetime import datetime
from typing import Any

from gateway.model.enrolment import CertificatePlan

MAX_LINE_BYTES = 1 << 20


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection. Raises OSError."""
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"), limit=MAX_LINE_BYTES)
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port), limit=MAX_LINE_BYTES)


async def call(address: str, message: dict[str, Any], timeout_s: float = 10) -> dict[str, Any]:
    """Send one message and give the answer. Raises OSError, TimeoutError or EOFError (no answer came)."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await connect(address)
        return await exchange(reader, writer, message)


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: dict[str, Any]
) -> dict[str, Any]:
    """One message and its answer over an open connection, which is closed afterwards."""
    try:
        writer.write(json.dumps(message).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the CA closed the connection without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def to_b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def from_b64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def plan_message(plan: CertificatePlan) -> dict[str, Any]:
    """A plan as JSON: names as attribute lists and DER, times in ISO 8601."""
    return {
        "subject": [[[a.oid, a.value, a.tag] for a in rdn] for rdn in plan.subject.rdns],
        "sans": [to_b64(san.der) for san in plan.sans],
        "spki": to_b64(plan.spki_der),
        "not_before": plan.not_before.isoformat(),
        "not_after": plan.not_after.isoformat(),
        "key_usage": list(plan.key_usage),
        "extended_key_usage": list(plan.extended_key_usage),
        "extensions": [[e.oid, e.critical, to_b64(e.value_der)] for e in plan.extensions],
    }


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)
