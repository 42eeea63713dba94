"""How far requests with given correlations have come, with certificates: one read, since clients poll."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from gateway.model.outcome import State
from gateway.store.certificates import chain_certificates
from gateway.store.columns import optional_time
from gateway.store.many import ByKeys
from gateway.store.schema import CERTIFICATE, CHAIN, REQUEST
from gateway.store.statement import Row


@dataclass(frozen=True, slots=True)
class Progress:
    """``certificate_der`` is None unless one is recorded; ``chain_der`` is issuer first, root last.
    ``confirm_by`` is until when the requester may confirm it, None where that is not asked for."""

    request_id: str
    state: State
    certificate_der: bytes | None
    chain_der: tuple[bytes, ...]
    confirm_by: datetime | None


def by_correlations(connection: Connection, correlations: Sequence[str]) -> dict[str, Progress]:
    """The requests that hold these correlations, whatever their state and that of their certificates."""
    return {str(row[0]): _progress(row[1:]) for row in _BY_CORRELATIONS.all(connection, correlations, {})}


def _progress(row: Row) -> Progress:
    request_id, state, confirm_by, certificate_der, chain_der = row
    return Progress(
        request_id,
        State(state),
        None if certificate_der is None else bytes(certificate_der),
        () if chain_der is None else chain_certificates(bytes(chain_der)),
        optional_time(confirm_by),
    )


_BY_CORRELATIONS = ByKeys(
    select(
        REQUEST.c.correlation,
        REQUEST.c.id,
        REQUEST.c.state,
        REQUEST.c.confirm_by,
        CERTIFICATE.c.certificate_der,
        CHAIN.c.chain_der,
    ).select_from(
        REQUEST.outerjoin(CERTIFICATE, CERTIFICATE.c.sha256 == REQUEST.c.certificate_sha256).outerjoin(
            CHAIN, CHAIN.c.sha256 == CERTIFICATE.c.chain_sha256
        )
    ),
    REQUEST.c.correlation,
)
