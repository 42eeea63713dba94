"""The gateway's own TLS certificate: issued by the embedded CA, recorded like any other, renewed in time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from gateway.clock import Clock
from gateway.composition.own_certificate import BACKDATE, issue_own
from gateway.config import Config, Listener, TlsFiles
from gateway.datadir import DataDirectory, resolve_secret
from gateway.durable_file import write_durably
from gateway.enrolment.backends import BackendSet
from gateway.errors import ConfigurationError, MalformedMessage, SecretUnavailable
from gateway.http.listener import TlsCredentials
from gateway.model.enrolment import CertificatePlan
from gateway.model.names import CN_OID, AttributeTypeAndValue, DistinguishedName, GeneralName
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.keyfile import KeyKind, create_key, load_signer, private_key_for_tls
from gateway.pki.names import dns_name, ip_address_name
from gateway.store.store import Store

LIFETIME = timedelta(days=90)
PURPOSE = "tls"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"


class TlsIdentity:
    """Key and certificate under ``DATA/tls``; used by every listener with ``tls: auto``."""

    def __init__(self, config: Config, data: DataDirectory) -> None:
        self._config = config
        self._key = data.path / "tls" / "server.key.pem"
        self._certificate = data.path / "tls" / "server.pem"
        self._data = data

    @property
    def wanted(self) -> bool:
        """Whether any listener presents it."""
        return any(listener.tls == "auto" for listener in self._config.listeners)

    def passphrase(self) -> bytes:
        """Raises SecretUnavailable."""
        reference = self._config.passphrase or f"file:{self._data.passphrase_file}"
        return resolve_secret(reference, self._data.path)

    def load(self, listener: Listener) -> TlsCredentials:
        """Read what a listener presents. Raises ConfigurationError or SecretUnavailable."""
        if isinstance(listener.tls, TlsFiles):
            return _from_files(listener.tls, self._data.path)
        key = private_key_for_tls(self._key, self.passphrase())
        chain = tuple(x509.load_pem_x509_certificates(self._certificate.read_bytes()))
        return TlsCredentials(chain, key)

    def mark(self) -> tuple[int, int] | None:
        """Changes whenever the certificate file is replaced."""
        try:
            status = self._certificate.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def due(self, clock: Clock) -> bool:
        """Whether a new certificate is needed: none yet, under a third of its life left, other names."""
        current = self._current()
        if current is None:
            return True
        left = current.not_after - clock.now()
        if left < (current.not_after - current.not_before) / 3:
            return True
        wanted = {(name.kind, name.value) for name in self._names()}
        return wanted != {(name.kind, name.value) for name in current.sans}

    async def issue(self, backend: str, backends: BackendSet, store: Store, clock: Clock) -> None:
        """Have a certificate issued, record it, then put it in place."""
        self._key.parent.mkdir(mode=0o700, exist_ok=True)
        passphrase = self.passphrase()
        if not self._key.exists():
            create_key(KeyKind.EC_P256, self._key, passphrase)
        signer = load_signer(self._key, passphrase)
        now, names = clock.now(), self._names()
        issuer = await backends.issuer(backend)
        plan = CertificatePlan(
            subject=DistinguishedName(((AttributeTypeAndValue(CN_OID, names[0].value[:64]),),)),
            sans=names,
            spki_der=signer.public_key.spki_der,
            not_before=now - BACKDATE,
            not_after=min(now + LIFETIME, issuer.not_after),
            key_usage=("digitalSignature",),
            extended_key_usage=(SERVER_AUTH,),
        )
        own = await issue_own(plan, PURPOSE, backends, backend, None, now)
        await store.recorder.commit(own.unit)
        pem = b"".join(
            x509.load_der_x509_certificate(certificate_der).public_bytes(Encoding.PEM)
            for certificate_der in (own.issued.certificate_der, *own.chain_der[:-1])
        )
        await asyncio.to_thread(write_durably, self._certificate, pem, mode=0o644)

    def _current(self) -> ParsedCertificate | None:
        try:
            pem = self._certificate.read_bytes()
            return parse_certificate(x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER))
        except (OSError, ValueError, MalformedMessage):
            return None

    def _names(self) -> tuple[GeneralName, ...]:
        names: list[GeneralName] = []
        for text in self._config.tls_names():
            try:
                names.append(ip_address_name(text))
            except MalformedMessage:
                names.append(dns_name(text))
        return tuple(names)


def _from_files(files: TlsFiles, base: Path) -> TlsCredentials:
    try:
        chain = tuple(x509.load_pem_x509_certificates(files.certificate.read_bytes()))
    except (OSError, ValueError) as exc:
        raise ConfigurationError(
            f"{files.certificate}: cannot be read as PEM certificates: {exc}; put the listener's first"
        ) from exc
    passphrase = resolve_secret(files.passphrase, base) if files.passphrase else None
    return TlsCredentials(chain, _load_key(files.key, passphrase))


def _load_key(path: Path, passphrase: bytes | None) -> Any:
    try:
        return load_pem_private_key(path.read_bytes(), passphrase)
    except (OSError, ValueError, TypeError) as exc:
        raise SecretUnavailable(f"{path}: cannot be read as a private key: {exc}") from exc
