"""The table of resources: which methods each takes, whose key must sign, what is loaded, what answers.

An object is loaded by endpoint, account and id only, in one read together with the account.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from gateway.acme import (
    accounts,
    authorizations,
    certificates,
    directory,
    finalize,
    key_change,
    order_state,
    orders,
    renewal_info,
    revocation,
)
from gateway.acme.challenges import Challenges
from gateway.acme.errors import AcmeError, not_found, unauthorized
from gateway.acme.exchange import Exchange, Signed
from gateway.acme.tables import accounts as account_rows
from gateway.acme.tables import owned
from gateway.acme.tables.accounts import AccountRow
from gateway.http.message import HttpResponse

Loaded = tuple[AccountRow | None, object]
Load = Callable[[Any, str, str, tuple[str, ...]], Loaded]
AnswerSigned = Callable[[Signed, Any, tuple[str, ...]], Awaitable[HttpResponse]]
AnswerOpen = Callable[[Exchange, tuple[str, ...]], Awaitable[HttpResponse]]


def _no_such_object() -> AcmeError:
    return not_found("this account has no such object here")


def _not_its_own() -> AcmeError:
    # RFC 8555 7.1.2.1, 7.3.2: an account is for its own key only, whether the other one exists or not
    return unauthorized("the request is not signed by the account that this URL is of")


class SignedBy(Enum):
    """Whose key a POST must be signed with (RFC 8555 section 6.2)."""

    ACCOUNT = auto()  # "kid"
    ITSELF = auto()  # "jwk"
    EITHER = auto()


@dataclass(frozen=True, slots=True)
class Resource:
    """``answer_open`` serves GET and HEAD, ``answer`` POST with what ``load`` found, which is not None.

    ``load`` runs with connection, endpoint, account id and the path's further parts, and gives the account
    with what it found; where that is nothing, ``missing`` makes the answer. ``in_standing``: refused to an
    account that has not agreed to the present terms or lacks a binding.
    """

    signed_by: SignedBy = SignedBy.ACCOUNT
    answer: AnswerSigned | None = None
    answer_open: AnswerOpen | None = None
    load: Load | None = None
    missing: Callable[[], AcmeError] = _no_such_object
    in_standing: bool = True

    @property
    def methods(self) -> tuple[str, ...]:
        reading = ("GET", "HEAD") if self.answer_open is not None else ()
        return (*reading, "POST") if self.answer is not None else reading


def resource_table(challenges: Challenges) -> Mapping[tuple[str, int | str], Resource]:
    """Resources by the word of their path and the number of parts that follow it.

    ``order/ID/finalize`` stands under ("order", "finalize").
    """

    async def answer_challenge(signed: Signed, row: Any, parts: tuple[str, ...]) -> HttpResponse:
        return await challenges.challenge(signed, row, parts[1])

    certificate = Resource(answer=_certificate, load=_load_order_row)
    return {
        ("directory", 0): Resource(answer=_directory_signed, answer_open=_directory),
        ("new-nonce", 0): Resource(answer=_nonce_signed, answer_open=_nonce),
        ("new-account", 0): Resource(SignedBy.ITSELF, answer=_new_account),
        ("account", 1): Resource(answer=_account, load=_load_own, missing=_not_its_own, in_standing=False),
        ("orders", 1): Resource(answer=_orders, load=_load_own, missing=_not_its_own),
        ("key-change", 0): Resource(answer=_key_change),
        ("new-order", 0): Resource(answer=_new_order),
        ("order", 1): Resource(answer=_order, load=_load_order),
        ("order", "finalize"): Resource(answer=_finalize, load=_load_order),
        ("authz", 1): Resource(answer=_authorization, load=_load_authorization),
        ("challenge", 2): Resource(answer=answer_challenge, load=_load_authorization),
        ("cert", 1): certificate,
        ("cert", 2): certificate,
        # A stolen key's certificate can be revoked whatever the terms have become.
        ("revoke-cert", 0): Resource(SignedBy.EITHER, answer=_revoke, in_standing=False),
        ("renewal-info", 1): Resource(answer_open=_renewal_info),
    }


# Loaders


def load_account(connection: Any, endpoint: str, account_id: str, _parts: tuple[str, ...]) -> Loaded:
    """The account alone, for resources that load nothing else."""
    return account_rows.get(connection, endpoint, account_id), None


def _load_own(connection: Any, endpoint: str, account_id: str, parts: tuple[str, ...]) -> Loaded:
    found = True if parts[0] == account_id else None
    return account_rows.get(connection, endpoint, account_id), found


def _load_order_row(connection: Any, endpoint: str, account_id: str, parts: tuple[str, ...]) -> Loaded:
    return owned.with_order(connection, endpoint, account_id, parts[0])


def _load_order(connection: Any, endpoint: str, account_id: str, parts: tuple[str, ...]) -> Loaded:
    return order_state.load(connection, endpoint, account_id, parts[0])


def _load_authorization(connection: Any, endpoint: str, account_id: str, parts: tuple[str, ...]) -> Loaded:
    return owned.with_authorization(connection, endpoint, account_id, parts[0])


# Answers


async def _directory(exchange: Exchange, _parts: tuple[str, ...]) -> HttpResponse:
    return directory.directory(exchange)


async def _directory_signed(signed: Signed, _found: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return directory.directory_read(signed)


async def _nonce(exchange: Exchange, _parts: tuple[str, ...]) -> HttpResponse:
    return directory.new_nonce(exchange)


async def _nonce_signed(signed: Signed, _found: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return directory.new_nonce_read(signed)


async def _new_account(signed: Signed, _found: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await accounts.new_account(signed)


async def _account(signed: Signed, _found: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await accounts.account(signed, signed.known_account)


async def _orders(signed: Signed, _found: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await orders.orders_list(signed)


async def _key_change(signed: Signed, _found: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await key_change.key_change(signed)


async def _new_order(signed: Signed, _found: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await orders.new_order(signed)


async def _order(signed: Signed, view: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await orders.order(signed, view)


async def _finalize(signed: Signed, view: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await finalize.finalize(signed, view)


async def _authorization(signed: Signed, row: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await authorizations.authorization(signed, row)


async def _certificate(signed: Signed, row: Any, parts: tuple[str, ...]) -> HttpResponse:
    alternate = chain_number(parts)
    return await certificates.certificate(signed, row, alternate)


async def _revoke(signed: Signed, _found: Any, _parts: tuple[str, ...]) -> HttpResponse:
    return await revocation.revoke_certificate(signed)


async def _renewal_info(exchange: Exchange, parts: tuple[str, ...]) -> HttpResponse:
    return await renewal_info.renewal_info(exchange, parts[0])


def chain_number(parts: tuple[str, ...]) -> int:
    """The number of the chain that ``cert/ID/N`` asks for; 0 without one."""
    if len(parts) == 1:
        return 0
    if not (parts[1].isascii() and parts[1].isdigit() and 0 < len(parts[1]) < 4) or parts[1].startswith("0"):
        raise not_found("there is no such certificate chain of this account")
    return int(parts[1])
