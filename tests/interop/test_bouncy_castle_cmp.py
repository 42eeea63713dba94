"""A Java client on Debian's Bouncy Castle packages (1.72): ir, cr, kur, rr; PBM, PBMAC1 and signature."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.answers import dns_names
from tests.support.cmp_lab import CmpLab, cmp_lab
from tests.support.devices import device_name
from tests.support.openssl import Judge, run

pytestmark = pytest.mark.interop

SOURCE = Path(__file__).parent / "bouncy_castle" / "CmpClient.java"
JARS = [f"/usr/share/java/{name}.jar" for name in ("bcpkix", "bcprov", "bcutil")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CmpLab]:
    with cmp_lab(tmp_path_factory.mktemp("bouncy-castle")) as started:
        yield started


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled client."""
    directory = tmp_path_factory.mktemp("classes")
    assert shutil.which("javac"), "scripts/test installs a Java compiler"
    run("javac", "-cp", os.pathsep.join(JARS), "-d", directory, SOURCE, cwd=directory, timeout_s=120)
    return directory


@pytest.fixture
def judge(lab: CmpLab, tmp_path: Path) -> Judge:
    return Judge(lab.gateway, tmp_path)


class Java:
    """Runs the client in a directory."""

    def __init__(self, lab: CmpLab, classes: Path, directory: Path) -> None:
        self._lab = lab
        self._classpath = os.pathsep.join((str(classes), *JARS))
        self.directory = directory

    def run(
        self, protection: str, *operations: str, endpoint: str = "default"
    ) -> subprocess.CompletedProcess[str]:
        url = f"{self._lab.gateway.quickstart['http']}/.well-known/cmp/p/{endpoint}"
        root = str(self._lab.gateway.root_pem)
        command = [
            "java",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            self._classpath,
            "CmpClient",
            url,
            root,
            protection,
        ]
        return subprocess.run(
            [*command, *operations],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def works(self, protection: str, *operations: str, endpoint: str = "default") -> list[str]:
        """The lines that it wrote, one for each operation."""
        completed = self.run(protection, *operations, endpoint=endpoint)
        assert completed.returncode == 0, completed.stderr
        return completed.stdout.splitlines()

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.directory / f"{name}.pem").read_bytes())

    def with_secret(self, kind: str) -> str:
        return f"{kind}:{self._lab.reference}:{self._lab.secret.decode()}"


@pytest.fixture
def java(lab: CmpLab, classes: Path, tmp_path: Path) -> Java:
    return Java(lab, classes, tmp_path)


@pytest.mark.parametrize("kind", ["pbm", "pbmac1"])
def test_bouncy_castle_enrols_updates_and_revokes(lab: CmpLab, java: Java, judge: Judge, kind: str) -> None:
    """cmp.md D: the answers' MACs and signatures are verified by Bouncy Castle."""
    host = device_name("bc")
    said = java.works(java.with_secret(kind), "ir", host, "kur", "updated")
    assert said == [f"ir {host}: accepted, confirmed", "kur updated: accepted, confirmed"]
    judge.assert_valid(java.directory / f"{host}.pem")
    judge.assert_valid(java.directory / "updated.pem")
    updated = java.certificate("updated")
    assert dns_names(updated) == [host]
    assert lab.states(host) == ["issued", "issued"]
    bundle = java.directory / "updated.pem"
    assert java.works(f"signature:{bundle}", "rr", "updated") == ["rr updated: revoked"]
    judge.assert_revoked(bundle)
    assert lab.status_of(updated) == ("revoked", "superseded")


@pytest.mark.parametrize("kind", ["pbm", "pbmac1"])
def test_bouncy_castle_confirms_implicitly(lab: CmpLab, java: Java, kind: str) -> None:
    host = device_name("bc")
    assert java.works(java.with_secret(kind), "ir-implicit", host) == [f"ir-implicit {host}: accepted"]
    assert lab.states(host) == ["issued"]


def test_bouncy_castle_signs_a_request_for_a_further_certificate(
    lab: CmpLab, java: Java, judge: Judge
) -> None:
    """At an endpoint that trusts the maker of the device."""
    identity = lab.factory_device().identity
    bundle = java.directory / "factory.pem"
    bundle.write_bytes(identity.chain_pem.split(b"-----END CERTIFICATE-----\n")[0])
    with bundle.open("ab") as out:
        out.write(b"-----END CERTIFICATE-----\n" + identity.key_pem)
    host = device_name("bc")
    assert java.works(f"signature:{bundle}", "cr", host, endpoint="factory") == [
        f"cr {host}: accepted, confirmed"
    ]
    judge.assert_valid(java.directory / f"{host}.pem")


def test_bouncy_castle_shows_why_it_was_refused(java: Java) -> None:
    completed = java.run(java.with_secret("pbm"), "ir", "host.invalid")
    assert completed.returncode != 0
    assert "name.not-allowed" in completed.stderr


def test_bouncy_castle_understands_the_protection_of_a_refusal(lab: CmpLab, java: Java) -> None:
    """With a wrong secret the error is signed; Bouncy Castle says that it is no MAC."""
    completed = java.run(f"pbm:{lab.reference}:wrong", "ir", device_name("bc"))
    assert completed.returncode != 0
    assert "MAC" in completed.stderr or "error:" in completed.stderr
