"""The CSR of a finalization held against its order (RFC 8555 section 7.4).

Whether key, extensions and subject are allowed is policy's matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.acme import jwk
from gateway.acme.errors import AcmeError, Context, problem_of
from gateway.acme.identifiers import Identifier
from gateway.errors import MalformedMessage
from gateway.model.enrolment import RequestedIdentity
from gateway.model.keys import ClientKey
from gateway.model.names import CN_OID, DistinguishedName, NameKind
from gateway.model.reasons import ReasonCode
from gateway.pki.csr import ParsedCsr, parse_csr, verify_possession
from gateway.pki.name_syntax import ip_octets, ip_text, normal_dns, shown

_MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class OrderCsr:
    """What a CSR that fits its order asks for. ``csr_der`` is None where it may not be kept.

    ``key_thumbprint`` is what the key's thumbprint would be as an account's; None: it could be none.
    """

    identity: RequestedIdentity
    key: ClientKey
    csr_der: bytes | None
    key_thumbprint: str | None


def checked_csr(csr_der: bytes, identifiers: tuple[Identifier, ...]) -> OrderCsr:
    """Read a CSR, verify its signature and hold its names against the order's.

    Raises AcmeError: badCSR, or malformed where there are no bytes.
    """
    try:
        csr = parse_csr(csr_der)
        key = verify_possession(csr)
    except MalformedMessage as fault:
        raise bad_csr(str(fault), fault.code) from fault
    if csr.change_subject_name is not None:
        raise bad_csr("the ChangeSubjectName attribute has no place in a CSR for an order")
    _check_names(csr, identifiers)
    identity = replace(
        csr.identity,
        subject=_without_ip_addresses(csr.subject),
        sans=tuple([identifier.general_name for identifier in identifiers]),
    )
    return OrderCsr(
        identity,
        key,
        # A CSR that holds a secret in clear must not come into the record.
        csr.csr_der if csr.challenge_password is None else None,
        None if csr.loaded_key is None else jwk.key_thumbprint(csr.loaded_key),
    )


def _check_names(csr: ParsedCsr, identifiers: tuple[Identifier, ...]) -> None:
    """RFC 8555 section 7.4: exactly the order's identifiers, whether as SAN or (DNS names) as CN."""
    ordered = {(one.kind, one.name) for one in identifiers}
    asked: set[tuple[NameKind, str]] = set()
    for san in csr.identity.sans:
        if san.kind not in (NameKind.DNS, NameKind.IP):
            raise bad_csr(
                f"the CSR asks for the alternative name {shown(str(san))}; only DNS names and IP addresses "
                "can be ordered",
                ReasonCode.NAME_KIND,
            )
        asked.add((san.kind, san.value))
    for text in csr.subject.values(CN_OID):
        kind, value = _common_name(text)
        if (kind, value) not in ordered:
            raise bad_csr(
                f"the common name {shown(text)} is none of the order's identifiers", ReasonCode.SUBJECT_CN
            )
        if kind is NameKind.DNS:
            asked.add((kind, value))
    if asked != ordered:
        raise bad_csr(_difference(asked, ordered), ReasonCode.NAME_NOT_ALLOWED)


def _common_name(text: str) -> tuple[NameKind | None, str]:
    """A common name as the identifier that it writes; None where it writes none."""
    try:
        return NameKind.IP, ip_text(ip_octets(text))[0]
    except MalformedMessage:
        pass
    try:
        return NameKind.DNS, normal_dns(text)
    except MalformedMessage:
        return None, text


def _without_ip_addresses(subject: DistinguishedName) -> DistinguishedName:
    """An IP address never goes into the common name: clients fail on such certificates (certbot 5.8)."""
    if not any(_common_name(text)[0] is NameKind.IP for text in subject.values(CN_OID)):
        return subject
    rdns = (
        tuple(one for one in rdn if one.oid != CN_OID or _common_name(one.value)[0] is not NameKind.IP)
        for rdn in subject.rdns
    )
    return DistinguishedName(tuple(rdn for rdn in rdns if rdn))


def _difference(asked: set[tuple[NameKind, str]], ordered: set[tuple[NameKind, str]]) -> str:
    parts = []
    if extra := sorted(value for _, value in asked - ordered):
        parts.append(f"the CSR asks for names that are not in the order: {_listed(extra)}")
    if missing := sorted(value for _, value in ordered - asked):
        parts.append(f"the CSR lacks names of the order: {_listed(missing)}")
    return "; ".join(parts)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more


def bad_csr(detail: str, code: ReasonCode = ReasonCode.MESSAGE_UNSUPPORTED) -> AcmeError:
    """What to raise for a CSR that does not do; the order stays ready for another."""
    type_, status = problem_of(code, Context.FINALIZE)
    return AcmeError(type_, detail, status=status, code=code)
