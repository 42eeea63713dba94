"""Issued certificates as front ends see them: looked up, and revoked (RFC 5280 section 5.3)."""

from __future__ import annotations

from gateway.clock import Clock
from gateway.enrolment.revocation import revocation
from gateway.model.certificate import CertificateRecord, RevocationReason
from gateway.store import certificates
from gateway.store.store import Store


class IssuedCertificates:
    """``frontend.Certificates`` over the store. All raise StoreUnavailable."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def by_sha256(self, sha256: str) -> CertificateRecord | None:
        """The certificate with this SHA-256 of its DER, in lower-case hex."""
        return await self._store.reader.read(lambda connection: certificates.by_sha256(connection, sha256))

    async def by_serial(self, serial_hex: str) -> tuple[CertificateRecord, ...]:
        """Certificates of any of our issuers with this serial number (lower-case hex, no leading zeros)."""
        return await self._store.reader.read(
            lambda connection: certificates.by_serial_any(connection, serial_hex)
        )

    async def key_compromised(self, spki_sha256: str) -> bool:
        """Whether a certificate of this key was revoked for keyCompromise."""
        return await self._store.reader.read(
            lambda connection: certificates.key_compromised(connection, spki_sha256)
        )

    async def key_certified(self, spki_sha256: str) -> bool:
        """Whether a certificate of ours with this key is neither expired nor revoked; on hold counts too."""
        now = self._clock.now()
        return await self._store.reader.read(
            lambda connection: certificates.key_certified(connection, spki_sha256, now)
        )

    async def revoke(self, record: CertificateRecord, reason: RevocationReason, actor: str) -> None:
        """Revoke; durable on return, and on the next CRL that anybody gets. Raises Conflict if revoked."""
        await self._store.recorder.commit(revocation(record, reason, actor, self._clock.now()))
