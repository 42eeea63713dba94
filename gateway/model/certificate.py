"""Issued certificates and their revocation (RFC 5280 sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RevocationReason(StrEnum):
    """CRLReason names (RFC 5280 section 5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"


# Their numbers on the wire and on CRLs: 7 is not used, 8 (removeFromCRL) takes a hold back
REASON_BY_NUMBER: Mapping[int, RevocationReason] = {
    0: RevocationReason.UNSPECIFIED,
    1: RevocationReason.KEY_COMPROMISE,
    2: RevocationReason.CA_COMPROMISE,
    3: RevocationReason.AFFILIATION_CHANGED,
    4: RevocationReason.SUPERSEDED,
    5: RevocationReason.CESSATION_OF_OPERATION,
    6: RevocationReason.CERTIFICATE_HOLD,
    9: RevocationReason.PRIVILEGE_WITHDRAWN,
    10: RevocationReason.AA_COMPROMISE,
}


class CertificateStatus(StrEnum):
    """Revocation status of a certificate in the store."""

    GOOD = "good"
    REVOKED = "revoked"
    ON_HOLD = "on-hold"


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A certificate as the store holds it. ``serial_hex`` is lower-case without leading zeros."""

    sha256: str
    issuer_key_sha256: str  # SHA-256 of the issuer's SubjectPublicKeyInfo, hex
    serial_hex: str
    subject: str
    sans: tuple[str, ...]  # "dns:a.test"
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    certificate_der: bytes
    chain_sha256: str  # names the stored issuer chain
    request_id: str
    protocol: str
    endpoint: str
    identity: str
    policy: str
    bundle_sha256: str
    backend: str
    status: CertificateStatus = CertificateStatus.GOOD
    revoked_at: datetime | None = None
    revocation_reason: RevocationReason | None = None
    predecessor_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One line of a CRL (RFC 5280 section 5.1.2.6)."""

    serial: int
    revoked_at: datetime
    reason: RevocationReason
