"""Rows of issued certificates, their chains and their revocation (RFC 5280 section 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, or_, select, text, update

from gateway.asn1.der import children
from gateway.clock import from_epoch_s, to_epoch_s
from gateway.model.certificate import (
    CertificateRecord,
    CertificateStatus,
    RevocationReason,
    RevokedEntry,
)
from gateway.store import crl_state
from gateway.store.columns import optional_time, storable_text, texts, texts_column, time_column
from gateway.store.schema import CERTIFICATE, CHAIN
from gateway.store.statement import INSERT_RANK, Row, Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_keep


@dataclass(frozen=True, slots=True)
class CertificatePage:
    """Newest first; ``next_cursor`` continues, None at the end."""

    records: tuple[CertificateRecord, ...]
    next_cursor: int | None


def chain_sha256(chain_der: Sequence[bytes]) -> str:
    """The name under which a chain is stored: SHA-256 over its DER, one after the other, in hex."""
    return hashlib.sha256(b"".join(chain_der)).hexdigest()


def insert(unit: Unit, record: CertificateRecord, chain_der: Sequence[bytes]) -> None:
    """Add a certificate, and its chain (issuer first, root last) unless it is stored already.

    Commit raises Conflict if the certificate, or its issuer's serial number, is stored already. Raises
    ValueError if ``record.chain_sha256`` is not the name of ``chain_der``.
    """
    chain = b"".join(chain_der)
    if hashlib.sha256(chain).hexdigest() != record.chain_sha256:
        raise ValueError("chain_sha256 does not name this chain")
    unit.move(_KEEP_CHAIN, {"sha256": record.chain_sha256, "chain_der": chain})
    unit.insert(
        CERTIFICATE,
        {
            "sha256": record.sha256,
            "issuer_key_sha256": record.issuer_key_sha256,
            "serial_hex": record.serial_hex,
            "subject": storable_text(record.subject),
            "sans": texts_column(record.sans),
            "spki_sha256": record.spki_sha256,
            "not_before": to_epoch_s(record.not_before),
            "not_after": to_epoch_s(record.not_after),
            "certificate_der": record.certificate_der,
            "chain_sha256": record.chain_sha256,
            "request_id": record.request_id,
            "protocol": record.protocol,
            "endpoint": record.endpoint,
            "identity": storable_text(record.identity),
            "policy": record.policy,
            "bundle_sha256": record.bundle_sha256,
            "backend": record.backend,
            "status": record.status.value,
            "revoked_at": time_column(record.revoked_at),
            "revocation_reason": record.revocation_reason,
            "predecessor_sha256": record.predecessor_sha256,
        },
    )


def revoke(unit: Unit, record: CertificateRecord, reason: RevocationReason, at: datetime) -> None:
    """Revoke, or hold (certificateHold), if the status is still the record's; the CRL becomes stale.

    Commit raises Conflict where somebody else was first. Raises ValueError for a revoked certificate and for
    holding what is on hold.
    """
    hold = reason is RevocationReason.CERTIFICATE_HOLD
    if record.status is CertificateStatus.REVOKED or (hold and record.status is CertificateStatus.ON_HOLD):
        raise ValueError(f"this certificate is {record.status} already")
    status = CertificateStatus.ON_HOLD if hold else CertificateStatus.REVOKED
    _set_status(unit, record, status, reason, at)


def demand_good(unit: Unit, sha256: str) -> None:
    """Let commit raise Conflict unless this certificate is neither revoked nor on hold."""
    unit.move(_DEMAND_GOOD, {"sha256_is": sha256})


def release_hold(unit: Unit, record: CertificateRecord) -> None:
    """Make a certificate on hold good again (RFC 5280 section 5.3.1, removeFromCRL). Raises ValueError."""
    if record.status is not CertificateStatus.ON_HOLD:
        raise ValueError(f"this certificate is {record.status}, not on hold")
    _set_status(unit, record, CertificateStatus.GOOD, None, None)


def by_sha256(connection: Connection, sha256: str) -> CertificateRecord | None:
    return _first(_BY_SHA256.first(connection, sha256=sha256))


def by_serial(connection: Connection, issuer_key_sha256: str, serial_hex: str) -> CertificateRecord | None:
    """``serial_hex`` is lower-case without leading zeros."""
    return _first(_BY_SERIAL.first(connection, issuer_key_sha256=issuer_key_sha256, serial_hex=serial_hex))


def by_serial_any(connection: Connection, serial_hex: str) -> tuple[CertificateRecord, ...]:
    """Certificates of any issuer with this serial number, as ``by_serial``; oldest first."""
    return tuple(_record(row) for row in _BY_SERIAL_ANY.all(connection, serial_hex=serial_hex))


def by_request(connection: Connection, request_id: str) -> CertificateRecord | None:
    """The newest certificate of a request."""
    return _first(_BY_REQUEST.first(connection, request_id=request_id))


def by_spki(connection: Connection, spki_sha256: str) -> tuple[CertificateRecord, ...]:
    """Every certificate of a public key, newest first."""
    return tuple(_record(row) for row in _BY_SPKI.all(connection, spki_sha256=spki_sha256))


def key_compromised(connection: Connection, spki_sha256: str) -> bool:
    """Whether any certificate of this public key was revoked for keyCompromise (RFC 5280 section 5.3.1)."""
    return _COMPROMISED.first(connection, spki_sha256=spki_sha256) is not None


def key_certified(connection: Connection, spki_sha256: str, now: datetime) -> bool:
    """Whether a certificate of this key is neither expired nor revoked; one on hold may come back: it counts.

    RFC 5280 section 4.1.2.5: it is valid through its last second.
    """
    return _CERTIFIED.first(connection, spki_sha256=spki_sha256, now_s=to_epoch_s(now)) is not None


def status(connection: Connection, sha256: str) -> CertificateStatus | None:
    """Only the status, for a look at every request; None for what we did not issue."""
    row = _STATUS.first(connection, sha256=sha256)
    return None if row is None else CertificateStatus(row[0])


def chain(connection: Connection, sha256: str) -> tuple[bytes, ...]:
    """A stored chain, issuer first; empty if it is unknown."""
    row = _CHAIN.first(connection, sha256=sha256)
    return () if row is None else chain_certificates(bytes(row[0]))


@lru_cache(maxsize=64)  # the same few chains stand under all certificates
def chain_certificates(chain_der: bytes) -> tuple[bytes, ...]:
    """The certificates of a chain as it is stored: one after the other."""
    return tuple(chain_der[start:end] for _, start, _, end in children(chain_der, 0, len(chain_der)))


def revoked_entries(connection: Connection, issuer_key_sha256: str, now_s: int) -> tuple[RevokedEntry, ...]:
    """What stands in a CRL: revoked or on hold, and not expired before ``now_s``.

    RFC 5280 section 3.3 wants an entry on one CRL beyond expiry, so pass the time of the CRL before.
    """
    rows = _REVOKED.all(connection, issuer_key_sha256=issuer_key_sha256, now_s=now_s)
    return tuple(
        RevokedEntry(
            int(row[0], 16), from_epoch_s(row[1]), RevocationReason(row[2] or RevocationReason.UNSPECIFIED)
        )
        for row in rows
    )


def search(
    connection: Connection,
    *,
    containing: str | None = None,
    status: CertificateStatus | None = None,
    expires_before: datetime | None = None,
    limit: int = 50,
    cursor: int | None = None,
) -> CertificatePage:
    """Pages of certificates, newest first. ``containing``: in subject, names, serial or SHA-256."""
    query: Select[Any] = (
        select(*_COLUMNS, CERTIFICATE.c.pk).order_by(CERTIFICATE.c.pk.desc()).limit(limit + 1)
    )
    if containing:
        query = query.where(
            or_(
                CERTIFICATE.c.subject.icontains(containing, autoescape=True),
                CERTIFICATE.c.sans.icontains(containing, autoescape=True),
                CERTIFICATE.c.serial_hex.startswith(containing.lower(), autoescape=True),
                CERTIFICATE.c.sha256.startswith(containing.lower(), autoescape=True),
            )
        )
    if status is not None:
        query = query.where(CERTIFICATE.c.status == status.value)
    if expires_before is not None:
        query = query.where(CERTIFICATE.c.not_after < to_epoch_s(expires_before))
    if cursor is not None:
        query = query.where(CERTIFICATE.c.pk < cursor)
    found = connection.execute(query).all()
    records = tuple(_record(row[:-1]) for row in found[:limit])
    return CertificatePage(records, found[limit - 1][-1] if len(found) > limit else None)


def _set_status(
    unit: Unit,
    record: CertificateRecord,
    status: CertificateStatus,
    reason: RevocationReason | None,
    at: datetime | None,
) -> None:
    unit.move(
        _SET_STATUS,
        {
            "sha256_was": record.sha256,
            "status_was": record.status.value,
            "new_status": status.value,
            "new_revoked_at": time_column(at),
            "new_reason": reason,
        },
    )
    crl_state.bump(unit, record.issuer_key_sha256)


_COLUMNS = tuple(column for column in CERTIFICATE.c if column.name != "pk")
_NAMES = tuple(column.name for column in _COLUMNS)
_KEEP_CHAIN = insert_or_keep(CHAIN, once=True, rank=INSERT_RANK - 1)
_BY_SHA256 = Statement(select(*_COLUMNS).where(CERTIFICATE.c.sha256 == bindparam("sha256")), ("sha256",))
_BY_SERIAL = Statement(
    select(*_COLUMNS).where(
        CERTIFICATE.c.issuer_key_sha256 == bindparam("issuer_key_sha256"),
        CERTIFICATE.c.serial_hex == bindparam("serial_hex"),
    ),
    ("issuer_key_sha256", "serial_hex"),
)
_BY_SERIAL_ANY = Statement(
    select(*_COLUMNS).where(CERTIFICATE.c.serial_hex == bindparam("serial_hex")).order_by(CERTIFICATE.c.pk),
    ("serial_hex",),
)
_BY_REQUEST = Statement(
    select(*_COLUMNS)
    .where(CERTIFICATE.c.request_id == bindparam("request_id"))
    .order_by(CERTIFICATE.c.pk.desc())
    .limit(1),
    ("request_id",),
)
_BY_SPKI = Statement(
    select(*_COLUMNS)
    .where(CERTIFICATE.c.spki_sha256 == bindparam("spki_sha256"))
    .order_by(CERTIFICATE.c.pk.desc()),
    ("spki_sha256",),
)
_COMPROMISED = Statement(
    select(CERTIFICATE.c.pk)
    .where(
        CERTIFICATE.c.spki_sha256 == bindparam("spki_sha256"),
        CERTIFICATE.c.revocation_reason == text(f"'{RevocationReason.KEY_COMPROMISE.value}'"),
    )
    .limit(1),
    ("spki_sha256",),
)
_CERTIFIED = Statement(
    select(CERTIFICATE.c.pk)
    .where(
        CERTIFICATE.c.spki_sha256 == bindparam("spki_sha256"),
        CERTIFICATE.c.status != text(f"'{CertificateStatus.REVOKED.value}'"),
        CERTIFICATE.c.not_after >= bindparam("now_s"),
    )
    .limit(1),
    ("spki_sha256", "now_s"),
)
_STATUS = Statement(
    select(CERTIFICATE.c.status).where(CERTIFICATE.c.sha256 == bindparam("sha256")), ("sha256",)
)
_CHAIN = Statement(select(CHAIN.c.chain_der).where(CHAIN.c.sha256 == bindparam("sha256")), ("sha256",))
_REVOKED = Statement(
    select(CERTIFICATE.c.serial_hex, CERTIFICATE.c.revoked_at, CERTIFICATE.c.revocation_reason)
    .where(
        CERTIFICATE.c.issuer_key_sha256 == bindparam("issuer_key_sha256"),
        text("status <> 'good'"),  # literally, or SQLite does not see that its partial index serves
        CERTIFICATE.c.not_after >= bindparam("now_s"),
    )
    .order_by(CERTIFICATE.c.pk),
    ("issuer_key_sha256", "now_s"),
)
_SET_STATUS = Statement(
    update(CERTIFICATE)
    .where(CERTIFICATE.c.sha256 == bindparam("sha256_was"), CERTIFICATE.c.status == bindparam("status_was"))
    .values(
        status=bindparam("new_status"),
        revoked_at=bindparam("new_revoked_at"),
        revocation_reason=bindparam("new_reason"),
    ),
    ("new_status", "new_revoked_at", "new_reason", "sha256_was", "status_was"),
)
_DEMAND_GOOD = Statement(
    update(CERTIFICATE)
    .where(
        CERTIFICATE.c.sha256 == bindparam("sha256_is"),
        CERTIFICATE.c.status == text(f"'{CertificateStatus.GOOD.value}'"),
    )
    .values(status=CERTIFICATE.c.status),
    ("sha256_is",),
)


def _first(row: Row | None) -> CertificateRecord | None:
    return None if row is None else _record(row)


def _record(row: Any) -> CertificateRecord:
    values = dict(zip(_NAMES, row, strict=True))
    for name in ("not_before", "not_after", "revoked_at"):
        values[name] = optional_time(values[name])
    values["sans"] = texts(values["sans"])
    values["status"] = CertificateStatus(values["status"])
    if values["revocation_reason"] is not None:
        values["revocation_reason"] = RevocationReason(values["revocation_reason"])
    return CertificateRecord(**values)
