"""Certificates that authenticate: their path, their status in our record, and what their rule asks for."""

from __future__ import annotations

from datetime import datetime

from gateway.authn.claims import ClaimedCertificate
from gateway.authn.refusal import CredentialRefused
from gateway.authn.trust import TrustStore
from gateway.model.certificate import CertificateRecord, CertificateStatus
from gateway.model.evidence import VerifiedCredential
from gateway.model.reasons import ReasonCode
from gateway.pki.chain import UntrustedCertificate, verify_client_chain
from gateway.policy.extraction import NotAsAsked, check_asked, extracted


def verify_certificate(
    claimed: ClaimedCertificate, record: CertificateRecord | None, trust: TrustStore, now: datetime
) -> VerifiedCredential:
    """Verify the path to ``trust``, the usage and the status. Raises CredentialRefused.

    That its key was at hand was proven before, by the transport or over the message.
    """
    leaf, rule = claimed.leaf, claimed.rule
    try:
        verify_client_chain(
            claimed.presented.chain_der,
            trust.anchors,
            now,
            ignore_expiry_s=rule.allow_expired_s,
            ignore_not_after=rule.ignore_not_after,
            extended_key_usages=rule.extended_key_usage or None,
        )
    except UntrustedCertificate as exc:
        raise CredentialRefused(str(exc), code=exc.code, detail=exc.detail) from exc
    if leaf.is_ca:
        raise CredentialRefused(
            "a CA certificate is no client certificate", code=ReasonCode.AUTH_CERTIFICATE_USAGE
        )
    ours = leaf.issuer_der in trust.own_issuers
    if rule.ra:
        _check_ra_usage(claimed, ours=ours)
    if trust.checks_revocation:
        _check_status(claimed, record, ours=ours)
    if ours and trust.protocols:
        _check_protocol(record, trust)
    facts = _facts(claimed)
    # A name alone proves nothing: ours is what stands in our record.
    recorded = ours and record is not None
    detail = (("certificate_sha256", leaf.sha256), ("ours", "yes" if recorded else "no"))
    return VerifiedCredential(
        kind=claimed.presented.kind,
        identity=claimed.identity,
        label=str(leaf.subject),
        certificate_der=leaf.certificate_der,
        ra=rule.ra,
        detail=detail,
        facts=facts,
    )


def _facts(claimed: ClaimedCertificate) -> tuple[tuple[str, str], ...]:
    """What the rule reads in the certificate, if that holds what the rule asks of it."""
    rule = claimed.rule
    try:
        if rule.asked is not None:
            check_asked(rule.asked, claimed.leaf)
        return extracted(rule.extract, claimed.leaf) if rule.extract else ()
    except NotAsAsked as exc:
        key = f"{rule.key}.{exc.key}"
        raise CredentialRefused(str(exc), code=exc.code, rule=key, where=exc.where) from exc


def _check_ra_usage(claimed: ClaimedCertificate, *, ours: bool) -> None:
    """Path validation lets a certificate without any extended key usage pass; an RA must bear its own. One
    that our CAs issued must in any case: a trust store may hold them by their files, which no load knows."""
    wanted = claimed.rule.extended_key_usage
    if ours and not wanted:
        raise CredentialRefused(
            "a certificate of this gateway alone makes nobody a registration authority",
            code=ReasonCode.AUTH_CERTIFICATE_USAGE,
            detail=f"the trust store {claimed.rule.trust!r} holds a CA of this gateway; write "
            "extended_key_usage: [cmcRA], or name one that holds the CA of registration authorities alone",
        )
    if wanted and wanted.isdisjoint(claimed.leaf.extended_key_usage):
        raise CredentialRefused(
            "the certificate of a registration authority must carry an extended key usage of "
            f"{' or '.join(sorted(wanted))}, which this one does not",
            code=ReasonCode.AUTH_CERTIFICATE_USAGE,
        )


def _check_protocol(record: CertificateRecord | None, trust: TrustStore) -> None:
    if record is None or record.protocol not in trust.protocols:
        by = f"by {record.protocol}" if record is not None else "nobody knows how"
        taken = ", ".join(sorted(trust.protocols))
        raise CredentialRefused(
            f"the client certificate was issued {by}; here count those of {taken}",
            code=ReasonCode.AUTH_CERTIFICATE_UNTRUSTED,
            detail=f"protocols of the trust store {trust.name!r}",
        )


def _check_status(claimed: ClaimedCertificate, record: CertificateRecord | None, *, ours: bool) -> None:
    if record is None:
        if ours:
            # Signed by our CA but never recorded: it is not ours to vouch for (fail closed).
            raise CredentialRefused(
                "the client certificate is not in this gateway's record; enrol again",
                code=ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN,
                detail=f"sha256 {claimed.leaf.sha256}",
            )
        return
    if record.status is not CertificateStatus.GOOD:
        when = f" since {record.revoked_at:%Y-%m-%d %H:%M}Z" if record.revoked_at else ""
        raise CredentialRefused(
            f"the client certificate is {record.status}{when} ({record.revocation_reason or 'unspecified'})",
            code=ReasonCode.AUTH_CERTIFICATE_REVOKED,
        )
