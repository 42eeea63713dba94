"""Accounts (RFC 8555 section 7.3): opened, found again, changed and deactivated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.acme import limits, messages
from gateway.acme.contacts import checked_contacts
from gateway.acme.errors import AcmeError, malformed, unauthorized
from gateway.acme.exchange import Exchange, Signed
from gateway.acme.external_binding import Binding, same_external_account, verified_binding
from gateway.acme.jwk import AccountKey
from gateway.acme.options import EabRule
from gateway.acme.standing import agreed, binding_required, check_standing, check_status, terms_not_agreed
from gateway.acme.tables import accounts as rows
from gateway.acme.tables import retired_keys
from gateway.acme.tables.accounts import DEACTIVATED, VALID, AccountRow
from gateway.acme.tables.events import account_event
from gateway.errors import Conflict, GatewayError
from gateway.frontend import Unit
from gateway.http.message import HttpResponse
from gateway.model.ids import new_object_id
from gateway.model.reasons import ReasonCode

_JSON = "application/json"
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class _Wish:
    """A newAccount payload; other members are passed over (RFC 8555 section 7.3)."""

    contacts: tuple[str, ...]
    agrees: bool
    only_return_existing: bool
    binding: Mapping[str, object] | None


async def new_account(signed: Signed) -> HttpResponse:
    """newAccount: 201 with a new account, or 200 with the one that has this key (section 7.3.1)."""
    wish = _wish(messages.read_object(signed.jws.payload))
    for _ in range(_ATTEMPTS):
        account = await _of_key(signed)
        if account is not None:
            changed = await _existing(signed, account, wish)
            if changed is None:
                continue
            return account_answer(signed.exchange, 200, changed)
        if wish.only_return_existing:
            raise AcmeError(
                "accountDoesNotExist",
                "there is no account with this key",
                code=ReasonCode.AUTH_ACCOUNT,
                recorded=False,
            )
        account, binding = await _opened(signed, wish)
        try:
            await _insert(signed, account, binding)
        except Conflict:
            # The same key came twice at once, or others took the last use of a credential or of a limit:
            # looked at again, each says so itself.
            continue
        return account_answer(signed.exchange, 201, account)
    raise Conflict("others changed the account, or took what it needs, several times at once")


async def account(signed: Signed, row: AccountRow) -> HttpResponse:
    """The account itself: read by POST-as-GET, else contacts or status are changed (7.3.2, 7.3.6)."""
    options = signed.exchange.options
    if not signed.jws.payload:
        check_standing(options, row)
        return account_answer(signed.exchange, 200, row)
    members = messages.read_object(signed.jws.payload)
    status = messages.text(members, "status")
    if status == DEACTIVATED:
        return await _changed(signed, row, "account.deactivate", status=DEACTIVATED)
    check_standing(options, row)
    if status not in (None, VALID):
        raise malformed("the status of an account can be changed to deactivated only")
    asked = messages.texts(members, "contact")
    if asked is None:
        return account_answer(signed.exchange, 200, row)
    contacts = checked_contacts(asked, options.max_contacts)
    return await _changed(signed, row, "account.update", contacts=contacts)


def account_object(exchange: Exchange, row: AccountRow) -> dict[str, object]:
    """The account as its owner sees it (RFC 8555 section 7.1.2)."""
    found: dict[str, object] = {"status": row.status, "contact": list(row.contacts)}
    if exchange.options.terms_of_service is not None:
        found["termsOfServiceAgreed"] = agreed(exchange.options, row)
    if row.external_account is not None:
        found["externalAccountBinding"] = json.loads(row.external_account)
    found["orders"] = exchange.links.orders(row.id)
    return found


def account_answer(exchange: Exchange, status: int, row: AccountRow) -> HttpResponse:
    """An answer with the account in it and its URL as Location."""
    headers = (("Location", exchange.links.account(row.id)),)
    return HttpResponse(status, json.dumps(account_object(exchange, row)).encode(), _JSON, headers)


async def check_key(exchange: Exchange, key: AccountKey) -> None:
    """Refuse a key that no account may come to have: one that another key took the place of (RFC 8555 7.3.5),
    that a certificate has, or that one was revoked for as compromised. Raises badPublicKey."""
    if await exchange.services.records.read(
        lambda connection: retired_keys.is_retired(connection, exchange.endpoint, key.thumbprint)
    ):
        raise AcmeError(
            "badPublicKey",
            "this key was an account's and has been replaced by a key change; use the present key, or make "
            "a new one",
            code=ReasonCode.KEY_REUSE,
        )
    if await exchange.services.certificates.key_certified(key.spki_sha256):
        # RFC 8555 11.1: an account's key is for its account only
        raise AcmeError(
            "badPublicKey",
            "a certificate has this key; make one of its own for the account",
            code=ReasonCode.KEY_REUSE,
        )
    if await exchange.services.certificates.key_compromised(key.spki_sha256):
        raise AcmeError(
            "badPublicKey",
            "this key is known to be compromised: a certificate with it was revoked for that reason",
            code=ReasonCode.KEY_REUSE,
        )


def _wish(members: Mapping[str, object]) -> _Wish:
    return _Wish(
        contacts=messages.texts(members, "contact") or (),
        agrees=messages.flag(members, "termsOfServiceAgreed"),
        only_return_existing=messages.flag(members, "onlyReturnExisting"),
        binding=messages.nested(members, "externalAccountBinding"),
    )


async def _of_key(signed: Signed) -> AccountRow | None:
    exchange, thumbprint = signed.exchange, signed.jws.key.thumbprint
    return await exchange.services.records.read(
        lambda connection: rows.by_thumbprint(connection, exchange.endpoint, thumbprint)
    )


async def _existing(signed: Signed, account: AccountRow, wish: _Wish) -> AccountRow | None:
    """The account with this key as it is now, before anything is demanded: clients look themselves up without
    binding or contacts (C42, C44). None: it was changed meanwhile, and nothing is written.

    New terms are agreed to in this way. A binding that is sent must be right; an account takes it that has
    none, or whose own was revoked or has expired.
    """
    check_status(account)
    exchange = signed.exchange
    exchange.request.log["account"] = account.id
    if wish.only_return_existing:
        return account
    after, unit, now = account, Unit(), exchange.services.clock.now()
    if wish.agrees and not agreed(exchange.options, account):
        after = replace(after, terms_of_service=exchange.options.terms_of_service)
        _event(signed, unit, account.id, "account.agree", {"terms": after.terms_of_service})
    binding = None if wish.binding is None else await _other_binding(signed, account, wish.binding)
    if binding is not None:
        after = replace(after, credential_id=binding.credential_id, external_account=binding.jws)
        exchange.services.external_accounts.take(unit, binding.account, now)
        _event(signed, unit, account.id, "account.bind", {"external_account": binding.account.name})
    if after == account:
        return account
    rows.change(unit, account, after)
    try:
        await exchange.services.records.commit(unit)
    except Conflict:
        return None
    return after


async def _other_binding(
    signed: Signed, account: AccountRow, members: Mapping[str, object]
) -> Binding | None:
    """The binding that the account is to have from now on; None if it keeps what it has.

    Raises what ``verified_binding`` does, but for the account's own that is sent once more: that one may have
    been used up or have expired since.
    """
    try:
        binding = await verified_binding(signed, members)
    except GatewayError as fault:
        own = account.external_account is not None and same_external_account(
            account.external_account, members
        )
        if own and fault.code is ReasonCode.AUTH_CREDENTIAL_SCOPE:
            return None
        raise
    present, now = account.credential_id, signed.exchange.services.clock.now()
    if present is None:
        return binding
    if present == binding.credential_id or await signed.exchange.services.records.read(
        lambda connection: rows.binding_holds(connection, present, now)
    ):
        return None
    return binding


async def _opened(signed: Signed, wish: _Wish) -> tuple[AccountRow, Binding | None]:
    """The row of a new account, once everything that it needs is there."""
    exchange = signed.exchange
    options, key = exchange.options, signed.jws.key
    if options.terms_of_service is not None and not wish.agrees:
        raise terms_not_agreed(options, "to open an account, agree to the terms: termsOfServiceAgreed true")
    contacts = checked_contacts(wish.contacts, options.max_contacts)
    if wish.binding is None and options.eab is not EabRule.NONE:
        raise binding_required("accounts are opened here with an externalAccountBinding only")
    await limits.check(exchange.services, _uses(exchange))
    await check_key(exchange, key)
    binding = None if wish.binding is None else await verified_binding(signed, wish.binding)
    row = AccountRow(
        id=new_object_id(),
        endpoint=exchange.endpoint,
        thumbprint=key.thumbprint,
        jwk=key.jwk,
        status=VALID,
        contacts=contacts,
        created_at=exchange.services.clock.now(),
        terms_of_service=options.terms_of_service,
        credential_id=None if binding is None else binding.credential_id,
        external_account=None if binding is None else binding.jws,
    )
    return row, binding


async def _insert(signed: Signed, row: AccountRow, binding: Binding | None) -> None:
    exchange, unit = signed.exchange, Unit()
    services = exchange.services
    rows.insert(unit, row)
    told: dict[str, object] = {"contacts": list(row.contacts)}
    if binding is not None:
        services.external_accounts.take(unit, binding.account, row.created_at)
        told["external_account"] = binding.account.name
    limits.take(unit, _uses(exchange), row.created_at)
    _event(signed, unit, row.id, "account.open", told)
    await services.records.commit(unit)
    exchange.request.log["account"] = row.id


async def _changed(
    signed: Signed,
    row: AccountRow,
    action: str,
    *,
    status: str | None = None,
    contacts: tuple[str, ...] | None = None,
) -> HttpResponse:
    """Write status or contacts, on top of what another message may have written meanwhile."""
    exchange = signed.exchange
    records = exchange.services.records
    for _ in range(_ATTEMPTS):
        after = replace(
            row,
            status=row.status if status is None else status,
            contacts=row.contacts if contacts is None else contacts,
        )
        if after == row:
            return account_answer(exchange, 200, row)
        unit = Unit()
        rows.change(unit, row, after)
        told = {} if contacts is None else {"contacts": list(contacts)}
        _event(signed, unit, row.id, action, told)
        try:
            await records.commit(unit)
        except Conflict:
            row = await current(signed, row)
            continue
        return account_answer(exchange, 200, after)
    raise Conflict("the account was changed several times at once")


async def current(signed: Signed, row: AccountRow) -> AccountRow:
    """The account as it is now. Raises unauthorized if it is valid no more, or if its present key is not the
    one that signed."""
    exchange = signed.exchange
    found = await exchange.services.records.read(
        lambda connection: rows.get(connection, exchange.endpoint, row.id)
    )
    if found is None or found.thumbprint != signed.jws.key.thumbprint:
        raise unauthorized("the key of this account has been changed")
    check_status(found)
    return found


def _uses(exchange: Exchange) -> tuple[limits.Use, ...]:
    return limits.account_uses(exchange.options.limits, exchange.endpoint, exchange.request.client_address)


def _event(signed: Signed, unit: Unit, account_id: str, action: str, details: Mapping[str, object]) -> None:
    account_event(
        unit,
        action,
        endpoint=signed.exchange.endpoint,
        account_id=account_id,
        thumbprint=signed.jws.key.thumbprint,
        jws_digest=signed.jws.digest,
        details=details,
    )
