"""How far the request with a correlation has come, with its certificate: one read, since clients poll."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from gateway.model.outcome import State
from gateway.store.certificates import chain_certificates
from gateway.store.schema import CERTIFICATE, CHAIN, REQUEST
from gateway.store.statement import Statement


@dataclass(frozen=True, slots=True)
class Progress:
    """``certificate_der`` is None unless one is recorded; ``chain_der`` is issuer first, root last."""

    request_id: str
    state: State
    certificate_der: bytes | None
    chain_der: tuple[bytes, ...]


def by_correlation(connection: Connection, correlation: str) -> Progress | None:
    """The request that holds this correlation, whatever its state and that of its certificate."""
    row = _BY_CORRELATION.first(connection, correlation=correlation)
    if row is None:
        return None
    request_id, state, certificate_der, chain_der = row
    return Progress(
        request_id,
        State(state),
        None if certificate_der is None else bytes(certificate_der),
        () if chain_der is None else chain_certificates(bytes(chain_der)),
    )


_BY_CORRELATION = Statement(
    select(REQUEST.c.id, REQUEST.c.state, CERTIFICATE.c.certificate_der, CHAIN.c.chain_der)
    .select_from(
        REQUEST.outerjoin(CERTIFICATE, CERTIFICATE.c.sha256 == REQUEST.c.certificate_sha256).outerjoin(
            CHAIN, CHAIN.c.sha256 == CERTIFICATE.c.chain_sha256
        )
    )
    .where(REQUEST.c.correlation == bindparam("correlation")),
    ("correlation",),
)
