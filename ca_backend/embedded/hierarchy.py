"""The files of the embedded CA: one root, issuing CAs below it; made once, checked at every opening.

``DATA/ca/BACKEND/`` holds ``root.key.pem``, ``root.pem`` and, for each issuing CA, ``NAME.key.pem`` and
``NAME.pem``. What exists is never changed or replaced.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from ca_backend.api import BackendContext, PublishedUrls
from ca_backend.embedded import extensions as ext
from ca_backend.embedded.options import EmbeddedOptions
from ca_backend.embedded.template import tbs_certificate
from gateway.errors import ConfigurationError
from gateway.model.names import ATTRIBUTE_OIDS, CN_OID, AttributeTypeAndValue, DistinguishedName
from gateway.pki import der
from gateway.pki.keyfile import FileSigner, create_key, fsync_directory, load_signer
from gateway.pki.keys import subject_key_identifier
from gateway.pki.names import encode_name
from gateway.pki.signer import Signer

ROOT = "root"
_PROTOCOLS = frozenset({"acme", "cmp", "est", "scep"})  # a CA that is named so is written in capitals
# Certificates whose start is set back for devices with a slow clock must not begin before their issuer.
_BACKDATING = timedelta(days=1)
_ASIDE_BYTES = 6  # of randomness in the name of what is made aside and renamed when it is whole


@dataclass(frozen=True, slots=True)
class CaFiles:
    """Where one CA's key and certificate are."""

    name: str
    directory: Path

    @property
    def key(self) -> Path:
        return self.directory / f"{self.name}.key.pem"

    @property
    def certificate(self) -> Path:
        return self.directory / f"{self.name}.pem"


@dataclass(frozen=True, slots=True)
class CaCertificate:
    """A CA certificate of ours with what signing under it needs."""

    files: CaFiles
    certificate_der: bytes
    subject_der: bytes
    key_identifier: bytes
    spki_der: bytes
    not_after: datetime


@dataclass(frozen=True, slots=True)
class IssuingCa:
    """An issuing CA, ready to sign."""

    certificate: CaCertificate
    signer: Signer


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The opened CAs: ``issuing`` by name. The root's key stays on disk until it is needed."""

    root: CaCertificate
    issuing: dict[str, IssuingCa]


def published_name(backend: str, ca: str) -> str:
    """The name under which a CA's certificate and CRL are published, unique in the gateway."""
    return f"{backend}-{ca}"


def initialise(options: EmbeddedOptions, context: BackendContext) -> None:
    """Make what is missing: everything at the first start, a newly listed issuing CA later.

    The directory appears whole or not at all. Several processes may call this at once: one works, the others
    wait and find its work. Raises ConfigurationError if part of it is lost, SecretUnavailable if the
    passphrase does not fit.
    """
    directory = ca_directory(context)
    passphrase = _passphrase(options, context)
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(directory.parent):
        _remove_leftovers(directory)
        if directory.exists():
            _complete_issuing(directory, options, context, passphrase)
            return
        building = directory.with_name(f".{directory.name}.{secrets.token_hex(_ASIDE_BYTES)}")
        building.mkdir(mode=0o700)
        try:
            _make_root(CaFiles(ROOT, building), options, context, passphrase)
            _complete_issuing(building, options, context, passphrase)
            fsync_directory(building)
            building.rename(directory)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        fsync_directory(directory.parent)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the lock of the directory of all CAs; the kernel lets go of it if this process dies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(directory: Path) -> None:
    """Remove what a killed process was making: under the lock nobody else is, and nothing in it is in use."""
    aside = "[0-9a-f]" * (2 * _ASIDE_BYTES)
    for building in directory.parent.glob(f".{directory.name}.{aside}"):
        shutil.rmtree(building)
    for file in directory.glob(f".*.pem.{aside}"):
        file.unlink(missing_ok=True)


def open_hierarchy(options: EmbeddedOptions, context: BackendContext) -> Hierarchy:
    """Read and check every CA: key and certificate belong together, the root signed the issuing CAs.

    Raises ConfigurationError with what to do, SecretUnavailable for keys that cannot be read.
    """
    directory = ca_directory(context)
    passphrase = _passphrase(options, context)
    root = read_ca(CaFiles(ROOT, directory))
    issuing = {}
    for ca in options.issuing:
        certificate = read_ca(CaFiles(ca.name, directory))
        _require_issued_by(certificate, root)
        issuing[ca.name] = IssuingCa(certificate, matching_signer(certificate, passphrase))
    return Hierarchy(root, issuing)


def ca_directory(context: BackendContext) -> Path:
    return context.data_directory / "ca" / context.name


def open_root_signer(hierarchy: Hierarchy, options: EmbeddedOptions, context: BackendContext) -> FileSigner:
    """The root's key, for the time of one signature. Raises SecretUnavailable or ConfigurationError."""
    return matching_signer(hierarchy.root, _passphrase(options, context))


def read_ca(files: CaFiles) -> CaCertificate:
    """Read a CA certificate file. Raises ConfigurationError."""
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{files.certificate}: the CA certificate is missing; restore it from the backup, or, if no "
            f"certificate of this CA is in use, move {files.directory} away and start again"
        ) from error
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise ConfigurationError(
            f"{files.certificate}: no readable CA certificate; restore it from the backup", detail=str(error)
        ) from error
    if not constraints.ca:
        raise ConfigurationError(
            f"{files.certificate}: this is no CA certificate; restore it from the backup"
        )
    return CaCertificate(
        files=files,
        certificate_der=certificate.public_bytes(serialization.Encoding.DER),
        subject_der=certificate.subject.public_bytes(),
        key_identifier=identifier,
        spki_der=certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        not_after=certificate.not_valid_after_utc,
    )


def matching_signer(certificate: CaCertificate, passphrase: bytes) -> FileSigner:
    """The key of a CA certificate. Raises ConfigurationError if another key lies there."""
    signer = load_signer(certificate.files.key, passphrase)
    if signer.public_key.spki_der != certificate.spki_der:
        raise ConfigurationError(
            f"{certificate.files.key}: this is not the key of {certificate.files.certificate.name}; "
            f"restore both files from the same backup"
        )
    return signer


def _require_issued_by(certificate: CaCertificate, root: CaCertificate) -> None:
    issuer = x509.load_der_x509_certificate(root.certificate_der)
    try:
        x509.load_der_x509_certificate(certificate.certificate_der).verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{certificate.files.certificate}: was not issued by {root.files.certificate.name} beside it; "
            f"restore both files from the same backup"
        ) from error


def _passphrase(options: EmbeddedOptions, context: BackendContext) -> bytes:
    passphrase: bytes = context.secret(options.passphrase or context.passphrase)
    return passphrase


def _make_root(files: CaFiles, options: EmbeddedOptions, context: BackendContext, passphrase: bytes) -> None:
    signer = create_key(options.root_key, files.key, passphrase)
    subject_der = _subject_der(options, f"Root CA {_short_id(signer)}")
    certificate_der = _ca_certificate(
        subject_der=subject_der,
        spki_der=signer.public_key.spki_der,
        issuer_der=subject_der,
        issuer_signer=signer,
        urls=None,
        path_length=None,
        validity=_validity(context, options.root_validity_years, None),
    )
    _write_certificate(files.certificate, certificate_der)


def _complete_issuing(
    directory: Path, options: EmbeddedOptions, context: BackendContext, passphrase: bytes
) -> None:
    """Make the issuing CAs that are missing; a key that a crash left without certificate gets one."""
    missing = [ca for ca in options.issuing if not CaFiles(ca.name, directory).certificate.exists()]
    if not missing:
        return
    root = read_ca(CaFiles(ROOT, directory))
    root_signer = matching_signer(root, passphrase)
    for ca in missing:
        files = CaFiles(ca.name, directory)
        if files.key.exists():
            signer = load_signer(files.key, passphrase)
        else:
            signer = create_key(ca.key, files.key, passphrase)
        certificate_der = _ca_certificate(
            subject_der=_subject_der(options, f"{_title(ca.name)} CA {_short_id(signer)}"),
            spki_der=signer.public_key.spki_der,
            issuer_der=root.subject_der,
            issuer_signer=root_signer,
            urls=context.urls(published_name(context.name, ROOT)),
            path_length=0,
            validity=_validity(context, options.issuing_validity_years, root.not_after),
        )
        _write_certificate(files.certificate, certificate_der)


def _title(name: str) -> str:
    return name.upper() if name in _PROTOCOLS else name.capitalize()


def _short_id(signer: Signer) -> str:
    """Tells CAs of the same name apart: a DN must belong to one CA key only (RFC 5280 section 4.1.2.6)."""
    return signer.public_key.spki_sha256[:8]


def _subject_der(options: EmbeddedOptions, common_name: str) -> bytes:
    return encode_name(
        DistinguishedName(
            (
                (AttributeTypeAndValue(ATTRIBUTE_OIDS["O"], options.organization),),
                (AttributeTypeAndValue(CN_OID, f"{options.organization} {common_name}"[:64]),),
            )
        )
    )


def _validity(context: BackendContext, years: int, limit: datetime | None) -> tuple[datetime, datetime]:
    now = context.clock.now()
    not_after = now + timedelta(days=365.25 * years)
    return now - _BACKDATING, min(not_after, limit) if limit else not_after


def _ca_certificate(
    *,
    subject_der: bytes,
    spki_der: bytes,
    issuer_der: bytes,
    issuer_signer: Signer,
    urls: PublishedUrls | None,
    path_length: int | None,
    validity: tuple[datetime, datetime],
) -> bytes:
    """A CA certificate; ``urls`` are its issuer's, None for a root, whose status nobody can tell."""
    extensions = [
        ext.basic_constraints(ca=True, path_length=path_length),
        ext.key_usage(("keyCertSign", "cRLSign", "digitalSignature")),
        ext.subject_key_identifier(subject_key_identifier(spki_der)),
    ]
    if urls is not None:
        issuer_identifier = subject_key_identifier(issuer_signer.public_key.spki_der)
        extensions.append(ext.authority_key_identifier(issuer_identifier))
        extensions.extend(ext.publication(urls).values())
    body = (
        issuer_signer.algorithm_der
        + issuer_der
        + der.sequence(*(ext.time(moment) for moment in validity))
        + subject_der
        + spki_der
        + der.tlv(0xA3, der.sequence(*extensions))
    )
    tbs = tbs_certificate(secrets.randbits(159), body)
    return ext.signed(tbs, issuer_signer.algorithm_der, issuer_signer.sign(tbs))


def _write_certificate(path: Path, certificate_der: bytes) -> None:
    """Write PEM so that the file is whole and durable, or is not there."""
    pem = x509.load_der_x509_certificate(certificate_der).public_bytes(serialization.Encoding.PEM)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(_ASIDE_BYTES)}")
    with temporary.open("xb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    fsync_directory(path.parent)
