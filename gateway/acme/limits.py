"""Rate limits (RFC 8555 section 6.6): so many orders, accounts and failures within a time.

Each limited thing has one row (``tables.allowances``). It is looked at before the work, and taken from in the
unit that writes the work down: nothing is charged for what did not happen, and of many that come at once no
more than the limit get through. Two are looked at only, and may be overstepped by what is under way at the
same moment: unanswered authorizations, and failures, which are charged once they have happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.acme.errors import AcmeError
from gateway.acme.identifiers import Identifier
from gateway.acme.options import Limit, Limits
from gateway.acme.tables import allowances
from gateway.clock import to_epoch_s
from gateway.frontend import Services, Unit
from gateway.model.ids import EndpointName
from gateway.model.names import NameKind
from gateway.model.reasons import ReasonCode
from gateway.pki.name_syntax import registered_domain, shown
from gateway.token_buckets import source_of

_PENDING_RETRY_S = 600
_FORGET_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Use:
    """One use of one allowance. ``key`` names its row, ``what`` tells people what it allows."""

    key: str
    limit: Limit
    what: str

    @property
    def step_ms(self) -> int:
        """The time in which one use grows again."""
        return max(1, self._per_ms // self.limit.count)

    @property
    def burst_ms(self) -> int:
        """How far ahead the moment of wholeness may lie for one more use to be allowed."""
        return max(0, self._per_ms - self.step_ms)

    @property
    def _per_ms(self) -> int:
        return int(self.limit.per.total_seconds() * 1000)


def order_uses(
    limits: Limits, endpoint: EndpointName, account_id: str, identifiers: Iterable[Identifier]
) -> tuple[Use, ...]:
    """What a new order takes: of its account, and in it of each name and each registered domain.

    Never of a name as such: whoever orders has proven nothing yet, and must not spend what others need.
    """
    uses: dict[str, Use] = {}
    if limits.orders_per_account is not None:
        _add(uses, limits.orders_per_account, "orders", endpoint, account_id, "new orders of this account")
    per_name, per_domain = limits.orders_per_name, limits.orders_per_registered_domain
    for one in identifiers:
        if per_name is not None:
            _add(uses, per_name, "name", endpoint, f"{account_id} {one}", f"new orders for {one.name}")
        if per_domain is not None and one.kind is NameKind.DNS:
            domain = registered_domain(one.value)
            subject, what = f"{account_id} {domain}", f"new orders for names of {domain}"
            _add(uses, per_domain, "domain", endpoint, subject, what)
    return tuple(uses.values())


def account_uses(limits: Limits, endpoint: EndpointName, address: str) -> tuple[Use, ...]:
    """What a new account takes: of the address that it comes from."""
    if limits.accounts_per_address is None:
        return ()
    source = source_of(address)
    uses: dict[str, Use] = {}
    _add(uses, limits.accounts_per_address, "address", endpoint, source, f"new accounts from {source}")
    return tuple(uses.values())


def failed_validation_uses(
    limits: Limits, endpoint: EndpointName, account_id: str, identifier: str
) -> tuple[Use, ...]:
    """What a failed validation takes. ``identifier`` is written as in ``AuthorizationRow.identifier``."""
    if limits.failed_validations is None:
        return ()
    uses: dict[str, Use] = {}
    subject = f"{account_id} {identifier}"
    name = shown(identifier.partition(":")[2])
    _add(uses, limits.failed_validations, "failed", endpoint, subject, f"failed validations of {name}")
    return tuple(uses.values())


async def check(services: Services, uses: Iterable[Use]) -> None:
    """Raise rateLimited unless every allowance has a use left. Raises StoreUnavailable."""
    wanted = tuple(uses)
    if wanted:
        now = services.clock.now()
        await services.records.read(lambda connection: check_in(connection, wanted, now))


def check_in(connection: Any, uses: Iterable[Use], now: datetime) -> None:
    """As ``check``, within a read that is under way."""
    wanted = tuple(uses)
    whole_at_ms = allowances.whole_at_ms(connection, [use.key for use in wanted])
    now_ms = to_epoch_s(now) * 1000
    for use in wanted:
        ahead_ms = whole_at_ms.get(use.key, 0) - now_ms
        if ahead_ms > use.burst_ms:
            raise _rate_limited(use, now, -(-(ahead_ms - use.burst_ms) // 1000))


def take(unit: Unit, uses: Iterable[Use], now: datetime) -> None:
    """Take the uses in the unit that writes down what they are for.

    Commit raises Conflict where one has none left: ``check`` tells which, and when to come again.
    """
    now_ms = to_epoch_s(now) * 1000
    for use in uses:
        allowances.take(unit, use.key, now_ms, use.step_ms, use.burst_ms)


def charge(unit: Unit, uses: Iterable[Use], now: datetime) -> None:
    """Charge for what has happened, whether there was a use left or not."""
    now_ms = to_epoch_s(now) * 1000
    for use in uses:
        allowances.charge(unit, use.key, now_ms, use.step_ms)


def check_pending(limits: Limits, pending_count: int, new_count: int) -> None:
    """Raise rateLimited if the account would hold more unanswered authorizations than it may."""
    if new_count and pending_count + new_count > limits.pending_authorizations:
        raise AcmeError(
            "rateLimited",
            f"this account has {pending_count} unanswered authorizations, and the order needs {new_count} "
            f"more than the {limits.pending_authorizations} that it may hold; answer or deactivate some",
            status=429,
            code=ReasonCode.LIMIT_EXCEEDED,
            headers=(("Retry-After", str(_PENDING_RETRY_S)),),
            recorded=False,
        )


async def prune(services: Services) -> None:
    """Forget allowances that are whole. Raises StoreUnavailable and Overloaded."""
    unit = Unit()
    allowances.forget(unit, to_epoch_s(services.clock.now() - _FORGET_AFTER) * 1000)
    await services.records.commit(unit)


def _add(
    uses: dict[str, Use], limit: Limit, kind: str, endpoint: EndpointName, subject: str, what: str
) -> None:
    key = hashlib.sha256(f"{kind}\0{endpoint}\0{subject}".encode()).hexdigest()
    uses.setdefault(key, Use(key, limit, what))


def _rate_limited(use: Use, now: datetime, wait_s: int) -> AcmeError:
    free_at = now + timedelta(seconds=wait_s)
    per = use.limit.per
    return AcmeError(
        "rateLimited",
        f"too many {use.what}: {use.limit.count} are allowed within {per}; the next one is possible at "
        f"{free_at:%Y-%m-%dT%H:%M:%SZ}",
        status=429,
        code=ReasonCode.LIMIT_EXCEEDED,
        headers=(("Retry-After", str(wait_s)),),
        recorded=False,
    )
