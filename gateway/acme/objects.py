"""ACME's objects as clients see them: orders, authorizations, challenges (RFC 8555 section 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gateway.acme import order_state
from gateway.acme.errors import URN
from gateway.acme.identifiers import from_text
from gateway.acme.order_state import OrderState, OrderView
from gateway.acme.paths import Links
from gateway.acme.tables.authorizations import PROCESSING, AuthorizationRow
from gateway.http.message import HttpResponse
from gateway.json_writer import json_writer
from gateway.model.evidence import PREVALIDATED

JSON_TYPE = "application/json"
Headers = tuple[tuple[str, str], ...]
_encode = json_writer()
_FORBIDDEN_TYPES = frozenset({URN + "unauthorized", URN + "caa"})


def json_answer(document: Mapping[str, object], status: int = 200, headers: Headers = ()) -> HttpResponse:
    """An object as an HTTP answer."""
    return HttpResponse(status, _encode(document).encode("ascii"), JSON_TYPE, headers)


def rfc3339(moment: datetime) -> str:
    """A UTC time in whole seconds, with Z (RFC 3339 section 5.6)."""
    return f"{moment.isoformat()[:19]}Z"  # half of what strftime takes


def order_answer(
    links: Links, view: OrderView, state: OrderState, *, status: int = 200, with_location: bool = False
) -> HttpResponse:
    """An order object, with Retry-After while it is processing (RFC 8555 section 7.4)."""
    headers: Headers = (("Location", links.order(view.order.id)),) if with_location else ()
    if state.retry_after_s is not None:
        headers = (*headers, ("Retry-After", str(state.retry_after_s)))
    return json_answer(render_order(links, view, state), status, headers)


def render_order(links: Links, view: OrderView, state: OrderState) -> dict[str, object]:
    """The order object (RFC 8555 section 7.1.3, with profile and replaces where they were given)."""
    order = view.order
    document: dict[str, object] = {
        "status": state.status,
        "expires": rfc3339(order.expires_at),
        "identifiers": [from_text(text).document() for text in order.identifiers],
        "authorizations": [links.authorization(one) for one in order.authorizations],
        "finalize": links.finalize(order.id),
    }
    if order.not_before is not None:
        document["notBefore"] = rfc3339(order.not_before)
    if order.not_after is not None:
        document["notAfter"] = rfc3339(order.not_after)
    if order.profile is not None:
        document["profile"] = order.profile
    if order.replaces is not None:
        document["replaces"] = order.replaces
    if state.error is not None:
        document["error"] = state.error
    if state.status == order_state.VALID:
        document["certificate"] = links.certificate(order.id)
    return document


def render_authorization(links: Links, row: AuthorizationRow, now: datetime) -> dict[str, object]:
    """The authorization object (RFC 8555 section 7.1.4): a wildcard's identifier has no ``*.``.

    Once a challenge was answered for good, only that one is shown; prevalidated names show none.
    """
    document: dict[str, object] = {
        "identifier": {"type": row.kind, "value": row.name},
        "status": order_state.authorization_state(row, now),
        "expires": rfc3339(row.expires_at),
        "challenges": [render_challenge(links, row, one) for one in _shown_challenges(row)],
    }
    if row.wildcard:
        document["wildcard"] = True
    return document


def render_challenge(links: Links, row: AuthorizationRow, challenge_type: str) -> dict[str, object]:
    """The challenge object (RFC 8555 sections 7.1.5 and 8). ``error`` stands also while it is processing:
    what the last look found (section 8.2)."""
    answered = row.method == challenge_type
    document: dict[str, object] = {
        "type": challenge_type,
        "url": links.challenge(row.id, challenge_type),
        "status": _challenge_status(row) if answered else order_state.PENDING,
        "token": row.token,
    }
    if answered and row.validated_at is not None:
        document["validated"] = rfc3339(row.validated_at)
    if answered and row.error is not None:
        document["error"] = _with_status(row.error)
    return document


def _shown_challenges(row: AuthorizationRow) -> tuple[str, ...]:
    if row.method is None or row.status == PROCESSING:
        return row.challenges
    return () if row.method == PREVALIDATED else (row.method,)


def _challenge_status(row: AuthorizationRow) -> str:
    """A deactivated authorization's challenge stays what it had come to."""
    if row.status != order_state.DEACTIVATED:
        return row.status
    if row.validated_at is not None:
        return order_state.VALID
    return order_state.PENDING if row.error is None else order_state.INVALID


def _with_status(error: Mapping[str, object]) -> Mapping[str, object]:
    if "status" in error:
        return error
    return {**error, "status": 403 if error.get("type") in _FORBIDDEN_TYPES else 400}
