"""Refusals in the record: of each source address only so many, so that nobody fills the disk with them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from gateway.authn.refusal import CredentialRefused
from gateway.enrolment import record
from gateway.model.decision import Deny, TraceStep
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.engine import Admitted
from gateway.policy.rules import AdmissionPolicy, Bundle
from gateway.store import requests
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit
from gateway.token_buckets import Allowance, TokenBuckets, source_of

LOG = logging.getLogger(__name__)
# Refusals of one address that are written into the database; beyond this they are only counted and logged.
RECORDED_REFUSALS = Allowance(burst=500, per_s=20)

NO_CSR = Reason(
    ReasonCode.MESSAGE_UNSUPPORTED,
    "the CA behind this endpoint takes certificate requests (PKCS#10) only, and this message brings none "
    "that may be sent on",
    "csr",
)


class Refusals:
    """Writes refused requests down."""

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._written = TokenBuckets(monotonic, RECORDED_REFUSALS)

    async def record(self, row: RequestRow, reasons: tuple[Reason, ...], address: str) -> bool:
        """Write a refusal down; False beyond the bound of its source address. Raises StoreUnavailable."""
        source = source_of(address)
        if self._written.retry_after_s(source):
            LOG.warning("refusal.not-recorded address %s: %s", address, reasons[0].code)
            return False
        self._written.take(source)
        unit = Unit()
        requests.insert(unit, row)
        unit.audit(record.refusal_event(row, reasons))
        await self._store.recorder.commit(unit)
        return True


def placed(refusal: CredentialRefused, policy: AdmissionPolicy) -> Reason:
    """The reason of a refused credential, with the rule that looked at it."""
    rule = f"{policy.name}.authenticate.{refusal.rule}" if refusal.rule else policy.name
    return replace(refusal.reason, rule=rule, where=refusal.where or policy.authenticate.where)


def denial(bundle: Bundle, admitted: Admitted, step: str, reason: Reason, detail: str = "") -> Deny:
    """A refusal before the rules were asked. ``detail`` is for the operator's trace, never for the client."""
    message = f"{reason.message} ({detail})" if detail else reason.message
    told = TraceStep(step, reason.rule, "refused", message, reason.where)
    return Deny(admitted.policy.name, bundle.sha256, (reason,), (*admitted.trace, told))
