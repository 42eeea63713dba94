"""What came of a request: a closed union that every front end matches exhaustively."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.evidence import CredentialKind
from gateway.model.ids import RequestId
from gateway.model.reasons import Reason


class State(StrEnum):
    """States of a recorded request (decisions: "Enrolment")."""

    AWAITING_APPROVAL = "awaiting-approval"
    SUBMITTING = "submitting"
    AWAITING_CA = "awaiting-ca"
    IN_DOUBT = "in-doubt"
    UNCONFIRMED = "unconfirmed"
    ISSUED = "issued"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, durable in the store. ``chain_der`` is issuer first, root last, without the leaf.

    ``confirm_by`` is set while the requester has yet to confirm it; after that moment it is withdrawn.
    """

    request_id: RequestId
    certificate_der: bytes
    chain_der: tuple[bytes, ...]
    confirm_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Ask again after ``retry_after_s`` seconds."""

    request_id: RequestId
    waits_for: str  # "approval" or "ca"
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Never with this content. ``accepts`` lists credential kinds that would have been looked at.

    ``retry_after_s``: the same content may be granted then, since a limit was exceeded. ``request_id`` is
    None where nothing was recorded: an id that leads nowhere is shown to nobody.
    """

    request_id: RequestId | None
    reasons: tuple[Reason, ...]
    accepts: tuple[CredentialKind, ...] = ()
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Not now; nothing is lost by asking again after ``retry_after_s`` seconds."""

    reason: Reason
    retry_after_s: int
    request_id: RequestId | None = None


Outcome = Issued | Pending | Refused | Unavailable


class Confirmation(StrEnum):
    """What came of confirming or declining a certificate (RFC 9810 section 5.3.18)."""

    DONE = "done"  # by this message, now or when it came before
    CONFIRMED_BEFORE = "confirmed-before"  # by another message, or none was asked for
    WITHDRAWN = "withdrawn"  # declined before, or the time was up
    UNKNOWN = "unknown"  # no certificate was issued in this transaction
