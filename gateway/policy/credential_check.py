"""Holds verified credentials against the policy, and the names of the plan against what they may ask for."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import (
    MTLS,
    RENEWAL_CERT,
    SIGNATURE,
    CredentialKind,
    Evidence,
    Linking,
    VerifiedCredential,
)
from gateway.model.names import CN_OID, DistinguishedName
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.certificate import parse_certificate
from gateway.pki.name_syntax import shown
from gateway.pki.names import comparable_san, names_match
from gateway.policy.authentication_rules import (
    AuthenticationRule,
    CertificateRule,
    PopLinking,
    Require,
)
from gateway.policy.name_bound import read_bound
from gateway.policy.renewal_check import RENEWING
from gateway.policy.requirement_check import group_reasons
from gateway.policy.rules import (
    AdmissionPolicy,
    CompiledPolicy,
)
from gateway.policy.san_check import AskedName

_LINKED = frozenset({Linking.TLS_UNIQUE, Linking.TLS_EXPORTER})
_FOREIGN_LINK = frozenset({Linking.MISMATCH, Linking.UNAVAILABLE})
CMC_RA = "1.3.6.1.5.5.7.3.28"  # id-kp-cmcRA (RFC 6402 section 2.10)


def credential_reasons(
    policy: AdmissionPolicy, request: EnrolmentRequest, evidence: Evidence
) -> list[Reason]:
    """What the policy asks for and the evidence does not hold. Verification itself has been done before."""
    rule = policy.authenticate
    kinds = {credential.kind for credential in evidence.credentials}
    if MTLS in kinds and request.operation in RENEWING:
        kinds.add(RENEWAL_CERT)
    unmet = [wanted for wanted in rule.alternatives if wanted.isdisjoint(kinds)]
    if unmet and (rule.require is Require.ALL or len(unmet) == len(rule.alternatives)):
        joined = " and " if rule.require is Require.ALL else " or "
        missing = joined.join(sorted(" or ".join(sorted(wanted)) for wanted in unmet))
        text = f"a verified credential is missing: {missing}"
        return [_reason(policy, ReasonCode.AUTH_MISSING, text, "presented")]
    found = group_reasons(policy, evidence)
    found += [] if _asserted_by_ra(request.linking, evidence) else _linking_reasons(policy, request.linking)
    if rule.renewal is not None and RENEWAL_CERT in kinds and not is_renewed_by_itself(request, evidence):
        text = "the certificate that authenticates is not the one that is to be renewed"
        found.append(_reason(policy, ReasonCode.RENEWAL_NOT_OURS, text, "renews"))
    return found


def profile_reasons(policy: CompiledPolicy, request: EnrolmentRequest, evidence: Evidence) -> list[Reason]:
    """A credential that is bound to profiles may ask for these alone, and must name one."""
    found = []
    for credential in evidence.credentials:
        if credential.profiles is None or request.profile in credential.profiles:
            continue
        allowed = ", ".join(credential.profiles) or "none"
        if request.profile is None:
            text = f"this credential may ask for certain profiles only, so name one of them: {allowed}"
        else:
            text = f"the profile {shown(request.profile)} is beyond this credential; it may ask for {allowed}"
        found.append(_reason(policy, ReasonCode.PROFILE_UNKNOWN, text, "profile"))
    return found


def _asserted_by_ra(linking: Linking, evidence: Evidence) -> bool:
    """RFC 7030 section 3.7: an RA sends on CSRs that were linked to its own clients' sessions.

    Rights of an RA have only certificates with id-kp-cmcRA that a CA of this gateway issued; the same usage
    from another CA says nothing here.
    """
    if linking not in _FOREIGN_LINK:
        return False
    return any(
        credential.certificate_der is not None
        and ("ours", "yes") in credential.detail
        and CMC_RA in parse_certificate(credential.certificate_der).extended_key_usage
        for credential in evidence.credentials
    )


def _linking_reasons(policy: AdmissionPolicy, linking: Linking) -> list[Reason]:
    mode = policy.authenticate.pop_linking
    if linking in _LINKED or mode is PopLinking.IGNORE:
        return []
    if linking is Linking.ABSENT:
        if mode is PopLinking.IF_PRESENT:
            return []
        text = "the CSR must carry the TLS channel binding as challengePassword (RFC 7030 section 3.5)"
    elif linking is Linking.MISMATCH:
        # RFC 7030 3.5: a value that is there must be verified
        text = "the challengePassword of the CSR is not this TLS session's channel binding"
    else:
        text = "the CSR carries a challengePassword, but this connection has no channel binding to compare"
    return [_reason(policy, ReasonCode.CSR_LINKING, text, "linking", "pop_linking")]


def is_renewed_by_itself(request: EnrolmentRequest, evidence: Evidence) -> bool:
    """Whether the certificate that is to be renewed is one of the verified credentials."""
    certificates = [one.certificate_der for one in evidence.credentials if one.certificate_der is not None]
    return request.renews_der is not None and request.renews_der in certificates


def scope_reasons(
    policy: CompiledPolicy, evidence: Evidence, subject: DistinguishedName, names: Sequence[AskedName]
) -> list[Reason]:
    """Names of the plan that a credential may not ask for, each with its place in the request."""
    found: list[Reason] = []
    for credential in evidence.credentials:
        if credential.names is not None:
            found += _beyond_bound(policy, credential.names, subject, names)
        rule = _certificate_rule(policy.authenticate, credential.kind)
        if rule is not None and rule.own_names_only:
            found += _beyond_certificate(policy, credential, subject, names)
    return found


def _certificate_rule(rule: AuthenticationRule, kind: CredentialKind) -> CertificateRule | None:
    if kind == MTLS:
        return rule.mtls
    return rule.signature if kind == SIGNATURE else None


def _beyond_bound(
    policy: CompiledPolicy,
    entries: tuple[str, ...],
    subject: DistinguishedName,
    names: Sequence[AskedName],
) -> list[Reason]:
    bound = read_bound(entries)
    beyond = [(one.name.value, one.path) for one in names if not bound.holds(one.name)]
    told = {value.casefold() for value, _ in beyond}
    beyond += [
        (value, "identity.subject.CN")
        for value in subject.values(CN_OID)
        if value.casefold() not in told  # the same name once more says nothing new
        and not bound.holds_text(value)
    ]
    return [
        _reason(
            policy,
            ReasonCode.AUTH_CREDENTIAL_SCOPE,
            f"{shown(value)} is beyond this credential; it may ask for {bound}",
            path,
        )
        for value, path in beyond
    ]


def _beyond_certificate(
    policy: CompiledPolicy,
    credential: VerifiedCredential,
    subject: DistinguishedName,
    names: Sequence[AskedName],
) -> list[Reason]:
    if credential.certificate_der is None:
        text = "this credential has no certificate, so that nothing may be asked for with it"
        return [_reason(policy, ReasonCode.AUTH_CREDENTIAL_SCOPE, text, "presented")]
    own = parse_certificate(credential.certificate_der)
    own_names = {comparable_san(name) for name in own.sans}
    found = [
        _reason(
            policy,
            ReasonCode.AUTH_CREDENTIAL_SCOPE,
            f"{shown(one.name.value)} is not in the client certificate, which may ask for its own names only",
            one.path,
        )
        for one in names
        if comparable_san(one.name) not in own_names
    ]
    if subject and not names_match(subject, own.subject):
        text = f"the subject {subject} is not that of the client certificate, {own.subject}"
        found.append(_reason(policy, ReasonCode.AUTH_CREDENTIAL_SCOPE, text, "identity.subject"))
    return found


def _reason(policy: AdmissionPolicy, code: ReasonCode, text: str, path: str, key: str = "") -> Reason:
    rule = f"{policy.name}.authenticate.{key}" if key else f"{policy.name}.authenticate"
    return Reason(code, text, path, rule, policy.authenticate.where)
