"""A recorded request made into a trial again: what was asked, who asked, and what the gateway knew.

Nothing is verified here a second time: what verification found then, good or bad, is taken as it was.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gateway.clock import from_epoch_s
from gateway.enrolment.asked_json import ASKED
from gateway.errors import MalformedMessage
from gateway.model.enrolment import (
    Correlation,
    EnrolmentRequest,
    Extension,
    Operation,
    RequestedIdentity,
)
from gateway.model.evidence import (
    ACME_ACCOUNT,
    CredentialKind,
    Evidence,
    Linking,
    ProvenName,
    RemoteInfo,
    VerifiedCredential,
)
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.keys import ClientKey, KeyToCome, Pop, ServerKey
from gateway.model.names import AttributeTypeAndValue, DistinguishedName, GeneralName, NameKind
from gateway.pki import der
from gateway.pki.certificate import parse_certificate
from gateway.pki.csr import ParsedCsr, parse_csr
from gateway.pki.keys import public_key
from gateway.pki.names import (
    decode_general_names,
    dns_name,
    email_name,
    ip_address_name,
    uri_name,
)
from gateway.policy.facts import CertifiedNames, Facts, PreviousCertificate
from gateway.policy.lists import EMPTY_LISTS, ListLookup
from gateway.policy.sample_credentials import PRESENTED
from gateway.policy.trial import Trial
from gateway.store.requests import RequestRow

Json = Mapping[str, Any]
# Gives the DER of a certificate of ours by its SHA-256; None: the database does not have it.
FindCertificate = Callable[[str], bytes | None]
_TEXTUAL: Mapping[NameKind, Callable[[str], GeneralName]] = {
    NameKind.DNS: dns_name,
    NameKind.IP: ip_address_name,
    NameKind.EMAIL: email_name,
    NameKind.URI: uri_name,
}


@dataclass(frozen=True, slots=True)
class NotAgain:
    """Why a record cannot be decided again."""

    why: str


def trial_of(row: RequestRow, find: FindCertificate, lists: ListLookup = EMPTY_LISTS) -> Trial | NotAgain:
    """The trial that this row records. ``lists``: as they are now, since no record holds their content."""
    decision: Json = row.decision or {}
    asked = decision.get(ASKED)
    if not isinstance(asked, Mapping):
        if decision.get("trace"):
            return NotAgain("it was recorded by an earlier version, which wrote down less")
        return NotAgain("it never became a request: its message was refused before any policy was asked")
    if asked.get("partial"):
        return NotAgain("only the beginning of it was recorded, since its sender had shown nothing yet")
    try:
        return _trial(row, decision, asked, find, lists)
    except (_Missing, MalformedMessage) as fault:
        return NotAgain(str(fault))
    except (KeyError, ValueError, TypeError, IndexError) as fault:
        return NotAgain(f"its record cannot be read: {type(fault).__name__}: {fault}")


class _Missing(Exception):
    """Something that the decision needs is no longer there."""


def _trial(row: RequestRow, decision: Json, asked: Json, find: FindCertificate, lists: ListLookup) -> Trial:
    csr = parse_csr(row.csr_der) if row.csr_der is not None else None
    credentials = tuple(_credential(one, find) for one in decision.get("credentials", ()))
    known = asked.get("facts")
    renews_der = _renewed(row, credentials, find)
    remote = row.remote or {}
    request = EnrolmentRequest(
        protocol=ProtocolName(row.protocol),
        endpoint=EndpointName(row.endpoint),
        operation=Operation(row.operation),
        correlation=Correlation((row.id.encode(),)),
        identity=_identity(row, asked, csr),
        key=_key(asked, csr),
        remote=RemoteInfo(str(remote.get("address", ""))),
        presented=tuple(PRESENTED[CredentialKind(kind)] for kind in asked["presented"]),
        profile=asked.get("profile"),
        csr_der=row.csr_der,
        renews_der=renews_der,
        not_before=_moment(asked.get("not_before")),
        not_after=_moment(asked.get("not_after")),
        linking=Linking(str(remote.get("linking", Linking.ABSENT))),
        transaction_id=row.transaction_id or "",
    )
    return Trial(request, Evidence(credentials), _facts(row, request, known or {}, lists))


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else from_epoch_s(seconds)


def _identity(row: RequestRow, asked: Json, csr: ParsedCsr | None) -> RequestedIdentity:
    subject = DistinguishedName(
        tuple(tuple(AttributeTypeAndValue(*a) for a in rdn) for rdn in asked.get("subject", ()))
    )
    others = {index: b64decode(name_der) for index, name_der in asked.get("sans_der", ())}
    sans = tuple(
        _from_der(others[index]) if index in others else _from_text(text)
        for index, text in enumerate(row.sans)
    )
    if csr is not None:
        return RequestedIdentity(subject, sans, csr.identity.extensions, csr.identity.attributes)
    extensions = tuple(
        Extension(oid, critical, b64decode(v)) for oid, critical, v in asked.get("extensions", ())
    )
    return RequestedIdentity(subject, sans, extensions, tuple(asked.get("attributes", ())))


def _from_text(text: str) -> GeneralName:
    kind, _, value = text.partition(":")
    return _TEXTUAL[NameKind(kind)](value)


def _from_der(name_der: bytes) -> GeneralName:
    (name,) = decode_general_names(der.tlv(der.SEQUENCE, name_der))
    return name


def _key(asked: Json, csr: ParsedCsr | None) -> ClientKey | KeyToCome | ServerKey:
    match asked.get("key"):
        case "to-come":
            return KeyToCome()
        case "server":
            return ServerKey()
    pop = Pop(asked.get("pop", Pop.SIGNATURE))
    if csr is not None:
        return ClientKey(csr.public_key, pop, csr.signature_hash)
    return ClientKey(public_key(b64decode(asked["spki"])), pop, asked.get("hash"))


def _credential(found: Json, find: FindCertificate) -> VerifiedCredential:
    kind = CredentialKind(found["kind"])
    sha256 = found.get("certificate_sha256")
    certificate_der = b64decode(found["certificate_der"]) if "certificate_der" in found else None
    detail = tuple(dict(found.get("detail", {})).items())
    if sha256 is not None:
        certificate_der = find(sha256)
        if certificate_der is None:
            raise _Missing("the certificate that authenticated it is no longer in the database")
        detail = (("certificate_sha256", sha256), ("ours", "yes"))
    elif certificate_der is not None:
        detail = (("certificate_sha256", hashlib.sha256(certificate_der).hexdigest()), ("ours", "no"))
    return VerifiedCredential(
        kind=kind,
        identity=found["identity"],
        label=found["label"],
        certificate_der=certificate_der,
        credential_id=found.get("id"),
        names=_bound(found.get("names")),
        profiles=_bound(found.get("profiles")),
        proven=_proven(found, kind),
        prevalidated=tuple(found.get("prevalidated", ())),
        ra=bool(found.get("ra")),
        detail=detail,
        groups=tuple(found.get("groups", ())),
        labels=tuple(dict(found.get("labels", {})).items()),
        facts=tuple(dict(found.get("facts", {})).items()),
    )


def _bound(found: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if found is None else tuple(found)


def _proven(found: Json, kind: CredentialKind) -> tuple[ProvenName, ...] | None:
    proofs = []
    for proof in found.get("proven", ()):
        name_kind, _, value = proof["name"].partition(":")
        at = datetime.fromisoformat(proof["at"]).astimezone(UTC)
        proofs.append(ProvenName(NameKind(name_kind), value, proof["method"], at))
    return tuple(proofs) if proofs or kind == ACME_ACCOUNT else None


def _renewed(
    row: RequestRow, credentials: Sequence[VerifiedCredential], find: FindCertificate
) -> bytes | None:
    if row.renews_sha256 is None:
        return None
    for credential in credentials:
        given = credential.certificate_der
        if given is not None and hashlib.sha256(given).hexdigest() == row.renews_sha256:
            return given
    found = find(row.renews_sha256)
    if found is None and credentials:
        raise _Missing("the certificate that it renews is no longer in the database")
    return found


def _facts(row: RequestRow, request: EnrolmentRequest, known: Json, lists: ListLookup) -> Facts:
    now = datetime.fromtimestamp(known["now"], UTC) if "now" in known else row.received_at
    facts = Facts(
        now=now,
        issuer_not_after=_moment(known.get("issuer_not_after")),
        issuer_ends={
            (backend, profile): from_epoch_s(end) for backend, profile, end in known.get("issuer_ends", ())
        },
        key_stands_in=tuple(
            CertifiedNames(subject, frozenset(sans)) for subject, sans in known.get("key_stands_in", ())
        ),
        lists=lists,
        key_known_to_others=bool(known.get("key_known_to_others")),
        key_of_ca=bool(known.get("key_of_ca")),
        key_of_account=bool(known.get("key_of_account")),
        limits_exceeded=bool(known.get("limits_exceeded")),
    )
    if request.renews_der is None or request.operation not in (Operation.RENEW, Operation.REKEY):
        return facts
    old = parse_certificate(request.renews_der)
    previous = PreviousCertificate(
        subject=old.subject,
        sans=old.sans,
        spki_sha256=old.spki_sha256,
        not_before=old.not_before,
        not_after=old.not_after,
        issued_here=bool(known.get("issued_here")),
    )
    return replace(facts, previous=previous)
