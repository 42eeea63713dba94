"""Extensions and validity: what is set whatever the request says, and what it may not ask for."""

from __future__ import annotations

from datetime import datetime

from gateway.errors import MalformedMessage
from gateway.model.enrolment import EnrolmentRequest, Extension
from gateway.model.keys import ClientKey
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.extension_values import (
    CERTIFICATE_POLICIES,
    TLS_FEATURE,
    asks_for_ca,
    extended_key_usage_oids,
    key_usage_bits,
    must_staple,
)
from gateway.policy.facts import Facts
from gateway.policy.rules import CompiledPolicy, ExtensionsRule, MustStaple

_BASIC_CONSTRAINTS, _KEY_USAGE, _EXTENDED_KEY_USAGE = "2.5.29.19", "2.5.29.15", "2.5.29.37"
_SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
_OCSP_SIGNING, _ANY_USAGE = "1.3.6.1.5.5.7.3.9", "2.5.29.37.0"
_CA_BITS = frozenset({"keyCertSign", "cRLSign"})
# Asking for these is usual and harmless: what is set is the policy's business.
_OVERRIDDEN = frozenset(
    {
        _BASIC_CONSTRAINTS,
        _KEY_USAGE,
        _EXTENDED_KEY_USAGE,
        _SUBJECT_KEY_IDENTIFIER,
        CERTIFICATE_POLICIES,
        TLS_FEATURE,
    }
)


def judge_extensions(policy: CompiledPolicy, request: EnrolmentRequest) -> list[Reason]:
    """Nothing is copied from the request; what would make a CA or an OCSP responder of it is refused aloud."""
    reasons: list[Reason] = []
    for position, extension in enumerate(request.identity.extensions):
        path = f"identity.extensions[{position}]"
        try:
            fault = _fault(policy.extensions, extension)
        except MalformedMessage as error:
            fault = ReasonCode.EXTENSION_NOT_ALLOWED, str(error)
        if fault is not None:
            reasons.append(
                Reason(fault[0], fault[1], path, f"{policy.name}.extensions", policy.extensions.where)
            )
    return reasons


def _fault(rule: ExtensionsRule, extension: Extension) -> tuple[ReasonCode, str] | None:
    value_der = extension.value_der
    if extension.oid == _BASIC_CONSTRAINTS and asks_for_ca(value_der):
        return (
            ReasonCode.EXTENSION_CA,
            "the CSR asks for CA:TRUE; only end-entity certificates are issued here",
        )
    if extension.oid == _KEY_USAGE:
        bits = _CA_BITS.intersection(key_usage_bits(value_der))
        if bits:
            text = f"the CSR asks for the key usage {', '.join(sorted(bits))}, which is for CAs; leave it out"
            return ReasonCode.EXTENSION_CA, text
    if extension.oid == _EXTENDED_KEY_USAGE:
        forbidden = {_OCSP_SIGNING, _ANY_USAGE}.intersection(extended_key_usage_oids(value_der))
        if forbidden - set(rule.extended_key_usage):
            text = f"the CSR asks for the extended key usage {', '.join(sorted(forbidden))}; leave it out"
            return ReasonCode.EXTENSION_NOT_ALLOWED, text
    if extension.oid == TLS_FEATURE and rule.must_staple is MustStaple.NEVER and extension.critical:
        return ReasonCode.EXTENSION_NOT_ALLOWED, "a critical TLS feature extension is not allowed here"
    if extension.oid not in _OVERRIDDEN and (extension.critical or rule.deny_other):
        kind = "critical extension" if extension.critical else "extension"
        text = f"the {kind} {extension.oid} is not allowed here; leave it out"
        return ReasonCode.EXTENSION_NOT_ALLOWED, text
    return None


def planned_extensions(policy: CompiledPolicy, request: EnrolmentRequest) -> tuple[Extension, ...]:
    """What stands in the certificate beside the usages."""
    rule = policy.extensions
    if rule.must_staple is MustStaple.IF_REQUESTED:
        wanted = must_staple()
        if any(e.oid == TLS_FEATURE and e.value_der == wanted.value_der for e in request.identity.extensions):
            return (*rule.extensions, wanted)
    return rule.extensions


def planned_key_usage(policy: CompiledPolicy, request: EnrolmentRequest) -> tuple[str, ...]:
    """The key usage bits that this type of key can do."""
    if not isinstance(request.key, ClientKey):
        return policy.extensions.key_usage_all
    return policy.extensions.key_usage.get(request.key.public_key.type, policy.extensions.key_usage_all)


def judge_validity(
    policy: CompiledPolicy, request: EnrolmentRequest, facts: Facts
) -> tuple[datetime, datetime, list[Reason]]:
    """First and last moment of the certificate, never beyond the issuer's own end."""
    rule, now = policy.validity, facts.now
    not_before, not_after = now - rule.backdate, now + rule.default
    reasons: list[Reason] = []
    if request.not_before is not None or request.not_after is not None:
        if not rule.client_may_request:
            text = "a validity may not be asked for here; leave notBefore and notAfter out"
            reasons.append(_reason(policy, text))
        else:
            not_before = request.not_before or not_before
            not_after = request.not_after or not_before + rule.default
            if not_after > now + rule.max or not_before < now - rule.backdate or not_before >= not_after:
                text = (
                    f"{not_before:%Y-%m-%d %H:%M}Z to {not_after:%Y-%m-%d %H:%M}Z is not possible; "
                    f"at most {rule.max.days} days from now on"
                )
                reasons.append(_reason(policy, text))
    if facts.issuer_not_after is not None:
        not_after = min(not_after, facts.issuer_not_after)
        if not_after <= now:
            reasons.append(_reason(policy, "the issuing CA's own certificate has expired"))
    return not_before, not_after, reasons


def _reason(policy: CompiledPolicy, text: str) -> Reason:
    return Reason(ReasonCode.VALIDITY, text, "validity", f"{policy.name}.validity", policy.validity.where)
