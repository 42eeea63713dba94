"""A credential that somebody wants, checked, before it has its secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.credentials import bounds
from gateway.credentials.bounds import UnfitValue
from gateway.model.evidence import ACME_EAB, API_TOKEN, BASIC, CMP_SECRET, SCEP_CHALLENGE, CredentialKind

CHALLENGE_LIFE = timedelta(hours=1)  # of a one-time challenge, unless somebody says otherwise
# What each kind is for; a user name with secret is for the front end that is said.
PROTOCOLS: Mapping[str, str] = {ACME_EAB: "acme", SCEP_CHALLENGE: "scep", CMP_SECRET: "cmp", API_TOKEN: "api"}
_CHECKED_NAME: Mapping[str, Callable[[str | None], str]] = {
    BASIC: bounds.checked_user,
    ACME_EAB: bounds.key_identifier,
    SCEP_CHALLENGE: bounds.challenge_name,
    CMP_SECRET: bounds.checked_reference,
    API_TOKEN: bounds.token_name,
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for, as it came. None: nothing was said."""

    kind: CredentialKind
    protocol: str
    name: str | None = None
    endpoints: Sequence[str] | None = None
    names: Sequence[str] | None = None
    profiles: Sequence[str] | None = None
    prevalidated: Sequence[str] | None = None
    permissions: Sequence[str] | None = None
    expires_at: datetime | None = None
    uses: int | None = None
    static: bool = False
    groups: Sequence[str] | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """``uses`` None: as often as wanted. ``endpoints``, ``names``, ``profiles`` None: no bound."""

    kind: CredentialKind
    protocol: str
    name: str
    endpoints: tuple[str, ...] | None
    names: tuple[str, ...] | None
    profiles: tuple[str, ...] | None
    prevalidated: tuple[str, ...] | None
    permissions: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    uses: int | None
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def drafted(wishes: Wishes, now: datetime) -> Draft:
    """The credential that is meant. Raises UnfitValue for the first wish that none can have."""
    uses = _counted_uses(wishes)
    expires_at = wishes.expires_at
    if expires_at is not None and expires_at <= now:
        raise UnfitValue("it is not in the future", path="expires")
    if expires_at is None and wishes.kind == SCEP_CHALLENGE and not wishes.static:
        expires_at = now + CHALLENGE_LIFE
    permissions = bounds.checked_permissions(wishes.permissions) if wishes.kind == API_TOKEN else None
    return Draft(
        kind=wishes.kind,
        protocol=wishes.protocol,
        name=_CHECKED_NAME[wishes.kind](wishes.name),
        endpoints=bounds.checked_endpoints(wishes.endpoints),
        names=bounds.checked_suffixes(wishes.names, "names"),
        profiles=bounds.checked_profiles(wishes.profiles),
        prevalidated=bounds.checked_suffixes(wishes.prevalidated, "prevalidated"),
        permissions=permissions,
        created_at=now,
        expires_at=expires_at,
        uses=uses,
        groups=bounds.checked_groups(wishes.groups),
        labels=bounds.checked_labels(wishes.labels),
    )


def _counted_uses(wishes: Wishes) -> int | None:
    """A challenge is a one-time one unless it is said to be static."""
    if wishes.static and wishes.uses is not None:
        raise UnfitValue("a static challenge has no count of uses", path="uses")
    one_time = wishes.kind == SCEP_CHALLENGE and wishes.uses is None and not wishes.static
    return 1 if one_time else bounds.checked_uses(wishes.uses)
