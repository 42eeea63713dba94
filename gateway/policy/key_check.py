"""Holds a request's key against the policy's key rules."""

from __future__ import annotations

from typing import assert_never

from gateway.model.evidence import Evidence
from gateway.model.keys import ClientKey, KeyType, Pop, PublicKey
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.facts import Facts
from gateway.policy.rules import CompiledPolicy, KeyRule

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
