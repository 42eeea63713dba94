"""Orders: newOrder, reading one, and the list of an account's (RFC 8555 sections 7.1.2.1, 7.1.3 and 7.4)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from gateway.acme import base64url, limits, order_state
from gateway.acme.errors import AcmeError, Context, malformed, refusal
from gateway.acme.exchange import Exchange, Signed
from gateway.acme.identifiers import Identifier, challenges_for
from gateway.acme.new_order import WantedOrder, read_new_order
from gateway.acme.objects import json_answer, order_answer
from gateway.acme.order_request import names_request
from gateway.acme.order_state import OrderView
from gateway.acme.replaces import Replaced, check_replaces
from gateway.acme.tables import authorizations, events, orders
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.acme.tables.orders import OrderRow
from gateway.errors import Conflict
from gateway.frontend import Unit
from gateway.http.message import HttpResponse
from gateway.model.evidence import PREVALIDATED
from gateway.model.ids import new_object_id
from gateway.model.names import GeneralName
from gateway.model.outcome import Refused
from gateway.model.preview import Preview
from gateway.model.reasons import ReasonCode

PAGE_SIZE = 50
_ATTEMPTS = 3
_BEFORE = re.compile(rb"before=([0-9a-f]{44})")  # as ``new_object_id`` makes them
TOKEN_BYTES = 32  # RFC 8555 section 8.1: at least 128 bits of entropy
# An authorization that ends sooner is not reused: the new order needs time to be worked on.
_ENOUGH = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A new order before it is written: ``fresh`` are the authorizations that are new with it."""

    view: OrderView
    fresh: tuple[AuthorizationRow, ...]
    uses: tuple[limits.Use, ...]
    replaced: Replaced | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database holds for the names of a new order."""

    valid: tuple[AuthorizationRow, ...]
    pending: tuple[AuthorizationRow, ...]
    pending_count: int


async def new_order(signed: Signed) -> HttpResponse:
    """newOrder: 201 with the order, all its authorizations made or reused (RFC 8555 section 7.4).

    Raises AcmeError, StoreUnavailable, BackendUnavailable, Overloaded.
    """
    exchange, account = signed.exchange, signed.known_account
    wanted = read_new_order(exchange, signed.jws.payload)
    preview = await _judged(exchange, account, wanted)
    for _ in range(_ATTEMPTS):
        replaced: Replaced | None = None
        if wanted.replaces is not None:
            replaced = await check_replaces(exchange, account, wanted.identifiers, wanted.replaces)
        planned = await _planned(signed, wanted, preview, replaced)
        try:
            await _write(signed, planned)
        except Conflict:
            continue  # others took the last use of a limit or claimed the certificate: judge again
        state = order_state.derived_state(planned.view, None, exchange.services.clock.now())
        return order_answer(exchange.links, planned.view, state, status=201, with_location=True)
    raise Conflict("others were faster several times")


async def order(signed: Signed, view: OrderView) -> HttpResponse:
    """Read an order by POST-as-GET."""
    _read_only(signed)
    return order_answer(signed.exchange.links, view, await order_state.state_of(signed.exchange, view))


async def orders_list(signed: Signed) -> HttpResponse:
    """The account's orders, newest first and page by page, without invalid ones (section 7.1.2.1)."""
    _read_only(signed)
    exchange, account = signed.exchange, signed.known_account
    before = _place(exchange.request.query)

    def read(connection: Any) -> tuple[tuple[OrderView, ...], str | None]:
        page = orders.of_account(connection, exchange.endpoint, account.id, limit=PAGE_SIZE, before=before)
        views = order_state.all_with_authorizations(connection, exchange.endpoint, account.id, page.rows)
        return views, page.next_before

    views, next_before = await exchange.services.records.read(read)
    states = await order_state.states_of(exchange, views)
    urls = [
        exchange.links.order(view.order.id)
        for view, state in zip(views, states, strict=True)
        if state.status != order_state.INVALID
    ]
    following = exchange.links.orders(account.id, next_before) if next_before is not None else None
    headers = (("Link", f'<{following}>;rel="next"'),) if following else ()
    return json_answer({"orders": urls}, headers=headers)


def _read_only(signed: Signed) -> None:
    if signed.jws.payload != b"":
        raise malformed("this resource is read by a POST with an empty payload (RFC 8555 section 6.3)")


def _place(query: bytes) -> str | None:
    """Where a page begins: ``before=ID`` of our own links, nothing else."""
    if not query:
        return None
    found = _BEFORE.fullmatch(query)
    if found is None:
        raise malformed("the query of an orders URL is as the rel=next link has it")
    return found[1].decode("ascii")


async def _judged(exchange: Exchange, account: AccountRow, wanted: WantedOrder) -> Preview:
    """What policy says of every name. Raises AcmeError with one subproblem for each refused one."""
    asked = names_request(
        exchange,
        account,
        wanted.identifiers,
        profile=wanted.profile,
        not_before=wanted.not_before,
        not_after=wanted.not_after,
    )
    preview = await exchange.services.enrolments.preview(asked)
    if preview.reasons:
        named = [(one.kind.value, one.name) for one in wanted.identifiers]
        raise refusal(Refused(None, preview.reasons), Context.ORDER, named)
    return preview


async def _planned(
    signed: Signed, wanted: WantedOrder, preview: Preview, replaced: Replaced | None
) -> _Planned:
    exchange, account = signed.exchange, signed.known_account
    now = exchange.services.clock.now()
    uses = limits.order_uses(exchange.options.limits, exchange.endpoint, account.id, wanted.identifiers)
    names = [(one.value, one.wildcard) for one in wanted.identifiers]
    reusing = bool(preview.reuse_s or preview.prevalidated)

    def read(connection: Any) -> _Known:
        if replaced is None or not replaced.exempt:
            limits.check_in(connection, uses, now)
        return _Known(
            authorizations.valid_for(
                connection, exchange.endpoint, account.id, names if reusing else (), now + _ENOUGH
            ),
            authorizations.pending_for(
                connection, exchange.endpoint, account.id, names if preview.reuse_s else (), now + _ENOUGH
            ),
            authorizations.count_open(connection, account.id, now),
        )

    known = await exchange.services.records.read(read)
    prevalidated = frozenset(_key(name) for name in preview.prevalidated)
    rows, fresh = [], []
    for identifier in wanted.identifiers:
        is_prevalidated = (identifier.kind, identifier.name) in prevalidated
        offered = challenges_for(identifier, preview.challenges)
        row = _reusable(identifier, known, offered, preview.reuse_s, now, prevalidated=is_prevalidated)
        if row is None:
            row = _fresh(exchange, account, identifier, offered, now, prevalidated=is_prevalidated)
            fresh.append(row)
        rows.append(row)
    limits.check_pending(
        exchange.options.limits,
        known.pending_count,
        sum(row.status == authorizations.PENDING for row in fresh),
    )
    order_row = _order_row(exchange, account, wanted, replaced, rows, now)
    return _Planned(OrderView(order_row, tuple(rows)), tuple(fresh), uses, replaced)


def _order_row(
    exchange: Exchange,
    account: AccountRow,
    wanted: WantedOrder,
    replaced: Replaced | None,
    rows: Sequence[AuthorizationRow],
    now: datetime,
) -> OrderRow:
    return OrderRow(
        id=new_object_id(),
        endpoint=exchange.endpoint,
        account_id=account.id,
        identifiers=tuple([str(identifier) for identifier in wanted.identifiers]),
        authorizations=tuple([row.id for row in rows]),
        created_at=now,
        # no longer than what it stands on
        expires_at=min(now + exchange.options.order_lifetime, *(row.expires_at for row in rows)),
        profile=wanted.profile,
        not_before=wanted.not_before,
        not_after=wanted.not_after,
        replaces=wanted.replaces,
        replaces_sha256=None if replaced is None else replaced.sha256,
    )


def _key(name: GeneralName) -> tuple[object, str]:
    return name.kind, name.value


def _reusable(
    identifier: Identifier,
    known: _Known,
    offered: Sequence[str],
    reuse_s: int,
    now: datetime,
    *,
    prevalidated: bool,
) -> AuthorizationRow | None:
    """An authorization of the same account that counts for this name again (RFC 8555 section 7.1.3)."""
    text = str(identifier)
    oldest = now - timedelta(seconds=reuse_s)
    for row in known.valid:
        if row.identifier != text or row.validated_at is None:
            continue
        if row.method == PREVALIDATED:
            if prevalidated:
                return row
        elif row.method in offered and reuse_s and row.validated_at >= oldest:
            return row
    if prevalidated or not reuse_s:
        return None  # one proof for several orders is a reuse too
    return next((row for row in known.pending if row.identifier == text and row.challenges == offered), None)


def _fresh(
    exchange: Exchange,
    account: AccountRow,
    identifier: Identifier,
    offered: tuple[str, ...],
    now: datetime,
    *,
    prevalidated: bool,
) -> AuthorizationRow:
    if not offered and not prevalidated:
        raise AcmeError(
            "rejectedIdentifier",
            f"no challenge that is offered here can prove {identifier.name}",
            status=403,
            code=ReasonCode.NAME_NOT_ALLOWED,
        )
    options = exchange.options
    row = AuthorizationRow(
        id=new_object_id(),
        endpoint=exchange.endpoint,
        account_id=account.id,
        kind=identifier.kind.value,
        name=identifier.value,
        wildcard=identifier.wildcard,
        status=authorizations.PENDING,
        token=base64url.encode(os.urandom(TOKEN_BYTES)),
        challenges=offered,
        created_at=now,
        expires_at=now + options.pending_authorization_lifetime,
    )
    if not prevalidated:
        return row
    return replace(
        row,
        status=authorizations.VALID,
        method=PREVALIDATED,
        validated_at=now,
        expires_at=now + options.authorization_lifetime,
    )


async def _write(signed: Signed, planned: _Planned) -> None:
    account, row = signed.known_account, planned.view.order
    services = signed.exchange.services
    unit = Unit()
    for one in planned.fresh:
        authorizations.insert(unit, one)
    if planned.replaced is not None:
        planned.replaced.release(unit)
    orders.insert(unit, row)
    exempt = planned.replaced is not None and planned.replaced.exempt
    (limits.charge if exempt else limits.take)(unit, planned.uses, row.created_at)
    events.order_event(
        unit,
        "order.new",
        endpoint=row.endpoint,
        account_id=account.id,
        order_id=row.id,
        thumbprint=account.thumbprint,
        jws_digest=signed.jws.digest,
        details={"identifiers": list(row.identifiers), "profile": row.profile, "replaces": row.replaces},
    )
    await services.records.commit(unit)
