"""Decisions as compact JSON for the record."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from gateway.model.decision import Allow, Decision, Deny, Route
from gateway.model.evidence import Evidence, VerifiedCredential

VERSION = 2  # since 2 everything is there that a decision needs to be made again
MAX_CERTIFICATE_BYTES = 8192


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
        found["route"] = route_json(decision.route)
        if decision.approval is not None:
            found["approval"] = {
                "required": decision.approval.required,
                "expires_s": decision.approval.expires_s,
            }
    return found


def route_json(route: Route) -> dict[str, object]:
    """With those that stand in, where there are any: what goes on after a crash reads them here."""
    found: dict[str, object] = {"backend": route.backend, "profile": route.profile}
    if route.fallbacks:
        found["fallback"] = [[one.backend, one.profile] for one in route.fallbacks]
        found["fallback_on"] = list(route.fallback_on)
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
    if credential.credential_id is not None:
        found["id"] = credential.credential_id
    if credential.certificate_der is not None:
        found.update(_certificate(credential.certificate_der, dict(credential.detail)))
    elif credential.detail:
        found["detail"] = dict(credential.detail)
    found.update(_said_of(credential))
    return found


def _said_of(credential: VerifiedCredential) -> dict[str, object]:
    """Bounds and words of a credential, so that its request can be decided again."""
    found: dict[str, object] = {}
    for key, bound in (("names", credential.names), ("profiles", credential.profiles)):
        if bound is not None:
            found[key] = list(bound)
    if credential.prevalidated:
        found["prevalidated"] = list(credential.prevalidated)
    if credential.ra:
        found["ra"] = True
    if credential.groups:
        found["groups"] = list(credential.groups)
    if credential.labels:
        found["labels"] = dict(credential.labels)
    if credential.facts:
        found["facts"] = dict(credential.facts)
    return found


def _certificate(certificate_der: bytes, detail: Mapping[str, str]) -> dict[str, object]:
    """One of ours stands in the database; another CA's is written down whole."""
    if detail.get("ours") == "yes":
        return {"certificate_sha256": detail["certificate_sha256"]}
    if len(certificate_der) > MAX_CERTIFICATE_BYTES:
        return {"certificate_sha256": detail.get("certificate_sha256", "")}
    return {"certificate_der": b64encode(certificate_der).decode()}


def _filled(step: str, rule: str, verdict: str, message: str, where: str) -> dict[str, str]:
    line = {"step": step, "rule": rule, "verdict": verdict, "message": message}
    if where:
        line["where"] = where
    return line


def _filled_reason(code: str, message: str, path: str, rule: str, where: str) -> dict[str, str]:
    line = {"code": code, "message": message, "path": path, "rule": rule, "where": where}
    return {key: value for key, value in line.items() if value}
