"""What the drivers of unmodified ACME clients share: the gateway, hooks, a web root, how to run them."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.challtestsrv import ChallengeDns
from tests.support.gateway import ROOT, Gateway

CERTBOT = ROOT / ".venv-certbot" / "bin" / "certbot"
CERTBOT_PYTHON = CERTBOT.with_name("python")
ACME_CLIENT_MODULES = ROOT / ".venv-acme-client" / "node_modules"
CONTACT = "admin@example.test"

# One hook for all: certbot (variables), lego exec, dehydrated and uacme (arguments) say it in four ways.
_HOOK = """#!/bin/sh
set -eu
case "$1" in
    certbot-set) action=set name=_acme-challenge.$CERTBOT_DOMAIN. value=$CERTBOT_VALIDATION ;;
    certbot-clear) action=clear name=_acme-challenge.$CERTBOT_DOMAIN. value= ;;
    present) action=set name=$2 value=$3 ;;
    cleanup) action=clear name=$2 value= ;;
    deploy_challenge) action=set name=_acme-challenge.$2. value=$4 ;;
    clean_challenge) action=clear name=_acme-challenge.$2. value= ;;
    begin | done | failed)
        file={webroot}/.well-known/acme-challenge/$4
        case "$1 $2" in
            "begin http-01") printf %s "$5" >"$file"; exit 0 ;;
            "begin dns-01") action=set name=_acme-challenge.$3. value=$5 ;;
            *" http-01") rm -f "$file"; exit 0 ;;
            *" dns-01") action=clear name=_acme-challenge.$3. value= ;;
            *) exit 1 ;;
        esac
        ;;
    *) exit 0 ;;
esac
curl -sSf -d "{{\\"host\\":\\"$name\\",\\"value\\":\\"$value\\"}}" {management}/$action-txt
"""


@dataclass(frozen=True, slots=True)
class AcmeLab:
    """A gateway in lab mode that validates on these loopback ports and asks this DNS server."""

    gateway: Gateway
    dns: ChallengeDns
    http01_port: int
    tls_alpn01_port: int

    @property
    def root_pem(self) -> Path:
        """The root of the gateway's own TLS certificate and of everything that it issues."""
        return self.gateway.root_pem

    def directory(self, endpoint: str = "default") -> str:
        default: str = self.gateway.quickstart["acme"]["directory"]
        return default if endpoint == "default" else default.replace("/acme/", f"/acme/{endpoint}/")

    def hook(self, directory: Path) -> Path:
        """Write the hook script. Files of http-01 go below ``directory``/web."""
        (directory / "web" / ".well-known" / "acme-challenge").mkdir(parents=True, exist_ok=True)
        path = directory / "hook"
        path.write_text(_HOOK.format(webroot=directory / "web", management=self.dns.management))
        path.chmod(0o755)
        return path

    def webroot(self, directory: Path) -> contextlib.AbstractContextManager[Path]:
        """Serve ``directory``/web where http-01 looks; gives the directory of the challenge files."""
        return webroot(directory, self.http01_port)


@contextlib.contextmanager
def webroot(directory: Path, port: int) -> Iterator[Path]:
    """Serve ``directory``/web on a loopback port; gives the directory of the challenge files below it."""
    challenges = directory / "web" / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_QuietHandler, directory=str(directory / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield challenges
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that the base has
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class ExternalKey:
    """A key for external account binding; ``hmac_key`` as base64url, as it is handed to clients."""

    kid: str
    hmac_key: str


def run_client(
    *command: str | Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 240,
    fails: bool = False,
) -> str:
    """Run a foreign client in a clean environment; gives what it said. ``fails``: it must not succeed."""
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(cwd), "LC_ALL": "C.UTF-8"}
    completed = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
    name = Path(command[0]).name
    assert (completed.returncode != 0) is fails, f"{name}: exit {completed.returncode}\n{completed.stdout}"
    return completed.stdout


def installed(program: Path | str) -> Path:
    """A program of a test environment; says how it comes where it is missing."""
    path = Path(program)
    assert os.access(path, os.X_OK), f"{path} is missing: scripts/test interop installs it"
    return path
