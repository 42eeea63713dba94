"""Keys that are refused whatever their type and size: weak by their numbers, or known (``keys.reject``)."""

from __future__ import annotations

from gateway.model.keys import KeyType, PublicKey
from gateway.model.reasons import ReasonCode
from gateway.pki.keys import rsa_modulus
from gateway.pki.known_keys import debian_fingerprint
from gateway.pki.weak_keys import WEAKNESS_TEXTS, weakness_of_ed25519, weakness_of_rsa
from gateway.policy.content_rules import KeyRule
from gateway.policy.facts import Facts

_NEW_KEY = "make a new key pair"
_ED25519_OCTETS = 32

Fault = tuple[ReasonCode, str]


def known_key_faults(rule: KeyRule, key: PublicKey, facts: Facts) -> list[Fault]:
    """The first thing that is wrong with a key of an allowed type and size; empty if nothing is known.

    A key that is both weak and listed is told of once: the answer is the same, another key.
    """
    fault = _number_fault(rule, key) or _owner_fault(rule, facts) or _listed_fault(rule, key, facts)
    return [] if fault is None else [fault]


def _number_fault(rule: KeyRule, key: PublicKey) -> Fault | None:
    if key.type is KeyType.RSA and rule.weaknesses:
        weakness = weakness_of_rsa(rsa_modulus(key.spki_der), rule.weaknesses)
        if weakness is not None:
            return ReasonCode.KEY_WEAK, f"{WEAKNESS_TEXTS[weakness]}; {_NEW_KEY}"
    if key.type is KeyType.ED25519:
        # With a point of small order anybody can make the signature that proves possession.
        text = weakness_of_ed25519(key.spki_der[-_ED25519_OCTETS:])
        if text is not None:
            return ReasonCode.KEY_WEAK, f"{text}; {_NEW_KEY}"
    return None


def _owner_fault(rule: KeyRule, facts: Facts) -> Fault | None:
    if rule.refuse_ca_key and facts.key_of_ca:
        return ReasonCode.KEY_REUSE, f"this is the key of a CA of this gateway; {_NEW_KEY}"
    if rule.refuse_account_key and facts.key_of_account:
        text = "this key is the key of an ACME account; make one of its own for the certificate"
        return ReasonCode.KEY_REUSE, text
    return None


def _listed_fault(rule: KeyRule, key: PublicKey, facts: Facts) -> Fault | None:
    if key.spki_sha256 in rule.blocked:
        return ReasonCode.KEY_WEAK, f"the private half of this key is published in an RFC; {_NEW_KEY}"
    if not rule.blocklists:
        return None
    asked = [key.spki_sha256]
    if rule.debian_weak and key.type is KeyType.RSA:
        asked.append(debian_fingerprint(rsa_modulus(key.spki_der)))
    for name in rule.blocklists:
        if not facts.lists.available(name):
            text = (
                f"the block list {name!r} cannot be read at the moment, so no key can be accepted; try later"
            )
            return ReasonCode.KEY_WEAK, text
        if any(facts.lists.contains(name, value) for value in asked):
            return ReasonCode.KEY_WEAK, f"this key stands in the block list {name!r}; {_NEW_KEY}"
    return None
