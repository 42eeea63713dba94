"""Holds the names of a plan against what the requester has proven to control (RFC 8555 sections 7.1.3 and 8).

Proof is asked of every name where a credential is of a kind that proves names; EST's prove none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.model.evidence import ACME_ACCOUNT, PREVALIDATED, Evidence, ProvenName, VerifiedCredential
from gateway.model.names import CN_OID, DistinguishedName, GeneralName, NameKind
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.name_syntax import folded, shown
from gateway.policy.name_bound import NameBound, read_bound
from gateway.policy.rules import AttributeSource, CompiledPolicy
from gateway.policy.san_check import AskedName

DNS_01 = "dns-01"
_FOR_DNS = frozenset({"http-01", "dns-01", "tls-alpn-01"})
_FOR_WILDCARDS = frozenset({DNS_01})  # RFC 8555 section 8.4
_FOR_ADDRESSES = frozenset({"http-01", "tls-alpn-01"})  # RFC 8738 sections 3 and 4


@dataclass(frozen=True, slots=True)
class _StandIn:
    """What one credential needs no challenge for: names within a bound, or every name."""

    bound: NameBound
    everything: bool

    def covers(self, name: GeneralName) -> bool:
        if name.kind not in (NameKind.DNS, NameKind.IP):
            return False  # no challenge speaks of other kinds, so that none can be spared
        return self.everything or self.bound.holds(name)


def challenges_for(name: GeneralName, challenges: Sequence[str]) -> tuple[str, ...]:
    """Those of ``challenges`` that can prove this name, in their order."""
    match name.kind:
        case NameKind.DNS:
            able = _FOR_WILDCARDS if name.value.startswith("*.") else _FOR_DNS
        case NameKind.IP:
            able = _FOR_ADDRESSES
        case _:
            return ()
    return tuple(challenge for challenge in challenges if challenge in able)


def proving(evidence: Evidence) -> tuple[VerifiedCredential, ...]:
    """The credentials whose names must be proven. An ACME account always is one, whatever it brings."""
    return tuple(
        credential
        for credential in evidence.credentials
        if credential.proven is not None or credential.kind == ACME_ACCOUNT
    )


def prevalidated_names(
    policy: CompiledPolicy, evidence: Evidence, names: Iterable[AskedName]
) -> tuple[GeneralName, ...]:
    """Those of the names that need no challenge, since a credential stands in for it."""
    bounds = [_stand_in(policy, credential) for credential in proving(evidence)]
    if not bounds:
        return ()
    return tuple(one.name for one in names if all(bound.covers(one.name) for bound in bounds))


def unprovable_reasons(
    policy: CompiledPolicy, evidence: Evidence, names: Iterable[AskedName]
) -> list[Reason]:
    """Names for which there is no way to prove them here, each with its place in the request."""
    rule = policy.authenticate.acme
    if rule is None:
        return []
    names = tuple(names)
    spared = set(prevalidated_names(policy, evidence, names))
    return [
        _reason(
            policy,
            f"{shown(one.name.value)} cannot be proven here: {_obstacle(one.name, rule.challenges)}",
            one.path,
        )
        for one in names
        if one.name not in spared and not challenges_for(one.name, rule.challenges)
    ]


def unproven_reasons(
    policy: CompiledPolicy, evidence: Evidence, subject: DistinguishedName, names: Sequence[AskedName]
) -> list[Reason]:
    """Names of the plan that are not proven in a way that this policy takes.

    A CN that came with the request is a name as well (RFC 8555 section 7.4): it must be one of ``names``.
    """
    credentials = proving(evidence)
    if not credentials:
        return []
    found = [reason for one in credentials for reason in _unproven_by(policy, one, names)]
    return found + _unproven_cn(policy, subject, names)


def proof_text(evidence: Evidence, names: Sequence[AskedName]) -> str:
    """For the trace: how many names were proven, and by what."""
    asked = {(one.name.kind, one.name.value) for one in names}
    methods = sorted(
        {
            proof.method
            for credential in proving(evidence)
            for proof in credential.proven or ()
            if (proof.kind, proof.value) in asked
        }
    )
    return f"{len(names)} by {' and '.join(methods) or 'nothing'}"


def _unproven_by(
    policy: CompiledPolicy, credential: VerifiedCredential, names: Sequence[AskedName]
) -> list[Reason]:
    rule = policy.authenticate.acme
    challenges = rule.challenges if rule is not None else ()
    stand_in = _stand_in(policy, credential)
    proofs: dict[tuple[NameKind, str], list[ProvenName]] = {}
    for proof in credential.proven or ():
        proofs.setdefault((proof.kind, proof.value), []).append(proof)
    found = []
    for one in names:
        methods = [proof.method for proof in proofs.get((one.name.kind, one.name.value), ())]
        taken = challenges_for(one.name, challenges)
        if any(method in taken for method in methods):
            continue
        if PREVALIDATED in methods and stand_in.covers(one.name):
            continue
        found.append(_reason(policy, _unproven_text(one.name, methods, taken, challenges), one.path))
    return found


def _unproven_text(
    name: GeneralName, methods: Sequence[str], taken: Sequence[str], challenges: Sequence[str]
) -> str:
    text = f"{shown(name.value)} is not proven"
    if methods:
        text += f" any more: {' and '.join(methods)} does not count here now"
    if not taken:
        return f"{text}; {_obstacle(name, challenges)}"
    return f"{text}; prove it by {' or '.join(taken)} in a new order"


def _unproven_cn(
    policy: CompiledPolicy, subject: DistinguishedName, names: Sequence[AskedName]
) -> list[Reason]:
    rule = policy.names.attributes.get(CN_OID)
    if rule is not None and rule.source is AttributeSource.FIXED:
        return []  # the administrator's word, not the requester's
    known = {folded(one.name.value) for one in names}
    return [
        _reason(
            policy,
            f"the CN {shown(value)} is not among the proven names; leave it out or order it as well",
            "identity.subject.CN",
        )
        for value in subject.values(CN_OID)
        if folded(value) not in known
    ]


def _obstacle(name: GeneralName, challenges: Sequence[str]) -> str:
    """Why none of the challenges will do, and what would."""
    if not challenges:
        return (
            "no challenge is offered here; use an account that is bound to an external account "
            "(RFC 8555 section 7.3.4)"
        )
    offered = f"this policy offers {' and '.join(challenges)}"
    match name.kind:
        case NameKind.DNS:
            return f"a wildcard is proven by {DNS_01} only, and {offered}; order the names one by one"
        case NameKind.IP:
            able = " or ".join(sorted(_FOR_ADDRESSES))
            return f"an address is proven by {able} only, and {offered}; order a DNS name instead"
        case kind:
            return f"no challenge proves names of the kind {kind}; leave it out"


def _stand_in(policy: CompiledPolicy, credential: VerifiedCredential) -> _StandIn:
    rule = policy.authenticate.acme
    bound = credential.credential_id is not None
    return _StandIn(
        read_bound(credential.prevalidated),
        everything=bound and rule is not None and not rule.challenges,
    )


def _reason(policy: CompiledPolicy, text: str, path: str) -> Reason:
    rule = f"{policy.name}.authenticate.acme-account"
    return Reason(ReasonCode.NAME_UNPROVEN, text, path, rule, policy.authenticate.where)
