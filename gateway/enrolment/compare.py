"""Holds what the CA returned against what policy decided; nothing else may leave the gateway."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from itertools import pairwise

from gateway.enrolment.backends import issuer_of
from gateway.errors import MalformedMessage
from gateway.model.enrolment import CertificatePlan
from gateway.pki import oids
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.issued_by import verify_issued_by
from gateway.pki.names import names_match, san_sets_match

CLOCK_TOLERANCE = timedelta(minutes=10)
MAX_CHAIN = 10
MAX_CHAIN_BYTES = 128 * 1024
_COMPARED = frozenset(
    {oids.BASIC_CONSTRAINTS, oids.SUBJECT_ALT_NAME, oids.KEY_USAGE, oids.EXTENDED_KEY_USAGE}
)


def differences(
    plan: CertificatePlan, issued: ParsedCertificate, chain_der: tuple[bytes, ...]
) -> tuple[str, ...]:
    """Name everything in which the certificate goes beyond or beside the plan; empty if it keeps to it.

    It may be valid for a shorter time than planned, never longer. Enough for a CA in this process, which
    signs the plan itself; of every other one ``foreign_differences`` asks more.
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
    if plan.without:
        found.extend(
            f"it has the extension {extension.oid}, which policy wants left out"
            for extension in issued.extensions
            if extension.oid in plan.without
        )
    found.extend(_chain_differences(issued, chain_der))
    return tuple(found)


def foreign_differences(
    plan: CertificatePlan, issued: ParsedCertificate, chain_der: tuple[bytes, ...]
) -> tuple[str, ...]:
    """As ``differences``, and whether the chain's first CA really signed it, as each CA the one before it.

    Every planned extension must be there as planned. The CA may add extensions of its own, if not critical.
    """
    found = [*differences(plan, issued, chain_der)]
    found.extend(
        f"the extension {extension.oid} is not there as it was decided"
        for extension in plan.extensions
        if extension not in issued.extensions
    )
    planned = {extension.oid for extension in plan.extensions} | _COMPARED
    if not plan.key_usage:
        planned.discard(oids.KEY_USAGE)
    found.extend(
        f"it has a critical extension {extension.oid} that was not decided on"
        for extension in issued.extensions
        if extension.critical and extension.oid not in planned
    )
    if not found:
        fault = signature_fault(issued, chain_der)
        found.extend([fault] if fault else [])
    return tuple(found)


def signature_fault(issued: ParsedCertificate, chain_der: tuple[bytes, ...]) -> str:
    """Why the certificate is not one of this chain, or nothing. Dates are not looked at."""
    try:
        verify_issued_by(issued, issuer_of(chain_der).certificate)
    except MalformedMessage as error:
        return str(error)
    return _chain_fault(chain_der)


def _chain_differences(issued: ParsedCertificate, chain_der: tuple[bytes, ...]) -> list[str]:
    if not chain_der:
        return ["the CA gave no certificate of its issuer"]
    if len(chain_der) > MAX_CHAIN or sum(map(len, chain_der)) > MAX_CHAIN_BYTES:
        return [f"the CA gave a chain of {len(chain_der)} certificates; at most {MAX_CHAIN} are taken"]
    try:
        issuer = issuer_of(chain_der).certificate
    except MalformedMessage as error:
        return [f"the CA's own certificate cannot be read: {error}"]
    if issuer.subject_der != issued.issuer_der:
        return [f"its issuer {issued.issuer} is not the CA {issuer.subject}"]
    return []


@lru_cache(maxsize=64)  # the same few chains come with every answer
def _chain_fault(chain_der: tuple[bytes, ...]) -> str:
    try:
        chain = [parse_certificate(certificate_der) for certificate_der in chain_der]
        for lower, upper in pairwise(chain):
            verify_issued_by(lower, upper)
    except MalformedMessage as error:
        return f"the CA's own chain does not hold: {error}"
    return ""
