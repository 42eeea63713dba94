"""Conditions on rows of credentials, for ``credentials.search``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, false, or_

from gateway.clock import to_epoch_s
from gateway.store.schema import CREDENTIAL

_ENDPOINTS = CREDENTIAL.c.endpoints


def of_kinds(kinds: Sequence[str]) -> ColumnElement[bool]:
    return CREDENTIAL.c.kind.in_(kinds)


def usable_at(endpoint: str) -> ColumnElement[bool]:
    """For this endpoint, or for all."""
    # A member of the list ends with a comma or the bracket, a key of the object with a colon.
    ends = [_ENDPOINTS.contains(f'"{endpoint}"{end}', autoescape=True) for end in (",", "]")]
    return or_(_ENDPOINTS.is_(None), *ends)


def in_state(state: str, now: datetime) -> ColumnElement[bool]:
    """``active``, ``revoked``, ``expired`` or ``used up``; nothing is in any other."""
    unrevoked, expires_at, now_s = CREDENTIAL.c.revoked_at.is_(None), CREDENTIAL.c.expires_at, to_epoch_s(now)
    expired = and_(expires_at.is_not(None), expires_at <= now_s)
    left = or_(CREDENTIAL.c.uses_left.is_(None), CREDENTIAL.c.uses_left > 0)
    alive = or_(expires_at.is_(None), expires_at > now_s)
    found = {
        "active": and_(unrevoked, alive, left),
        "revoked": CREDENTIAL.c.revoked_at.is_not(None),
        "expired": and_(unrevoked, expired),
        "used up": and_(unrevoked, alive, CREDENTIAL.c.uses_left == 0),
    }
    return found.get(state, false())
