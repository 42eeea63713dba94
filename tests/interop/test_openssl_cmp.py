"""``openssl cmp`` of Debian 12 (OpenSSL 3.0), unmodified: every command, by secret and by signature."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.answers import dns_names
from tests.support.cmp_lab import CmpLab, cmp_lab
from tests.support.devices import device_name
from tests.support.openssl import Judge, run

pytestmark = pytest.mark.interop

KINDS = {
    "ec": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "ed25519": ("-algorithm", "ED25519"),
}
SIGNING = ("ec", "rsa")  # OpenSSL 3.0 proves possession of an Ed25519 key, but protects no message with one


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CmpLab]:
    with cmp_lab(tmp_path_factory.mktemp("openssl-cmp")) as started:
        yield started


@dataclass(frozen=True)
class Client:
    """The command in a directory, asking one endpoint."""

    lab: CmpLab
    directory: Path
    endpoint: str = "default"

    def cmp(self, *arguments: str | Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        url = f"{self.lab.gateway.quickstart['http']}/.well-known/cmp/p/{self.endpoint}"
        command = ["openssl", "cmp", "-config", "", "-server", url, "-batch", *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def works(self, *arguments: str | Path, timeout_s: float = 120) -> str:
        """Run it, and give what it said."""
        completed = self.cmp(*arguments, timeout_s=timeout_s)
        said = completed.stdout + completed.stderr
        assert completed.returncode == 0, said
        assert "CMP error" not in said
        return said

    def fails(self, *arguments: str | Path) -> str:
        completed = self.cmp(*arguments)
        assert completed.returncode != 0
        return completed.stdout + completed.stderr

    @property
    def secret(self) -> tuple[str, ...]:
        secret = self.lab.secret.decode()
        return ("-recipient", "/CN=any", "-ref", self.lab.reference, "-secret", f"pass:{secret}")

    def key(self, name: str, kind: str = "ec") -> str:
        run("openssl", "genpkey", *KINDS[kind], "-out", f"{name}.key", cwd=self.directory)
        return f"{name}.key"

    def signed(self, name: str) -> tuple[str, ...]:
        """Sign with what ``enrol`` left; the answers must be signed by who leads to the root."""
        root = str(self.lab.gateway.root_pem)
        return ("-cert", f"{name}.pem", "-key", f"{name}.key", "-trusted", root)

    def enrol(self, host: str, *more: str, command: str = "ir", kind: str = "ec") -> x509.Certificate:
        key = self.key(host, kind)
        self.works(
            *("-cmd", command, *self.secret, "-newkey", key, "-subject", f"/CN={host}"),
            *("-sans", host, "-certout", f"{host}.pem", *more),
        )
        return self.certificate(host)

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.directory / f"{name}.pem").read_bytes())


@pytest.fixture
def client(lab: CmpLab, tmp_path: Path) -> Client:
    return Client(lab, tmp_path)


@pytest.fixture
def judge(lab: CmpLab, tmp_path: Path) -> Judge:
    return Judge(lab.gateway, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["ir", "cr"])
def test_openssl_enrols_with_a_secret(client: Client, judge: Judge, command: str, kind: str) -> None:
    host = device_name("ossl")
    assert dns_names(client.enrol(host, command=command, kind=kind)) == [host]
    judge.assert_valid(client.directory / f"{host}.pem")
    assert client.lab.states(host) == ["issued"], "it was confirmed by certConf"


def test_openssl_gets_the_chain_and_the_ca_certificates(client: Client) -> None:
    """caPubs and extraCerts: a device that has nothing yet can verify what it got."""
    host = device_name("ossl")
    client.enrol(host, "-cacertsout", "ca.pem", "-extracertsout", "extra.pem", "-chainout", "chain.pem")
    root = client.lab.gateway.root_pem.read_bytes().strip()
    assert root in (client.directory / "ca.pem").read_bytes()
    verify = ("openssl", "verify", "-CAfile", client.lab.gateway.root_pem, "-untrusted")
    run(*verify, "extra.pem", f"{host}.pem", cwd=client.directory)
    run(*verify, "chain.pem", f"{host}.pem", cwd=client.directory)


def test_openssl_verifies_the_new_certificate_before_it_confirms(client: Client) -> None:
    host = device_name("ossl")
    client.enrol(host, "-out_trusted", str(client.lab.gateway.root_pem))
    assert client.lab.states(host) == ["issued"]


@pytest.mark.parametrize("mac", ["hmac-sha1", "hmacWithSHA256", "hmacWithSHA512"])
def test_openssl_protects_with_other_macs(client: Client, mac: str) -> None:
    client.enrol(device_name("ossl"), "-mac", mac)


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_openssl_signs_with_other_digests(client: Client, digest: str) -> None:
    host, again = device_name("ossl"), device_name("ossl")
    client.enrol(host)
    client.works(
        *("-cmd", "cr", *client.signed(host), "-newkey", client.key(again), "-digest", digest),
        *("-subject", f"/CN={host}", "-sans", host, "-certout", f"{again}.pem"),
    )


@pytest.mark.parametrize("endpoint", ["default", "certconf-only"])
def test_openssl_asks_for_implicit_confirmation(lab: CmpLab, tmp_path: Path, endpoint: str) -> None:
    """Where it is not granted, the client confirms after all."""
    client, host = Client(lab, tmp_path, endpoint), device_name("ossl")
    client.enrol(host, "-implicit_confirm", "-rspout", "first.der,second.der")
    assert lab.states(host) == ["issued"]
    assert (tmp_path / "second.der").exists() is (endpoint == "certconf-only")


@pytest.mark.parametrize("kind", SIGNING)
def test_openssl_signs_a_further_request(client: Client, judge: Judge, kind: str) -> None:
    host = device_name("ossl")
    client.enrol(host, kind=kind)
    client.works(
        *("-cmd", "cr", *client.signed(host), "-newkey", client.key("further"), "-certout", "further.pem"),
        *("-subject", f"/CN={host}", "-sans", host),
    )
    judge.assert_valid(client.directory / "further.pem")


@pytest.mark.parametrize("kind", SIGNING)
def test_openssl_updates_its_key(client: Client, judge: Judge, kind: str) -> None:
    host = device_name("ossl")
    first = client.enrol(host, kind=kind)
    client.works(
        "-cmd", "kur", *client.signed(host), "-newkey", client.key("next", kind), "-certout", "next.pem"
    )
    second = client.certificate("next")
    assert (second.subject, dns_names(second)) == (first.subject, dns_names(first))
    assert second.public_key() != first.public_key()
    judge.assert_valid(client.directory / "next.pem")
    assert client.lab.states(host) == ["issued", "issued"]


def test_openssl_updates_again_and_again(client: Client) -> None:
    host = device_name("ossl")
    client.enrol(host)
    for name, following in ((host, "second"), ("second", "third")):
        key = client.key(following)
        client.works("-cmd", "kur", *client.signed(name), "-newkey", key, "-certout", f"{following}.pem")


@pytest.mark.parametrize("protection", ["secret", "signature"])
def test_openssl_sends_a_pkcs10(client: Client, judge: Judge, protection: str) -> None:
    host = device_name("ossl")
    how = client.secret
    if protection == "signature":
        client.enrol(host)
        how = client.signed(host)
    request = ("-new", "-key", client.key("csr"), "-subj", f"/CN={host}", "-out", "csr.pem")
    run("openssl", "req", *request, "-addext", f"subjectAltName=DNS:{host}", cwd=client.directory)
    client.works("-cmd", "p10cr", *how, "-csr", "csr.pem", "-certout", "csr-cert.pem")
    judge.assert_valid(client.directory / "csr-cert.pem")


@pytest.mark.parametrize(("number", "word"), [(-1, "unspecified"), (1, "keyCompromise"), (4, "superseded")])
def test_openssl_revokes_its_certificate(client: Client, judge: Judge, number: int, word: str) -> None:
    host = device_name("ossl")
    certificate = client.enrol(host)
    path = client.directory / f"{host}.pem"
    judge.assert_valid(path)
    client.works("-cmd", "rr", *client.signed(host), "-oldcert", path, "-revreason", str(number))
    judge.assert_revoked(path)
    assert client.lab.status_of(certificate) == ("revoked", word)


def test_openssl_is_told_that_a_revoked_certificate_signs_nothing(client: Client) -> None:
    host = device_name("ossl")
    client.enrol(host)
    client.works("-cmd", "rr", *client.signed(host), "-oldcert", f"{host}.pem")
    said = client.fails(
        "-cmd", "kur", *client.signed(host), "-newkey", client.key("next"), "-certout", "next.pem"
    )
    assert "certRevoked" in said


def test_openssl_cannot_revoke_with_a_secret(client: Client) -> None:
    host = device_name("ossl")
    certificate = client.enrol(host)
    said = client.fails("-cmd", "rr", *client.secret, "-oldcert", f"{host}.pem")
    assert "wrongIntegrity" in said
    assert client.lab.status_of(certificate) == ("good", None)


@pytest.mark.parametrize("infotype", ["caCerts", "signKeyPairTypes", "currentCRL"])
@pytest.mark.parametrize("protection", ["secret", "signature"])
def test_openssl_asks_general_questions(client: Client, infotype: str, protection: str) -> None:
    how = client.secret
    if protection == "signature":
        host = device_name("ossl")
        client.enrol(host)
        how = client.signed(host)
    said = client.works("-cmd", "genm", *how, "-infotype", infotype)
    assert f"genp contains ITAV of type: id-it-{infotype}" in said


def _approve(lab: CmpLab, host: str, decision: str) -> None:
    """Wait for the request and decide it, as a person does."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        listed = lab.gateway.cli_json("request", "list", "--state", "awaiting-approval")
        if found := [row["id"] for row in listed["requests"] if host in str(row)]:
            lab.gateway.cli("request", decision, found[0])
            return
        time.sleep(0.1)
    raise AssertionError(f"no request for {host} waits")


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_openssl_polls_until_somebody_decides(lab: CmpLab, tmp_path: Path, decision: str) -> None:
    client, host = Client(lab, tmp_path, "approval"), device_name("ossl")
    url = f"{lab.gateway.quickstart['http']}/.well-known/cmp/p/approval"
    command = ["openssl", "cmp", "-config", "", "-server", url, "-batch", "-cmd", "ir", *client.secret]
    command += ["-newkey", client.key(host), "-subject", f"/CN={host}", "-sans", host]
    command += ["-certout", f"{host}.pem", "-total_timeout", "150"]
    polling = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        _approve(lab, host, decision)
        said, _ = polling.communicate(timeout=180)
    finally:
        polling.kill()
        polling.wait()
    assert "received 'waiting' PKIStatus" in said
    if decision == "approve":
        assert polling.returncode == 0, said
        assert dns_names(client.certificate(host)) == [host]
        assert lab.states(host) == ["issued"]
    else:
        assert polling.returncode != 0
        assert "notAuthorized" in said
        assert lab.states(host) == ["refused"]


@pytest.mark.parametrize(
    ("wrong", "failure"),
    [
        (("-secret", "pass:wrong"), "badMessageCheck"),
        (("-subject", "/CN=host.invalid", "-sans", "host.invalid"), "badCertTemplate"),
        (("-popo", "-1"), "badPOP"),
        (("-popo", "0"), "notAuthorized"),
        (("-unprotected_requests",), "badMessageCheck"),
    ],
    ids=["secret", "name", "no-possession", "ra-verified", "unprotected"],
)
def test_openssl_shows_why_it_was_refused(client: Client, wrong: tuple[str, ...], failure: str) -> None:
    """The reason reaches whoever sits before the client; the answer's protection is understood."""
    host = device_name("ossl")
    asked = ("-newkey", client.key(host), "-subject", f"/CN={host}", "-sans", host, "-certout", "c.pem")
    trusted = ("-trusted", str(client.lab.gateway.root_pem), "-unprotected_errors")
    said = client.fails("-cmd", "ir", *client.secret, *asked, *trusted, *wrong)
    assert failure in said, said
    assert not (client.directory / "c.pem").exists()


def test_openssl_withdraws_what_it_does_not_want(client: Client) -> None:
    """A certificate that does not lead to its trust anchor is rejected in certConf, and so revoked."""
    host = device_name("ossl")
    key = client.key("stranger")
    run(
        *("openssl", "req", "-x509", "-new", "-key", key, "-subj", "/CN=Stranger", "-out", "stranger.pem"),
        cwd=client.directory,
    )
    asked = ("-newkey", client.key(host), "-subject", f"/CN={host}", "-sans", host, "-certout", "c.pem")
    client.fails("-cmd", "ir", *client.secret, *asked, "-out_trusted", "stranger.pem")
    assert client.lab.states(host) == ["withdrawn"]
