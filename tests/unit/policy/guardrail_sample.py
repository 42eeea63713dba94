"""A policy that allows much, guardrails to bound it, and what guardrails say of a plan."""

from __future__ import annotations

from datetime import timedelta

from gateway.model.decision import Decision, Deny
from gateway.model.names import GeneralName
from gateway.model.reasons import ReasonCode
from gateway.policy.guardrail_check import Granted, judge_guardrails
from gateway.policy.rules import Bundle
from gateway.policy.san_check import AskedName
from tests.unit.policy.sample import NOW, ec_key, load, policy, subject

OPEN = policy(
    keys="{rsa: {min: 1024}, ec: [P-256, P-384, P-521], eddsa: [Ed25519, Ed448], ml_dsa: [ML-DSA-65]}",
    names="""
      subject: {CN: {source: csr, allow: {any: true}}, O: {source: csr, allow: {any: true}}}
      dns: {suffix: [test, example, localhost, local, com], wildcard: allow}
      ip: {cidr: ["0.0.0.0/0", "::/0"]}
      email: {suffix: [test, com]}
      uri: {prefix: ["https://a.test/", "https://ca.test/", "urn:x"]}
      cn_in_san: false
    """,
    extensions="{extended_key_usage: [serverAuth, codeSigning]}",
    validity="{default: 90d, max: 200d, client_may_request: true}",
)


def guardrail(text: str, name: str = "floor") -> str:
    return f"apiVersion: pkigate/v1\nkind: Guardrail\nmetadata: {{name: {name}}}\n{text}\n"


def guarded(text: str, *more: str) -> Bundle:
    return load(OPEN, guardrail(text), *more)


def granted(*names: GeneralName, **parts: object) -> Granted:
    found = Granted(
        subject=subject(),
        names=[AskedName(name, "identity.sans[0]") for name in names],
        key=ec_key(),
        key_usage=(),
        extended_key_usage=(),
        extensions=(),
        not_before=NOW,
        not_after=NOW + timedelta(days=1),
        end_is_asked=False,
        now=NOW,
    )
    for field, value in parts.items():
        setattr(found, field, value)
    return found


def judged(bundle: Bundle, *names: GeneralName, **parts: object) -> list[str]:
    """Rules that refuse what a policy would grant, whatever the policy."""
    return [reason.rule for reason in judge_guardrails(bundle.guardrails, granted(*names, **parts))[0]]


def refusal(decision: Decision) -> list[tuple[ReasonCode, str]]:
    assert isinstance(decision, Deny), decision
    return [(reason.code, reason.rule) for reason in decision.reasons]
