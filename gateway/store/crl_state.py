"""How far each issuer's CRL is behind its revocations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from gateway.clock import to_epoch_s
from gateway.store.columns import optional_time
from gateway.store.schema import CRL_STATE
from gateway.store.statement import Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_update


@dataclass(frozen=True, slots=True)
class CrlState:
    """``number`` 0 means that no CRL was built yet (RFC 5280 section 5.2.3: the first one has 1)."""

    issuer_key_sha256: str
    revocation_count: int
    built_count: int
    number: int
    crl_der: bytes | None
    this_update: datetime | None
    next_update: datetime | None

    @property
    def stale(self) -> bool:
        """Whether a revocation came after the CRL was built, or there is none."""
        return self.crl_der is None or self.built_count != self.revocation_count


def bump(unit: Unit, issuer_key_sha256: str) -> None:
    """Count one revocation or release, so that the CRL is stale from this unit on."""
    unit.move(_BUMP, _first_row(issuer_key_sha256, revocation_count=1))


def store_crl(
    unit: Unit,
    before: CrlState,
    *,
    crl_der: bytes,
    this_update: datetime,
    next_update: datetime,
) -> None:
    """Store the CRL with number ``before.number`` + 1 that covers ``before.revocation_count`` changes.

    Commit raises Conflict if another CRL was stored meanwhile. Read ``before`` first, the entries after it:
    then a revocation between the two is on the CRL and makes it rebuilt once more, never forgotten.
    """
    unit.move(
        _STORE,
        {
            "issuer_key_sha256": before.issuer_key_sha256,
            "revocation_count": before.revocation_count,
            "built_count": before.revocation_count,
            "number": before.number + 1,
            "crl_der": crl_der,
            "this_update": to_epoch_s(this_update),
            "next_update": to_epoch_s(next_update),
            "from_number": before.number,
        },
    )


def get(connection: Connection, issuer_key_sha256: str) -> CrlState:
    """The state of an issuer; one that nothing is known of has no CRL and no revocation."""
    row = _GET.first(connection, issuer_key_sha256=issuer_key_sha256)
    if row is None:
        return CrlState(issuer_key_sha256, 0, 0, 0, None, None, None)
    return CrlState(
        row[0],
        row[1],
        row[2],
        row[3],
        None if row[4] is None else bytes(row[4]),
        optional_time(row[5]),
        optional_time(row[6]),
    )


def _first_row(issuer_key_sha256: str, revocation_count: int) -> dict[str, int | str | bytes | None]:
    return {
        "issuer_key_sha256": issuer_key_sha256,
        "revocation_count": revocation_count,
        "built_count": 0,
        "number": 0,
        "crl_der": None,
        "this_update": None,
        "next_update": None,
    }


_BUMP = insert_or_update(
    CRL_STATE, "issuer_key_sha256", "SET revocation_count = crl_state.revocation_count + 1"
)
_STORE = insert_or_update(
    CRL_STATE,
    "issuer_key_sha256",
    "SET built_count = excluded.built_count, number = excluded.number, crl_der = excluded.crl_der,"
    " this_update = excluded.this_update, next_update = excluded.next_update"
    " WHERE crl_state.number = :from_number",
    extra=("from_number",),
)
_GET = Statement(
    select(*CRL_STATE.c).where(CRL_STATE.c.issuer_key_sha256 == bindparam("issuer_key_sha256")),
    ("issuer_key_sha256",),
)
