"""Holds what the CA returned against what policy decided; nothing else may leave the gateway."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from gateway.errors import MalformedMessage
from gateway.model.enrolment import CertificatePlan
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.names import names_match, san_sets_match

CLOCK_TOLERANCE = timedelta(minutes=10)
MAX_CHAIN = 10
MAX_CHAIN_BYTES = 128 * 1024


def differences(
    plan: CertificatePlan, issued: ParsedCertificate, chain_der: tuple[bytes, ...]
) -> tuple[str, ...]:
    """Name everything in which the certificate goes beyond or beside the plan; empty if it keeps to it.

    A foreign CA may shorten the validity, never lengthen it, and may add non-critical extensions of its own.
    """
    found: list[str] = []
    if issued.spki_der != plan.spki_der:
        found.append("the public key is not the one that was asked for")
    if not names_match(issued.subject, plan.subject):
        found.append(f"the subject is {issued.subject} instead of {plan.subject}")
    if not san_sets_match(issued.sans, plan.sans):
        found.append("the subject alternative names are not those of the decision")
    if issued.is_ca:
        found.append("it is a CA certificate")
    if issued.not_after > plan.not_after + CLOCK_TOLERANCE:
        found.append(f"it is valid until {issued.not_after}, longer than {plan.not_after}")
    if issued.not_before < plan.not_before - CLOCK_TOLERANCE:
        found.append(f"it is valid from {issued.not_before}, earlier than {plan.not_before}")
    if set(issued.extended_key_usage) != set(plan.extended_key_usage):
        found.append("the extended key usages are not those of the decision")
    if plan.key_usage and set(issued.key_usage) != set(plan.key_usage):
        found.append("the key usages are not those of the decision")
    found.extend(_chain_differences(issued, chain_der))
    return tuple(found)


def _chain_differences(issued: ParsedCertificate, chain_der: tuple[bytes, ...]) -> list[str]:
    if not chain_der:
        return ["the CA gave no certificate of its issuer"]
    if len(chain_der) > MAX_CHAIN or sum(map(len, chain_der)) > MAX_CHAIN_BYTES:
        return [f"the CA gave a chain of {len(chain_der)} certificates; at most {MAX_CHAIN} are taken"]
    try:
        issuer_name_der, issuer_text = _issuer_name(chain_der[0])
    except MalformedMessage as error:
        return [f"the CA's own certificate cannot be read: {error}"]
    if issuer_name_der != issued.issuer_der:
        return [f"its issuer {issued.issuer} is not the CA {issuer_text}"]
    return []


@lru_cache(maxsize=64)  # the same few CA certificates come with every answer
def _issuer_name(certificate_der: bytes) -> tuple[bytes, str]:
    issuer = parse_certificate(certificate_der)
    return issuer.subject_der, str(issuer.subject)
