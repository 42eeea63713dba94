"""Certificates of our CAs from other roots (cross-certificates, RFC 5280 section 3.2), read from files.

A file holds, as PEM, the certificate that another CA issued for an issuing CA or the root of this backend,
its issuer behind it, and so on up to the other root. They make further chains; nothing is signed otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca_backend.api import BackendContext
from ca_backend.embedded.hierarchy import ROOT, CaCertificate, CaFiles, ca_directory, read_ca
from ca_backend.embedded.options import EmbeddedOptions
from gateway.errors import ConfigurationError, MalformedMessage
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.issued_by import verify_issued_by

MAX_FILE_BYTES = 64 * 1024
MAX_CERTIFICATES = 6  # in one file; a chain for clients holds the leaf and an issuing CA besides


@dataclass(frozen=True, slots=True)
class CrossChain:
    """``path``: the certificate of our CA first, the other root last, each signed by the next."""

    file: Path
    path: tuple[ParsedCertificate, ...]

    @property
    def not_before(self) -> datetime:
        return max(certificate.not_before for certificate in self.path)

    @property
    def not_after(self) -> datetime:
        return min(certificate.not_after for certificate in self.path)

    def below_its_root(self, chain_der: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        """``chain_der`` (issuer first) up to the CA that is certified here, then on to the other root.

        Without that root itself (RFC 8446 section 4.4.2). None if this CA is not in ``chain_der``.
        """
        ours = self.path[0]
        for position, certificate_der in enumerate(chain_der):
            known = parse_certificate(certificate_der)
            if (known.subject_der, known.spki_der) == (ours.subject_der, ours.spki_der):
                above = tuple(certificate.certificate_der for certificate in self.path[:-1])
                return (*chain_der[:position], *above)
        return None


class CrossChains:
    """The cross-certificates of one backend, joined to the chains that its certificates came with."""

    def __init__(self, chains: Sequence[CrossChain]) -> None:
        self.chains = tuple(chains)
        self._joined = lru_cache(maxsize=64)(self._join)  # the same few chains come with every certificate

    def alternates(self, chain_der: tuple[bytes, ...], now: datetime) -> tuple[tuple[bytes, ...], ...]:
        """Further chains in the order of the files, without those that are out of date."""
        if not self.chains:
            return ()
        return tuple(
            joined for chain, joined in self._joined(chain_der) if chain.not_before <= now <= chain.not_after
        )

    def _join(self, chain_der: tuple[bytes, ...]) -> tuple[tuple[CrossChain, tuple[bytes, ...]], ...]:
        joined = ((chain, chain.below_its_root(chain_der)) for chain in self.chains)
        return tuple((chain, found) for chain, found in joined if found is not None)


def read_cross_chains(options: EmbeddedOptions, context: BackendContext) -> tuple[CrossChain, ...]:
    """Read and check every file of ``cross_certificates``, but for dates. Raises ConfigurationError."""
    if not options.cross_certificates:
        return ()
    directory = ca_directory(context)
    own = [read_ca(CaFiles(name, directory)) for name in (*(ca.name for ca in options.issuing), ROOT)]
    files = (context.data_directory / name.removeprefix("file:") for name in options.cross_certificates)
    return tuple(_read(file, own) for file in files)


def require_in_time(chains: Sequence[CrossChain], now: datetime) -> None:
    """Raises ConfigurationError where a certificate has ended or not begun yet."""
    for chain in chains:
        for certificate in chain.path:
            if not certificate.not_before <= now <= certificate.not_after:
                raise ConfigurationError(
                    f"{chain.file}: the certificate of {certificate.subject} is valid from "
                    f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC, "
                    f"not now; put a current one there, or take the file out of cross_certificates"
                )


def _read(file: Path, own: Sequence[CaCertificate]) -> CrossChain:
    path = _certificates(file)
    try:
        known = _certified(path, own)
        for number, certificate in enumerate(path):
            _require_ca(certificate, below=number + (known.files.name == ROOT))
        for lower, upper in pairwise((*path, path[-1])):
            _require_signed(lower, upper)
    except MalformedMessage as error:
        raise ConfigurationError(f"{file}: {error}", detail=error.detail) from error
    return CrossChain(file, path)


def _certificates(file: Path) -> tuple[ParsedCertificate, ...]:
    try:
        with file.open("rb") as opened:
            pem = opened.read(MAX_FILE_BYTES + 1)
        if len(pem) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{file}: is over {MAX_FILE_BYTES} bytes; keep one chain in it")
        loaded = x509.load_pem_x509_certificates(pem)
        path = tuple(parse_certificate(certificate.public_bytes(Encoding.DER)) for certificate in loaded)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, MalformedMessage) as error:
        raise ConfigurationError(
            f"{file}: holds no readable PEM certificates; put the cross-certificate there, then its issuers",
            detail=str(error),
        ) from error
    if not 2 <= len(path) <= MAX_CERTIFICATES:
        raise ConfigurationError(
            f"{file}: holds {len(path)} certificates; put the cross-certificate there, then its issuers "
            f"up to the other root, {MAX_CERTIFICATES} in all at most"
        )
    return path


def _certified(path: Sequence[ParsedCertificate], own: Sequence[CaCertificate]) -> CaCertificate:
    """Which of our CAs the first certificate is for."""
    first = path[0]
    for ca in own:
        if first.subject_der != ca.subject_der:
            continue
        if first.spki_der != ca.spki_der:
            raise MalformedMessage(
                f"the first certificate has another key than {ca.files.certificate.name}; "
                "have that one certified"
            )
        if first.subject_key_identifier not in (None, ca.key_identifier):
            # RFC 5280 4.2.1.1: what we issue names our identifier, by which clients look for the issuer
            raise MalformedMessage(
                f"the first certificate has another subject key identifier than {ca.files.certificate.name}; "
                "have it issued anew with the same"
            )
        if first.issuer_der == first.subject_der:
            raise MalformedMessage("the first certificate is self-issued; it must come from another root")
        return ca
    names = ", ".join(ca.files.certificate.name for ca in own)
    raise MalformedMessage(
        f"the first certificate is for {first.subject}; it must have subject and key of one of {names}"
    )


def _require_ca(certificate: ParsedCertificate, below: int) -> None:
    """It may sign certificates, with so many CAs between it and the leaf (RFC 5280 section 4.2.1.9)."""
    if not certificate.is_ca or (certificate.key_usage and "keyCertSign" not in certificate.key_usage):
        raise MalformedMessage(f"the certificate of {certificate.subject} does not let it sign certificates")
    try:
        extensions = x509.load_der_x509_certificate(certificate.certificate_der).extensions
        allowed = extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except ValueError as error:
        raise MalformedMessage(
            f"the extensions of the certificate of {certificate.subject} cannot be read", detail=str(error)
        ) from error
    if allowed is not None and allowed < below:
        raise MalformedMessage(
            f"the certificate of {certificate.subject} allows {allowed} CAs below it (pathLenConstraint), "
            f"and there are {below}"
        )


def _require_signed(lower: ParsedCertificate, upper: ParsedCertificate) -> None:
    try:
        verify_issued_by(lower, upper)
    except MalformedMessage as error:
        wanted = "the last one must be a root" if lower is upper else "its issuer must stand behind it"
        raise MalformedMessage(
            f"the certificate of {lower.subject}: {error}; {wanted}", detail=error.detail
        ) from error
