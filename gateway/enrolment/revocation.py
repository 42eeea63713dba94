"""Revocation: one function for every way that leads to it (RFC 5280 section 5.3)."""

from __future__ import annotations

from datetime import datetime

from gateway.clock import Clock, SystemClock
from gateway.errors import Conflict
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason
from gateway.store import certificates, jobs
from gateway.store.store import Store
from gateway.store.unit import AuditEvent, Unit

REVOKE_JOB = "revoke-at-ca"


def revoke(
    store: Store,
    certificate: CertificateRecord,
    reason: RevocationReason,
    actor: str,
    *,
    clock: Clock | None = None,
) -> None:
    """Revoke a certificate; the next CRL that anybody gets carries it. Blocks until it is durable.

    The same unit queues the message to the CA, which matters where the CA is another system. Raises Conflict
    where it is revoked already, StoreUnavailable.
    """
    now = (clock or SystemClock()).now()
    store.recorder.commit_blocking(revocation(certificate, reason, actor, now))


def revocation(certificate: CertificateRecord, reason: RevocationReason, actor: str, now: datetime) -> Unit:
    """The unit that revokes. Raises Conflict where the record is revoked already; so does its commit, where
    somebody else was first."""
    if certificate.status is CertificateStatus.REVOKED:
        raise Conflict(f"certificate {certificate.serial_hex} is revoked already")
    unit = Unit()
    add_revocation(unit, certificate, reason, actor, now)
    return unit


def add_revocation(
    unit: Unit, certificate: CertificateRecord, reason: RevocationReason, actor: str, now: datetime
) -> None:
    """Let this unit revoke. Raises ValueError where the record is revoked already."""
    certificates.revoke(unit, certificate, reason, now)
    tell_ca(unit, certificate, reason, now)
    unit.audit(
        AuditEvent(
            actor=actor,
            action="certificate.revoke",
            object_id=certificate.request_id,
            details={
                "serial": certificate.serial_hex,
                "sha256": certificate.sha256,
                "issuer_key_sha256": certificate.issuer_key_sha256,
                "subject": certificate.subject,
                "reason": reason.value,
            },
        )
    )


def tell_ca(unit: Unit, certificate: CertificateRecord, reason: RevocationReason, now: datetime) -> None:
    """Queue the message to the CA. Each reason has its own: a hold that still waits, since the CA is away,
    must not keep the revocation that follows it from being told."""
    jobs.enqueue(
        unit,
        REVOKE_JOB,
        f"{certificate.sha256}:{reason.value}",
        {"backend": certificate.backend, "sha256": certificate.sha256},
        now,
    )
