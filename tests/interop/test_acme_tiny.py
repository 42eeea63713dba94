"""acme-tiny 5.0.1, Debian's package, unmodified (acme.md part D)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.acme_programs import CONTACT, AcmeLab, run_client
from tests.support.openssl import Judge, run

pytestmark = pytest.mark.interop


def test_acme_tiny_has_a_csr_signed_twice(acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path) -> None:
    """acme.md C42, C49: it registers and sets its contact anew at every run."""
    host = "acme-tiny.test"
    run("openssl", "genrsa", "-out", "account.key", "2048", cwd=tmp_path)
    names = ("-subj", "/", "-addext", f"subjectAltName=DNS:{host},DNS:www.{host}")
    run(
        *("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "host.key", *names),
        *("-out", "host.csr"),
        cwd=tmp_path,
    )
    received = []
    with acme_lab.webroot(tmp_path) as challenges:
        for name in ("first.pem", "second.pem"):
            command = ("/usr/bin/acme-tiny", "--account-key", "account.key", "--csr", "host.csr")
            wanted = ("--directory-url", acme_lab.directory(), "--contact", f"mailto:{CONTACT}")
            where = ("--acme-dir", challenges, "--disable-check", "--quiet")
            trust = {"SSL_CERT_FILE": str(acme_lab.root_pem)}
            said = run_client(*command, *wanted, *where, cwd=tmp_path, environment=trust)
            path = tmp_path / name
            path.write_text(said[said.index("-----BEGIN") :])
            acme_judge.assert_valid(path)
            received.append(path.read_text())
    assert received[0] != received[1]
