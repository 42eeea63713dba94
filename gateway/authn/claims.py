"""Which of the presented credentials a policy looks at, and whom they claim to be; nothing is verified here.

The claimed identity lets one database read fetch everything that the verification and the search for an
earlier request need. It is worth nothing until ``Authenticator.verify`` has returned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from gateway.authn.refusal import CredentialRefused
from gateway.authn.secrets import challenge_verifier
from gateway.errors import MalformedMessage
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import (
    BASIC,
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    MTLS,
    RENEWAL_CERT,
    SIGNATURE,
    Evidence,
    PresentedAccount,
    PresentedCertificate,
    PresentedChallenge,
    PresentedMac,
    PresentedPassword,
    VerifiedCredential,
)
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.policy.authentication_rules import (
    AuthenticationRule,
    CertificateRule,
    ChallengeRule,
    Require,
)

MAX_CHAIN = 10


@dataclass(frozen=True, slots=True)
class ClaimedCertificate:
    """A presented chain, its leaf read, and the rule that will judge it."""

    presented: PresentedCertificate
    leaf: ParsedCertificate
    rule: CertificateRule

    @property
    def identity(self) -> str:
        return f"cert:{self.leaf.spki_sha256}/{self.leaf.subject}"


@dataclass(frozen=True, slots=True)
class ClaimedChallenge:
    """A presented challengePassword as the verifier that its credential would have, and the rule that will
    judge it."""

    verifier: str
    rule: ChallengeRule
    absent: bool = False  # the message brought none, or an empty one

    @property
    def unknown_text(self) -> str:
        """For the operator, where no credential has this verifier."""
        return "the message brings none" if self.absent else "no credential has this challenge password"


@dataclass(frozen=True, slots=True)
class Claims:
    """The credentials that will be verified; at least one is there."""

    password: PresentedPassword | None = None
    certificate: ClaimedCertificate | None = None
    account: PresentedAccount | None = None
    challenge: ClaimedChallenge | None = None
    mac: PresentedMac | None = None


def without_guesses(claims: Claims, known: Evidence) -> tuple[Claims, tuple[VerifiedCredential, ...]]:
    """The claims whose verification counts no guess, and in place of the others what is known of them.

    Raises CredentialRefused for a password or challenge that nobody has verified.
    """
    found: list[VerifiedCredential] = []
    challenges = {CHALLENGE_STATIC, CHALLENGE_DYNAMIC}
    for claimed, kinds in ((claims.password, {BASIC}), (claims.challenge, challenges)):
        if claimed is not None:
            verified = [one for one in known.credentials if one.kind in kinds]
            if not verified:
                raise CredentialRefused("what was presented is not verified", code=ReasonCode.AUTH_MISSING)
            found += verified
    return replace(claims, password=None, challenge=None), tuple(found)


def account_identity(account: PresentedAccount) -> str:
    """Who an ACME account is in the record."""
    return f"acme:{account.account_id}"


def read_claims(rule: AuthenticationRule, request: EnrolmentRequest, server_key: bytes) -> Claims:
    """Pick the credentials that the rule looks at. Raises CredentialRefused where one is missing."""
    password = account = mac = None
    certificate: ClaimedCertificate | None = None
    challenge: ClaimedChallenge | None = None
    for presented in request.presented:
        match presented:
            case PresentedPassword():
                password = presented if rule.basic is not None else None
            case PresentedAccount():
                account = presented if rule.acme is not None else None
            case PresentedMac():
                mac = presented if rule.mac is not None else None
            case PresentedChallenge():
                if rule.challenge is not None:
                    secret = presented.secret.reveal()
                    verifier = challenge_verifier(server_key, secret)
                    challenge = ClaimedChallenge(verifier, rule.challenge, absent=not secret)
            case PresentedCertificate():
                certificate_rule = _certificate_rule(rule, presented, request.operation)
                if certificate_rule is not None:
                    certificate = _claimed(presented, certificate_rule)
            case _:
                assert_never(presented)
    claims = Claims(password, certificate, account, challenge, mac)
    missing = _missing(rule, claims)
    if missing:
        raise CredentialRefused(
            f"this policy asks for {' and '.join(missing)}, which the request did not bring",
            code=ReasonCode.AUTH_MISSING,
        )
    return claims


def _certificate_rule(
    rule: AuthenticationRule, presented: PresentedCertificate, operation: Operation
) -> CertificateRule | None:
    if presented.kind == RENEWAL_CERT:
        return rule.renewal
    if presented.kind == SIGNATURE:
        return rule.signature
    if presented.kind != MTLS:
        return None
    # As in policy.selection: at a renewal a plain client certificate counts as the renewed one.
    return rule.mtls or (rule.renewal if operation in {Operation.RENEW, Operation.REKEY} else None)


def _missing(rule: AuthenticationRule, claims: Claims) -> list[str]:
    wanted: list[tuple[str, bool]] = []
    if rule.basic is not None:
        wanted.append(("a user name with secret (HTTP Basic)", claims.password is not None))
    if rule.mtls is not None or rule.renewal is not None:
        wanted.append(("a client certificate", claims.certificate is not None))
    elif rule.signature is not None:
        wanted.append(("a signature with a certificate", claims.certificate is not None))
    if rule.acme is not None:
        wanted.append(("an ACME account", claims.account is not None))
    if rule.challenge is not None:
        wanted.append(("a challenge password", claims.challenge is not None))
    if rule.mac is not None:
        wanted.append(("a message that a shared secret protects", claims.mac is not None))
    if rule.require is Require.ALL:
        return [what for what, there in wanted if not there]
    return [] if any(there for _, there in wanted) else [" or ".join(what for what, _ in wanted)]


def _claimed(presented: PresentedCertificate, rule: CertificateRule) -> ClaimedCertificate:
    if len(presented.chain_der) > MAX_CHAIN:
        raise CredentialRefused(
            f"the client's chain has {len(presented.chain_der)} certificates; {MAX_CHAIN} at most are read",
            code=ReasonCode.AUTH_CERTIFICATE_UNTRUSTED,
        )
    try:
        leaf = parse_certificate(presented.chain_der[0])
    except MalformedMessage as exc:
        raise CredentialRefused(
            f"the client certificate cannot be read: {exc}", code=ReasonCode.AUTH_CERTIFICATE_UNTRUSTED
        ) from exc
    return ClaimedCertificate(presented, leaf, rule)
