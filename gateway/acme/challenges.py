"""Challenges as clients meet them (RFC 8555 section 7.5.1): read one, or answer it once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from gateway.acme import limits, order_state
from gateway.acme.errors import AcmeError, malformed, not_found
from gateway.acme.exchange import Signed
from gateway.acme.messages import read_object
from gateway.acme.objects import json_answer, render_challenge
from gateway.acme.tables import authorizations, events
from gateway.acme.tables.authorizations import PENDING, PROCESSING, AuthorizationRow
from gateway.acme.validation import Validations
from gateway.errors import Conflict
from gateway.frontend import Services, Unit
from gateway.http.message import HttpResponse
from gateway.model.reasons import ReasonCode

_RETRY_AFTER_S = 1
# Most validations are over at once: told here, their result spares the client a second of waiting.
_WAIT_S = 0.25
_ATTEMPT_OCTETS = 12


class Challenges:
    """The challenge resource, and what validates the answers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._validations = Validations(services)

    async def challenge(self, signed: Signed, row: AuthorizationRow, challenge_type: str) -> HttpResponse:
        """POST-as-GET reads the challenge; an object as payload answers it and starts its validation.

        Raises AcmeError, and what the store raises.
        """
        if challenge_type not in row.challenges:
            raise not_found("this authorization has no such challenge")
        if not signed.jws.payload:
            return self._answer(signed, row, challenge_type)
        # Other members are left alone: clients of the drafts sent keyAuthorization.
        read_object(signed.jws.payload)
        if row.status == PENDING and self._state(row) == PENDING:
            row = await self._take(signed, row, challenge_type)
        elif row.status == PROCESSING and self._state(row) == PENDING:
            row = await self._validations.mended(row)
        state = self._state(row)
        # Judged as it is now: another answer may have been faster.
        if row.method != challenge_type or state in (order_state.DEACTIVATED, order_state.EXPIRED):
            raise _too_late(row, state)
        return self._answer(signed, row, challenge_type)

    def _state(self, row: AuthorizationRow) -> str:
        return order_state.authorization_state(row, self._services.clock.now())

    async def job(self, args: Mapping[str, object]) -> datetime | None:
        """Handler of the jobs of kind ``acme-validate``."""
        return await self._validations.job(args)

    async def keep_house(self) -> None:
        """Take up validations that no job is there for. Raises StoreUnavailable, Overloaded."""
        await self._validations.keep_house()

    async def resume(self) -> None:
        """Take up what a worker in this one's place left undone."""
        await self._validations.resume()

    async def aclose(self) -> None:
        await self._validations.aclose()

    async def _take(self, signed: Signed, row: AuthorizationRow, challenge_type: str) -> AuthorizationRow:
        """Write the answer down and start; if somebody was faster, give the row as that one left it.

        Raises AcmeError, Conflict, and what the store raises.
        """
        exchange, account = signed.exchange, signed.known_account
        uses = limits.failed_validation_uses(
            exchange.options.limits, exchange.endpoint, account.id, row.identifier
        )
        await limits.check(self._services, uses)
        after = replace(
            row,
            version=row.version + 1,
            status=PROCESSING,
            method=challenge_type,
            attempt=secrets.token_hex(_ATTEMPT_OCTETS),
            # RFC 8555 8.1: of the account's key as it is now; a later keyChange does not matter
            key_authorization=f"{row.token}.{account.thumbprint}",
            evidence=self._validations.begun(row, exchange.options),
        )
        unit = Unit()
        authorizations.change(unit, row, after)
        self._validations.insure(unit, after)
        events.authorization_event(
            unit,
            "authorization.answer",
            endpoint=row.endpoint,
            account_id=account.id,
            authorization_id=row.id,
            thumbprint=account.thumbprint,
            jws_digest=signed.jws.digest,
            details={"method": challenge_type, "identifier": row.identifier},
        )
        try:
            await self._services.records.commit(unit)
        except Conflict:
            present = await self._present(row)
            if present.status == PENDING and self._state(present) == PENDING:
                raise  # it was moved, but not by an answer
            return present
        return await self._validations.start(after, exchange.options, _WAIT_S) or after

    async def _present(self, row: AuthorizationRow) -> AuthorizationRow:
        found = await self._services.records.read(
            lambda connection: authorizations.get(connection, row.endpoint, row.account_id, row.id)
        )
        if found is None:
            raise not_found("this account has no such object here")
        return found

    def _answer(self, signed: Signed, row: AuthorizationRow, challenge_type: str) -> HttpResponse:
        links = signed.exchange.links
        headers: tuple[tuple[str, str], ...] = (("Link", f'<{links.authorization(row.id)}>;rel="up"'),)
        if row.status == PROCESSING:
            headers = (*headers, ("Retry-After", str(_RETRY_AFTER_S)))
        return json_answer(render_challenge(links, row, challenge_type), 200, headers)


def _too_late(row: AuthorizationRow, state: str) -> AcmeError:
    if row.method is not None and state in (PENDING, order_state.VALID, order_state.INVALID):
        return malformed(
            f"this authorization was answered by {row.method} already, and only one challenge of each is "
            "validated",
            code=ReasonCode.ORDER_STATE,
        )
    ended = "was deactivated" if state == order_state.DEACTIVATED else "has expired"
    return malformed(f"the authorization {ended}; make a new order", code=ReasonCode.ORDER_STATE)
