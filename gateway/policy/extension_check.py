"""Makes key usage and extensions of the plan, and holds requested extensions against them."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.errors import MalformedMessage
from gateway.model.enrolment import Extension
from gateway.model.keys import PublicKey
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.oids import (
    AUTHORITY_KEY_IDENTIFIER,
    BASIC_CONSTRAINTS,
    EXTENDED_KEY_USAGE,
    KEY_USAGE,
    SUBJECT_ALT_NAME,
    SUBJECT_KEY_IDENTIFIER,
)
from gateway.policy.content_rules import MustStaple
from gateway.policy.extension_values import (
    TLS_FEATURE,
    asks_for_ca,
    extended_key_usage_oids,
    key_usage_bits,
    must_staple,
)
from gateway.policy.rules import CompiledPolicy
from gateway.policy.terms import EXTENDED_KEY_USAGE_NAMES, EXTENDED_KEY_USAGES

_MUST_STAPLE = must_staple()
_CA_BITS = frozenset({"keyCertSign", "cRLSign"})
_OCSP_SIGNING = EXTENDED_KEY_USAGES["OCSPSigning"]
# RFC 5280 4.2.1: nameConstraints, policyMappings, policyConstraints, inhibitAnyPolicy
_FOR_CAS = frozenset({"2.5.29.30", "2.5.29.33", "2.5.29.36", "2.5.29.54"})
# The issuer always adds these for itself, whatever is asked for.
_ISSUERS_OWN = frozenset({SUBJECT_ALT_NAME, SUBJECT_KEY_IDENTIFIER, AUTHORITY_KEY_IDENTIFIER})
MAX_EXTENSIONS = 50


@dataclass(slots=True)
class JudgedExtensions:
    """What will be set, and what is wrong with what was asked for."""

    key_usage: tuple[str, ...]
    extensions: tuple[Extension, ...]
    reasons: list[Reason] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def judge_extensions(
    policy: CompiledPolicy, requested: tuple[Extension, ...], key: PublicKey | None
) -> JudgedExtensions:
    """Make what is set from the rules; requested values can only lead to a refusal or to must-staple."""
    rule = policy.extensions
    usage = rule.key_usage.get(key.type, rule.key_usage_all) if key is not None else rule.key_usage_all
    judged = JudgedExtensions(usage, rule.extensions)
    if not requested:
        return judged
    if rule.must_staple is MustStaple.IF_REQUESTED and _asks_for_staple(requested):
        judged.extensions = (*rule.extensions, _MUST_STAPLE)
    if len(requested) > MAX_EXTENSIONS:
        text = f"{len(requested)} extensions are asked for; at most {MAX_EXTENSIONS} are read"
        _refuse(policy, judged, ReasonCode.EXTENSION_NOT_ALLOWED, text, -1)
        return judged
    for index, extension in enumerate(requested):
        try:
            _judge_one(policy, judged, extension, index)
        except MalformedMessage as error:
            _refuse(policy, judged, ReasonCode.EXTENSION_NOT_ALLOWED, str(error), index)
    return judged


def _judge_one(policy: CompiledPolicy, judged: JudgedExtensions, extension: Extension, index: int) -> None:
    oid = extension.oid
    if oid == BASIC_CONSTRAINTS:
        if asks_for_ca(extension.value_der):
            text = "CA:TRUE is asked for; CA certificates are not enrolled here"
            _refuse(policy, judged, ReasonCode.EXTENSION_CA, text, index)
    elif oid in _FOR_CAS:
        text = f"the extension {oid} is for CA certificates only; leave it out"
        _refuse(policy, judged, ReasonCode.EXTENSION_CA, text, index)
    elif oid == KEY_USAGE:
        _judge_key_usage(policy, judged, extension, index)
    elif oid == EXTENDED_KEY_USAGE:
        _judge_extended_key_usage(policy, judged, extension, index)
    elif oid in _ISSUERS_OWN or any(known.oid == oid for known in judged.extensions):
        return
    elif extension.critical or policy.extensions.deny_other:
        what = "critical extension" if extension.critical else "extension"
        text = f"the {what} {oid} is asked for, which will not be set here; leave it out of the CSR"
        _refuse(policy, judged, ReasonCode.EXTENSION_NOT_ALLOWED, text, index)
    else:
        judged.ignored.append("tlsFeature" if oid == TLS_FEATURE else oid)


def _judge_key_usage(
    policy: CompiledPolicy, judged: JudgedExtensions, extension: Extension, index: int
) -> None:
    bits = key_usage_bits(extension.value_der)
    for bit in bits:
        if bit in _CA_BITS:
            text = f"the key usage {bit} is asked for, which only CA certificates have"
            _refuse(policy, judged, ReasonCode.EXTENSION_CA, text, index)
        elif bit not in judged.key_usage:
            if policy.extensions.deny_other:
                allowed = ", ".join(judged.key_usage) or "none"
                text = f"the key usage {bit} is not set here; set are: {allowed}"
                _refuse(policy, judged, ReasonCode.EXTENSION_NOT_ALLOWED, text, index)
            else:
                judged.ignored.append(f"keyUsage {bit}")


def _judge_extended_key_usage(
    policy: CompiledPolicy, judged: JudgedExtensions, extension: Extension, index: int
) -> None:
    granted = policy.extensions.extended_key_usage
    for oid in extended_key_usage_oids(extension.value_der):
        name = EXTENDED_KEY_USAGE_NAMES.get(oid, oid)
        if oid in granted:
            continue
        if oid == _OCSP_SIGNING or policy.extensions.deny_other:
            allowed = ", ".join(EXTENDED_KEY_USAGE_NAMES.get(known, known) for known in granted) or "none"
            text = f"the extended key usage {name} is not set here; set are: {allowed}"
            _refuse(policy, judged, ReasonCode.EXTENSION_NOT_ALLOWED, text, index)
        else:
            judged.ignored.append(f"extendedKeyUsage {name}")


def _asks_for_staple(requested: tuple[Extension, ...]) -> bool:
    return any(asked.oid == TLS_FEATURE and asked.value_der == _MUST_STAPLE.value_der for asked in requested)


def _refuse(
    policy: CompiledPolicy, judged: JudgedExtensions, code: ReasonCode, text: str, index: int
) -> None:
    path = f"identity.extensions[{index}]" if index >= 0 else "identity.extensions"
    judged.reasons.append(Reason(code, text, path, f"{policy.name}.extensions", policy.extensions.where))
