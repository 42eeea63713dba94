"""Revocation of a certificate that has been renewed (policy: ``renewal.revoke_previous``), some time later.

The job is queued in the unit that makes the new certificate good, so that it comes whatever happens to this
process. What it finds then decides: a new certificate that was withdrawn or revoked meanwhile replaces none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.enrolment import record
from gateway.enrolment.approval import SYSTEM
from gateway.enrolment.revocation import add_revocation
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason
from gateway.model.outcome import State
from gateway.store import certificates, jobs, requests
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

SUPERSEDE_JOB = "revoke-previous"
HOLD_AGAIN = timedelta(hours=1)  # the hold of the new certificate may be taken back


def insure(unit: Unit, row: RequestRow, now: datetime) -> None:
    """Queue the revocation of what this request renews, if its decision says so, in the unit that makes its
    own certificate good."""
    span_s = (row.decision or {}).get(record.REVOKE_PREVIOUS)
    if isinstance(span_s, int) and row.renews_sha256 is not None:
        jobs.enqueue(unit, SUPERSEDE_JOB, row.id, {"request_id": row.id}, now + timedelta(seconds=span_s))


async def revoke_previous(store: Store, clock: Clock, request_id: str) -> datetime | None:
    """Revoke what this request renewed, unless it replaces nothing any more; the time to look again, or None.

    May run twice. Raises Conflict where one of the two was revoked just now, StoreUnavailable.
    """
    row, successor, previous = await store.reader.read(partial(_find, request_id=request_id))
    now = clock.now()
    if row is None or row.state is not State.ISSUED or successor is None or previous is None:
        return None
    if successor.status is CertificateStatus.REVOKED or previous.status is CertificateStatus.REVOKED:
        return None
    if previous.not_after < now:
        return None
    if successor.status is CertificateStatus.ON_HOLD:
        return now + HOLD_AGAIN
    unit = Unit()
    certificates.demand_good(unit, successor.sha256)
    add_revocation(unit, previous, RevocationReason.SUPERSEDED, SYSTEM, now)
    unit.audit(
        record.event(
            row, "certificate.supersede", actor=SYSTEM, sha256=previous.sha256, by_sha256=successor.sha256
        )
    )
    await store.recorder.commit(unit)
    return None


def _find(
    connection: Connection, *, request_id: str
) -> tuple[RequestRow | None, CertificateRecord | None, CertificateRecord | None]:
    """The request, its own certificate and the one that it renewed."""
    row = requests.get(connection, request_id)
    if row is None or row.certificate_sha256 is None or row.renews_sha256 is None:
        return row, None, None
    successor = certificates.by_sha256(connection, row.certificate_sha256)
    return row, successor, certificates.by_sha256(connection, row.renews_sha256)
