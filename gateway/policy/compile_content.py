"""What a certificate holds beside names: documents to rules for key, extensions, life and renewal."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model.enrolment import Extension
from gateway.model.keys import KeyType
from gateway.pki.known_keys import PUBLISHED_KEYS
from gateway.pki.weak_keys import KeyWeakness
from gateway.policy.content_rules import ExtensionsRule, KeyRule, MustStaple, RenewalRule, ValidityRule
from gateway.policy.extension_documents import NONE, ExtensionsRules
from gateway.policy.extension_values import (
    AUTHORITY_INFO_ACCESS,
    CRL_DISTRIBUTION_POINTS,
    authority_info_access,
    certificate_policies,
    crl_distribution_points,
    must_staple,
)
from gateway.policy.key_documents import BUILTIN, KeyRules, Reject
from gateway.policy.rule_documents import RenewalRules, ValidityRules
from gateway.policy.yaml_marks import ComplaintList, Document

_KEY_TYPES = {
    "Ed25519": KeyType.ED25519,
    "Ed448": KeyType.ED448,
    "ML-DSA-44": KeyType.ML_DSA_44,
    "ML-DSA-65": KeyType.ML_DSA_65,
    "ML-DSA-87": KeyType.ML_DSA_87,
}
_SIGNING = frozenset({"digitalSignature", "nonRepudiation"})
# RFC 3279 section 2.3.1, RFC 5480 section 3, RFC 8410 section 5, RFC 9881 section 5: what a key can do at all
_ABLE: Mapping[KeyType, frozenset[str]] = {
    KeyType.RSA: _SIGNING | {"keyEncipherment", "dataEncipherment"},
    KeyType.EC: _SIGNING | {"keyAgreement"},
}
_WEAKNESSES = {word: KeyWeakness(word) for word in (Reject.ROCA, Reject.FERMAT, Reject.SMALL_PRIMES)}
_ACME = "acme"


def compile_keys(rules: KeyRules, protocol: str, document: Document) -> KeyRule:
    """``protocol``: whose front end may make checks of its own."""
    types = {_KEY_TYPES[word] for word in (*rules.eddsa, *rules.ml_dsa)}
    texts: list[str] = []
    if rules.rsa is not None:
        types.add(KeyType.RSA)
        sizes = ", ".join(map(str, rules.rsa.sizes)) or f"{rules.rsa.min} to {rules.rsa.max}"
        texts.append(f"RSA {sizes} bits")
    if rules.ec:
        types.add(KeyType.EC)
        texts.append(f"EC {', '.join(rules.ec)}")
    texts += [*rules.eddsa, *rules.ml_dsa]
    rejected = frozenset(rules.reject)
    lists = tuple(name for name in dict.fromkeys(rules.blocklists) if name != BUILTIN)
    looked_up = Reject.BLOCKLIST in rejected
    return KeyRule(
        types=frozenset(types),
        rsa_min=rules.rsa.min if rules.rsa else 0,
        rsa_max=rules.rsa.max if rules.rsa else 0,
        rsa_sizes=frozenset(rules.rsa.sizes) if rules.rsa else frozenset(),
        rsa_min_exponent=rules.rsa.min_exponent if rules.rsa else 0,
        curves=frozenset(rules.ec),
        signature_hashes=frozenset(rules.csr_signature),
        refuse_known_key=rules.reuse != "allow",
        allowed_text="; ".join(texts),
        where=document.where(("keys",)),
        weaknesses=frozenset(weakness for word, weakness in _WEAKNESSES.items() if word in rejected),
        refuse_ca_key=Reject.CA_KEY in rejected,
        # ACME asks this of every CSR itself (RFC 8555 section 11.1), whatever a policy says.
        refuse_account_key=Reject.ACCOUNT_KEY in rejected and protocol != _ACME,
        blocklists=lists if looked_up or Reject.DEBIAN_WEAK in rejected else (),
        blocked=PUBLISHED_KEYS if looked_up and BUILTIN in rules.blocklists else frozenset(),
        debian_weak=bool(lists) and Reject.DEBIAN_WEAK in rejected,
        one_subject=rules.reuse == "same-subject",
    )


def compile_extensions(
    rules: ExtensionsRules, keys: KeyRule, document: Document, found: ComplaintList
) -> ExtensionsRule:
    """What only shows when the parts are put together goes into ``found``."""
    usages = {
        key_type: tuple(bit for bit in rules.key_usage if bit in _ABLE.get(key_type, _SIGNING))
        for key_type in sorted(keys.types)
    }
    for key_type, usage in usages.items():
        if rules.key_usage and not usage:
            found.add(
                document,
                ("extensions", "key_usage"),
                f"none of {', '.join(rules.key_usage)} can be done by {key_type} keys, which `keys` allows; "
                "add digitalSignature or remove that type of key",
            )
    constant = [certificate_policies(rules.policies)] if rules.policies else []
    if rules.must_staple is MustStaple.ALWAYS:
        constant.append(must_staple())
    constant += _published(rules)
    constant += [Extension(other.oid, other.critical, other.value) for other in rules.other]
    named = ((CRL_DISTRIBUTION_POINTS, rules.cdp), (AUTHORITY_INFO_ACCESS, rules.aia))
    return ExtensionsRule(
        key_usage=usages,
        key_usage_all=rules.key_usage,
        extended_key_usage=tuple(dict.fromkeys(rules.extended_key_usage)),
        extensions=tuple(constant),
        must_staple=rules.must_staple,
        deny_other=rules.from_csr == "deny",
        where=document.where(("extensions",)),
        without=tuple(oid for oid, said in named if said == NONE),
    )


def _published(rules: ExtensionsRules) -> list[Extension]:
    made = []
    if isinstance(rules.cdp, tuple):
        made.append(crl_distribution_points(rules.cdp))
    if isinstance(rules.aia, tuple):
        made.append(authority_info_access(rules.aia))
    return made


def compile_validity(rules: ValidityRules, document: Document) -> ValidityRule:
    return ValidityRule(
        default=rules.default,
        max=rules.max or rules.default,
        client_may_request=rules.client_may_request,
        backdate=rules.backdate,
        where=document.where(("validity",)),
        jitter=rules.jitter,
    )


def compile_renewal(rules: RenewalRules, document: Document) -> RenewalRule:
    return RenewalRule(
        window=rules.window,
        deny_name_change=rules.name_change == "deny",
        new_key=rules.new_key,
        copy_missing_san=rules.missing_san == "copy",
        where=document.where(("renewal",)),
        window_percent=rules.window_percent,
        ari=rules.ari != "off",
        revoke_previous=rules.revoke_previous,
    )
