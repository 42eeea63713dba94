"""Rows for the store's tests; every call makes distinct ones."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.asn1.der import sequence
from gateway.model.certificate import CertificateRecord
from gateway.model.ids import new_id, reason_id
from gateway.model.outcome import State
from gateway.store import certificates, requests
from gateway.store.requests import RequestRow
from gateway.store.unit import AuditEvent, Unit

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
CHAIN = (sequence(b"\x02\x01\x01"), sequence(b"\x02\x01\x02"))
ISSUER_KEY = "b" * 64


def request_row(**changes: Any) -> RequestRow:
    """A request that waits for approval, unless ``changes`` say otherwise."""
    request_id = new_id()
    values: dict[str, Any] = {
        "id": request_id,
        "reason_id": reason_id(request_id) if changes.get("state") is State.REFUSED else None,
        "state": State.AWAITING_APPROVAL,
        "protocol": "est",
        "endpoint": "default",
        "operation": "enroll",
        "received_at": NOW,
        "updated_at": NOW,
        "correlation": secrets.token_hex(32),
        "remote": {"address": "127.0.0.1"},
    }
    return RequestRow(**(values | changes))


def certificate_record(**changes: Any) -> CertificateRecord:
    certificate_der = secrets.token_bytes(300)
    values: dict[str, Any] = {
        "sha256": hashlib.sha256(certificate_der).hexdigest(),
        "issuer_key_sha256": ISSUER_KEY,
        "serial_hex": f"{secrets.randbits(159):x}",
        "subject": "CN=device-1.test",
        "sans": ("dns:device-1.test",),
        "spki_sha256": secrets.token_hex(32),
        "not_before": NOW,
        "not_after": NOW + timedelta(days=90),
        "certificate_der": certificate_der,
        "chain_sha256": certificates.chain_sha256(CHAIN),
        "request_id": new_id(),
        "protocol": "est",
        "endpoint": "default",
        "identity": "basic:1",
        "policy": "web",
        "bundle_sha256": "a" * 64,
        "backend": "embedded",
    }
    return CertificateRecord(**(values | changes))


def issued_unit(**request_changes: Any) -> tuple[Unit, RequestRow, CertificateRecord]:
    """Request, certificate, chain and audit event, as one enrolment writes them."""
    record = certificate_record()
    row = request_row(
        id=record.request_id, state=State.ISSUED, certificate_sha256=record.sha256, **request_changes
    )
    unit = Unit()
    requests.insert(unit, row)
    certificates.insert(unit, record, CHAIN)
    unit.audit(AuditEvent("basic:1", "certificate.issue", row.id, "ok", {"sha256": record.sha256}))
    return unit, row, record


def request_unit(**changes: Any) -> tuple[Unit, RequestRow]:
    row = request_row(**changes)
    unit = Unit()
    requests.insert(unit, row)
    unit.audit(AuditEvent("basic:1", "request.receive", row.id))
    return unit, row
