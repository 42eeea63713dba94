"""Account key rollover (RFC 8555 section 7.3.5): both keys sign, the old one outside."""

from __future__ import annotations

from dataclasses import replace

from gateway.acme import jwk, jws
from gateway.acme.accounts import account_answer, check_key, current
from gateway.acme.errors import AcmeError, malformed
from gateway.acme.exchange import Signed
from gateway.acme.jwk import AccountKey
from gateway.acme.messages import nested, read_object, required_text
from gateway.acme.tables import accounts as rows
from gateway.acme.tables import retired_keys
from gateway.acme.tables.accounts import AccountRow
from gateway.acme.tables.events import account_event
from gateway.errors import Conflict
from gateway.frontend import Unit
from gateway.http.message import HttpResponse
from gateway.model.reasons import ReasonCode

_ATTEMPTS = 3


async def key_change(signed: Signed) -> HttpResponse:
    """keyChange: 200 with the account; 409 with Location if another account has the new key."""
    account = signed.known_account
    new_key = _new_key(signed, account)
    await _check_unused(signed, new_key)
    await check_key(signed.exchange, new_key)
    for _ in range(_ATTEMPTS):
        after = replace(account, thumbprint=new_key.thumbprint, jwk=new_key.jwk)
        try:
            await _write(signed, account, after)
        except Conflict:
            # Another account took the key meanwhile, or this account was changed.
            await _check_unused(signed, new_key)
            account = await current(signed, account)
            continue
        return account_answer(signed.exchange, 200, after)
    raise Conflict("the account was changed several times at once")


def _new_key(signed: Signed, account: AccountRow) -> AccountKey:
    """The key of the inner JWS, once that one says all that section 7.3.5 demands. Raises malformed ..."""
    parsed = jws.parse_inner_jws(read_object(signed.jws.payload))
    assert parsed.jwk is not None
    inner = jws.verify_jws(parsed, parsed.jwk)
    if inner.url != signed.jws.url:
        # RFC 8555 7.3.5: the outer JWS and the inner JWS have the same url
        raise malformed("the url of the inner JWS is not the one of the outer JWS")
    members = read_object(inner.payload)
    if required_text(members, "account") != signed.jws.kid:
        raise malformed("the account of the inner JWS is not the kid of the outer JWS")
    old_key = nested(members, "oldKey")
    if old_key is None:
        raise malformed("the member oldKey is missing")
    if jwk.import_jwk(old_key).thumbprint != account.thumbprint:
        raise malformed("oldKey is not the present key of the account")
    return parsed.jwk


async def _check_unused(signed: Signed, key: AccountKey) -> None:
    exchange = signed.exchange
    other = await exchange.services.records.read(
        lambda connection: rows.by_thumbprint(connection, exchange.endpoint, key.thumbprint)
    )
    if other is not None:
        # RFC 8555 7.3.5: 409 with the URL of that account
        raise AcmeError(
            "malformed",
            "an account has the new key already",
            status=409,
            code=ReasonCode.KEY_REUSE,
            headers=(("Location", exchange.links.account(other.id)),),
        )


async def _write(signed: Signed, before: AccountRow, after: AccountRow) -> None:
    unit = Unit()
    rows.change(unit, before, after)
    retired_keys.retire(unit, before.endpoint, before.thumbprint)
    account_event(
        unit,
        "account.key-change",
        endpoint=signed.exchange.endpoint,
        account_id=before.id,
        thumbprint=before.thumbprint,
        jws_digest=signed.jws.digest,
        details={"new_thumbprint": after.thumbprint},
    )
    await signed.exchange.services.records.commit(unit)
