"""What a newOrder message asks for (RFC 8555 section 7.4), read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.acme import messages
from gateway.acme.errors import AcmeError, malformed
from gateway.acme.exchange import ACME, Exchange
from gateway.acme.identifiers import Identifier, parse_identifiers
from gateway.model.reasons import ReasonCode

# RFC 3339 section 5.6; no "-00:00", whose offset is unknown (section 4.3)
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class WantedOrder:
    """``replaces`` is as the client wrote it (RFC 9773 section 5)."""

    identifiers: tuple[Identifier, ...]
    profile: str | None
    not_before: datetime | None
    not_after: datetime | None
    replaces: str | None


def read_new_order(exchange: Exchange, payload: bytes) -> WantedOrder:
    """Read the payload. Raises AcmeError: malformed, unsupportedIdentifier, invalidProfile, compound."""
    members = messages.read_object(payload)
    identifiers = parse_identifiers(members.get("identifiers"), exchange.options.max_identifiers)
    not_before = _time(members, "notBefore")
    not_after = _time(members, "notAfter")
    now = exchange.services.clock.now()
    if not_after is not None and not_after <= max(now, not_before or now):
        raise malformed("notAfter must lie after now and after notBefore", code=ReasonCode.VALIDITY)
    return WantedOrder(
        identifiers, _profile(exchange, members), not_before, not_after, messages.text(members, "replaces")
    )


def _profile(exchange: Exchange, members: dict[str, object]) -> str | None:
    asked = messages.text(members, "profile")
    if asked is None:
        return exchange.options.default_profile
    offered = exchange.services.enrolments.profiles(ACME, exchange.endpoint)
    if asked not in offered:
        names = ", ".join(sorted(offered)[:20]) or "none"
        raise AcmeError(
            "invalidProfile",
            f"the profile {asked[:80]} is not offered here; there are: {names}",
            code=ReasonCode.PROFILE_UNKNOWN,
        )
    return asked


def _time(members: dict[str, object], name: str) -> datetime | None:
    text = messages.text(members, name)
    if text is None:
        return None
    found = _DATE_TIME.fullmatch(text)
    if found is None or found[4] == "-00:00":
        raise _bad_time(name)
    if (found[3] or "").strip(".0"):
        raise malformed(
            f"{name} has a fraction of a second, which no certificate can hold", code=ReasonCode.VALIDITY
        )
    offset = "+00:00" if found[4] in "Zz" else found[4]
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise _bad_time(name) from exc
    if moment - datetime(1970, 1, 1, tzinfo=UTC) < timedelta(0):
        raise _bad_time(name)
    return moment


def _bad_time(name: str) -> AcmeError:
    return malformed(
        f"{name} must be a date and time of RFC 3339, such as 2030-01-31T00:00:00Z", code=ReasonCode.VALIDITY
    )
