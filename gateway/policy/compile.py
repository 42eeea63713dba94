"""Policy documents to compiled rules; texts for messages are made here, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from gateway.model.decision import ApprovalRule, Route, TraceStep
from gateway.model.enrolment import Operation
from gateway.model.evidence import CHALLENGE_DYNAMIC, CHALLENGE_STATIC, CredentialKind
from gateway.model.keys import KeyType
from gateway.policy.authentication_documents import (
    AcmeAccountAuthentication,
    Authenticate,
    CertificateAuthentication,
    ChallengeAuthentication,
    SignatureAuthentication,
)
from gateway.policy.compile_names import compile_names
from gateway.policy.document import AnyMatch, Policy, RevocationPolicy
from gateway.policy.extension_values import certificate_policies, must_staple
from gateway.policy.rule_documents import ExtensionsRules, KeyRules
from gateway.policy.rules import (
    AcmeAccountRule,
    AdmissionPolicy,
    AuthenticationRule,
    BasicRule,
    CertificateRule,
    ChallengeRule,
    CompiledPolicy,
    ExtensionsRule,
    KeyRule,
    MacRule,
    MustStaple,
    RenewalRule,
    ValidityRule,
)
from gateway.policy.terms import duration_text
from gateway.policy.yaml_marks import ComplaintList, Document

_KEY_TYPES = {
    "Ed25519": KeyType.ED25519,
    "Ed448": KeyType.ED448,
    "ML-DSA-44": KeyType.ML_DSA_44,
    "ML-DSA-65": KeyType.ML_DSA_65,
    "ML-DSA-87": KeyType.ML_DSA_87,
}
_CHALLENGE_KINDS = {"static": CHALLENGE_STATIC, "dynamic": CHALLENGE_DYNAMIC}
_SIGNING = frozenset({"digitalSignature", "nonRepudiation"})
# RFC 3279 section 2.3.1, RFC 5480 section 3, RFC 8410 section 5, RFC 9881 section 5: what a key can do at all
_ABLE: Mapping[KeyType, frozenset[str]] = {
    KeyType.RSA: _SIGNING | {"keyEncipherment", "dataEncipherment"},
    KeyType.EC: _SIGNING | {"keyAgreement"},
}


def compile_policy(
    policy: Policy, document: Document, endpoints: frozenset[str], found: ComplaintList, *, lab: bool
) -> CompiledPolicy:
    """Make the form that the engine uses. ``endpoints``: all endpoints of the policy's protocol.

    What only shows when the parts are put together goes into ``found``.
    """
    name, where = policy.metadata.name, document.where()
    authenticate = _authentication(policy.authenticate, document)
    keys = _keys(policy.keys, document)
    route = Route(policy.issue[0].backend, policy.issue[0].profile)
    return CompiledPolicy(
        name=name,
        where=where,
        priority=policy.priority,
        protocol=policy.match.protocol,
        endpoints=frozenset(policy.match.endpoint) or endpoints,
        operations=frozenset(Operation(word) for word in policy.match.operation),
        auth=_auth(policy.match, authenticate),
        profiles=frozenset(policy.match.profile),
        source_networks=policy.match.source_ip,
        authenticate=authenticate,
        keys=keys,
        names=compile_names(policy.names, document, lab=lab),
        extensions=_extensions(policy.extensions, keys, document, found),
        validity=ValidityRule(
            default=policy.validity.default,
            max=policy.validity.max or policy.validity.default,
            client_may_request=policy.validity.client_may_request,
            backdate=policy.validity.backdate,
            where=document.where(("validity",)),
        ),
        renewal=RenewalRule(
            window=policy.renewal.window,
            deny_name_change=policy.renewal.name_change == "deny",
            new_key=policy.renewal.new_key,
            copy_missing_san=policy.renewal.missing_san == "copy",
            where=document.where(("renewal",)),
        ),
        approval=_approval(policy),
        route=route,
        closing_steps=_closing_steps(policy, route, document),
        chosen_step=_chosen_step(policy, document),
        description=policy.metadata.description,
    )


def compile_revocation(
    policy: RevocationPolicy, document: Document, endpoints: frozenset[str]
) -> AdmissionPolicy:
    """Make the form that the engine uses. ``endpoints``: all endpoints of the policy's protocol."""
    authenticate = _authentication(policy.authenticate, document)
    return AdmissionPolicy(
        name=policy.metadata.name,
        where=document.where(),
        priority=policy.priority,
        protocol=policy.match.protocol,
        endpoints=frozenset(policy.match.endpoint) or endpoints,
        operations=frozenset({Operation.REVOKE}),
        auth=_auth(policy.match, authenticate),
        profiles=frozenset(),
        source_networks=policy.match.source_ip,
        authenticate=authenticate,
        chosen_step=_chosen_step(policy, document),
    )


def _auth(match: AnyMatch, authenticate: AuthenticationRule) -> frozenset[CredentialKind]:
    return frozenset(CredentialKind(word) for word in match.auth) or authenticate.kinds


def _authentication(rules: Authenticate, document: Document) -> AuthenticationRule:
    return AuthenticationRule(
        require=rules.require,
        basic=BasicRule() if rules.basic is not None else None,
        mtls=_certificate(rules.mtls, own=rules.mtls.names == "own") if rules.mtls else None,
        renewal=_certificate(rules.renewal_cert, own=False) if rules.renewal_cert else None,
        acme=_account(rules.acme_account) if rules.acme_account else None,
        pop_linking=rules.pop_linking,
        challenge=_challenge(rules.challenge) if rules.challenge else None,
        mac=MacRule() if rules.mac is not None else None,
        signature=_signature(rules.signature) if rules.signature else None,
        alternatives=tuple(frozenset(map(CredentialKind, kinds)) for kinds in rules.alternatives),
        where=document.where(("authenticate",)),
    )


def _certificate(rules: CertificateAuthentication, *, own: bool) -> CertificateRule:
    return CertificateRule(
        trust=rules.trust,
        extended_key_usage=frozenset(rules.extended_key_usage),
        allow_expired_s=int(rules.allow_expired.total_seconds()),
        own_names_only=own,
    )


def _signature(rules: SignatureAuthentication) -> CertificateRule:
    return replace(_certificate(rules, own=rules.names == "own"), ra=rules.ra)


def _challenge(rules: ChallengeAuthentication) -> ChallengeRule:
    return ChallengeRule(frozenset(_CHALLENGE_KINDS[word] for word in rules.accept))


def _account(rules: AcmeAccountAuthentication) -> AcmeAccountRule:
    return AcmeAccountRule(
        challenges=tuple(dict.fromkeys(rules.challenges)),
        reuse_s=int(rules.reuse_authorization.total_seconds()),
    )


def _keys(rules: KeyRules, document: Document) -> KeyRule:
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
    return KeyRule(
        types=frozenset(types),
        rsa_min=rules.rsa.min if rules.rsa else 0,
        rsa_max=rules.rsa.max if rules.rsa else 0,
        rsa_sizes=frozenset(rules.rsa.sizes) if rules.rsa else frozenset(),
        rsa_min_exponent=rules.rsa.min_exponent if rules.rsa else 0,
        curves=frozenset(rules.ec),
        signature_hashes=frozenset(rules.csr_signature),
        refuse_known_key=rules.reuse == "deny",
        allowed_text="; ".join(texts),
        where=document.where(("keys",)),
    )


def _extensions(
    rules: ExtensionsRules, keys: KeyRule, document: Document, found: ComplaintList
) -> ExtensionsRule:
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
    return ExtensionsRule(
        key_usage=usages,
        key_usage_all=rules.key_usage,
        extended_key_usage=tuple(dict.fromkeys(rules.extended_key_usage)),
        extensions=tuple(constant),
        must_staple=rules.must_staple,
        deny_other=rules.from_csr == "deny",
        where=document.where(("extensions",)),
    )


def _approval(policy: Policy) -> ApprovalRule | None:
    if policy.approval is None:
        return None
    return ApprovalRule(
        policy.approval.required,
        int(policy.approval.expires.total_seconds()),
        int(policy.approval.retry_after.total_seconds()),
    )


def _closing_steps(policy: Policy, route: Route, document: Document) -> tuple[TraceStep, ...]:
    name = policy.metadata.name
    steps = []
    if policy.approval is not None:
        text = f"{policy.approval.required} must approve within {duration_text(policy.approval.expires)}"
        steps.append(TraceStep("approval", f"{name}.approval", "set", text, document.where(("approval",))))
    profile = f", profile {route.profile}" if route.profile else ""
    steps.append(
        TraceStep(
            "route",
            f"{name}.issue",
            "chosen",
            f"backend {route.backend}{profile}",
            document.where(("issue", 0)),
        )
    )
    return tuple(steps)


def _chosen_step(policy: Policy | RevocationPolicy, document: Document) -> TraceStep:
    match = policy.match
    words = f"{match.protocol} {'/'.join(match.endpoint) or 'any endpoint'} {'/'.join(match.operation)}"
    text = f"{words}, priority {policy.priority}"
    return TraceStep("select", policy.metadata.name, "chosen", text, document.where())


def overlap(one: AdmissionPolicy, other: AdmissionPolicy) -> bool:
    """Whether some request could fit both. Credentials do not tell apart: a request may bring two."""
    return (
        one.protocol == other.protocol
        and not one.endpoints.isdisjoint(other.endpoints)
        and not one.operations.isdisjoint(other.operations)
        and not (one.profiles and other.profiles and one.profiles.isdisjoint(other.profiles))
        and _networks_meet(one.source_networks, other.source_networks)
    )


def _networks_meet(
    ones: Iterable[IPv4Network | IPv6Network], others: Iterable[IPv4Network | IPv6Network]
) -> bool:
    ones, others = tuple(ones), tuple(others)
    if not ones or not others:
        return True
    return any(
        isinstance(one, IPv4Network) == isinstance(other, IPv4Network) and _meet(one, other)
        for one in ones
        for other in others
    )


def _meet(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)
