"""Certificates that their requester must confirm (RFC 9810 section 5.3.18), or else they are withdrawn."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.enrolment import record, superseding
from gateway.enrolment.approval import SYSTEM
from gateway.enrolment.revocation import add_revocation
from gateway.enrolment.states import check_move
from gateway.errors import Conflict, Overloaded
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason
from gateway.model.outcome import Confirmation, State
from gateway.store import certificates, jobs, requests
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

CONFIRM_JOB = "withdraw-unconfirmed"
ATTEMPTS = 5  # each but the first means that somebody else moved the same request just then
DECLINED, TIME_UP = "the requester declined it", "it was not confirmed in time"
REVOKED_BEFORE = "it was revoked before it was confirmed"
_MAY_CONFIRM = frozenset({State.UNCONFIRMED, State.ISSUED, State.WITHDRAWN})


def wait_for(row: RequestRow, now: datetime) -> datetime | None:
    """Until when what is issued now to this request may be confirmed; None: nothing need be confirmed.

    Who polls hears of its certificate only at its next poll: that much longer it has.
    """
    if row.confirm_within_s is None:
        return None
    return now + timedelta(seconds=row.confirm_within_s + (row.retry_after_s or 0))


def time_is_up(row: RequestRow, now: datetime) -> bool:
    """Whether an unconfirmed certificate can no longer be confirmed, though no job has withdrawn it yet."""
    return row.confirm_by is not None and row.confirm_by < now


def insure(unit: Unit, row: RequestRow, confirm_by: datetime) -> None:
    """Queue the withdrawal in the unit that issues, so that it comes whatever happens to this process."""
    jobs.enqueue(unit, CONFIRM_JOB, row.id, {"request_id": row.id}, confirm_by + timedelta(seconds=1))


async def confirm(
    store: Store, clock: Clock, correlation: str, *, accepted: bool, content_sha256: str
) -> Confirmation:
    """See ``frontend.Enrolments.confirm``: one read, one commit."""
    for _ in range(ATTEMPTS):
        now = clock.now()
        row, certificate = await store.reader.read(partial(_find, correlation=correlation))
        if row is None or row.state not in _MAY_CONFIRM:
            return Confirmation.UNKNOWN
        if row.state is not State.UNCONFIRMED:
            return _what_it_was(row, content_sha256)
        unit, answer = Unit(), Confirmation.DONE
        if time_is_up(row, now):
            withdraw(unit, row, certificate, now, why=TIME_UP)
            answer = Confirmation.WITHDRAWN
        elif accepted and certificate is not None and certificate.status is CertificateStatus.REVOKED:
            withdraw(unit, row, certificate, now, why=REVOKED_BEFORE)
            answer = Confirmation.WITHDRAWN
        elif accepted:
            _accept(unit, row, now, content_sha256)
        else:
            withdraw(unit, row, certificate, now, why=DECLINED, declined_by_sha256=content_sha256)
        try:
            await store.recorder.commit(unit)
        except Conflict:
            continue  # a copy of this message, or the job: what has the request become?
        return answer
    raise Overloaded("the same request is being worked on; ask again")


async def withdraw_late(store: Store, row: RequestRow, now: datetime) -> None:
    """Withdraw what was not confirmed in time. Raises Conflict where somebody else moved it first."""
    sha256 = row.certificate_sha256 or ""
    certificate = await store.reader.read(lambda connection: certificates.by_sha256(connection, sha256))
    unit = Unit()
    withdraw(unit, row, certificate, now, why=TIME_UP)
    await store.recorder.commit(unit)


def withdraw(
    unit: Unit,
    row: RequestRow,
    certificate: CertificateRecord | None,
    now: datetime,
    *,
    why: str,
    declined_by_sha256: str | None = None,
) -> None:
    """Take an unconfirmed certificate back: request and revocation in one unit (RFC 5280 section 5.3.1).

    ``declined_by_sha256`` names the message that declined it. One that was revoked meanwhile stays as it is.
    """
    actor = SYSTEM if declined_by_sha256 is None else row.identity
    _move(unit, row, State.WITHDRAWN, now, declined_by_sha256)
    if certificate is not None and certificate.status is not CertificateStatus.REVOKED:
        add_revocation(unit, certificate, RevocationReason.CESSATION_OF_OPERATION, actor, now)
    unit.audit(
        record.event(
            row,
            "certificate.withdraw",
            actor=actor,
            sha256=row.certificate_sha256,
            why=why,
            by_sha256=declined_by_sha256,
        )
    )


def _accept(unit: Unit, row: RequestRow, now: datetime, content_sha256: str) -> None:
    _move(unit, row, State.ISSUED, now, content_sha256)
    superseding.insure(unit, row, now)
    unit.audit(
        record.event(row, "certificate.confirm", sha256=row.certificate_sha256, by_sha256=content_sha256)
    )


def _move(unit: Unit, row: RequestRow, state: State, now: datetime, by_sha256: str | None) -> None:
    check_move(row.state, state)
    requests.move(
        unit,
        row.id,
        row.version,
        state,
        from_state=row.state,
        at=now,
        confirmed_by_sha256=by_sha256,
        # The span was fixed when the certificate was issued.
        answers_until=now + (record.grace_of(row) or timedelta()),
    )
    jobs.withdraw(unit, CONFIRM_JOB, row.id)


def _what_it_was(row: RequestRow, content_sha256: str) -> Confirmation:
    """The answer to a message about what is settled already."""
    if row.confirmed_by_sha256 == content_sha256:
        return Confirmation.DONE
    return Confirmation.WITHDRAWN if row.state is State.WITHDRAWN else Confirmation.CONFIRMED_BEFORE


def _find(connection: Connection, *, correlation: str) -> tuple[RequestRow | None, CertificateRecord | None]:
    """The request, and its certificate while that waits."""
    row = requests.by_correlation(connection, correlation)
    if row is None or row.state is not State.UNCONFIRMED or row.certificate_sha256 is None:
        return row, None
    return row, certificates.by_sha256(connection, row.certificate_sha256)
