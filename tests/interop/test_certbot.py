"""certbot, the newest of the package index and Debian's 2.1, unmodified (acme.md part D)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import pki, policies
from tests.support.acme_programs import CERTBOT, CONTACT, AcmeLab, ExternalKey, installed, run_client
from tests.support.gateway import Gateway
from tests.support.openssl import Judge, run

pytestmark = pytest.mark.interop

DEBIAN = Path("/usr/bin/certbot")
NO_SUCH_CHAIN = "no chain from the CA matched this issuer"
VERSIONS = pytest.mark.parametrize("program", [CERTBOT, DEBIAN], ids=["pypi", "debian"])


@dataclass(frozen=True, slots=True)
class Certbot:
    """One certbot with its own directories."""

    lab: AcmeLab
    directory: Path
    program: Path = CERTBOT
    endpoint: str = "default"

    def __call__(self, command: str, *more: str | Path, fails: bool = False) -> str:
        places = ("--config-dir", "c", "--work-dir", "w", "--logs-dir", "l")
        return run_client(
            installed(self.program),
            *(command, *places, "-n", "--server", self.lab.directory(self.endpoint), *more),
            cwd=self.directory,
            environment={"REQUESTS_CA_BUNDLE": str(self.lab.root_pem)},
            fails=fails,
        )

    @property
    def first_time(self) -> tuple[str, ...]:
        return ("--agree-tos", "-m", CONTACT, "--no-eff-email")

    @property
    def standalone(self) -> tuple[str, ...]:
        return (
            *self.first_time,
            "--standalone",
            "--http-01-port",
            str(self.lab.http01_port),
            "--http-01-address",
            "127.0.0.1",
        )

    def live(self, name: str) -> Path:
        return self.directory / "c" / "live" / name / "cert.pem"


@pytest.fixture
def certbot(acme_lab: AcmeLab, tmp_path: Path) -> Certbot:
    return Certbot(acme_lab, tmp_path)


@pytest.fixture
def other_root(acme_lab: AcmeLab) -> Iterator[pki.Authority]:
    """A root that has certified ours; the gateway runs with its certificate."""
    other = pki.Authority("Other Root")
    cross = other.certify(x509.load_pem_x509_certificate(acme_lab.root_pem.read_bytes()))
    gateway = acme_lab.gateway
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in (cross, other.certificate))
    (gateway.data / "cross.pem").write_bytes(pem)
    kept = gateway.policies
    assert kept is not None
    try:
        gateway.policies = policies.cross_certified(kept, "file:cross.pem")
        gateway.restart()
        yield other
    finally:
        gateway.policies = kept
        gateway.restart()


@VERSIONS
def test_certbot_has_two_names_proven_standalone_and_revokes_by_its_account(
    acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path, program: Path
) -> None:
    certbot = Certbot(acme_lab, tmp_path, program)
    host = f"standalone-{program.parents[1].name.strip('.')}.test"
    certbot("certonly", *certbot.standalone, "-d", host, "-d", f"www.{host}")
    assert _names(certbot.live(host)) == {host, f"www.{host}"}
    acme_judge.assert_valid(certbot.live(host))
    certbot("revoke", "--cert-name", host, "--reason", "superseded", "--no-delete-after-revoke")
    acme_judge.assert_revoked(certbot.live(host))


def test_certbot_proves_a_wildcard_by_dns_hooks(certbot: Certbot, acme_judge: Judge) -> None:
    hook = certbot.lab.hook(certbot.directory)
    hooks = ("--manual-auth-hook", f"{hook} certbot-set", "--manual-cleanup-hook", f"{hook} certbot-clear")
    by_dns = ("--manual", "--preferred-challenges", "dns", *hooks)
    certbot("certonly", *certbot.first_time, *by_dns, "-d", "*.wild.test", "-d", "wild.test")
    assert _names(certbot.live("wild.test")) == {"*.wild.test", "wild.test"}
    acme_judge.assert_valid(certbot.live("wild.test"))


def test_certbot_brings_a_csr_and_chooses_a_chain(certbot: Certbot, acme_judge: Judge) -> None:
    host, directory = "own-csr.test", certbot.directory
    wanted = ("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
    run(
        *("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key"),
        *(*wanted, "-out", "own.csr"),
        cwd=directory,
    )
    root = x509.load_pem_x509_certificate(certbot.lab.root_pem.read_bytes())
    root_name = root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    files = ("--cert-path", "cert.pem", "--chain-path", "chain.pem", "--fullchain-path", "full.pem")
    said = certbot(
        "certonly",
        *(*certbot.standalone, "--csr", "own.csr", *files, "--preferred-chain", str(root_name)),
    )
    assert NO_SUCH_CHAIN not in said, said
    acme_judge.assert_valid(directory / "cert.pem")
    chain = x509.load_pem_x509_certificates((directory / "chain.pem").read_bytes())
    assert chain[-1].issuer == root.subject
    leaf = x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())
    leaf.verify_directly_issued_by(chain[0])


@VERSIONS
def test_certbot_gets_the_chain_below_the_root_that_it_prefers(
    acme_lab: AcmeLab, other_root: pki.Authority, tmp_path: Path, program: Path
) -> None:
    """acme.md C90: two chains to two roots; without a preference the one to our own."""
    certbot, host = Certbot(acme_lab, tmp_path, program), f"chains-{program.parents[1].name.strip('.')}.test"
    own = x509.load_pem_x509_certificate(acme_lab.root_pem.read_bytes())
    roots = {(): own, ("--preferred-chain", "Other Root"): other_root.certificate}
    for number, (preferred, root) in enumerate(roots.items()):
        name = f"{number}-{host}"
        said = certbot("certonly", *certbot.standalone, "-d", name, *preferred)
        assert NO_SUCH_CHAIN not in said, said
        leaf, *above = x509.load_pem_x509_certificates(
            certbot.live(name).with_name("fullchain.pem").read_bytes()
        )
        assert above[-1].issuer == root.subject
        for certificate, issuer in itertools.pairwise((leaf, *above, root)):
            certificate.verify_directly_issued_by(issuer)
        anchor = tmp_path / "anchor.pem"
        anchor.write_bytes(root.public_bytes(Encoding.PEM))
        places = ("-CAfile", anchor, "-untrusted", certbot.live(name).with_name("chain.pem"))
        run("openssl", "verify", "-x509_strict", *places, certbot.live(name), cwd=tmp_path)


def test_certbot_says_so_where_no_chain_ends_at_the_root_that_it_prefers(certbot: Certbot) -> None:
    """Without cross-certificates the other root is not to be had: the test above can fail."""
    preferred = ("-d", "no-such-chain.test", "--preferred-chain", "Other Root")
    assert NO_SUCH_CHAIN in certbot("certonly", *certbot.standalone, *preferred)


def test_certbot_renews_when_renewal_information_says_so(certbot: Certbot, acme_judge: Judge) -> None:
    """acme.md C95: the window of a revoked certificate is in the past."""
    host = "renewal-information.test"
    certbot("certonly", *certbot.standalone, "-d", host)
    first = certbot.live(host).read_bytes()
    assert "not yet due" in certbot("renew", "--no-random-sleep-on-renew")
    assert certbot.live(host).read_bytes() == first
    serial = x509.load_pem_x509_certificate(first).serial_number
    certbot.lab.gateway.cli("cert", "revoke", f"{serial:x}", "--reason", "superseded")
    _ask_again_now(certbot.directory / "c" / "renewal" / f"{host}.conf")
    certbot("renew", "--no-random-sleep-on-renew")
    assert certbot.live(host).read_bytes() != first
    acme_judge.assert_valid(certbot.live(host))


def test_certbot_gets_the_profile_that_it_requires(certbot: Certbot, acme_judge: Judge) -> None:
    """acme.md C66"""
    host = "profile.test"
    certbot("certonly", *certbot.standalone, "-d", host, "--required-profile", "short-lived")
    certificate = x509.load_pem_x509_certificate(certbot.live(host).read_bytes())
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime.days <= 7
    acme_judge.assert_valid(certbot.live(host))
    unknown = ("-d", "other-profile.test", "--required-profile", "no-such-profile")
    certbot("certonly", *certbot.standalone, *unknown, fails=True)


def test_certbot_binds_an_external_account(
    acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path, external_key: ExternalKey
) -> None:
    """acme.md C53, C54"""
    certbot, host = Certbot(acme_lab, tmp_path, endpoint="eab"), "bound.test"
    refused = certbot("certonly", *certbot.standalone, "-d", host, fails=True)
    assert "external account" in refused.lower(), refused
    binding = ("--eab-kid", external_key.kid, "--eab-hmac-key", external_key.hmac_key)
    certbot("certonly", *certbot.standalone, *binding, "-d", host)
    acme_judge.assert_valid(certbot.live(host))


def test_certbot_revokes_with_the_key_of_the_certificate(certbot: Certbot, acme_judge: Judge) -> None:
    """acme.md C92"""
    host = "by-key.test"
    certbot("certonly", *certbot.standalone, "-d", host)
    key = certbot.live(host).with_name("privkey.pem")
    acme_judge.assert_valid(certbot.live(host))
    certificate = ("--cert-path", certbot.live(host), "--key-path", key)
    certbot("revoke", *certificate, "--reason", "keycompromise", "--no-delete-after-revoke")
    acme_judge.assert_revoked(certbot.live(host))


def test_certbot_updates_shows_and_gives_up_its_account(certbot: Certbot) -> None:
    """acme.md C49, C50"""
    certbot("register", *certbot.first_time)
    certbot("update_account", "-m", "another@example.test", "--no-eff-email")
    assert "another@example.test" in certbot("show_account")
    certbot("unregister")
    assert "Could not find an existing account" in certbot("show_account", fails=True)


def test_certbot_has_an_address_certified(certbot: Certbot, acme_judge: Judge) -> None:
    """acme.md C64, C91"""
    certbot("certonly", *certbot.standalone, "--ip-address", "127.0.0.1")
    acme_judge.assert_valid(certbot.live("127.0.0.1"))
    certificate = x509.load_pem_x509_certificate(certbot.live("127.0.0.1").read_bytes())
    assert not certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)


@VERSIONS
def test_certbot_waits_until_a_person_approves(
    acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path, program: Path
) -> None:
    """acme.md C89: the order is processing, with Retry-After."""
    host = f"waits-{program.parents[1].name.strip('.')}.test"
    certbot = Certbot(acme_lab, tmp_path, program, endpoint="approval")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(certbot, "certonly", *certbot.standalone, "-d", host)
        request_id = _parked(acme_lab.gateway, host)
        time.sleep(1.5)  # let it poll while nobody has decided
        assert not waiting.done(), waiting.result()
        acme_lab.gateway.cli("request", "approve", request_id)
        waiting.result(timeout=240)
    acme_judge.assert_valid(certbot.live(host))


def _parked(gateway: Gateway, host: str) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        listed = gateway.cli_json("request", "list", "--state", "awaiting-approval")
        for row in listed["requests"]:
            if host in str(row):
                return str(row["id"])
        time.sleep(0.2)
    raise AssertionError("the request never arrived")


def _names(certificate_pem: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(certificate_pem.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names.get_values_for_type(x509.DNSName))


def _ask_again_now(renewal_conf: Path) -> None:
    """Take back the hour until which certbot would not ask for renewal information again."""
    lines = renewal_conf.read_text().splitlines(keepends=True)
    renewal_conf.write_text("".join(line for line in lines if not line.startswith("ari_retry_after")))
