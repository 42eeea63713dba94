"""What a grant takes beside its certificate: uses of limits, and entries of lists that serve one request.

Looked at once policy has granted, in one read, and taken in the very unit that records the grant: of many
requests that come at once no more get through than may, and a request that is refused or only repeated takes
nothing. Whoever loses the race gets Conflict, is judged again, and then sees what the others have taken.
A policy without limits that found nothing in a single-use list costs nothing here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from gateway.clock import to_epoch_s
from gateway.enrolment.record import Judged
from gateway.enrolment.revocation import add_revocation
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason
from gateway.model.decision import Allow, Decision, Deny, ListUse, TraceStep
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.facts import Facts
from gateway.policy.limit_check import LimitUse, exceeded_reason, limit_uses
from gateway.policy.limit_rules import PEND_APPROVAL, LimitRule, OnExceed
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import AdmissionPolicy, Bundle, CompiledPolicy
from gateway.store import certificates, limits, lists
from gateway.store.limits import Holder, Window
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit

TAKEN = "limits"  # in a request's decision: what it took of windows, for ``give_back``
_LONGEST_RETRY_S = 86_400
_SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What the unit of the grant takes. ``over``: a limit is exceeded that people may let it pass.

    ``revokes``: the oldest active certificates, which make room for this one.
    """

    uses: tuple[LimitUse, ...] = ()
    consumes: tuple[ListUse, ...] = ()
    renewed: str = ""
    revokes: tuple[CertificateRecord, ...] = ()
    over: frozenset[LimitUse] = frozenset()

    def write(self, unit: Unit, judged: Judged) -> dict[str, object]:
        """Take it; commit raises Conflict where somebody else was first. Gives what the decision is to hold
        in the record, so that ``give_back`` can undo it."""
        now = judged.now
        for certificate in self.revokes:
            add_revocation(unit, certificate, RevocationReason.SUPERSEDED, _SYSTEM, now)
        for entry in self.consumes:
            lists.use(unit, entry.list_name, entry.key, judged.request_id, now)
        taken: list[list[object]] = []
        for scope, (use, most) in sorted(self._by_scope().items()):
            if use.rule.window_s is not None:
                taken.append([scope, limits.take(unit, scope, use.rule.window_s, most, now)])
                continue
            assert isinstance(judged.decision, Allow)
            assert judged.decision.plan is not None
            approval = judged.decision.approval
            # What waits for people begins, and ends, when they have decided.
            until = judged.decision.plan.not_after + timedelta(seconds=approval.expires_s if approval else 0)
            limits.hold(unit, scope, judged.request_id, until, most=most, renewed=self.renewed, now=now)
        return {TAKEN: taken} if taken else {}

    @property
    def waiting(self) -> Reservation:
        """What a request takes that waits for people: nothing is revoked for it before they have decided."""
        if not self.revokes:
            return self
        revoking = {use for use in self.uses if use.rule.on_exceed is OnExceed.REVOKE_OLDEST}
        return replace(self, revokes=(), over=self.over | revoking)

    def _by_scope(self) -> dict[str, tuple[LimitUse, int | None]]:
        """Each scope once, with the strictest of its limits that must hold; None: people decide."""
        found: dict[str, tuple[LimitUse, int | None]] = {}
        for use in self.uses:
            most = None if use in self.over else use.rule.most
            _, other = found.get(use.scope, (use, None))
            strictest = [one for one in (most, other) if one is not None]
            found[use.scope] = use, min(strictest, default=None)
        return found


NOTHING = Reservation()


@dataclass(frozen=True, slots=True)
class Beyond:
    """Not to be granted. ``retry_after_s`` None: coming again does not help."""

    reasons: tuple[Reason, ...]
    retry_after_s: int | None


async def reserve(
    store: Store,
    bundle: Bundle,
    policy: CompiledPolicy,
    judged: Judged,
    judge_again: Callable[[Facts], Decision],
) -> tuple[Judged, Reservation | Beyond]:
    """What a granted request has to take, or why it cannot be had now, and the request as it is judged then.

    ``judge_again`` is asked where a limit is exceeded that people may let it pass. Raises StoreUnavailable.
    """
    decision = judged.decision
    assert isinstance(decision, Allow)
    rules = _limits(bundle, policy, judged.request)
    if not (decision.consumes or rules):
        return judged, NOTHING
    found = await _look(store, policy, rules, judged, decision)
    if isinstance(found, Beyond):
        return replace(judged, decision=_beyond(decision, found)), found
    if not found.over:
        return judged, found
    facts = replace(judged.facts or Facts(judged.now), limits_exceeded=True)
    again = judge_again(facts)
    if isinstance(again, Deny):
        return replace(judged, decision=again, facts=facts), Beyond(again.reasons, None)
    return replace(judged, decision=_pended(again, policy, found), facts=facts), found


def _limits(bundle: Bundle, policy: CompiledPolicy, request: EnrolmentRequest) -> tuple[LimitRule, ...]:
    """The limits of the policy and of every guardrail that holds here."""
    guardrails = bundle.guardrails_at(request.protocol, request.endpoint)
    if not guardrails:
        return policy.limits
    return (*policy.limits, *(limit for guardrail in guardrails for limit in guardrail.limits))


async def _look(
    store: Store, policy: CompiledPolicy, rules: tuple[LimitRule, ...], judged: Judged, decision: Allow
) -> Reservation | Beyond:
    consumes = decision.consumes if judged.request.operation not in RENEWING else ()
    assert decision.plan is not None
    uses = limit_uses(rules, policy.name, judged.request, judged.evidence, decision.plan)
    return await store.reader.read(lambda connection: _looked(connection, judged, policy, uses, consumes))


def _beyond(decision: Allow, found: Beyond) -> Deny:
    """The refusal of what policy would have granted."""
    steps = [
        TraceStep("limits", one.rule, "refused", f"{one.code}: {one.message}", one.where)
        for one in found.reasons
    ]
    return Deny(decision.policy, decision.bundle_sha256, found.reasons, (*decision.trace, *steps))


def _pended(decision: Allow, policy: CompiledPolicy, reserved: Reservation) -> Allow:
    """The grant that people must approve, since it goes over a limit."""
    approval = decision.approval or policy.approval or PEND_APPROVAL
    steps = [
        TraceStep(
            "limits", use.rule.rule, "set", f"only {use.rule.text}: people must approve", use.rule.where
        )
        for use in sorted(reserved.over, key=lambda use: use.rule.rule)
    ]
    return replace(decision, approval=approval, trace=(*decision.trace, *steps))


def give_back(unit: Unit, row: RequestRow) -> None:
    """Give back what a request took of windows, in the unit that refuses it after all. What else it took, its
    state gives back."""
    taken = (row.decision or {}).get(TAKEN)
    for scope, part in taken if isinstance(taken, list) else ():
        limits.give_back(unit, str(scope), int(part))


def _looked(
    connection: Connection,
    judged: Judged,
    policy: AdmissionPolicy,
    uses: tuple[LimitUse, ...],
    consumes: tuple[ListUse, ...],
) -> Reservation | Beyond:
    entries = lists.used(connection, [(one.list_name, one.key) for one in consumes])
    if entries:
        reasons = tuple(_used_up(name, key, policy) for name, key in sorted(entries))
        return Beyond(reasons, None)
    renewed = _renewed(connection, judged)
    windows = limits.windows(
        connection, {use.scope: use.rule.window_s for use in uses if use.rule.window_s is not None}
    )
    holding = sorted({use.scope for use in uses if use.rule.window_s is None})
    holders = limits.holders(connection, holding, renewed, judged.now)
    return _judged(connection, Reservation(uses, consumes, renewed), windows, holders, judged.now)


def _judged(
    connection: Connection,
    wanted: Reservation,
    windows: Mapping[str, Window],
    holders: Mapping[str, tuple[Holder, ...]],
    now: datetime,
) -> Reservation | Beyond:
    now_s = to_epoch_s(now)
    over: set[LimitUse] = set()
    revokes: dict[str, CertificateRecord] = {}
    denied: list[tuple[LimitUse, int]] = []
    for use in wanted.uses:
        most = use.rule.most
        if use.rule.window_s is not None:
            window = windows[use.scope]
            missing, wait_s = window.used(now_s) - most + 1, window.free_in_s(most, now_s)
        else:
            found = holders[use.scope]
            missing, wait_s = len(found) - most + 1, _free_in_s(found, most, now_s)
        if missing <= 0:
            continue
        if use.rule.on_exceed is OnExceed.PEND:
            over.add(use)
        elif use.rule.on_exceed is OnExceed.REVOKE_OLDEST:
            oldest = _oldest(connection, holders[use.scope], missing)
            revokes |= {one.sha256: one for one in oldest}
            if len(oldest) < missing:
                denied.append((use, wait_s))
        else:
            denied.append((use, wait_s))
    if denied:
        reasons = tuple(exceeded_reason(use, now, wait_s) for use, wait_s in denied)
        return Beyond(reasons, min(max(wait_s for _, wait_s in denied), _LONGEST_RETRY_S))
    return replace(wanted, over=frozenset(over), revokes=tuple(revokes.values()))


def _oldest(connection: Connection, holders: tuple[Holder, ...], count: int) -> list[CertificateRecord]:
    """The oldest certificates, ``count`` of them if so many can be revoked."""
    found: list[CertificateRecord] = []
    for holder in holders:
        if len(found) == count:
            break
        certificate = limits.held_certificate(connection, holder)
        if certificate is not None and certificate.status is not CertificateStatus.REVOKED:
            found.append(certificate)
    return found


def _free_in_s(holders: tuple[Holder, ...], most: int, now_s: int) -> int:
    """In how many seconds so many have expired that there is room for one."""
    ends = sorted(holder.until_s for holder in holders)
    leaving = len(ends) - most  # index of the one after whose end there is room
    return max(1, ends[leaving] + 1 - now_s) if 0 <= leaving < len(ends) else 1


def _renewed(connection: Connection, judged: Judged) -> str:
    """The request of the certificate that is being renewed or replaced, or ""."""
    if judged.request.renews_der is None:
        return ""
    sha256 = hashlib.sha256(judged.request.renews_der).hexdigest()
    found = certificates.by_sha256(connection, sha256)
    return "" if found is None else found.request_id


def _used_up(list_name: str, key: str, policy: AdmissionPolicy) -> Reason:
    text = (
        f"the entry {key[:120]!r} of the list {list_name!r} has served another request already; "
        "each serves one. Ask the operator to release it"
    )
    return Reason(ReasonCode.AUTH_CREDENTIAL_SCOPE, text, "", f"list:{list_name}", policy.where)
