"""Cross-certificates of the embedded CA: checked at the start, made into alternate chains."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from ca_backend.api import CaIssued, CanCrossChain
from ca_backend.contract import make_order, require_path
from ca_backend.embedded.backend import EmbeddedBackend
from ca_backend.embedded.options import EmbeddedOptions
from ca_backend.embedded.plugin import EmbeddedBackendPlugin
from gateway.enrolment.backends import BackendSet
from gateway.errors import ConfigurationError
from tests.support import pki
from tests.unit.ca_backend import embedded_ca

FILE = "cross.pem"
Certificates = tuple[x509.Certificate, ...]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A data directory whose CAs exist already."""
    embedded_ca.opened(tmp_path)
    return tmp_path


@pytest.fixture
def other() -> pki.Authority:
    return pki.Authority("Other Root")


def ours(data: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((data / "ca" / "embedded" / f"{name}.pem").read_bytes())


def put(data: Path, *path: x509.Certificate, file: str = FILE) -> EmbeddedOptions:
    """Write the file; gives options that name it."""
    (data / file).write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in path))
    return with_files(f"file:{file}")


def with_files(*references: str) -> EmbeddedOptions:
    plain = embedded_ca.options().model_dump()
    return EmbeddedOptions.model_validate({**plain, "cross_certificates": references})


def loaded(chain_der: tuple[bytes, ...]) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(one) for one in chain_der]


async def issued(backend: EmbeddedBackend) -> CaIssued:
    answer = await backend.issue(make_order())
    assert isinstance(answer, CaIssued), answer
    return answer


async def test_cross_certificate_of_the_root_makes_a_chain_below_the_other_root(
    made: Path, other: pki.Authority
) -> None:
    cross = other.certify(ours(made, "root"))
    backend = embedded_ca.opened(made, put(made, cross, other.certificate))
    assert isinstance(backend, CanCrossChain)
    answer = await issued(backend)
    (chain,) = backend.alternate_chains(answer.chain_der)
    assert loaded(chain) == [ours(made, "issuing"), cross]
    require_path(answer.certificate_der, (*chain, other.certificate.public_bytes(Encoding.DER)))


async def test_cross_certificate_of_the_issuing_ca_takes_its_place(made: Path, other: pki.Authority) -> None:
    """Its issuers between it and the root are in the chain, the root is not."""
    middle = other.sub("Other Intermediate")
    cross = middle.certify(ours(made, "issuing"), path_length=0)
    backend = embedded_ca.opened(made, put(made, cross, middle.certificate, other.certificate))
    (chain,) = backend.alternate_chains((await issued(backend)).chain_der)
    assert loaded(chain) == [cross, middle.certificate]


def openssl(data: Path, *arguments: str | Path) -> None:
    completed = subprocess.run(["openssl", *arguments], cwd=data, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr


async def test_openssl_makes_a_cross_certificate_and_verifies_the_leaf_by_the_other_root_alone(
    made: Path, other: pki.Authority
) -> None:
    """By the command that docs/operations.md gives."""
    (made / "other.pem").write_bytes(other.certificate_pem)
    (made / "other.key").write_bytes(pki.key_pem(other.private_key))
    (made / "aki.cnf").write_text("authorityKeyIdentifier=keyid\n")
    openssl(
        made,
        *("x509", "-in", made / "ca" / "embedded" / "root.pem", "-CA", "other.pem", "-CAkey", "other.key"),
        *("-days", "1825", "-extfile", "aki.cnf", "-out", "certified.pem"),
    )
    cross = x509.load_pem_x509_certificate((made / "certified.pem").read_bytes())
    backend = embedded_ca.opened(made, put(made, cross, other.certificate))
    answer = await issued(backend)
    (chain,) = backend.alternate_chains(answer.chain_der)
    for name, chain_der in (("leaf", (answer.certificate_der,)), ("between", chain)):
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in loaded(chain_der))
        (made / f"{name}.pem").write_bytes(pem)
    openssl(made, "verify", "-x509_strict", "-CAfile", "other.pem", "-untrusted", "between.pem", "leaf.pem")


async def test_chains_stand_in_the_order_of_the_files(made: Path, other: pki.Authority) -> None:
    second = pki.Authority("Second Root")
    crosses = [second.certify(ours(made, "root")), other.certify(ours(made, "root"))]
    put(made, crosses[0], second.certificate, file="z.pem")
    put(made, crosses[1], other.certificate, file="a.pem")
    backend = embedded_ca.opened(made, with_files("file:z.pem", f"file:{made / 'a.pem'}"))
    chains = backend.alternate_chains((await issued(backend)).chain_der)
    assert [loaded(chain)[-1] for chain in chains] == crosses


async def test_backend_without_cross_certificates_has_no_alternate_chain(made: Path) -> None:
    backend = embedded_ca.opened(made)
    assert backend.alternate_chains((await issued(backend)).chain_der) == ()


async def test_chain_of_another_ca_has_no_alternate(made: Path, other: pki.Authority) -> None:
    backend = embedded_ca.opened(made, put(made, other.certify(ours(made, "root")), other.certificate))
    foreign = (pki.Authority("Foreign Root").certificate.public_bytes(Encoding.DER),)
    backends = BackendSet({"embedded": backend})
    assert backends.alternate_chains(foreign) == ()
    assert len(backends.alternate_chains(await backend.chain())) == 1


async def test_cross_certificate_that_ends_while_the_gateway_runs_is_not_offered_any_more(
    made: Path, other: pki.Authority
) -> None:
    """A worker that is started again opens its backend all the same, and health says what is wrong."""
    cross = other.certify(ours(made, "root"), ends=timedelta(hours=1))
    chosen = put(made, cross, other.certificate)
    embedded_ca.opened(made, chosen)
    later = embedded_ca.FixedClock(datetime.now(UTC) + timedelta(hours=2))
    backend = EmbeddedBackendPlugin().open(chosen, embedded_ca.context(made, at=later))
    assert backend.alternate_chains(await backend.chain()) == ()
    assert (await backend.health())["cross-certificate cross.pem"].startswith("expired on ")


async def test_health_tells_of_a_cross_certificate_that_ends_soon(made: Path, other: pki.Authority) -> None:
    soon = other.certify(ours(made, "root"), ends=timedelta(days=30))
    health = await embedded_ca.opened(made, put(made, soon, other.certificate)).health()
    assert health.pop("cross-certificate cross.pem").startswith("expires on ")
    assert set(health.values()) == {"ok"}


Wrong = Callable[[Path, pki.Authority], Certificates]


def _signature_of_a_stranger(data: Path, other: pki.Authority) -> Certificates:
    impostor = pki.impostor(other.certificate.public_bytes(Encoding.DER))
    return impostor.certify(ours(data, "root")), other.certificate


def _not_yet(data: Path, other: pki.Authority) -> Certificates:
    return other.certify(ours(data, "root"), starts=timedelta(days=2)), other.certificate


def _no_longer(data: Path, other: pki.Authority) -> Certificates:
    return other.certify(ours(data, "root"), ends=timedelta(hours=-1)), other.certificate


def _room_for_no_ca(data: Path, other: pki.Authority) -> Certificates:
    return other.certify(ours(data, "root"), path_length=0), other.certificate


WRONG: dict[str, tuple[Wrong, str]] = {
    "another subject": (
        lambda _, other: (other.sub("Somebody").certificate, other.certificate),
        "is for CN=Somebody; it must have subject and key of one of issuing.pem, root.pem",
    ),
    "another key": (
        lambda data, other: (other.certify(ours(data, "root"), private_key=pki.key()), other.certificate),
        "has another key than root.pem",
    ),
    "another key identifier": (
        lambda data, other: (other.certify(ours(data, "root"), key_identifier=b"x" * 20), other.certificate),
        "has another subject key identifier than root.pem",
    ),
    "our own root": (
        lambda data, other: (ours(data, "root"), other.certificate),
        "is self-issued; it must come from another root",
    ),
    "signature of a stranger": (_signature_of_a_stranger, "CN=Other Root did not sign it"),
    "issuer left out": (
        lambda data, other: (other.sub("Middle").certify(ours(data, "root")), other.certificate),
        "is not the CA CN=Other Root; its issuer must stand behind it",
    ),
    "root left out": (
        lambda data, other: ((middle := other.sub("Middle")).certify(ours(data, "root")), middle.certificate),
        "the last one must be a root",
    ),
    "cross-certificate alone": (
        lambda data, other: (other.certify(ours(data, "root")),),
        "holds 1 certificates; put the cross-certificate there, then its issuers up to the other root",
    ),
    "no CA": (
        lambda data, other: (other.certify(ours(data, "root"), is_ca=False), other.certificate),
        "does not let it sign certificates",
    ),
    "room for no CA below": (
        _room_for_no_ca,
        r"allows 0 CAs below it \(pathLenConstraint\), and there are 1",
    ),
    "not yet": (_not_yet, "not now; put a current one there"),
    "no longer": (_no_longer, "not now; put a current one there"),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG)
def test_wrong_cross_certificate_is_refused_at_the_start_with_file_and_reason(
    made: Path, other: pki.Authority, wrong: Wrong, said: str
) -> None:
    chosen = put(made, *wrong(made, other))
    with pytest.raises(ConfigurationError, match=said) as caught:
        embedded_ca.opened(made, chosen)
    assert str(caught.value).startswith(f"{made / FILE}: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"", "holds no readable PEM certificates"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no readable PEM"),
        (b"#" * 70_000, "is over 65536 bytes"),
    ],
    ids=["missing", "empty", "no DER", "too large"],
)
def test_file_that_holds_no_chain_is_refused_with_its_name(
    made: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (made / FILE).write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as caught:
        embedded_ca.opened(made, with_files(f"file:{FILE}"))
    assert str(caught.value).startswith(f"{made / FILE}: ")


def test_cross_certificate_is_named_by_a_file_only() -> None:
    with pytest.raises(ValidationError, match="cross_certificates"):
        with_files("env:CROSS")
