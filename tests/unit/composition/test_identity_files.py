"""What an administrator brings as a message identity is held against what the protocol needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import ConfigurationError
from gateway.frontend import OwnIdentity
from gateway.store.migrate import migrate
from tests.support import pki
from tests.unit.composition import identity_house
from tests.unit.composition.identity_house import CMC_RA, Brought, House, endpoint

SERVER_AUTH, ANY = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1"), x509.ObjectIdentifier("2.5.29.37.0")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    migrate(url)
    with identity_house.house(tmp_path / "gateway", url) as opened:
        yield opened


async def _checked(house: House, identity: OwnIdentity, protocol: str = "scep") -> None:
    house.use(endpoint(protocol, identity=identity))
    await house.identities.check(house.bundle.current, house.backends)


@pytest.mark.parametrize(
    ("brought", "said"),
    [
        (Brought(starts=timedelta(days=-9), ends=timedelta(days=-1)), "expired on .*; have it renewed"),
        (Brought(starts=timedelta(days=1)), "is valid from .* on, not yet"),
        (Brought(usage=("digital_signature",)), "key usage lacks keyEncipherment"),
        (Brought(usage=("key_encipherment",)), "key usage lacks digitalSignature"),
        (Brought(usage=("key_cert_sign",)), "key usage lacks digitalSignature and keyEncipherment"),
        (Brought(is_ca=True), "is a CA certificate"),
        (Brought(kind="P-256"), "its key is EC P-256, and only an RSA key can decrypt"),
        (Brought(kind="RSA-1024"), "its key is RSA-1024; 2048 bits are the least"),
        (Brought(other_key=True), "is not the key of"),
        (Brought(passphrase=b"word"), "the key is encrypted; say which passphrase opens it"),
        (Brought(chain=False), "was not issued by .*; put the certificate of its issuer behind it"),
    ],
    ids=lambda one: "" if isinstance(one, Brought) else one[:30],
)
async def test_identity_that_cannot_serve_scep_is_refused_with_what_is_wrong(
    brought: Brought, said: str, house: House, tmp_path: Path
) -> None:
    """scep.md C50"""
    with pytest.raises(ConfigurationError, match=rf"^endpoint scep/default: file:.*{said}"):
        await _checked(house, brought.write(tmp_path))


def _no_certificate(directory: Path) -> None:
    (directory / "ra.pem").write_text("nothing\n")


def _no_key(directory: Path) -> None:
    (directory / "ra.key").write_text("nothing\n")


def _gone(directory: Path) -> None:
    (directory / "ra.pem").unlink()


def _readable_key(directory: Path) -> None:
    (directory / "ra.key").chmod(0o644)


def _wrong_issuer(directory: Path) -> None:
    leaf = (directory / "ra.pem").read_bytes().split(b"-----END CERTIFICATE-----\n")[0]
    (directory / "ra.pem").write_bytes(
        leaf + b"-----END CERTIFICATE-----\n" + pki.Authority().certificate_pem
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_certificate, "holds no readable PEM certificate"),
        (_no_key, "cannot be read as a private key in PEM"),
        (_gone, "No such file"),
        (_readable_key, "others may read it .*chmod 600"),
        (_wrong_issuer, "was not issued by"),
    ],
)
async def test_files_that_cannot_be_read_are_named(
    damage: Callable[[Path], None], said: str, house: House, tmp_path: Path
) -> None:
    named = Brought().write(tmp_path)
    damage(tmp_path)
    with pytest.raises(ConfigurationError, match=said):
        await _checked(house, named)


@pytest.mark.parametrize(
    "brought",
    [
        Brought(),
        Brought(usage=None),
        Brought(kind="RSA-3072"),
        Brought(extended=[SERVER_AUTH]),  # RFC 8894 asks for no extended key usage
    ],
)
async def test_identity_that_can_serve_scep_is_taken(brought: Brought, house: House, tmp_path: Path) -> None:
    await _checked(house, brought.write(tmp_path))


async def test_certificate_without_issuers_gets_those_of_the_endpoint(house: House, tmp_path: Path) -> None:
    """A certificate of our own CA needs no chain in its file."""
    (made,) = await house.identities.of("scep", "default")
    pem = x509.load_der_x509_certificate(made.certificate_der).public_bytes(Encoding.PEM)
    (tmp_path / "ra.pem").write_bytes(pem)
    key_pem = pki.key_pem(made.signer._private_key)  # type: ignore[attr-defined]
    (tmp_path / "ra.key").write_bytes(key_pem)
    (tmp_path / "ra.key").chmod(0o600)
    named = OwnIdentity(certificate=f"file:{tmp_path}/ra.pem", key=f"file:{tmp_path}/ra.key")
    house.use(endpoint(identity=named))
    await house.identities.prepare()
    first = (await house.identities.of("scep", "default"))[0]
    assert first.chain_der == made.chain_der


@pytest.mark.parametrize(
    ("extended", "taken"),
    [(None, True), ([x509.ObjectIdentifier(CMC_RA)], True), ([ANY], True), ([SERVER_AUTH], False)],
)
async def test_extended_key_usage_of_a_cmp_identity_must_admit_registration_authorities(
    extended: list[x509.ObjectIdentifier] | None, taken: bool, house: House, tmp_path: Path
) -> None:
    """RFC 9810 section 4.5: id-kp-cmcRA"""
    named = Brought(kind="P-256", usage=("digital_signature",), extended=extended).write(tmp_path)
    if taken:
        await _checked(house, named, "cmp")
    else:
        with pytest.raises(ConfigurationError, match="extended key usage lacks"):
            await _checked(house, named, "cmp")


@pytest.mark.parametrize("reference", ["ra.pem", "file:", "http://a.test/ra.pem"])
def test_what_is_no_reference_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="String should match pattern"):
        OwnIdentity(certificate=reference, key="file:ra.key")
