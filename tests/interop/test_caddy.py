"""Caddy 2.6, Debian's package, unmodified: a web server that gets its own certificates (acme.md D)."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tls_peer
from tests.support.acme_programs import CONTACT, AcmeLab, ExternalKey
from tests.support.openssl import Judge

pytestmark = pytest.mark.interop

_CADDYFILE = """{{
    admin off
    storage file_system {directory}/storage
    https_port {port}
    auto_https disable_redirects
    default_bind 127.0.0.1
    skip_install_trust
    email {contact}
}}
"""
_SITE = """{name} {{
    respond "{name} by caddy"
    tls {{
        issuer acme {{
            dir {directory_url}
            trusted_roots {root_pem}
            disable_http_challenge
            {binding}
        }}
    }}
}}
"""


@contextlib.contextmanager
def _serving(directory: Path, caddyfile: str) -> Iterator[subprocess.Popen[bytes]]:
    (directory / "Caddyfile").write_text(caddyfile)
    command = ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"]
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "XDG_DATA_HOME": str(directory / "data")}
    with (
        (directory / "caddy.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=directory, env=clean, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def test_caddy_gets_certificates_by_tls_alpn_and_serves_them(
    acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path, external_key: ExternalKey
) -> None:
    """acme.md C54, C82"""
    port = acme_lab.tls_alpn01_port
    caddyfile = _CADDYFILE.format(directory=tmp_path, port=port, contact=CONTACT)
    bindings = {"default": "", "eab": f"eab {external_key.kid} {external_key.hmac_key}"}
    for endpoint, binding in bindings.items():
        caddyfile += _SITE.format(
            name=f"caddy-{endpoint}.test",
            directory_url=acme_lab.directory(endpoint),
            root_pem=acme_lab.root_pem,
            binding=binding,
        )
    with _serving(tmp_path, caddyfile) as process:
        for endpoint in bindings:
            name = f"caddy-{endpoint}.test"
            certificate_pem, answer = tls_peer.get_once_trusted(
                port, name, acme_lab.root_pem, running=lambda: process.poll() is None
            )
            assert f"{name} by caddy".encode() in answer
            path = tmp_path / f"{endpoint}.pem"
            path.write_text(certificate_pem)
            acme_judge.assert_valid(path)
