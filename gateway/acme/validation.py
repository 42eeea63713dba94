"""Validation of answered challenges (RFC 8555 sections 7.5.1 and 8): looks, repeats, and their results.

An answer stands in the authorization's row before anything is looked at, with a job in the same unit. The
worker that took the answer validates it at once; should it die, the job does. A result counts only while the
row still waits for this very attempt.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from gateway.acme import caa, dns01, http01, limits, tls_alpn01
from gateway.acme.errors import AcmeError
from gateway.acme.exchange import ACME
from gateway.acme.identifiers import DNS_01, HTTP_01, TLS_ALPN_01
from gateway.acme.options import AcmeOptions
from gateway.acme.problems import problem_document
from gateway.acme.proof import Evidence, ValidationFault
from gateway.acme.slots import NoSlot, Slots
from gateway.acme.tables import accounts, authorizations, events, unwatched
from gateway.acme.tables.authorizations import INVALID, PROCESSING, VALID, AuthorizationRow
from gateway.clock import from_epoch_s, to_epoch_s
from gateway.errors import Conflict, RetryLater
from gateway.frontend import Services, Unit
from gateway.model.ids import EndpointName
from gateway.model.reasons import ReasonCode
from gateway.outbound.faults import TargetBusy

LOG = logging.getLogger(__name__)
VALIDATE_JOB = "acme-validate"
_LOOKS = {HTTP_01: http01.look, DNS_01: dns01.look, TLS_ALPN_01: tls_alpn01.look}
# A job must end within its lease (80 s), CAA included.
_MAX_LOOK_S = 30.0
# How long a task waits for its turn. A job does not: while it waits, it would keep others from running.
_PATIENCE_S = 10.0
_INSURANCE_S = 5.0
_AGAIN = timedelta(seconds=20)
# When jobs that found no slot come again: apart from each other, else they would all find none again.
_NO_SLOT_AGAIN_S = (10.0, 40.0)
_MAX_MENDED = 500
_NO_ENDPOINT_AGAIN = timedelta(minutes=5)
_BACK_OFF_BASE = 4
_MAX_BACK_OFF_S = 60
_MAX_CONFLICTS = 5
_NOBODY = ""  # as the worker of a job: its task has ended, so that whoever has the job may look at once


@dataclass(frozen=True, slots=True)
class _Next:
    """The row as it stands now, and when to look again; ``in_s`` None: this is the result."""

    row: AuthorizationRow
    in_s: float | None


class Validations:
    """Validates in tasks of this worker, and as the handler of the jobs that insure them."""

    def __init__(self, services: Services, slots: Slots | None = None) -> None:
        self._services = services
        self._slots = slots or Slots()
        self._running: dict[str, asyncio.Task[AuthorizationRow | None]] = {}

    def begun(self, row: AuthorizationRow, options: AcmeOptions) -> Evidence:
        """What an authorization has as evidence when its first look begins: when that is overdue."""
        return {"overdue_at": to_epoch_s(self._late(row, 0, options))}

    def insure(self, unit: Unit, row: AuthorizationRow) -> None:
        """Let a job look, when the look of this worker is overdue."""
        args = {
            "endpoint": row.endpoint,
            "account": row.account_id,
            "authorization": row.id,
            "attempt": row.attempt,
            "worker": self._services.worker,
        }
        self._services.jobs.enqueue(unit, VALIDATE_JOB, row.id, args, _overdue_at(row))

    async def start(
        self, row: AuthorizationRow, options: AcmeOptions, wait_s: float
    ) -> AuthorizationRow | None:
        """Validate in a task of this worker; the answer and its job are committed. Gives the row with its
        result, if there is one within so many seconds."""
        task = asyncio.create_task(self._validate(row, options), name=f"validate {row.id}")
        self._running[row.id] = task
        task.add_done_callback(lambda done: self._done(row.id, done))
        await asyncio.wait((task,), timeout=wait_s)
        over = task.done() and not task.cancelled() and task.exception() is None
        return task.result() if over else None

    async def job(self, args: Mapping[str, object]) -> datetime | None:
        """One look by a job. Raises RetryLater and Conflict, on which the job is tried again."""
        endpoint, authorization_id = str(args["endpoint"]), str(args["authorization"])
        now = self._services.clock.now()
        if authorization_id in self._running:
            return now + _AGAIN
        row = await self._waiting(endpoint, str(args["account"]), authorization_id, str(args["attempt"]))
        if row is None:
            return None
        overdue_at = _overdue_at(row)
        if overdue_at > now and args.get("worker") not in (self._services.worker, _NOBODY):
            return overdue_at  # another worker is at it
        view = self._services.endpoint(ACME, endpoint)
        if view is None:
            return now + _NO_ENDPOINT_AGAIN
        try:
            following = await self._look(row, view.options, by_job=True)
        except (NoSlot, TargetBusy):
            again_s = random.uniform(*_NO_SLOT_AGAIN_S)  # noqa: S311  # spreads, and hides nothing
            return self._services.clock.now() + timedelta(seconds=again_s)
        if following is None or following.in_s is None:
            return None
        return self._services.clock.now() + timedelta(seconds=following.in_s)

    async def keep_house(self) -> None:
        """Take up what no job is there for any more. Raises StoreUnavailable, Overloaded.

        A job ends without success when its workers were lost too often, or a fault outlasted its attempts.
        """
        now = self._services.clock.now()

        def query(connection: Any) -> tuple[tuple[AuthorizationRow, ...], frozenset[str]]:
            rows = unwatched.find(connection, VALIDATE_JOB, now, _MAX_MENDED)
            return rows, unwatched.given_up(connection, VALIDATE_JOB, [row.id for row in rows])

        rows, given_up = await self._services.records.read(query)
        for row in rows:
            if row.id not in self._running and _overdue_at(row) <= now:
                await self._mend(row, given_up=row.id in given_up)

    async def mended(self, row: AuthorizationRow) -> AuthorizationRow:
        """A row that is being validated, as it is once somebody is at it again, should its look be overdue.

        Raises StoreUnavailable, Overloaded.
        """
        if row.id in self._running or _overdue_at(row) > self._services.clock.now():
            return row

        def query(connection: Any) -> bool | None:
            if unwatched.has_job(connection, VALIDATE_JOB, row.id):
                return None
            return row.id in unwatched.given_up(connection, VALIDATE_JOB, [row.id])

        given_up = await self._services.records.read(query)
        return row if given_up is None else await self._mend(row, given_up=given_up)

    async def _mend(self, row: AuthorizationRow, *, given_up: bool) -> AuthorizationRow:
        LOG.warning("acme.validation-lost %s: %s", row.id, "given up" if given_up else "queued again")
        if not given_up:
            unit = Unit()
            self.insure(unit, row)
            await self._services.records.commit(unit)
            return row
        fault = AcmeError(
            "serverInternal",
            "the server could not validate this challenge; make a new order, or ask its operator",
            status=500,
            code=ReasonCode.SERVER_FAULT,
        )
        document = problem_document(fault)
        evidence: Evidence = {"attempts": _attempts(row)}
        after = replace(row, version=row.version + 1, status=INVALID, error=document, evidence=evidence)
        facts = {"method": row.method, "identifier": row.identifier, "error": document}
        return await self._write(row, after, "authorization.invalid", facts) or row

    async def resume(self) -> None:
        """Take up at once what a worker in this one's place left undone. Raises StoreUnavailable."""
        waiting = await self._services.jobs.waiting(VALIDATE_JOB)
        mine = (key for key, args in waiting.items() if args.get("worker") == self._services.worker)
        await self._hand_on({key: waiting[key] for key in mine if key not in self._running})

    async def aclose(self) -> None:
        """Give up what is under way: the jobs do it, here or elsewhere."""
        running = dict(self._running)
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
        if running:
            waiting = await self._services.jobs.waiting(VALIDATE_JOB)
            await self._hand_on({key: waiting[key] for key in running if key in waiting})

    async def _hand_on(self, left: Mapping[str, Mapping[str, object]]) -> None:
        """Let any worker do these jobs now."""
        unit, now = Unit(), self._services.clock.now()
        for key, args in left.items():
            self._services.jobs.withdraw(unit, VALIDATE_JOB, key)
            self._services.jobs.enqueue(unit, VALIDATE_JOB, key, {**args, "worker": _NOBODY}, now)
        if unit.operations:
            await self._services.records.commit(unit)

    def _done(self, authorization_id: str, task: asyncio.Task[AuthorizationRow | None]) -> None:
        self._running.pop(authorization_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("acme.validation-fault %s", authorization_id, exc_info=error)

    async def _validate(self, row: AuthorizationRow, options: AcmeOptions) -> AuthorizationRow | None:
        following: _Next | None = _Next(row, 0)
        try:
            while following is not None and following.in_s is not None:
                if following.in_s:
                    await asyncio.sleep(following.in_s)
                following = await self._look(following.row, options)
        except NoSlot:
            LOG.warning("acme.validation-waits %s: too many validations are under way", row.id)
        except (RetryLater, Conflict) as error:
            LOG.warning("acme.validation-waits %s: %s", row.id, error.detail or error)
        else:
            return None if following is None else following.row
        return None

    async def _look(
        self, row: AuthorizationRow, options: AcmeOptions, *, by_job: bool = False
    ) -> _Next | None:
        """One attempt with its result written down. Raises NoSlot, RetryLater (TargetBusy too), Conflict."""
        attempts = _attempts(row) + 1
        try:
            async with self._slots.taken(row.account_id, row.name, 0 if by_job else _PATIENCE_S):
                evidence = await self._prove(row, options)
        except ValidationFault as fault:
            return await self._failed(row, options, fault, attempts, by_job=by_job)
        now = self._services.clock.now()
        after = replace(
            row,
            version=row.version + 1,
            status=VALID,
            error=None,
            evidence={**evidence, "attempts": attempts},
            validated_at=now,
            expires_at=now + options.authorization_lifetime,
        )
        unit_facts = {"method": row.method, "identifier": row.identifier, **evidence}
        written = await self._write(row, after, "authorization.valid", unit_facts)
        return None if written is None else _Next(written, None)

    async def _prove(self, row: AuthorizationRow, options: AcmeOptions) -> Evidence:
        services = self._services
        evidence = await _LOOKS[row.method or ""](
            services.network, row, options.validation_networks, _look_s(options)
        )
        if _looks_at_caa(row, options):
            urls = caa.account_urls(services, row.endpoint, row.account_id)
            subject = caa.Subject(row.name, row.wildcard, urls, row.method or "", row.account_id)
            now = services.clock.now()
            deadline = asyncio.get_running_loop().time() + caa.TIMEOUT_S
            evidence["caa"] = await caa.check(services.network, options, subject, now, deadline)
        return evidence

    async def _failed(
        self,
        row: AuthorizationRow,
        options: AcmeOptions,
        fault: ValidationFault,
        attempts: int,
        *,
        by_job: bool,
    ) -> _Next | None:
        document = problem_document(fault)
        document.pop("status")
        evidence: Evidence = {"attempts": attempts}
        after = replace(row, version=row.version + 1, status=INVALID, error=document, evidence=evidence)
        if not fault.passing or attempts >= options.validation_attempts:
            facts = {"method": row.method, "identifier": row.identifier, "error": document}
            uses = limits.failed_validation_uses(
                options.limits, EndpointName(row.endpoint), row.account_id, row.identifier
            )
            ended = await self._write(row, after, "authorization.invalid", facts, uses)
            return None if ended is None else _Next(ended, None)
        in_s = min(_BACK_OFF_BASE ** (attempts - 1), _MAX_BACK_OFF_S)
        at = (
            self._services.clock.now() + timedelta(seconds=in_s) if by_job else self._late(row, in_s, options)
        )
        evidence["overdue_at"] = to_epoch_s(at)
        written = await self._write(row, replace(after, status=PROCESSING), "", {})
        return None if written is None else _Next(written, in_s)

    async def _write(
        self,
        before: AuthorizationRow,
        after: AuthorizationRow,
        action: str,
        facts: Mapping[str, object],
        uses: Iterable[limits.Use] = (),
    ) -> AuthorizationRow | None:
        """Write a result, unless nobody waits for it any more; what is written, None if nothing was.

        ``after`` has the version that follows on that of ``before``."""
        services, present = self._services, before
        if before.expires_at <= services.clock.now():
            return None  # expiry moves no version
        for attempt in range(_MAX_CONFLICTS):
            if attempt:  # it was moved meanwhile, or its account; the first time that is left to the commit
                found = await self._waiting(
                    before.endpoint, before.account_id, before.id, before.attempt or ""
                )
                if found is None:
                    return None
                present, after = found, replace(after, version=found.version + 1)
            unit = Unit()
            authorizations.conclude(unit, present, after)
            if after.status != PROCESSING:
                services.jobs.withdraw(unit, VALIDATE_JOB, after.id)
                _tell(unit, after, action, facts)
            limits.charge(unit, uses, services.clock.now())
            try:
                await services.records.commit(unit)
            except Conflict:
                continue
            return after
        raise Conflict(f"the authorization {before.id} is moved all the time")

    def _late(self, row: AuthorizationRow, in_s: float, options: AcmeOptions) -> datetime:
        """When a look of a task that begins in so many seconds must have had a result."""
        caa_s = caa.TIMEOUT_S if _looks_at_caa(row, options) else 0
        longest_s = in_s + _PATIENCE_S + _look_s(options) + caa_s + _INSURANCE_S
        return self._services.clock.now() + timedelta(seconds=longest_s)

    async def _waiting(
        self, endpoint: str, account_id: str, authorization_id: str, attempt: str
    ) -> AuthorizationRow | None:
        """The row, if it still waits for this attempt and its account counts."""

        def query(connection: Any) -> AuthorizationRow | None:
            account = accounts.get(connection, endpoint, account_id)
            if account is None or account.status != accounts.VALID:
                return None
            return authorizations.get(connection, endpoint, account_id, authorization_id)

        row = await self._services.records.read(query)
        if row is None or row.status != PROCESSING or row.attempt != attempt:
            return None
        return row if row.expires_at > self._services.clock.now() else None


def _overdue_at(row: AuthorizationRow) -> datetime:
    """When a worker should have written the result of the look that it is at; long ago if none is."""
    found = (row.evidence or {}).get("overdue_at")
    return from_epoch_s(found if isinstance(found, int) else 0)


def _looks_at_caa(row: AuthorizationRow, options: AcmeOptions) -> bool:
    return bool(options.caa_identities) and row.kind == "dns"


def _look_s(options: AcmeOptions) -> float:
    return min(options.validation_timeout.total_seconds(), _MAX_LOOK_S)


def _attempts(row: AuthorizationRow) -> int:
    found = (row.evidence or {}).get("attempts")
    return found if isinstance(found, int) else 0


def _tell(unit: Unit, row: AuthorizationRow, action: str, facts: Mapping[str, object]) -> None:
    events.authorization_event(
        unit,
        action,
        endpoint=row.endpoint,
        account_id=None,
        authorization_id=row.id,
        outcome="ok" if row.status == VALID else "failed",
        details={"account": row.account_id, **facts},
    )
