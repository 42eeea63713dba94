"""The sample CA as a program: ``python -m pkigate_sample.ca_server --state DIR --port 0``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

from pkigate_sample.authority import Authority, Switches
from pkigate_sample.wire import MAX_LINE_BYTES, to_b64


class CaServer:
    """Answers one message per connection."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                answer = await self._answered(line)
                if answer is not None:
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        except (OSError, ValueError):
            pass  # the other side went away or sent an overlong line: nobody is left to tell
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answered(self, line: bytes) -> dict[str, Any] | None:
        """The answer, or None to close the connection without one."""
        try:
            message = json.loads(line)
            return await self._operate(message["op"], message)
        except (KeyError, TypeError, ValueError) as error:
            return {"status": "error", "message": f"{type(error).__name__}: {error}"}

    async def _operate(self, operation: str, message: dict[str, Any]) -> dict[str, Any] | None:
        authority = self._authority
        match operation:
            case "issue":
                return await self._issue(message)
            case "poll":
                return authority.poll(message["handle"])
            case "find" if authority.switches.retry == "findable":
                return authority.find(message["order_id"], message["spki"])
            case "revoke":
                return authority.revoke(message["serial"], message["reason"])
            case "chain":
                return {"status": "ok", "chain": [to_b64(authority.root_der())]}
            case "control":
                authority.switches.set(message["switches"])
                return {"status": "ok"}
            case "journal":
                journal = authority.journal
                return {"status": "ok", "issued": journal.issued_count, "revoked": journal.revoked}
        raise ValueError(f"no operation {operation!r}")

    async def _issue(self, message: dict[str, Any]) -> dict[str, Any] | None:
        switches = self._authority.switches
        if switches.lose_before > 0:
            switches.lose_before -= 1
            return None
        if switches.delay_ms:
            await asyncio.sleep(switches.delay_ms / 1000)
        answer = self._authority.issue(message["order_id"], message["plan"])
        if switches.lose_after > 0:
            switches.lose_after -= 1
            return None
        return answer


async def serve(authority: Authority, state: Path, *, host: str, port: int, socket: str | None) -> None:
    """Serve until SIGTERM or SIGINT. Prints the address, and writes ``port``, once it serves."""
    connections = CaServer(authority).serve_connection
    if socket:
        server = await asyncio.start_unix_server(connections, socket, limit=MAX_LINE_BYTES)
        print(f"listening unix:{socket}", flush=True)
    else:
        server = await asyncio.start_server(connections, host, port, limit=MAX_LINE_BYTES)
        bound = server.sockets[0].getsockname()[1]
        temporary = state / ".port"
        temporary.write_text(f"{bound}\n")
        temporary.rename(state / "port")
        print(f"listening {host} {bound}", flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with server:
        await stop.wait()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="pkigate_sample.ca_server", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="directory of key and journal")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--socket", help="serve on this Unix socket instead")
    for name, default in (("delay_ms", 0), ("lose_before", 0), ("lose_after", 0), ("pending", 0)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--refuse", default="")
    parser.add_argument("--lie", default="", choices=["", "wrong-key", "wrong-name", "longer-validity"])
    parser.add_argument("--retry", default="idempotent", choices=["idempotent", "findable", "neither"])
    chosen = parser.parse_args(arguments)
    authority = Authority(chosen.state)
    names = ("delay_ms", "lose_before", "lose_after", "pending", "refuse", "lie", "retry")
    authority.switches = Switches(**{name: getattr(chosen, name) for name in names})
    asyncio.run(serve(authority, chosen.state, host=chosen.host, port=chosen.port, socket=chosen.socket))


if __name__ == "__main__":
    main(sys.argv[1:])
