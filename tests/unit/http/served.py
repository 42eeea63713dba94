"""A small real service for the supervisor's tests: ``served.py MODE WORKERS OUT [CERTIFICATE KEY]``.

Writes the port to OUT once all workers are ready. MODE: good, broken, dying (ends soon after being ready),
watched (a worker that is silent for 2.5 s is killed).
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.errors import ConfigurationError
from gateway.http.edge import Edge
from gateway.http.listener import ListenerSpec, TlsCredentials, TlsSettings
from gateway.http.listeners import bind, bound_spec, serve
from gateway.http.log import configure_logging
from gateway.http.message import HttpRequest, HttpResponse, PathRoute
from gateway.http.supervisor import SILENCE_S, Supervisor

log = structlog.get_logger("tests.served")


async def answer_pid(request: HttpRequest) -> HttpResponse:
    body = await request.body(65536)
    return HttpResponse(200, body or b"%d" % os.getpid(), "text/plain")


async def answer_slowly(_request: HttpRequest) -> HttpResponse:
    log.warning("slow.begun")
    await asyncio.sleep(0.3)
    return HttpResponse(200, b"slow", "text/plain")


async def hang(_request: HttpRequest) -> HttpResponse:
    time.sleep(60)  # blocks the event loop: that is what it is for
    return HttpResponse(200, b"late", "text/plain")


async def no_application(_scope: object, _receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def main(mode: str, count: int, out: Path, *tls_files: str) -> int:
    def load() -> TlsCredentials:
        chain = x509.load_pem_x509_certificates(Path(tls_files[0]).read_bytes())
        return TlsCredentials(tuple(chain), load_pem_private_key(Path(tls_files[1]).read_bytes(), None))

    spec = ListenerSpec(
        "main", "127.0.0.1", 0, frozenset(("test",)), tls=TlsSettings(load) if tls_files else None
    )
    sock = bind(spec)
    spec = bound_spec(spec, sock)
    configure_logging(style="json", threaded=False)
    assert threading.active_count() == 1

    def work(slot: int, ready: Callable[[], None]) -> int:
        if mode == "broken":
            raise ConfigurationError("pkigate.yaml:3:1: no such thing; write another")
        writer, request_log = configure_logging(style="json")

        async def run() -> None:
            writer.start(asyncio.get_running_loop())
            if mode == "dying":
                ready()
                return
            edge = Edge(
                routes=(
                    PathRoute("/pid", "test", answer_pid),
                    PathRoute("/slow", "test", answer_slowly),
                    PathRoute("/hang", "test", hang),
                ),
                app=no_application,
                listeners=(spec,),
                request_log=request_log,
            )
            await serve([(spec, sock)], edge, ready=ready)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
        writer.stop()
        return 3 if mode == "dying" else 0

    def ready() -> None:
        (out.parent / "tmp").write_text(str(spec.port))
        (out.parent / "tmp").rename(out)

    silence_s = 2.5 if mode == "watched" else SILENCE_S
    return Supervisor(count, work, sockets=[sock], on_all_ready=ready, silence_s=silence_s).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:]))
