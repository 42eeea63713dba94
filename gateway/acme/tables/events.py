"""Audit events of ACME: who did what to which account, order or authorization, and with which message.

They are added to the unit that makes the change, so neither is ever there without the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.acme.tables.accounts import AccountRow
from gateway.store.columns import storable_text
from gateway.store.unit import AuditEvent, Unit

SYSTEM = "system"


def actor_of(account_id: str) -> str:
    """How an account stands in the audit log; also the identity of its enrolment requests."""
    return f"acme:{account_id}"


def account_event(
    unit: Unit,
    action: str,
    *,
    endpoint: str,
    account_id: str,
    thumbprint: str,
    jws_digest: str,
    outcome: str = "ok",
    details: Mapping[str, object] | None = None,
) -> None:
    """What an account did to itself: ``account.open``, ``account.update``, ``account.key-change`` ...

    ``thumbprint`` is that of the key that signed the message, ``jws_digest`` the SHA-256 of its body in hex.
    """
    _add(unit, action, account_id, endpoint, account_id, thumbprint, jws_digest, outcome, details)


def revoked_account_event(unit: Unit, actor: str, account: AccountRow) -> None:
    """What an administrator did: ``account.revoke``. ``actor`` is as ``cli:NAME``."""
    told = {"protocol": "acme", "endpoint": account.endpoint, "contacts": list(account.contacts)}
    unit.audit(AuditEvent(actor, "account.revoke", account.id, details=told))


def order_event(
    unit: Unit,
    action: str,
    *,
    endpoint: str,
    account_id: str,
    order_id: str,
    thumbprint: str = "",
    jws_digest: str = "",
    outcome: str = "ok",
    details: Mapping[str, object] | None = None,
) -> None:
    """What an account did to an order of its own: ``order.new`` ..."""
    _add(unit, action, order_id, endpoint, account_id, thumbprint, jws_digest, outcome, details)


def authorization_event(
    unit: Unit,
    action: str,
    *,
    endpoint: str,
    account_id: str | None,
    authorization_id: str,
    thumbprint: str = "",
    jws_digest: str = "",
    outcome: str = "ok",
    details: Mapping[str, object] | None = None,
) -> None:
    """What became of an authorization: ``authorization.answer``, ``authorization.valid`` ...

    ``account_id`` None: the gateway did it by itself, after a message that has an event of its own.
    """
    _add(unit, action, authorization_id, endpoint, account_id, thumbprint, jws_digest, outcome, details)


def _add(
    unit: Unit,
    action: str,
    object_id: str,
    endpoint: str,
    account_id: str | None,
    thumbprint: str,
    jws_digest: str,
    outcome: str,
    details: Mapping[str, object] | None,
) -> None:
    told: dict[str, object] = {"protocol": "acme", "endpoint": endpoint}
    if thumbprint:
        told["key_thumbprint"] = thumbprint
    if jws_digest:
        told["jws_sha256"] = jws_digest
    for name, value in (details or {}).items():
        told[name] = storable_text(value) if isinstance(value, str) else value
    actor = SYSTEM if account_id is None else actor_of(account_id)
    unit.audit(AuditEvent(actor, action, object_id, outcome, told))
