"""A decision on a request that is not on its way: of an embedded test, an explanation, a replay.

The steps are those of the gateway: select, verify, evaluate. What verification found is part of the trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.model.decision import Allow, Decision, Deny, Route, TraceStep
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import (
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    MTLS,
    RENEWAL_CERT,
    CredentialKind,
    Evidence,
    VerifiedCredential,
)
from gateway.model.keys import KeyToCome
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.engine import authorize, evaluate, preview
from gateway.policy.facts import Facts
from gateway.policy.limit_rules import PEND_APPROVAL, OnExceed
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import AdmissionPolicy, Bundle, CompiledPolicy
from gateway.policy.selection import Admitted, NotSelected, Selected, select, select_revocation

_SORTS = {CHALLENGE_STATIC: "a static", CHALLENGE_DYNAMIC: "a one-time"}


@dataclass(frozen=True, slots=True)
class Trial:
    """Everything that a decision is made of. ``refused``: credentials that did not stand up, by kind."""

    request: EnrolmentRequest
    evidence: Evidence
    facts: Facts
    refused: Mapping[CredentialKind, Reason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it. ``names_refused``: the names alone are refused already, before a key is known."""

    decision: Decision
    names_refused: bool = False


def choose(bundle: Bundle, request: EnrolmentRequest) -> Admitted | NotSelected:
    """The policy that judges this request."""
    if request.operation is Operation.REVOKE:
        return select_revocation(bundle, request)
    return select(bundle, request)


def decide(bundle: Bundle, trial: Trial, shadow: CompiledPolicy | None = None) -> Tried:
    """What the gateway would decide. ``shadow``: a policy on trial that is asked in place of the others."""
    request = trial.request
    chosen = choose(bundle, request) if shadow is None else Selected(shadow, (shadow.chosen_step,))
    if isinstance(chosen, NotSelected):
        return Tried(Deny(None, bundle.sha256, chosen.reasons, chosen.trace))
    looked_at = looked_at_kinds(chosen.policy, request.operation)
    fault = next((reason for kind, reason in trial.refused.items() if kind in looked_at), None)
    kept = tuple(one for one in trial.evidence.credentials if one.kind in looked_at)
    fault = fault or _unaccepted_challenge(chosen.policy, kept)
    if fault is not None:
        return Tried(_refused(bundle, chosen, fault))
    evidence = Evidence(kept)
    if not isinstance(chosen, Selected):
        denied = authorize(bundle, chosen, request, evidence)
        return Tried(denied or _permitted(bundle, chosen))
    decision = _watched(bundle, chosen, trial, evaluate(bundle, chosen, request, evidence, trial.facts))
    ordered = chosen.policy.authenticate.acme is not None and isinstance(decision, Deny)
    if not ordered:
        return Tried(decision)
    names = replace(request, key=KeyToCome())  # RFC 8555 section 7.4: the names are judged at newOrder
    return Tried(decision, bool(preview(bundle, chosen, names, evidence, trial.facts).reasons))


def _watched(bundle: Bundle, chosen: Selected, trial: Trial, decision: Decision) -> Decision:
    """With the people who must approve what goes over a limit, if that is said to be so."""
    if not trial.facts.limits_exceeded or isinstance(decision, Deny) or decision.approval is not None:
        return decision
    policy, request = chosen.policy, trial.request
    guardrails = bundle.guardrails_at(request.protocol, request.endpoint)
    rules = (*policy.limits, *(rule for guardrail in guardrails for rule in guardrail.limits))
    watched = next((rule for rule in rules if rule.on_exceed is OnExceed.PEND), None)
    if watched is None:
        return decision
    step = TraceStep(
        "limits", watched.rule, "set", f"only {watched.text}: people must approve", watched.where
    )
    approval = policy.approval or PEND_APPROVAL
    return replace(decision, approval=approval, trace=(*decision.trace, step))


def looked_at_kinds(policy: AdmissionPolicy, operation: Operation) -> frozenset[CredentialKind]:
    """The kinds of credential that this policy verifies."""
    rule = policy.authenticate
    kinds = rule.kinds
    if rule.challenge is not None:
        kinds |= {CHALLENGE_STATIC, CHALLENGE_DYNAMIC}  # which sort it is shows only when it is verified
    # At a renewal a plain client certificate counts as the renewed one, as in authn.claims.
    return kinds | {MTLS} if RENEWAL_CERT in kinds and operation in RENEWING else kinds


def _unaccepted_challenge(
    policy: AdmissionPolicy, credentials: Sequence[VerifiedCredential]
) -> Reason | None:
    rule = policy.authenticate.challenge
    for credential in credentials:
        if rule is not None and credential.kind in _SORTS and credential.kind not in rule.accept:
            text = f"{_SORTS[credential.kind]} challenge password is not accepted here; ask for another kind"
            return Reason(ReasonCode.AUTH_CREDENTIAL_SCOPE, text, "credential")
    return None


def _refused(bundle: Bundle, chosen: Admitted, fault: Reason) -> Deny:
    policy = chosen.policy
    placed = fault if fault.rule else replace(fault, rule=policy.name, where=policy.authenticate.where)
    step = TraceStep("authenticate", placed.rule, "refused", f"{placed.code}: {placed.message}", placed.where)
    return Deny(policy.name, bundle.sha256, (placed,), (*chosen.trace, step))


def _permitted(bundle: Bundle, chosen: Admitted) -> Allow:
    """A revocation issues nothing: there is neither plan nor route."""
    return Allow(chosen.policy.name, bundle.sha256, None, Route(""), None, chosen.trace)
