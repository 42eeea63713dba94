"""What state an order and its authorizations are in (RFC 8555 section 7.1.6): derived on read, never stored.

First from the enrolment request of the order's finalization, else from its authorizations and the time. So
no crash can leave an order and its certificate apart, and nothing has to expire anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.acme.errors import URN, Context, refusal
from gateway.acme.exchange import ACME, Exchange
from gateway.acme.identifiers import from_text
from gateway.acme.problems import plain, problem_document
from gateway.acme.tables import authorizations, owned
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.acme.tables.orders import OrderRow
from gateway.model.outcome import Issued, Outcome, Pending, Refused, Unavailable

PENDING, READY, PROCESSING, VALID, INVALID = "pending", "ready", "processing", "valid", "invalid"
DEACTIVATED, EXPIRED = "deactivated", "expired"


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with its authorizations, in the order of its identifiers."""

    order: OrderRow
    authorizations: tuple[AuthorizationRow, ...]


@dataclass(frozen=True, slots=True)
class OrderState:
    """``error`` is a problem document with status, of an invalid order; ``outcome`` what its finalization
    came to, None where there was none."""

    status: str
    error: Mapping[str, object] | None = None
    outcome: Outcome | None = None

    @property
    def retry_after_s(self) -> int | None:
        """When to ask again, while it is processing."""
        if isinstance(self.outcome, Pending | Unavailable) and self.status == PROCESSING:
            return max(1, self.outcome.retry_after_s)
        return None


def load(
    connection: Any, endpoint: str, account_id: str, order_id: str
) -> tuple[AccountRow | None, OrderView | None]:
    """The account of this endpoint, and the order if it is one of this account; None for anybody else's."""
    account, order = owned.with_order(connection, endpoint, account_id, order_id)
    return account, None if order is None else with_authorizations(connection, order)


def with_authorizations(connection: Any, order: OrderRow) -> OrderView:
    return OrderView(
        order,
        authorizations.of_order(connection, order.endpoint, order.account_id, order.authorizations),
    )


def all_with_authorizations(
    connection: Any, endpoint: str, account_id: str, rows: Sequence[OrderRow]
) -> tuple[OrderView, ...]:
    """Several orders of one account, in two reads whatever their number."""
    wanted = dict.fromkeys(one for row in rows for one in row.authorizations)
    found = authorizations.of_orders(connection, endpoint, account_id, tuple(wanted))
    return tuple(
        [OrderView(row, tuple([found[one] for one in row.authorizations if one in found])) for row in rows]
    )


async def state_of(exchange: Exchange, view: OrderView) -> OrderState:
    """The state of an order now. Raises StoreUnavailable."""
    (state,) = await states_of(exchange, (view,))
    return state


async def states_of(exchange: Exchange, views: Sequence[OrderView]) -> tuple[OrderState, ...]:
    """The states of orders of this endpoint now, in their order. Raises StoreUnavailable."""
    ids = [view.order.id for view in views if may_be_finalized(view)]
    outcomes: dict[str, Outcome | None] = {}
    if ids:
        found = await exchange.services.enrolments.outcomes_of(
            ACME, exchange.endpoint, [order_parts(one) for one in ids]
        )
        outcomes = dict(zip(ids, found, strict=True))
    now = exchange.services.clock.now()
    return tuple([derived_state(view, outcomes.get(view.order.id), now) for view in views])


def order_parts(order_id: str) -> tuple[bytes, ...]:
    """What correlates all finalizations of one order (``model.enrolment.Correlation``)."""
    return b"order", order_id.encode("ascii")


def may_be_finalized(view: OrderView) -> bool:
    """Whether a finalization may exist. While an authorization was never valid there can be none, which
    spares the look-up to every poll of a pending order."""
    never_valid = (authorizations.PENDING, authorizations.PROCESSING, authorizations.INVALID)
    return not any(row.status in never_valid for row in view.authorizations)


def derived_state(view: OrderView, outcome: Outcome | None, now: datetime) -> OrderState:
    """The state that follows from these facts."""
    match outcome:
        case Issued():
            return OrderState(VALID, outcome=outcome)
        case Pending() | Unavailable():
            return OrderState(PROCESSING, outcome=outcome)
        case Refused():
            return OrderState(INVALID, problem_document(refusal(outcome, Context.FINALIZE)), outcome)
        case None:
            return _unfinalized_state(view, now)


def authorization_state(row: AuthorizationRow, now: datetime) -> str:
    """The status of an authorization now: pending, valid, invalid, deactivated or expired.

    One that expires unanswered becomes invalid, one that was valid expired (RFC 8555 section 7.1.6).
    """
    if row.status in (authorizations.PENDING, authorizations.PROCESSING):
        return INVALID if row.expires_at <= now else PENDING
    if row.status == authorizations.VALID and row.expires_at <= now:
        return EXPIRED
    return row.status


def _unfinalized_state(view: OrderView, now: datetime) -> OrderState:
    states = [authorization_state(row, now) for row in view.authorizations]
    if len(states) != len(view.order.authorizations) or not set(states) <= {PENDING, VALID}:
        return OrderState(INVALID, _authorization_problem(view.authorizations, states))
    if view.order.expires_at <= now:
        text = f"the order expired at {view.order.expires_at:%Y-%m-%dT%H:%M:%SZ}; make a new one"
        return OrderState(INVALID, _problem("unauthorized", text))
    return OrderState(READY if PENDING not in states else PENDING)


def _authorization_problem(rows: Sequence[AuthorizationRow], states: Sequence[str]) -> dict[str, object]:
    found: list[dict[str, object]] = []
    for row, state in zip(rows, states, strict=True):
        if state in (PENDING, VALID):
            continue
        identifier = from_text(row.identifier)
        if row.error is not None and state == INVALID:
            type_, detail = str(row.error.get("type", "")), str(row.error.get("detail", ""))
        else:
            expired = state in (INVALID, EXPIRED)
            type_ = URN + "unauthorized"
            detail = f"the authorization {'expired' if expired else 'was deactivated'}"
        found.append({"type": type_, "detail": detail, "identifier": identifier.document()})
    names = ", ".join(
        row.name for row, state in zip(rows, states, strict=True) if state not in (PENDING, VALID)
    )
    text = f"not every identifier is authorized any more: {names[:300]}; make a new order"
    return {**_problem("unauthorized", text), **({"subproblems": found} if found else {})}


def _problem(type_: str, detail: str) -> dict[str, object]:
    return {"type": URN + type_, "detail": plain(detail), "status": 403}
