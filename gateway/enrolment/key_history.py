"""Whose certificates a key stands in (policy: ``keys.reuse``)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model.certificate import CertificateRecord
from gateway.model.evidence import ACME_ACCOUNT, Evidence
from gateway.policy.facts import PreviousCertificate


def known_to_others(
    same_key: Sequence[CertificateRecord],
    evidence: Evidence,
    previous: PreviousCertificate | None,
    renewed: CertificateRecord | None,
) -> bool:
    """Whether one of the certificates of this key is another requester's.

    The requester's own are those of its identity; at a renewal also ``renewed`` with its predecessors, and
    those with the subject of ``previous``. An empty subject names nobody. ACME's accounts are told apart by
    identity alone: what an order says it replaces proves nothing (RFC 9773 section 5).
    """
    others = [known for known in same_key if known.identity != evidence.identity]
    if not others or any(credential.kind == ACME_ACCOUNT for credential in evidence.credentials):
        return bool(others)
    subject = str(previous.subject) if previous is not None else ""
    line = _line(same_key, renewed)
    return any(known.sha256 not in line and (not subject or known.subject != subject) for known in others)


def _line(same_key: Sequence[CertificateRecord], renewed: CertificateRecord | None) -> frozenset[str]:
    """SHA-256 of the renewed certificate and of its predecessors with the same key."""
    by_sha256 = {known.sha256: known for known in same_key}
    found: set[str] = set()
    sha256 = renewed.sha256 if renewed is not None else None
    while sha256 is not None and sha256 in by_sha256 and sha256 not in found:
        found.add(sha256)
        sha256 = by_sha256[sha256].predecessor_sha256
    return frozenset(found)
