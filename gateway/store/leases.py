"""Named leases: of several gateways one does the periodic work."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, delete

from gateway.clock import to_epoch_s
from gateway.store.recorder import Recorder
from gateway.store.schema import LEASE
from gateway.store.statement import Column, Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_update


async def acquire(recorder: Recorder, name: str, owner: str, now: datetime, until: datetime) -> bool:
    """Take or prolong a lease; False while somebody else holds it. Raises StoreUnavailable.

    Clocks of several hosts may differ: make leases much longer than that, and let correctness rest on the
    compare-and-set of what the work writes.
    """

    def take(connection: Connection) -> bool:
        row: dict[str, Column] = {
            "name": name,
            "owner": owner,
            "until": to_epoch_s(until),
            "now_s": to_epoch_s(now),
        }
        return _ACQUIRE.run(connection, (_ACQUIRE.bind(row),)) == 1

    return await recorder.run(take)


def release(unit: Unit, name: str, owner: str) -> None:
    """Give a lease back early; no error if somebody else has it now."""
    unit.move(_RELEASE, {"lease_name": name, "owner": owner})


_ACQUIRE = insert_or_update(
    LEASE,
    "name",
    "SET owner = excluded.owner, until = excluded.until"
    " WHERE lease.owner = excluded.owner OR lease.until < :now_s",
    extra=("now_s",),
)
_RELEASE = Statement(
    delete(LEASE).where(LEASE.c.name == bindparam("lease_name"), LEASE.c.owner == bindparam("owner")),
    ("lease_name", "owner"),
    exact=False,
)
