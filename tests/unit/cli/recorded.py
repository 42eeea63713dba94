"""Puts requests and real certificates into a gateway's database, as its workers would."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from gateway.clock import SystemClock
from gateway.datadir import DataDirectory
from gateway.model.certificate import CertificateRecord
from gateway.model.ids import new_id, reason_id
from gateway.model.outcome import State
from gateway.pki.certificate import parse_certificate
from gateway.store import certificates, requests
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import AuditEvent, Unit
from tests.support.pki import Authority

TRACE = {
    "verdict": "refused",
    "trace": [
        {
            "step": "select",
            "rule": "spare",
            "verdict": "skipped",
            "message": "priority 1",
            "where": "a.yaml:1:1",
        },
        {"step": "select", "rule": "web", "verdict": "chosen", "message": "", "where": "a.yaml:9:3"},
        {
            "step": "names",
            "rule": "web.names.dns",
            "verdict": "refused",
            "message": "evil\x1b[31m.com",
            "where": "",
        },
    ],
    "reasons": [{"code": "name.not-allowed", "message": "not here", "path": "identity.sans[0]"}],
}


def database_of(data: DataDirectory) -> Store:
    return Store(f"sqlite:///{data.path}/pkigate.sqlite3")


def record_request(data: DataDirectory, state: State, **columns: Any) -> RequestRow:
    """Insert a request that came just now."""
    now = SystemClock().now()
    request_id = new_id()
    row = RequestRow(
        id=request_id,
        state=state,
        reason_id=reason_id(request_id) if state is State.REFUSED else None,
        protocol="est",
        endpoint="default",
        operation="enroll",
        received_at=now,
        updated_at=now,
        subject="CN=device-1.test",
        sans=("dns:device-1.test",),
        remote={"address": "127.0.0.1"},
        **columns,
    )
    unit = Unit()
    requests.insert(unit, row)
    unit.audit(AuditEvent("basic:1", "request.submit", row.id))
    with database_of(data) as store:
        store.recorder.commit_blocking(unit)
    return row


def record_certificate(
    data: DataDirectory, authority: Authority, cn: str = "device-1.test"
) -> CertificateRecord:
    """Insert a certificate of this CA."""
    leaf = parse_certificate(authority.issue(cn=cn, sans=[cn], ends=timedelta(days=90)).certificate_der)
    root_der = parse_certificate(_der(authority)).certificate_der
    record = CertificateRecord(
        sha256=leaf.sha256,
        issuer_key_sha256=hashlib.sha256(parse_certificate(root_der).spki_der).hexdigest(),
        serial_hex=f"{leaf.serial:x}",
        subject=str(leaf.subject),
        sans=tuple(str(name) for name in leaf.sans),
        spki_sha256=leaf.spki_sha256,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        certificate_der=leaf.certificate_der,
        chain_sha256=certificates.chain_sha256((root_der,)),
        request_id=new_id(),
        protocol="est",
        endpoint="default",
        identity="basic:1",
        policy="web",
        bundle_sha256="a" * 64,
        backend="embedded",
    )
    unit = Unit()
    certificates.insert(unit, record, (root_der,))
    unit.audit(AuditEvent("system", "certificate.issue", record.request_id))
    with database_of(data) as store:
        store.recorder.commit_blocking(unit)
    return record


def _der(authority: Authority) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return authority.certificate.public_bytes(Encoding.DER)
