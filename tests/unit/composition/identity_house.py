"""Gateways with message identities, but no process around them: real database and CA, a clock to move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pydantic import BaseModel

from ca_backend.api import BackendContext, PublishedUrls
from ca_backend.embedded.options import EmbeddedOptions, IssuingCaOptions
from ca_backend.embedded.plugin import EmbeddedBackendPlugin
from gateway.composition.message_identities import MessageIdentities
from gateway.datadir import DataDirectory, prepare
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.frontend import IdentityFiles, IdentityKind, OwnIdentity
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.keyfile import KeyKind
from gateway.policy.rules import Bundle, CompiledEndpoint
from gateway.store.store import Store
from tests.support import pki
from tests.support.database import rows
from tests.support.keys import default_hash

CMC_RA = "1.3.6.1.5.5.7.3.28"
KINDS = {
    "scep": IdentityKind("SCEP RA", KeyKind.RSA_2048, ("digitalSignature", "keyEncipherment")),
    "cmp": IdentityKind("CMP", KeyKind.EC_P256, ("digitalSignature",), (CMC_RA,)),
}
SCEP = ("scep", "default")
CMP = ("cmp", "default")


class Options(BaseModel):
    """What the options of such a front end have in common."""

    identity: OwnIdentity | None = None


@dataclass(slots=True)
class SetClock:
    moment: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def now(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


@dataclass(slots=True)
class House:
    """One gateway of perhaps several on a database."""

    data: DataDirectory
    url: str
    store: Store
    clock: SetClock
    bundle: ActiveBundle
    backends: BackendSet
    identities: MessageIdentities

    @property
    def recorded(self) -> list[str]:
        """For what certificates were issued, as their records have it."""
        found = rows(self.url, "SELECT endpoint FROM certificate WHERE protocol = 'internal'")
        return sorted(str(row[0]) for row in found)

    async def first(self, key: tuple[str, str] = SCEP) -> ParsedCertificate:
        return parse_certificate((await self.identities.of(*key))[0].certificate_der)

    async def follow(self) -> None:
        await self.identities.follow(_yes)

    def use(self, *endpoints: CompiledEndpoint) -> None:
        """Activate a bundle with these endpoints."""
        self.bundle.activate(bundle(*endpoints))


def endpoint(
    protocol: str = "scep",
    *,
    ca: str | None = "scep",
    identity: OwnIdentity | None = None,
    backend: str = "embedded",
) -> CompiledEndpoint:
    return CompiledEndpoint("default", protocol, backend, Options(identity=identity), 600, ca)


def bundle(*endpoints: CompiledEndpoint) -> Bundle:
    return Bundle("0" * 64, {(one.protocol, one.name): one for one in endpoints}, {}, {}, (), "{}")


@contextmanager
def house(
    directory: Path,
    url: str,
    *endpoints: CompiledEndpoint,
    like: House | None = None,
    clock: SetClock | None = None,
) -> Iterator[House]:
    """A gateway on a migrated database; one that is ``like`` another has its server key and CAs."""
    data = prepare(directory)
    if like is not None:
        data.server_key_file.write_bytes(like.data.server_key())
    clock = clock or (like.clock if like else SetClock())
    backends = like.backends if like else BackendSet({"embedded": _backend(data, clock)})
    active = ActiveBundle(bundle(*(endpoints or (endpoint(), endpoint("cmp", ca=None)))))
    with Store(url, clock=clock) as store:
        identities = MessageIdentities(KINDS, active, backends, store, clock, data)
        yield House(data, url, store, clock, active, backends, identities)


def _backend(data: DataDirectory, clock: SetClock) -> object:
    context = BackendContext(
        "embedded",
        data.path,
        clock,
        lambda _reference: b"passphrase",
        lambda name: PublishedUrls(*(f"http://a.test/{kind}/{name}" for kind in ("crl", "ca", "ocsp"))),
    )
    options = EmbeddedOptions(
        root_key=KeyKind.EC_P256,
        issuing=(IssuingCaOptions(name="issuing"), IssuingCaOptions(name="scep", key=KeyKind.RSA_2048)),
    )
    plugin = EmbeddedBackendPlugin()
    plugin.initialise(options, context)
    return plugin.open(options, context)


@dataclass(slots=True)
class Brought:
    """An identity that an administrator brings; each part can be made wrong before ``write``."""

    kind: str = "RSA-2048"
    usage: tuple[str, ...] | None = ("digital_signature", "key_encipherment")
    extended: Sequence[x509.ObjectIdentifier] | None = None
    starts: timedelta = timedelta(days=-1)
    ends: timedelta = timedelta(days=90)
    is_ca: bool = False
    chain: bool = True
    other_key: bool = False
    passphrase: bytes | None = None
    authority: pki.Authority = field(default_factory=pki.Authority)

    def write(self, directory: Path, name: str = "ra") -> OwnIdentity:
        """Write NAME.pem and NAME.key; gives the option that names them."""
        private_key, now = pki.key(self.kind), datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(pki.name(f"Our {name}"))
            .issuer_name(self.authority.name)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + self.starts)
            .not_valid_after(now + self.ends)
            .add_extension(x509.BasicConstraints(ca=self.is_ca, path_length=None), critical=True)
        )
        if self.usage is not None:
            builder = builder.add_extension(pki.key_usage(*self.usage), critical=True)
        if self.extended is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(self.extended)), critical=False)
        certificate = builder.sign(self.authority.private_key, default_hash(self.authority.private_key))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (directory / f"{name}.pem").write_bytes(pem + (self.authority.certificate_pem if self.chain else b""))
        kept = pki.key(self.kind) if self.other_key else private_key
        file = directory / f"{name}.key"
        file.write_bytes(
            kept.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(self.passphrase)
                if self.passphrase
                else serialization.NoEncryption(),
            )
        )
        file.chmod(0o600)
        return OwnIdentity(certificate=f"file:{directory}/{name}.pem", key=f"file:{directory}/{name}.key")


def replacing(current: OwnIdentity, *earlier: OwnIdentity) -> OwnIdentity:
    """The option with earlier identities beside the current one."""
    previous = tuple(IdentityFiles(certificate=one.certificate, key=one.key) for one in earlier)
    return current.model_copy(update={"previous": previous})


async def _yes() -> bool:
    return True
