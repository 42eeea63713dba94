"""The credentials of a sample request: which it presents, and what verification makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import (
    ACME_ACCOUNT,
    BASIC,
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    MAC,
    MTLS,
    PREVALIDATED,
    RENEWAL_CERT,
    SIGNATURE,
    CredentialKind,
    PresentedAccount,
    PresentedCertificate,
    PresentedChallenge,
    PresentedCredential,
    PresentedMac,
    PresentedPassword,
    ProvenName,
    SecretBytes,
    VerifiedCredential,
)
from gateway.model.names import GeneralName
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.certificate import parse_certificate
from gateway.policy.authentication_rules import (
    AuthenticationRule,
    CertificateRule,
    Require,
)
from gateway.policy.complaints import did_you_mean
from gateway.policy.extraction import NotAsAsked, check_asked, extracted
from gateway.policy.proof_check import challenges_for
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import (
    AdmissionPolicy,
)
from gateway.policy.sample_certificate import sample_certificate
from gateway.policy.sample_documents import (
    SampleAccount,
    SampleChallenge,
    SampleClient,
    SampleCredential,
    SampleRequest,
)
from gateway.policy.sample_keys import sample_key
from gateway.policy.sample_names import sample_sans, sample_subject, says_names

_CLIENT_LIFE = timedelta(days=365)
_ID = "sample"
_NO_SECRET = SecretBytes(b"")
# The order in which Authenticator.verify puts them: the deciding one first.
ORDER = (MTLS, RENEWAL_CERT, SIGNATURE, BASIC, ACME_ACCOUNT, CHALLENGE_DYNAMIC, CHALLENGE_STATIC, MAC)
_CHALLENGES = frozenset({CHALLENGE_DYNAMIC, CHALLENGE_STATIC})
_CERTIFICATES = frozenset({MTLS, RENEWAL_CERT, SIGNATURE})
# What selection looks at is the kind alone.
PRESENTED: Mapping[CredentialKind, PresentedCredential] = {
    MTLS: PresentedCertificate((b"",)),
    RENEWAL_CERT: PresentedCertificate((b"",), RENEWAL_CERT),
    SIGNATURE: PresentedCertificate((b"",), SIGNATURE),
    BASIC: PresentedPassword(_ID, _NO_SECRET),
    ACME_ACCOUNT: PresentedAccount(_ID, "", _ID),
    CHALLENGE_DYNAMIC: PresentedChallenge(_NO_SECRET),
    CHALLENGE_STATIC: PresentedChallenge(_NO_SECRET, CHALLENGE_STATIC),
    MAC: PresentedMac(_ID, _ID),
}
_CLIENT_FAULTS: Mapping[str, tuple[ReasonCode, str]] = {
    "untrusted": (ReasonCode.AUTH_CERTIFICATE_UNTRUSTED, "the client certificate is not trusted"),
    "expired": (ReasonCode.AUTH_CERTIFICATE_EXPIRED, "the client certificate has expired"),
    "not-yet-valid": (ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID, "the client certificate is not valid yet"),
    "revoked": (ReasonCode.AUTH_CERTIFICATE_REVOKED, "the client certificate is revoked"),
    "usage": (ReasonCode.AUTH_CERTIFICATE_USAGE, "the client certificate is for other uses"),
}
_FAULTS: Mapping[CredentialKind, str] = {
    BASIC: "the user name or the secret is wrong",
    CHALLENGE_DYNAMIC: "the challenge password is wrong or no longer good",
    CHALLENGE_STATIC: "the challenge password is wrong or no longer good",
    MAC: "the shared secret is wrong or no longer good",
    ACME_ACCOUNT: "the external account of this account is no longer good",
}


def kinds_of(
    sample: SampleRequest, policy: AdmissionPolicy, operation: Operation
) -> tuple[CredentialKind, ...]:
    """The kinds of credential that are presented: those that the sample names, and what the policy asks for
    beside them; where it names none, the first kind that the policy takes."""
    said = set(map(CredentialKind, sample.auth)) | set(_said(sample, policy, operation))
    rule = policy.authenticate
    if said and rule.require is Require.ANY:
        return tuple(kind for kind in ORDER if kind in said)
    for wanted in rule.alternatives:
        if said.isdisjoint(wanted):
            fitting = wanted & policy.auth or wanted
            said.add(next((kind for kind in ORDER if kind in fitting), min(fitting)))
        if rule.require is Require.ANY:
            break
    return tuple(kind for kind in ORDER if kind in said)


def _said(sample: SampleRequest, policy: AdmissionPolicy, operation: Operation) -> Iterator[CredentialKind]:
    rule = policy.authenticate
    if sample.client is not None:
        yield _client_kind(rule, policy.protocol, operation)
    if sample.user is not None:
        yield BASIC
    if sample.account is not None:
        yield ACME_ACCOUNT
    if sample.challenge is not None:
        yield _challenge_kind(sample.challenge, rule)
    if sample.mac is not None:
        yield MAC


def _client_kind(rule: AuthenticationRule, protocol: str, operation: Operation) -> CredentialKind:
    if rule.renewal is not None and operation in RENEWING:
        return RENEWAL_CERT
    if rule.mtls is not None:
        return MTLS
    return SIGNATURE if rule.signature is not None or protocol != "est" else MTLS


def _challenge_kind(challenge: SampleChallenge, rule: AuthenticationRule) -> CredentialKind:
    if challenge.kind is not None:
        return CredentialKind(f"challenge-{challenge.kind}")
    accepted = rule.challenge.accept if rule.challenge is not None else frozenset()
    return CHALLENGE_STATIC if accepted == {CHALLENGE_STATIC} else CHALLENGE_DYNAMIC


def sample_credentials(
    sample: SampleRequest,
    policy: AdmissionPolicy,
    request: EnrolmentRequest,
    kinds: Sequence[CredentialKind],
    certificate_der: bytes | None = None,
) -> tuple[tuple[VerifiedCredential, ...], dict[CredentialKind, Reason]]:
    """Those that stand up to verification, and why the others do not. ``certificate_der`` is a real one."""
    verified: list[VerifiedCredential] = []
    refused: dict[CredentialKind, Reason] = {}
    for kind in kinds:
        fault = _fault(sample, kind)
        if fault is not None:
            refused[kind] = fault
        elif kind in _CERTIFICATES:
            client = _client(sample, policy, request, kind, certificate_der)
            rule = certificate_rule(policy.authenticate, kind)
            if rule is not None and (certificate_der is not None or _is_described(sample)):
                try:
                    client = _as_asked(rule, client)
                except NotAsAsked as missing:
                    place = f"{policy.name}.authenticate.{rule.key}.{missing.key}"
                    refused[kind] = replace(missing.reason, rule=place, where=missing.where)
                    continue
            verified.append(client)
        elif kind == ACME_ACCOUNT:
            verified.append(_account(sample, policy, request))
        else:
            stored = _stored(_written(sample, kind), kind)
            verified.append(_bound(policy, request, stored) if kind in _CHALLENGES else stored)
    return tuple(verified), refused


def certificate_rule(rule: AuthenticationRule, kind: CredentialKind) -> CertificateRule | None:
    """The rule that verifies certificates of this kind."""
    if kind == MTLS:
        return rule.mtls or rule.renewal  # as in authn.claims
    return rule.renewal if kind == RENEWAL_CERT else rule.signature


def unknown_facts(sample: SampleRequest, policy: AdmissionPolicy) -> Iterator[tuple[str, str]]:
    """Facts of the client that no rule of the policy reads in a certificate, with what to say of each."""
    if sample.client is None:
        return
    rules = [certificate_rule(policy.authenticate, kind) for kind in (MTLS, RENEWAL_CERT, SIGNATURE)]
    known = {fact.name for rule in rules if rule is not None for fact in rule.extract}
    for name in sample.client.facts:
        if name not in known:
            near = did_you_mean(name, known | set(SampleClient.model_fields))
            yield name, f"no `extract` of this policy gives the fact {name!r}; {near}"


def _is_described(sample: SampleRequest) -> bool:
    return sample.client is not None and says_names(sample.client)


def _as_asked(rule: CertificateRule, client: VerifiedCredential) -> VerifiedCredential:
    """With the facts that stand in its certificate; those that the sample says count before them.

    Raises NotAsAsked.
    """
    leaf = parse_certificate(client.certificate_der or b"")
    if rule.asked is not None:
        check_asked(rule.asked, leaf)
    found = dict(extracted(rule.extract, leaf)) | dict(client.facts)
    return replace(client, facts=tuple(found.items()))


def _written(sample: SampleRequest, kind: CredentialKind) -> SampleCredential:
    found = {BASIC: sample.user, MAC: sample.mac, ACME_ACCOUNT: sample.account}.get(kind, sample.challenge)
    return found or SampleCredential.model_validate({})


def _fault(sample: SampleRequest, kind: CredentialKind) -> Reason | None:
    if kind in _CERTIFICATES:
        client = sample.client
        if client is None or client.trusted:
            return None
        return Reason(*_CLIENT_FAULTS[client.reason], "credential")
    written = _written(sample, kind)
    if written.valid:
        return None
    text = _FAULTS[kind] + (f" ({written.reason})" if written.reason else "")
    code = ReasonCode.AUTH_ACCOUNT if kind == ACME_ACCOUNT else ReasonCode.AUTH_FAILED
    return Reason(code, text, "credential")


def _stored(written: SampleCredential, kind: CredentialKind) -> VerifiedCredential:
    labels = dict(written.label)
    if isinstance(written, SampleChallenge):
        labels |= written.attrs
    return VerifiedCredential(
        kind=kind,
        identity=f"{kind}:{_ID}",
        label=written.name,
        credential_id=_ID,
        names=written.names,
        profiles=written.profiles,
        groups=written.groups,
        labels=tuple(labels.items()),
    )


def _bound(
    policy: AdmissionPolicy, request: EnrolmentRequest, challenge: VerifiedCredential
) -> VerifiedCredential:
    """Bound to what is asked for where its policy wants it bound and the sample does not say to what."""
    rule, labels = policy.authenticate.challenge, dict(challenge.labels)
    for label, oid in rule.bound if rule is not None else ():
        for value in request.identity.subject.values(oid):
            labels.setdefault(label, value)
    return replace(challenge, labels=tuple(labels.items()))


def _account(sample: SampleRequest, policy: AdmissionPolicy, request: EnrolmentRequest) -> VerifiedCredential:
    account = sample.account or SampleAccount.model_validate({})
    return VerifiedCredential(
        kind=ACME_ACCOUNT,
        identity=f"acme:{_ID}",
        label=account.name,
        credential_id=_ID if account.external else None,
        names=account.names,
        profiles=account.profiles,
        proven=_proven(sample, policy, request.identity.sans),
        prevalidated=account.prevalidated,
        groups=account.groups,
        labels=tuple(account.label.items()),
    )


def _proven(
    sample: SampleRequest, policy: AdmissionPolicy, names: Sequence[GeneralName]
) -> tuple[ProvenName, ...]:
    rule = policy.authenticate.acme
    challenges = rule.challenges if rule is not None else ()
    found = []
    for name in names:
        if sample.proven != "all" and name.value not in sample.proven:
            continue
        method = next(iter(challenges_for(name, challenges)), PREVALIDATED)
        found.append(ProvenName(name.kind, name.value, method, sample.now))
    return tuple(found)


def _client(
    sample: SampleRequest,
    policy: AdmissionPolicy,
    request: EnrolmentRequest,
    kind: CredentialKind,
    certificate_der: bytes | None,
) -> VerifiedCredential:
    """At a renewal it is the certificate that is renewed, unless it has names of its own."""
    client = sample.client or SampleClient.model_validate({})
    renewed_der = request.renews_der if request.operation in RENEWING else None
    if certificate_der is None and renewed_der is not None and not says_names(client):
        certificate_der = renewed_der
    if certificate_der is None:
        subject, sans = request.identity.subject, request.identity.sans
        if says_names(client):
            subject, sans = sample_subject(client.subject), sample_sans(client)
        spki_der = sample_key("ec-p256", "client").spki_der
        certificate_der = sample_certificate(
            subject, sans, spki_der, sample.now - _CLIENT_LIFE, sample.now + _CLIENT_LIFE
        )
    leaf = parse_certificate(certificate_der)
    rule = policy.authenticate.signature if kind == SIGNATURE else None
    ours = client.ours if client.ours is not None else renewed_der is not None
    return VerifiedCredential(
        kind=kind,
        identity=f"cert:{leaf.spki_sha256}/{leaf.subject}",
        label=client.name or str(leaf.subject),
        certificate_der=certificate_der,
        ra=rule is not None and rule.ra,
        detail=(("certificate_sha256", leaf.sha256), ("ours", "yes" if ours else "no")),
        groups=client.groups,
        labels=tuple(client.label.items()),
        facts=tuple(client.facts.items()),
    )
