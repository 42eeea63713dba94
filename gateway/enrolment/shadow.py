"""Policies on trial (``mode: shadow``): what they would say stands in the trace, and decides nothing.

The credential is verified by the word of the policy on trial, but no guess is made twice: a password or
challenge counts only as far as the deciding policy has verified it. Limits are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from gateway.authn.refusal import CredentialRefused
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.record import Judged
from gateway.enrolment.refusals import placed
from gateway.enrolment.verification import Verification
from gateway.errors import BackendUnavailable, Overloaded, StoreUnavailable
from gateway.model.decision import Allow, Decision, Deny, TraceStep
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.engine import Selected, evaluate, select_shadow
from gateway.policy.rules import Bundle, CompiledPolicy

MAX_REASONS = 20
_WORDS = {"allow": "would grant it", "pend": "would ask people", "deny": "would refuse it"}

ObserveShadow = Callable[[str, str, bool], None]


def unobserved(_policy: str, _verdict: str, _differs: bool) -> None:
    """Nobody counts what policies on trial say."""


class ShadowTrials:
    """Looks beside each new decision at the policy on trial that would have been asked before."""

    def __init__(self, bundle: ActiveBundle, verification: Verification, observe: ObserveShadow) -> None:
        """``observe(policy, verdict, differs)`` is called once for each."""
        self._bundle = bundle
        self._verification = verification
        self._observe = observe

    async def beside(self, judged: Judged) -> Judged:
        """The same, with what the policy on trial would have said at the end of the trace."""
        bundle, decided = self._bundle.current, judged.decision
        if not bundle.shadow_tables or decided is None or decided.bundle_sha256 != bundle.sha256:
            return judged
        deciding = next((one.priority for one in bundle.policies if one.name == decided.policy), None)
        policy = select_shadow(bundle, judged.request, before=deciding)
        if policy is None:
            return judged
        said = await self._said(bundle, policy, judged)
        if isinstance(said, str):
            self._observe(policy.name, "unknown", False)
            steps = [TraceStep("shadow", policy.name, "unknown", said, policy.where)]
        else:
            verdict, other = _verdict(said), _difference(said, decided)
            self._observe(policy.name, verdict, bool(other))
            steps = _steps(policy, said, f"{_WORDS[verdict]}, {other or 'as was decided'}")
        return replace(judged, decision=replace(decided, trace=(*decided.trace, *steps)))

    async def _said(self, bundle: Bundle, policy: CompiledPolicy, judged: Judged) -> Decision | str:
        """Its decision; a text where there is none to be had without doing harm."""
        request = judged.request
        try:
            verified = await self._verification.verify(bundle, policy, request, known=judged.evidence)
            lists = self._bundle.lists.at(bundle.lists, judged.now)
            facts = await self._verification.facts(policy, request, verified.found, verified.evidence, lists)
        except CredentialRefused as refusal:
            if refusal.code is ReasonCode.AUTH_THROTTLED:
                return "the credential was not verified for it: too many failed attempts"
            return _denied(bundle, policy, placed(refusal, policy))
        except (BackendUnavailable, Overloaded, StoreUnavailable) as error:
            return f"what it must know was not to be had: {error}"
        if judged.facts is not None:
            facts = replace(facts, now=judged.facts.now)
        return evaluate(bundle, Selected(policy, ()), request, verified.evidence, facts)


def _denied(bundle: Bundle, policy: CompiledPolicy, reason: Reason) -> Deny:
    return Deny(policy.name, bundle.sha256, (reason,), ())


def _verdict(decision: Decision) -> str:
    if isinstance(decision, Deny):
        return "deny"
    return "allow" if decision.approval is None else "pend"


def _difference(said: Decision, decided: Decision) -> str:
    """In which way the two differ; empty if they do not."""
    if _verdict(said) != _verdict(decided):
        return f"which differs: the verdict was {_verdict(decided)}"
    if not (isinstance(said, Allow) and isinstance(decided, Allow)) or said.plan is None:
        return ""
    others = [
        one.name
        for one in fields(said.plan)
        if decided.plan is None or getattr(said.plan, one.name) != getattr(decided.plan, one.name)
    ]
    if said.route != decided.route:
        others.append("route")
    return f"with a difference in {', '.join(others)}" if others else ""


def _steps(policy: CompiledPolicy, said: Decision, text: str) -> list[TraceStep]:
    steps = [TraceStep("shadow", policy.name, _verdict(said), text, policy.where)]
    if isinstance(said, Deny):
        steps += [
            TraceStep("shadow", one.rule, "would-refuse", f"{one.code}: {one.message}", one.where)
            for one in said.reasons[:MAX_REASONS]
        ]
    return steps
