"""Keys, and what a renewal and the link to the TLS session ask of the request."""

from __future__ import annotations

from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import Linking
from gateway.model.keys import ClientKey, KeyType, PublicKey
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.facts import Facts
from gateway.policy.rules import CompiledPolicy, KeyRule, NewKey, PopLinking

RENEWING = frozenset({Operation.RENEW, Operation.REKEY})
_LINKED = frozenset({Linking.TLS_UNIQUE, Linking.TLS_EXPORTER})


def judge_key(policy: CompiledPolicy, request: EnrolmentRequest, facts: Facts) -> list[Reason]:
    """Every reason against the key; none where no key is known yet."""
    if not isinstance(request.key, ClientKey):
        return []
    rule, key = policy.keys, request.key.public_key
    reasons: list[Reason] = []
    fault = _key_fault(rule, key)
    if fault is not None:
        reasons.append(_reason(policy, fault[0], f"{fault[1]}; allowed are {rule.allowed_text}"))
    signature_hash = request.key.signature_hash
    if signature_hash is not None and signature_hash not in rule.signature_hashes:
        allowed = ", ".join(sorted(rule.signature_hashes))
        text = f"the CSR is signed with {signature_hash}; sign it with {allowed}"
        reasons.append(_reason(policy, ReasonCode.KEY_SIGNATURE_HASH, text))
    if rule.refuse_known_key and facts.key_known_to_others:
        text = "this key stands in somebody else's certificate already; make a new one"
        reasons.append(_reason(policy, ReasonCode.KEY_REUSE, text))
    return reasons


def _key_fault(rule: KeyRule, key: PublicKey) -> tuple[ReasonCode, str] | None:
    if key.type not in rule.types:
        return ReasonCode.KEY_TYPE, f"a key of type {key} is not allowed here"
    if key.type is KeyType.EC:
        if key.curve not in rule.curves:
            return ReasonCode.KEY_CURVE, f"the curve {key.curve} is not allowed here"
        return None
    if key.type is not KeyType.RSA:
        return None
    if not rule.rsa_min <= key.size_bits <= rule.rsa_max or (
        rule.rsa_sizes and key.size_bits not in rule.rsa_sizes
    ):
        return ReasonCode.KEY_SIZE, f"an RSA key of {key.size_bits} bits is not allowed here"
    if key.rsa_exponent is None or key.rsa_exponent < rule.rsa_min_exponent or key.rsa_exponent % 2 == 0:
        return ReasonCode.KEY_WEAK, f"the RSA exponent {key.rsa_exponent} is below {rule.rsa_min_exponent}"
    return None


def judge_linking(policy: CompiledPolicy, request: EnrolmentRequest) -> list[Reason]:
    """RFC 7030 section 3.5: a link that was sent must be right; policy may demand one."""
    rule = policy.authenticate
    if rule.pop_linking is PopLinking.IGNORE or request.linking in _LINKED:
        return []
    text = {
        Linking.ABSENT: "the CSR must carry the binding of this TLS session in its challengePassword",
        Linking.MISMATCH: "the challengePassword is not the binding of this TLS session; make the CSR anew",
        Linking.UNAVAILABLE: "the CSR carries a binding, but this connection has none to compare it with",
    }[request.linking]
    if request.linking is Linking.ABSENT and rule.pop_linking is PopLinking.IF_PRESENT:
        return []
    rule_name = f"{policy.name}.authenticate.pop_linking"
    return [Reason(ReasonCode.CSR_LINKING, text, "csr.challengePassword", rule_name, rule.where)]


def judge_renewal(policy: CompiledPolicy, request: EnrolmentRequest, facts: Facts) -> list[Reason]:
    """Whether this certificate may be renewed now, with this key."""
    if request.operation not in RENEWING:
        return []
    rule, previous = policy.renewal, facts.previous
    if previous is None:
        text = "there is no certificate that this request renews; enrol instead"
        return [_renewal(policy, ReasonCode.RENEWAL_NOT_OURS, text)]
    reasons: list[Reason] = []
    if rule.window is not None and facts.now < previous.not_after - rule.window:
        opens = previous.not_after - rule.window
        text = f"renewal is possible from {opens:%Y-%m-%d %H:%M}Z on"
        reasons.append(_renewal(policy, ReasonCode.RENEWAL_WINDOW, text))
    if isinstance(request.key, ClientKey):
        same = request.key.public_key.spki_sha256 == previous.spki_sha256
        if same and rule.new_key is NewKey.REQUIRED:
            text = "a renewal must bring a new key; make one"
            reasons.append(_renewal(policy, ReasonCode.KEY_REUSE, text))
        if not same and rule.new_key is NewKey.FORBIDDEN:
            text = "a renewal must keep its key; use the old one, or enrol anew"
            reasons.append(_renewal(policy, ReasonCode.KEY_REUSE, text))
    return reasons


def _reason(policy: CompiledPolicy, code: ReasonCode, text: str) -> Reason:
    return Reason(code, text, "key", f"{policy.name}.keys", policy.keys.where)


def _renewal(policy: CompiledPolicy, code: ReasonCode, text: str) -> Reason:
    return Reason(code, text, "renews", f"{policy.name}.renewal", policy.renewal.where)
