"""Apache's mod_md, Debian's package, unmodified: a web server that gets its own certificate (acme.md D)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tls_peer
from tests.support.acme_programs import CONTACT, AcmeLab, ExternalKey
from tests.support.openssl import Judge

pytestmark = pytest.mark.interop

_WAIT_S = 90
_CONFIGURATION = """
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog {directory}/error.log
LogLevel warn md:info
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule md_module /usr/lib/apache2/modules/mod_md.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
StartServers 1
Listen 127.0.0.1:{port} https
Protocols http/1.1 acme-tls/1
ServerName {name}
ServerAdmin mailto:{contact}
MDStoreDir {directory}/md
MDCertificateAuthority {directory_url}
MDCACertificateFile {directory}/root.pem
MDCertificateAgreement accepted
MDCAChallenges tls-alpn-01
MDPortMap http:- https:{port}
MDExternalAccountBinding {kid} {hmac_key}
MDomain {name}
DocumentRoot {directory}/web
<Directory {directory}/web>
    Require all granted
</Directory>
<VirtualHost *:{port}>
    ServerName {name}
    SSLEngine on
</VirtualHost>
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Apache's children work as www-data, for whom pytest's directories are closed."""
    with tempfile.TemporaryDirectory(prefix="pkigate-apache-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "web").mkdir()
        (directory / "web" / "index.html").write_text("by apache")
        yield directory


@contextlib.contextmanager
def _serving(directory: Path, configuration: str) -> Iterator[subprocess.Popen[bytes]]:
    (directory / "apache.conf").write_text(configuration)
    command = ["/usr/sbin/apache2", "-f", str(directory / "apache.conf"), "-DFOREGROUND"]
    clean = {"PATH": "/usr/sbin:/usr/bin:/bin"}
    with (
        (directory / "apache.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=directory, env=clean, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def test_apache_gets_its_certificate_by_tls_alpn_and_serves_it(
    acme_lab: AcmeLab, acme_judge: Judge, open_directory: Path, external_key: ExternalKey
) -> None:
    """acme.md C54, C82"""
    name, port = "apache.test", acme_lab.tls_alpn01_port
    shutil.copyfile(acme_lab.root_pem, open_directory / "root.pem")
    configuration = _CONFIGURATION.format(
        directory=open_directory,
        name=name,
        port=port,
        contact=CONTACT,
        directory_url=acme_lab.directory("eab"),
        kid=external_key.kid,
        hmac_key=external_key.hmac_key,
    )
    with _serving(open_directory, configuration) as process:
        staged = open_directory / "md" / "staging" / name / "pubcert.pem"
        _wait_for(staged, process, open_directory / "error.log")
        os.kill(process.pid, signal.SIGUSR1)  # a graceful restart takes the new certificate into use
        certificate_pem, answer = tls_peer.get_once_trusted(
            port, name, acme_lab.root_pem, running=lambda: process.poll() is None
        )
    assert b"by apache" in answer
    path = open_directory / "served.pem"
    path.write_text(certificate_pem)
    acme_judge.assert_valid(path)


def _wait_for(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not path.exists():
        said = log.read_text(errors="replace") if log.exists() else ""
        assert process.poll() is None, f"Apache ended with {process.returncode}\n{said}"
        assert time.monotonic() < deadline, f"Apache has no certificate\n{said}"
        time.sleep(0.1)
