"""Finalizing an order (RFC 8555 section 7.4): from a CSR to one enrolment request.

All finalizations of an order share one correlation, so that however many come at once, one certificate is
issued. A request that policy refuses leaves none: the order stays ready for a better CSR.
"""

from __future__ import annotations

from typing import Any

from gateway.acme import base64url, caa, messages, order_state
from gateway.acme.errors import AcmeError, Context, malformed, not_found, refusal
from gateway.acme.exchange import ACME, Exchange, Signed
from gateway.acme.identifiers import Identifier
from gateway.acme.objects import order_answer
from gateway.acme.order_csr import bad_csr, checked_csr
from gateway.acme.order_request import certificate_request, identifiers_of
from gateway.acme.order_state import OrderState, OrderView
from gateway.acme.standing import check_status
from gateway.acme.tables import accounts, orders
from gateway.acme.tables.accounts import AccountRow
from gateway.errors import BackendUnavailable
from gateway.frontend import Services
from gateway.http.message import HttpResponse
from gateway.model.ids import EndpointName
from gateway.model.outcome import Issued, Outcome, Pending, Unavailable
from gateway.model.reasons import Reason, ReasonCode


async def finalize(signed: Signed, view: OrderView) -> HttpResponse:
    """Answer a finalization: 200 with the order, valid or processing.

    Raises AcmeError (orderNotReady, badCSR, caa, what policy says), RetryLater (CAA could not be read),
    BackendUnavailable, StoreUnavailable, Overloaded.
    """
    exchange = signed.exchange
    csr_der = _csr_member(signed.jws.payload)
    state = await order_state.state_of(exchange, view)
    if state.status != order_state.READY:
        raise _not_ready(state)
    identifiers = identifiers_of(view.order.identifiers)
    csr = checked_csr(csr_der, identifiers)
    await _check_not_an_account_key(exchange, csr.key_thumbprint)
    account = signed.known_account
    if await caa.recheck(
        exchange.services, exchange.options, exchange.endpoint, account.id, view.authorizations
    ):
        account, view = await _still_ready(exchange, view)
    replaced_der = await _replaced_der(exchange, view)
    request = certificate_request(exchange, account, view, csr, replaced_der)
    (outcome,) = await exchange.services.enrolments.submit((request,))
    return await _answer(exchange, view, outcome, identifiers)


async def _still_ready(exchange: Exchange, view: OrderView) -> tuple[AccountRow, OrderView]:
    """Account and order as they are after a pause in which they may have changed. Raises AcmeError."""
    order, endpoint = view.order, exchange.endpoint
    found = await exchange.services.records.read(
        lambda connection: _account_and_order(connection, endpoint, order.id)
    )
    if found is None or found[0] is None:
        raise not_found("this account has no such object here")
    account, view = found[0], found[1]
    check_status(account)
    # As if there were no finalization yet: one that came meanwhile is found by what correlates them.
    state = order_state.derived_state(view, None, exchange.services.clock.now())
    if state.status != order_state.READY:
        raise _not_ready(state)
    return account, view


def _account_and_order(
    connection: Any, endpoint: EndpointName, order_id: str
) -> tuple[AccountRow | None, OrderView] | None:
    order = orders.by_id(connection, endpoint, order_id)
    if order is None:
        return None
    account = accounts.get(connection, endpoint, order.account_id)
    return account, order_state.with_authorizations(connection, order)


async def _replaced_der(exchange: Exchange, view: OrderView) -> bytes | None:
    """The certificate that this order replaces (RFC 9773 section 5): the record names it as predecessor."""
    sha256 = view.order.replaces_sha256
    if sha256 is None:
        return None
    replaced = await exchange.services.certificates.by_sha256(sha256)
    return None if replaced is None else replaced.certificate_der


async def _answer(
    exchange: Exchange, view: OrderView, outcome: Outcome, identifiers: tuple[Identifier, ...]
) -> HttpResponse:
    if isinstance(outcome, Issued | Pending):
        return _order_answer(exchange, view, outcome)
    # Refused by policy or out of reach: nothing is left and the order is ready. By the CA: recorded.
    state = await order_state.state_of(exchange, view)
    if state.outcome is not None:
        return order_answer(exchange.links, view, state, with_location=True)
    if isinstance(outcome, Unavailable):
        raise BackendUnavailable(
            outcome.reason.message, retry_after_s=max(1, outcome.retry_after_s), code=outcome.reason.code
        )
    named = [(one.kind.value, one.name) for one in identifiers]
    raise refusal(outcome, Context.FINALIZE, named)


def _order_answer(exchange: Exchange, view: OrderView, outcome: Outcome) -> HttpResponse:
    state = order_state.derived_state(view, outcome, exchange.services.clock.now())
    return order_answer(exchange.links, view, state, with_location=True)


def _not_ready(state: OrderState) -> AcmeError:
    todo = {
        order_state.PENDING: "answer a challenge of each of its authorizations first",
        order_state.PROCESSING: "it was finalized already; read it to see when it is done",
        order_state.VALID: "it was finalized already; its certificate can be fetched",
        order_state.INVALID: "make a new one",
    }
    return AcmeError(
        "orderNotReady",
        f"the order is {state.status}: {todo[state.status]}",
        status=403,
        code=ReasonCode.ORDER_STATE,
        recorded=False,
    )


def _csr_member(payload: bytes) -> bytes:
    text = messages.required_text(messages.read_object(payload), "csr")
    try:
        return base64url.decode(text)
    except ValueError as exc:
        raise malformed(
            "csr must be the DER of a PKCS#10 request in base64url, without padding, PEM lines or other "
            "characters (RFC 8555 section 7.4)",
            code=ReasonCode.MESSAGE_BASE64,
        ) from exc


async def _check_not_an_account_key(exchange: Exchange, thumbprint: str | None) -> None:
    """RFC 8555 section 11.1: the certificate's key must be none of an account."""
    if thumbprint is None:
        return
    used = await exchange.services.records.read(
        lambda connection: accounts.key_in_use(connection, thumbprint)
    )
    if used:
        raise bad_csr(
            "the key of the CSR is the key of an ACME account; make one of its own for the certificate",
            ReasonCode.KEY_REUSE,
        )


class Recheck:
    """Asked before a request that waited for people is sent to the CA: does its order still stand?"""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, endpoint: EndpointName, order_id: str) -> tuple[Reason, ...]:
        """Reasons why the order must not be issued any more.

        Raises StoreUnavailable, and RetryLater while CAA records cannot be read: that is no reason to refuse
        what people have approved.
        """
        found = await self._standing(endpoint, order_id)
        if not isinstance(found, OrderView):
            return (found,)
        served = self._services.endpoint(ACME, endpoint)
        if served is None:
            return (Reason(ReasonCode.ORDER_STATE, "its endpoint is gone", "order"),)
        account_id, rows = found.order.account_id, found.authorizations
        try:
            looked = await caa.recheck(self._services, served.options, endpoint, account_id, rows)
        except AcmeError as fault:
            return (Reason(fault.code, str(fault), "order"),)
        if looked:
            found = await self._standing(endpoint, order_id)
        return () if isinstance(found, OrderView) else (found,)

    async def _standing(self, endpoint: EndpointName, order_id: str) -> OrderView | Reason:
        """The order, if all that made it ready is still so."""
        found = await self._services.records.read(
            lambda connection: _account_and_order(connection, endpoint, order_id)
        )
        if found is None:
            return Reason(ReasonCode.ORDER_STATE, "the order is not there any more", "order")
        account, view = found
        if account is None or account.status != accounts.VALID:
            text = "the account was deactivated while its request waited"
            return Reason(ReasonCode.AUTH_ACCOUNT, text, "account")
        # As if there were no finalization yet.
        state = order_state.derived_state(view, None, self._services.clock.now())
        if state.status == order_state.READY:
            return view
        detail = str((state.error or {}).get("detail", f"the order is {state.status}"))
        return Reason(ReasonCode.ORDER_STATE, detail, "order")
