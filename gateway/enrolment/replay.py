"""Recorded requests decided again by another bundle, to show what it would change. Read-only.

What verification found then counts again only where the policy that judges now would have verified the same
credentials in the same way; elsewhere nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any

from gateway.enrolment.asked_json import ASKED
from gateway.enrolment.recorded import FindCertificate, NotAgain, trial_of
from gateway.model.decision import Allow, Decision
from gateway.model.enrolment import Operation
from gateway.model.evidence import MTLS, RENEWAL_CERT, SIGNATURE, CredentialKind
from gateway.model.reasons import ReasonCode
from gateway.policy.authentication_rules import CertificateRule
from gateway.policy.embedded_tests import verdict_of
from gateway.policy.lists import ListLookup
from gateway.policy.patterns import Pattern
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import AdmissionPolicy, Bundle
from gateway.policy.selection import CHALLENGES, NotSelected
from gateway.policy.trial import Trial, choose, decide, looked_at_kinds
from gateway.store.requests import RequestRow

Json = Mapping[str, Any]
FindBundle = Callable[[str], Bundle | None]  # by its SHA-256; None: not in the database, or not readable


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision in short. ``code`` and ``rule`` are those of the first reason of a refusal."""

    verdict: str
    policy: str | None
    rule: str = ""
    code: str = ""
    where: str = ""
    backend: str = ""
    profile: str = ""

    def same_as(self, other: Verdict) -> bool:
        """Whether nobody would notice; the place of a rule in its file does not count."""
        return self.shown == other.shown and (self.rule, self.code) == (other.rule, other.code)

    @property
    def shown(self) -> tuple[str, str | None, str, str]:
        return self.verdict, self.policy, self.backend, self.profile

    def __str__(self) -> str:
        text = f"{self.verdict} by {self.policy}" if self.policy else f"{self.verdict}, no policy"
        if self.code:
            return f"{text}: {self.code}" + (f" ({self.rule})" if self.rule else "")
        if self.backend:
            text += f", backend {self.backend}" + (f" profile {self.profile}" if self.profile else "")
        return text


@dataclass(frozen=True, slots=True)
class Rejudged:
    """One record. ``now`` is None where it could not be judged, and ``why_not`` says why."""

    row: RequestRow
    then: Verdict | None
    now: Verdict | None
    why_not: str = ""

    @property
    def changed(self) -> bool:
        return self.then is not None and self.now is not None and not self.then.same_as(self.now)


class Replay:
    """Decides by ``bundle``; ``find_bundle`` gives those that decided then."""

    def __init__(
        self,
        bundle: Bundle,
        lists: ListLookup,
        find_bundle: FindBundle,
        find_certificate: FindCertificate,
    ) -> None:
        self._bundle = bundle
        self._lists = lists
        self._unknown = [name for name in bundle.lists if not lists.available(name)]
        self._find_bundle = lru_cache(maxsize=8)(find_bundle)
        self._find_certificate = lru_cache(maxsize=256)(find_certificate)

    def rejudge(self, row: RequestRow) -> Rejudged:
        """What this bundle says to a recorded request."""
        trial = trial_of(row, self._find_certificate, self._lists)
        then = recorded_verdict(row)
        if isinstance(trial, NotAgain) or then is None:
            why = trial.why if isinstance(trial, NotAgain) else "its decision was not recorded"
            return Rejudged(row, then, None, why)
        found = self._verdict(row, trial, then)
        if isinstance(found, NotAgain):
            return Rejudged(row, then, None, found.why)
        if self._unknown and not then.same_as(found):
            lists = ", ".join(self._unknown)
            return Rejudged(row, then, None, f"the content of the lists {lists} is not known here")
        return Rejudged(row, then, found)

    def _verdict(self, row: RequestRow, trial: Trial, then: Verdict) -> Verdict | NotAgain:
        chosen = choose(self._bundle, trial.request)
        if isinstance(chosen, NotSelected):
            return verdict_in_short(decide(self._bundle, trial).decision)
        policy = chosen.policy
        if then.policy is None:
            return NotAgain(
                "no policy was for it then, so its credential was never verified; "
                f"{policy.name} would judge it now"
            )
        fault = self._differently_verified(row, trial, policy)
        if fault is not None:
            return fault
        if not was_evaluated(row):
            return _as_then(then, policy)
        if then.code == ReasonCode.LIMIT_EXCEEDED:
            return NotAgain("it was refused by a limit, which counts what was granted at that time")
        if _step_of(row) == "route":
            return _as_then(then, policy)
        found = verdict_in_short(decide(self._bundle, trial).decision)
        unknown = self._not_looked_up(row, policy) if found.verdict != "deny" else ""
        return NotAgain(unknown) if unknown else found

    def _not_looked_up(self, row: RequestRow, policy: AdmissionPolicy) -> str:
        """What this policy asks about the key and was not looked up then."""
        judge = self._judge(row)
        for asked, text in (
            ("needs_key_history", "in whose certificates its key stands"),
            ("needs_account_keys", "whether its key is an ACME account's"),
        ):
            if getattr(policy, asked) and not (judge is not None and getattr(judge, asked)):
                return f"{policy.name} asks {text}, which was not looked up then"
        return ""

    def _judge(self, row: RequestRow) -> AdmissionPolicy | None:
        """The policy that decided then."""
        own = row.bundle_sha256 == self._bundle.sha256
        bundle = self._bundle if own else self._find_bundle(row.bundle_sha256 or "")
        known = bundle.policies if bundle is not None else ()
        return next((one for one in known if one.name == row.policy), None)

    def _differently_verified(
        self, row: RequestRow, trial: Trial, policy: AdmissionPolicy
    ) -> NotAgain | None:
        """Why what was verified, or refused, then says nothing of what this policy would find."""
        if row.bundle_sha256 == self._bundle.sha256:
            return None
        before = self._find_bundle(row.bundle_sha256 or "")
        judge = self._judge(row)
        if before is None or judge is None:
            return NotAgain("the bundle that decided on it is not in the database any more")
        request = trial.request
        presented = {one.kind for one in request.presented}
        looked_at, looked_then = (
            looked_at_kinds(one, request.operation) & presented for one in (policy, judge)
        )
        missed = looked_at - looked_then
        if missed:
            return NotAgain(f"{_kinds(missed)} was not looked at then, and {policy.name} would verify it")
        for kind in sorted(looked_at):
            old, new = (verification_rule(one, kind, request.operation) for one in (judge, policy))
            if _comparable(old) != _comparable(new) or not _same_trust(before, old, self._bundle, new):
                return NotAgain(
                    f"{policy.name} verifies {kind} otherwise than {judge.name} did then, "
                    "and nothing is verified again here"
                )
        return None


def recorded_verdict(row: RequestRow) -> Verdict | None:
    """What policy said; a later refusal by people or by the CA does not count. None: it said nothing."""
    decision: Json = row.decision or {}
    verdict = decision.get("verdict")
    if verdict == "allow":
        route = decision.get("route") or {}
        return Verdict(
            verdict="pend" if decision.get("approval") else "allow",
            policy=decision.get("policy"),
            backend=route.get("backend") or "",
            profile=route.get("profile") or "",
        )
    if verdict not in ("deny", "refused"):
        return None
    reason: Json = next(iter(decision.get("reasons") or ({},)))
    return Verdict(
        "deny",
        decision.get("policy"),
        reason.get("rule", ""),
        reason.get("code", ""),
        reason.get("where", ""),
    )


def verdict_in_short(decision: Decision) -> Verdict:
    """The same of a decision."""
    if isinstance(decision, Allow):
        route = decision.route
        verdict = verdict_of(decision)
        return Verdict(verdict, decision.policy, backend=route.backend, profile=route.profile or "")
    reason = decision.reasons[0]
    return Verdict("deny", decision.policy, reason.rule, str(reason.code), reason.where)


def was_evaluated(row: RequestRow) -> bool:
    """Whether rules were asked; else the request was refused before, when its credential was verified."""
    decision: Json = row.decision or {}
    if "facts" in decision.get(ASKED, {}):
        return True
    # Of a revocation nothing is asked but the verified credentials.
    return row.operation == Operation.REVOKE and bool(decision.get("credentials"))


def _step_of(row: RequestRow) -> str:
    decision: Json = row.decision or {}
    # What policies on trial said stands at the end.
    trace = [step for step in decision.get("trace", ()) if step.get("step") != "shadow"] or [{}]
    return str(trace[-1].get("step", "")) if decision.get("verdict") != "allow" else ""


def _as_then(then: Verdict, policy: AdmissionPolicy) -> Verdict:
    """A refusal that no rule made (a wrong password, a transaction in use): it would come again."""
    rule = then.rule
    if then.policy is not None and (rule == then.policy or rule.startswith(f"{then.policy}.")):
        rule = policy.name + rule[len(then.policy) :]
    return Verdict(then.verdict, policy.name, rule, then.code, then.where)


def verification_rule(policy: AdmissionPolicy, kind: CredentialKind, operation: Operation) -> object:
    """The rule by which a policy verifies a credential of this kind."""
    rule = policy.authenticate
    if kind == MTLS:
        return rule.mtls or (rule.renewal if operation in RENEWING else None)
    if kind == RENEWAL_CERT:
        return rule.renewal
    if kind == SIGNATURE:
        return rule.signature
    if kind in CHALLENGES:
        return rule.challenge.ttl_s if rule.challenge is not None else None
    return None  # other stored secrets are verified alike everywhere


def _comparable(value: object) -> object:
    """The value without its places in files and what is judged anew, so that equal rules are equal."""
    if isinstance(value, Pattern):
        return value.source, value.longest  # its program is equal to itself alone
    if is_dataclass(value) and not isinstance(value, type):
        kept = (one.name for one in fields(value) if one.name not in ("where", "own_names_only", "key"))
        return type(value).__name__, *(_comparable(getattr(value, name)) for name in kept)
    if isinstance(value, tuple):
        return tuple(map(_comparable, value))
    return value


def _same_trust(before: Bundle, old: object, now: Bundle, new: object) -> bool:
    if not (isinstance(old, CertificateRule) and isinstance(new, CertificateRule)):
        return old == new
    return before.trust_stores.get(old.trust) == now.trust_stores.get(new.trust)


def _kinds(kinds: set[CredentialKind] | frozenset[CredentialKind]) -> str:
    return " and ".join(sorted(kinds))
