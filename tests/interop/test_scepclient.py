"""scepclient of micromdm's scep 2.1.0, Debian's package ``scep``, unmodified (scep.md E4).

It encrypts with single DES and signs with SHA-1 whatever is advertised, so that it enrols at the endpoint
for old devices that docs/scep.md shows.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support import gateway as gateways
from tests.support.documents import yaml_block
from tests.support.gateway import Gateway
from tests.support.openssl import Judge
from tests.support.scep_client import ScepServer
from tests.support.scep_programs import access, certificate, shipped

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The shipped policies, and those of the document beside them."""
    policies = {**shipped(), "old.yaml": yaml_block("scep.md", "des-cbc")}
    with gateways.running(tmp_path_factory.mktemp("old"), policies=policies) as started:
        yield started


def _url(gateway: Gateway) -> str:
    return f"{access(gateway)[0]}/old"


def _challenge(gateway: Gateway) -> str:
    return str(gateway.cli_json("credential", "add", "scep-challenge", "--endpoint", "old")["challenge"])


def _scepclient(url: str, directory: Path, host: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["scepclient", "-server-url", url, "-private-key", "key.pem", "-certificate", "cert.pem"]
    return subprocess.run(
        [*command, "-cn", host, *more],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_scepclient_enrols_and_renews_with_the_same_key(old: Gateway, tmp_path: Path) -> None:
    """scep.md C16, C32, C42, C43, B11: its transactionID comes from the key."""
    host, path, judge = "go.old.example", tmp_path / "cert.pem", Judge(old, tmp_path)
    done = _scepclient(_url(old), tmp_path, host, "-challenge", _challenge(old))
    assert done.returncode == 0, done.stderr
    judge.assert_valid(path)
    first = certificate(path)
    done = _scepclient(_url(old), tmp_path, host)
    assert done.returncode == 0, done.stderr
    judge.assert_valid(path)
    second = certificate(path)
    assert second.serial_number != first.serial_number
    assert second.public_key() == first.public_key()
    (new, before) = old.cli_json("cert", "list", host)["certificates"]
    assert new["predecessor_sha256"] == before["sha256"]


def test_scepclient_that_knows_one_certificate_by_its_fingerprint_enrols(
    old: Gateway, tmp_path: Path
) -> None:
    """scep.md B18: it keeps that one as recipient and as trust anchor."""
    server = ScepServer(_url(old))
    fingerprint = server.ra.fingerprint(SHA256()).hex()
    server.close()
    pinned = ("-challenge", _challenge(old), "-ca-fingerprint", fingerprint)
    done = _scepclient(_url(old), tmp_path, "pinned.old.example", *pinned)
    assert done.returncode == 0, done.stderr
    Judge(old, tmp_path).assert_valid(tmp_path / "cert.pem")


def test_scepclient_is_told_that_its_challenge_is_wrong(old: Gateway, tmp_path: Path) -> None:
    """scep.md C38"""
    done = _scepclient(_url(old), tmp_path, "go-guesses.old.example", "-challenge", "guess")
    assert done.returncode != 0
    assert "failInfo: badRequest (2)" in done.stdout + done.stderr
    assert not (tmp_path / "cert.pem").exists()


def test_scepclient_is_refused_for_its_algorithms_by_the_shipped_policies(
    gateway: Gateway, tmp_path: Path
) -> None:
    """scep.md C22, C32"""
    url, challenge = access(gateway)
    done = _scepclient(url, tmp_path, "go-des.test", "-challenge", challenge)
    assert done.returncode != 0
    assert "failInfo: badAlg (0)" in done.stdout + done.stderr
    assert gateway.cli_json("cert", "list", "go-des.test")["certificates"] == []
