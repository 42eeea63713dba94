"""Rows of ACME that have had their time. Accounts stay, and so does every order that was finalized."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import BigInteger, and_, bindparam, exists

from gateway.acme.tables.schema import AUTHORIZATION, ORDER
from gateway.frontend import Records
from gateway.store.retention import Sweep
from gateway.store.schema import REQUEST

KEPT = timedelta(days=30)  # after their end


class Retention:
    """Authorizations and orders that ended more than ``KEPT`` ago.

    No live order stands on such an authorization: one whose authorization has expired is invalid itself,
    unless it was finalized before, and then what became of that tells its status (``order_state``). An order
    for which there is an enrolment request, whatever became of it, stays: the certificate is fetched from it.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        ended = bindparam("before_s", type_=BigInteger)
        requested = exists().where(REQUEST.c.transaction_id == ORDER.c.id)
        self._orders = Sweep(ORDER, and_(ORDER.c.expires_at < ended, ~requested))
        self._authorizations = Sweep(AUTHORIZATION, AUTHORIZATION.c.expires_at < ended)

    async def prune(self, now: datetime) -> None:
        """Remove some of them. Raises StoreUnavailable and Overloaded."""
        for sweep in (self._orders, self._authorizations):
            await sweep.run(self._records.read, self._records.commit, now - KEPT)
