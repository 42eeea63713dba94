"""Decisions as compact JSON for the record."""

from __future__ import annotations

from gateway.model.decision import Allow, Decision, Deny
from gateway.model.evidence import Evidence, VerifiedCredential

VERSION = 1


def decision_json(decision: Decision, evidence: Evidence) -> dict[str, object]:
    """A JSON-able form; empty things are left out. ``version`` says how to read it."""
    found: dict[str, object] = {
        "version": VERSION,
        "verdict": "allow" if isinstance(decision, Allow) else "deny",
        "policy": decision.policy,
        "bundle": decision.bundle_sha256,
        "trace": [
            _filled(step.step, step.rule, step.verdict, step.message, step.where) for step in decision.trace
        ],
    }
    if evidence.credentials:
        found["credentials"] = [_credential(one) for one in evidence.credentials]
    if isinstance(decision, Deny):
        found["reasons"] = [
            _filled_reason(str(one.code), one.message, one.path, one.rule, one.where)
            for one in decision.reasons
        ]
    else:
        found["route"] = {"backend": decision.route.backend, "profile": decision.route.profile}
        if decision.approval is not None:
            found["approval"] = {
                "required": decision.approval.required,
                "expires_s": decision.approval.expires_s,
            }
    return found


def _credential(credential: VerifiedCredential) -> dict[str, object]:
    found: dict[str, object] = {
        "kind": str(credential.kind),
        "identity": credential.identity,
        "label": credential.label,
    }
    if credential.proven:
        found["proven"] = [
            {
                "name": f"{proof.kind}:{proof.value}",
                "method": proof.method,
                "at": f"{proof.at:%Y-%m-%dT%H:%M:%SZ}",
            }
            for proof in credential.proven
        ]
    return found


def _filled(step: str, rule: str, verdict: str, message: str, where: str) -> dict[str, str]:
    line = {"step": step, "rule": rule, "verdict": verdict, "message": message}
    if where:
        line["where"] = where
    return line


def _filled_reason(code: str, message: str, path: str, rule: str, where: str) -> dict[str, str]:
    line = {"code": code, "message": message, "path": path, "rule": rule, "where": where}
    return {key: value for key, value in line.items() if value}
