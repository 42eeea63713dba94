"""Holds a request's key against the policy's key rules."""

from __future__ import annotations

from typing import assert_never

from gateway.model.evidence import Evidence
from gateway.model.keys import ClientKey, KeyType, Pop, PublicKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.content_rules import KeyRule
from gateway.policy.facts import Facts
from gateway.policy.known_key_check import known_key_faults
from gateway.policy.rules import CompiledPolicy

MAX_NAMES_TOLD = 5
_PATH = "key"


def key_reasons(policy: CompiledPolicy, key: ClientKey, facts: Facts, evidence: Evidence) -> list[Reason]:
    """Everything that is wrong with the key; empty if it may be certified."""
    rule, public_key = policy.keys, key.public_key
    found = _kind_faults(rule, public_key)
    fault = _possession_fault(key.pop, evidence)
    if fault:
        found.append((ReasonCode.CSR_POSSESSION, fault))
    elif key.signature_hash is not None and key.signature_hash not in rule.signature_hashes:
        allowed = ", ".join(sorted(rule.signature_hashes))
        found.append(
            (
                ReasonCode.KEY_SIGNATURE_HASH,
                f"the CSR is signed with {key.signature_hash}; allowed are {allowed}",
            )
        )
    if not found:
        found = known_key_faults(rule, public_key, facts)
    if rule.refuse_known_key and facts.key_known_to_others:
        found.append(
            (
                ReasonCode.KEY_REUSE,
                "this key stands in a certificate of another identity; make a new key pair",
            )
        )
    if not found:
        return []
    return [Reason(code, text, _PATH, f"{policy.name}.keys", rule.where) for code, text in found]


def reuse_reasons(
    policy: CompiledPolicy, facts: Facts, subject: DistinguishedName, sans: tuple[GeneralName, ...]
) -> list[Reason]:
    """Why a key that was certified before does not serve for this name (``reuse: same-subject``).

    An empty subject says nothing: then the alternative names are what must be the same.
    """
    rule = policy.keys
    if not rule.one_subject or facts.key_known_to_others:  # the latter is told of already
        return []
    text, names = str(subject), frozenset(str(name) for name in sans)
    for earlier in facts.key_stands_in:
        if (earlier.subject == text) if text else (not earlier.subject and earlier.sans == names):
            continue
        told = earlier.subject or ", ".join(sorted(earlier.sans)[:MAX_NAMES_TOLD])
        message = f"this key stands in a certificate of another subject, {told}; make a new key pair"
        return [Reason(ReasonCode.KEY_REUSE, message, _PATH, f"{policy.name}.keys.reuse", rule.where)]
    return []


def _possession_fault(pop: Pop, evidence: Evidence) -> str:
    """RFC 4211 section 4: without a proof of possession the key may be anybody's. Empty if it is proven."""
    match pop:
        case Pop.SIGNATURE:
            return ""
        case Pop.RA_VERIFIED if evidence.ra:
            return ""
        case Pop.RA_VERIFIED:
            return (
                "only a registration authority may say that it has verified the possession of the private "
                "key; prove it by a signature"
            )
        case Pop.NONE:
            return "possession of the private key is not proven; sign the request with it"
        case _:
            assert_never(pop)


def _kind_faults(rule: KeyRule, key: PublicKey) -> list[tuple[ReasonCode, str]]:
    if key.type not in rule.types:
        shown = key.algorithm_oid if key.type is KeyType.OTHER and key.algorithm_oid else str(key)
        return [(ReasonCode.KEY_TYPE, f"{shown} keys are not allowed here; allowed are {rule.allowed_text}")]
    if key.type is KeyType.RSA:
        return _rsa_faults(rule, key)
    if key.type is KeyType.EC and key.curve not in rule.curves:
        return [
            (
                ReasonCode.KEY_CURVE,
                f"the curve {key.curve} is not allowed here; allowed are {rule.allowed_text}",
            )
        ]
    return []


def _rsa_faults(rule: KeyRule, key: PublicKey) -> list[tuple[ReasonCode, str]]:
    found = []
    size, exponent = key.size_bits, key.rsa_exponent
    if not rule.rsa_min <= size <= rule.rsa_max or (rule.rsa_sizes and size not in rule.rsa_sizes):
        found.append(
            (
                ReasonCode.KEY_SIZE,
                f"an RSA key of {size} bits is not allowed here; allowed are {rule.allowed_text}",
            )
        )
    if exponent is None or exponent < rule.rsa_min_exponent or not exponent & 1:
        found.append(
            (
                ReasonCode.KEY_WEAK,
                f"the RSA exponent {exponent} is weak; use an odd one from {rule.rsa_min_exponent} on",
            )
        )
    return found
