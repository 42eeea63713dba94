"""The authorization resource: reading it and giving it up (RFC 8555 sections 7.5 and 7.5.2)."""

from __future__ import annotations

from dataclasses import replace

from gateway.acme import messages, order_state
from gateway.acme.errors import AcmeError, malformed
from gateway.acme.exchange import Exchange, Signed
from gateway.acme.objects import json_answer, render_authorization
from gateway.acme.order_state import authorization_state
from gateway.acme.tables import authorizations, events
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.errors import Conflict
from gateway.frontend import Unit
from gateway.http.message import HttpResponse
from gateway.model.reasons import ReasonCode

_RETRY_AFTER_S = 3  # of an authorization that is being validated
_TRIES = 3


async def authorization(signed: Signed, row: AuthorizationRow) -> HttpResponse:
    """Answer a POST to an authorization of this account. Raises AcmeError, StoreUnavailable, Overloaded."""
    if signed.jws.payload == b"":
        return _answer(signed.exchange, row)
    status = messages.required_text(messages.read_object(signed.jws.payload), "status")
    if status != order_state.DEACTIVATED:
        raise malformed("the only status that a client can give an authorization is deactivated")
    return _answer(signed.exchange, await _deactivated(signed, row))


async def _deactivated(signed: Signed, row: AuthorizationRow) -> AuthorizationRow:
    """Give it up, whatever happens to it at the same time. Again is no error; a final one stays final."""
    exchange = signed.exchange
    for _ in range(_TRIES):
        state = authorization_state(row, exchange.services.clock.now())
        if state == order_state.DEACTIVATED:
            return row
        if state not in (order_state.PENDING, order_state.VALID):
            raise AcmeError(
                "malformed",
                f"the authorization is {state} and cannot be deactivated any more",
                code=ReasonCode.ORDER_STATE,
            )
        try:
            return await _write_deactivation(signed, row)
        except Conflict:
            row = await _again(exchange, row)
    raise Conflict("the authorization is changed by several requests at once; send this one again")


async def _write_deactivation(signed: Signed, row: AuthorizationRow) -> AuthorizationRow:
    account, services = signed.known_account, signed.exchange.services
    after = replace(row, status=authorizations.DEACTIVATED, attempt=None, version=row.version + 1)
    unit = Unit()
    authorizations.change(unit, row, after)
    events.authorization_event(
        unit,
        "authorization.deactivate",
        endpoint=row.endpoint,
        account_id=account.id,
        authorization_id=row.id,
        thumbprint=account.thumbprint,
        jws_digest=signed.jws.digest,
        details={"identifier": row.identifier},
    )
    await services.records.commit(unit)
    return after


async def _again(exchange: Exchange, row: AuthorizationRow) -> AuthorizationRow:
    found = await exchange.services.records.read(
        lambda connection: authorizations.get(connection, row.endpoint, row.account_id, row.id)
    )
    return found or row


def _answer(exchange: Exchange, row: AuthorizationRow) -> HttpResponse:
    now = exchange.services.clock.now()
    waits = row.status == authorizations.PROCESSING and authorization_state(row, now) == order_state.PENDING
    headers = (("Retry-After", str(_RETRY_AFTER_S)),) if waits else ()
    return json_answer(render_authorization(exchange.links, row, now), headers=headers)
