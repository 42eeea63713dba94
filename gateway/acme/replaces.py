"""The ``replaces`` of a new order: which certificate it renews (RFC 9773 section 5).

An order claims a certificate by the unique column ``replaces_sha256`` of its row, so that of many that come
at once one gets it. An invalid order's claim is given up in the unit that writes the next one, so that a
certificate which was claimed before is known as such for as long as nobody has replaced it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.acme import order_state
from gateway.acme.errors import AcmeError, malformed, unauthorized
from gateway.acme.exchange import Exchange
from gateway.acme.identifiers import Identifier
from gateway.acme.order_state import OrderView
from gateway.acme.renewal_info import find, parse_id, renewal_window
from gateway.acme.tables import orders
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.events import actor_of
from gateway.frontend import Unit
from gateway.model.reasons import ReasonCode


@dataclass(frozen=True, slots=True)
class Replaced:
    """A certificate that this account may replace. ``certificate_id`` is as the client wrote it, ``sha256``
    the lower-case hex that the order's row claims it by.

    ``claimed_by`` is the invalid order whose claim is to be given up (``release``). ``exempt``: the order is
    not to be held up by rate limits, as the first one that renews a certificate within its window.
    """

    certificate_id: str
    sha256: str
    certificate_der: bytes
    claimed_by: str | None
    exempt: bool

    def release(self, unit: Unit) -> None:
        """Free the certificate for the order of this unit. Commit raises Conflict if another was faster."""
        if self.claimed_by is not None:
            orders.release(unit, self.claimed_by)


async def check_replaces(
    exchange: Exchange, account: AccountRow, identifiers: Iterable[Identifier], certificate_id: str
) -> Replaced:
    """Judge the ``replaces`` of a new order for these identifiers.

    Raises AcmeError: malformed (also for a certificate that is unknown here or shares no identifier),
    unauthorized for another account's, alreadyReplaced; StoreUnavailable. The unit that inserts the order may
    still meet a Conflict: judge again then.
    """
    record = await find(exchange, parse_id(certificate_id))
    if record is None:
        raise malformed(
            "replaces names no certificate that was issued here", code=ReasonCode.RENEWAL_NOT_OURS
        )
    if record.identity != actor_of(account.id):
        raise unauthorized(
            "replaces names a certificate that this account did not order", code=ReasonCode.RENEWAL_NOT_OURS
        )
    if not {str(identifier) for identifier in identifiers} & set(record.sans):
        raise malformed(
            "replaces names a certificate that shares no identifier with this order",
            code=ReasonCode.RENEWAL_NAMES_DIFFER,
        )
    claimed_by = await _invalid_claim(exchange, record.sha256)
    # RFC 9773 section 5 has the limits lifted; for one order, else a client that fails goes on for ever.
    now = exchange.services.clock.now()
    opens_at = exchange.services.enrolments.renewal_advice(record).opens_at
    in_time = renewal_window(record, opens_at).start <= now < record.not_after
    return Replaced(
        certificate_id, record.sha256, record.certificate_der, claimed_by, in_time and claimed_by is None
    )


def already_replaced() -> AcmeError:
    """RFC 9773 section 7.4: 409, another order that is not invalid replaces the certificate."""
    return AcmeError(
        "alreadyReplaced",
        "another order replaces this certificate already; leave replaces out if you want one more",
        status=409,
        code=ReasonCode.ORDER_STATE,
    )


async def _invalid_claim(exchange: Exchange, sha256: str) -> str | None:
    """The order that claims the certificate and is invalid, which is for good (RFC 8555 section 7.1.6).

    None where no order claims it. Raises AcmeError (alreadyReplaced) where the order is not invalid.
    """

    def read(connection: Any) -> OrderView | None:
        row = orders.replacing(connection, sha256)
        return None if row is None else order_state.with_authorizations(connection, row)

    view = await exchange.services.records.read(read)
    if view is None:
        return None
    state = await order_state.state_of(exchange, view)
    if state.status != order_state.INVALID:
        raise already_replaced()
    return view.order.id
