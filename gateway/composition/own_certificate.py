"""Certificates for the gateway itself: held against what was asked for, and recorded like any other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ca_backend.api import CaIssued, IssuanceOrder
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.compare import differences
from gateway.enrolment.record import certificate_record, event
from gateway.errors import ConfigurationError
from gateway.model.enrolment import CertificatePlan, Operation
from gateway.model.ids import new_id
from gateway.model.outcome import State
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.store import certificates
from gateway.store.requests import RequestRow
from gateway.store.unit import Unit

BACKDATE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """An issued certificate of the gateway itself; it counts once ``unit``, which records it, is written.

    ``chain_der`` is issuer first, root last.
    """

    issued: ParsedCertificate
    chain_der: tuple[bytes, ...]
    unit: Unit


async def issue_own(
    plan: CertificatePlan, purpose: str, backends: BackendSet, backend: str, ca: str | None, now: datetime
) -> OwnCertificate:
    """Have a CA that signs in this process sign ``plan``. ``purpose`` names in the record what it is for.

    Raises ConfigurationError if the CA refuses or gives something else, BackendUnavailable.
    """
    order_id = new_id()
    answer = await backends.get(backend).issue(IssuanceOrder(order_id, plan, profile=ca))
    if not isinstance(answer, CaIssued):
        raise ConfigurationError(
            f"the CA {backend!r} gave no certificate for the gateway itself ({purpose}): {answer}"
        )
    issued = parse_certificate(answer.certificate_der)
    beside = differences(plan, issued, answer.chain_der)
    if beside:
        raise ConfigurationError(
            f"the CA {backend!r} gave another certificate for the gateway itself ({purpose}) than was asked "
            f"for: {'; '.join(beside)}"
        )
    row = _row(order_id, backend, purpose, issued, now)
    return OwnCertificate(issued, answer.chain_der, _record(row, purpose, issued, answer.chain_der))


def _row(order_id: str, backend: str, purpose: str, issued: ParsedCertificate, now: datetime) -> RequestRow:
    """The request that nobody sent; only its certificate is kept."""
    return RequestRow(
        id=order_id,
        state=State.ISSUED,
        protocol="internal",
        endpoint=purpose,
        operation=Operation.ENROLL,
        received_at=now,
        updated_at=now,
        identity="system",
        subject=str(issued.subject),
        sans=tuple(str(name) for name in issued.sans),
        backend=backend,
    )


def _record(row: RequestRow, purpose: str, issued: ParsedCertificate, chain_der: tuple[bytes, ...]) -> Unit:
    unit = Unit()
    issuer_key_sha256 = parse_certificate(chain_der[0]).spki_sha256
    certificates.insert(unit, certificate_record(row, issued, chain_der, issuer_key_sha256), chain_der)
    details = {"serial": f"{issued.serial:x}", "sha256": issued.sha256, "for": purpose}
    unit.audit(event(row, "certificate.issue", **details))
    return unit
