"""What policy says of a request."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.enrolment import CertificatePlan
from gateway.model.reasons import Reason


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One line of the trace: which step, which rule, what came of it and why."""

    step: str  # select, authenticate, keys, names, extensions, validity, renewal, proof, lists, approval, ...
    rule: str
    verdict: str  # "ok", "refused", "chosen", "skipped", "set"
    message: str
    where: str = ""  # file:line:column of the rule


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """How many people must approve, and how long the request waits for them."""

    required: int
    expires_s: int
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Route:
    """Which CA backend issues, under which of its profiles.

    ``fallbacks`` are asked in turn where one fails in a way that ``fallback_on`` names and that proves that
    its CA did not act; theirs are empty.
    """

    backend: str
    profile: str | None = None
    fallbacks: tuple[Route, ...] = ()
    fallback_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListUse:
    """An entry of a list whose entries serve one request each; ``key`` in the normal form of the list."""

    list_name: str
    key: str


@dataclass(frozen=True, slots=True)
class Allow:
    """The request is granted as ``plan`` says and in no other form. ``plan`` is None for a preview.

    ``consumes``: what the unit that records the grant must use up. ``revoke_previous_s``: so long after the
    certificate is good the one that it renews is revoked; None: never.
    """

    policy: str
    bundle_sha256: str
    plan: CertificatePlan | None
    route: Route
    approval: ApprovalRule | None
    trace: tuple[TraceStep, ...]
    consumes: tuple[ListUse, ...] = ()
    revoke_previous_s: int | None = None


@dataclass(frozen=True, slots=True)
class Deny:
    """The request is refused. ``policy`` is None where none matched."""

    policy: str | None
    bundle_sha256: str
    reasons: tuple[Reason, ...]
    trace: tuple[TraceStep, ...]


Decision = Allow | Deny
