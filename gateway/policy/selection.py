"""Which policy judges a request: by endpoint, operation, profile, source address and what is *presented*.

Trust comes later: the credential is verified with the rules of the policy that was selected here, and one
that fails verification denies; it never falls through to the next policy (decisions: "Enrolment").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.model.decision import TraceStep
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import (
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    MTLS,
    RENEWAL_CERT,
    CredentialKind,
)
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.name_rules import normal_address
from gateway.policy.rules import AdmissionPolicy, Bundle, CompiledPolicy
from gateway.policy.selection_table import MAX_KEPT, MAX_TOLD, Address, Bits, Row, SelectionTable, make_table

CHALLENGES = frozenset({CHALLENGE_STATIC, CHALLENGE_DYNAMIC})
_RENEWING = frozenset({Operation.RENEW, Operation.REKEY})
_NO_POLICIES: SelectionTable[AdmissionPolicy] = make_table(())
PolicyT = TypeVar("PolicyT", bound=AdmissionPolicy)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The policy whose credentials count, and what the choice looked like."""

    policy: AdmissionPolicy
    trace: tuple[TraceStep, ...]


@dataclass(frozen=True, slots=True)
class Selected(Admitted):
    """The policy that judges a request for a certificate, and what the choice looked like."""

    policy: CompiledPolicy


@dataclass(frozen=True, slots=True)
class NotSelected:
    """No policy judges, so the request is refused. ``accepts``: kinds that some policy here would look at."""

    reasons: tuple[Reason, ...]
    accepts: tuple[CredentialKind, ...]
    trace: tuple[TraceStep, ...]


def select(bundle: Bundle, request: EnrolmentRequest) -> Selected | NotSelected:
    """Give the first policy in order of priority that fits the request and one of its credentials' kinds.

    Only policies for certificates are looked at: none fits a revocation.
    """
    table = bundle.tables.get((request.protocol, request.endpoint, request.operation))
    if table is None:
        return _none_selected(_Search(_NO_POLICIES, request))
    search = _Search(table, request)
    return _none_selected(search) if search.found is None else Selected(search.found.policy, search.trace())


def select_revocation(bundle: Bundle, request: EnrolmentRequest) -> Admitted | NotSelected:
    """As ``select``, but only policies for revocations are looked at: none fits anything else."""
    asked = request.operation is Operation.REVOKE
    table = bundle.revocation.get((request.protocol, request.endpoint)) if asked else None
    search = _Search(_NO_POLICIES if table is None else table, request)
    return _none_selected(search) if search.found is None else Admitted(search.found.policy, search.trace())


def select_shadow(bundle: Bundle, request: EnrolmentRequest, *, before: int | None) -> CompiledPolicy | None:
    """The first policy on trial (``mode: shadow``) that would have been tried before the one that decides,
    whose priority is ``before``; None: none does."""
    table = bundle.shadow_tables.get((request.protocol, request.endpoint, request.operation))
    found = _Search(table, request).found if table is not None else None
    if found is None or (before is not None and found.policy.priority > before):
        return None
    return found.policy


def accepted_kinds(
    bundle: Bundle, protocol: str, endpoint: str, operation: Operation
) -> tuple[CredentialKind, ...]:
    """Credential kinds that some policy looks at here, in order of priority."""
    table: SelectionTable[CompiledPolicy] | SelectionTable[AdmissionPolicy] | None
    if operation is Operation.REVOKE:
        table = bundle.revocation.get((protocol, endpoint))
    else:
        table = bundle.tables.get((protocol, endpoint, operation))
    return () if table is None else _kinds_of(row.case.auth for row in table.rows)


def presented_kinds(request: EnrolmentRequest) -> frozenset[CredentialKind]:
    """The kinds of the presented credentials.

    A TLS client certificate at a renewal also counts as the certificate that is renewed (RFC 7030 section
    4.2.2); a renewal certificate never counts as a plain client certificate. Whether a challengePassword is a
    static or a one-time one shows only when it is verified, so it counts as both.
    """
    kinds = frozenset(credential.kind for credential in request.presented)
    if MTLS in kinds and request.operation in _RENEWING:
        return kinds | {RENEWAL_CERT}
    return kinds if kinds.isdisjoint(CHALLENGES) else kinds | CHALLENGES


class _Search(Generic[PolicyT]):
    """One look into a table; ``found`` is the row of the first policy that fits."""

    __slots__ = (
        "_address",
        "_by_address",
        "_by_kind",
        "_by_profile",
        "_position",
        "found",
        "kinds",
        "request",
        "table",
    )

    def __init__(self, table: SelectionTable[PolicyT], request: EnrolmentRequest) -> None:
        self.table = table
        self.request = request
        self.kinds = presented_kinds(request)
        self._address: Address | None = None
        if table.of_networks or table.excluding:
            self._address = _address(request.remote.address)
        self._by_profile = table.fitting_profile(request.profile)
        self._by_address = table.fitting_address(self._address)
        self._by_kind = table.fitting_kinds(self.kinds)
        self._position, self.found = self._first(self._by_profile & self._by_address & self._by_kind)

    def _first(self, fitting: Bits) -> tuple[int, Row[PolicyT] | None]:
        rows = self.table.rows
        while fitting:
            lowest = fitting & -fitting
            position = lowest.bit_length() - 1
            row = rows[position]
            if not (lowest & self.table.excluding and self._is_excluded(row)):
                return position, row
            fitting ^= lowest
        return len(rows), None

    def _is_excluded(self, row: Row[PolicyT]) -> bool:
        return any(one.excludes(self.request.profile, self._address, self.kinds) for one in row.exclusions)

    def trace(self) -> tuple[TraceStep, ...]:
        """Why the others were not chosen, then the choice."""
        assert self.found is not None
        chosen = self.found.policy.chosen_step
        return (*self.skipped(), chosen) if self._position else (chosen,)

    def skipped(self) -> tuple[TraceStep, ...]:
        """The first policies that were tried before and did not fit, and how many more there were."""
        kept, looked_like = self.table.told, (
            self._position, self._by_profile, self._by_address, self._by_kind,
        )  # fmt: skip
        found = kept.get(looked_like)
        if found is None:
            if len(kept) >= MAX_KEPT:
                kept.clear()
            found = kept[looked_like] = tuple(self._skipped())
        return found

    def _skipped(self) -> list[TraceStep]:
        steps: list[TraceStep] = []
        chosen = None if self.found is None else self.found.policy
        for position, row in enumerate(self.table.rows[: self._position]):
            if not row.first or row.policy is chosen:
                continue  # of several ways to fit a policy, the first one speaks for all
            if len(steps) == MAX_TOLD:
                more = self.table.numbers[self._position] - MAX_TOLD
                text = f"{more} more with higher numbers before the one that was chosen, for like reasons"
                if chosen is None:
                    text = f"{more} more with higher numbers, for like reasons"
                return [*steps, TraceStep("select", "policies", "skipped", text)]
            steps.append(self._why(row, 1 << position))
        return steps

    def _why(self, row: Row[PolicyT], bit: Bits) -> TraceStep:
        if not self._by_profile & bit:
            return row.skips.profile
        if not self._by_address & bit:
            return row.skips.address
        return row.skips.excluded if self._by_kind & bit else row.skips.kind

    def of_other_kinds(self) -> tuple[CredentialKind, ...]:
        """Kinds of credential with which a policy would have fitted."""
        fitting = self._by_profile & self._by_address & ~self._by_kind
        return _kinds_of(
            row.case.auth for position, row in enumerate(self.table.rows) if fitting >> position & 1
        )


def _none_selected(search: _Search[PolicyT]) -> NotSelected:
    request, accepts = search.request, search.of_other_kinds()
    here = f"{request.protocol} endpoint {request.endpoint!r}, operation {request.operation}"
    if not accepts:
        code = ReasonCode.POLICY_NO_MATCH
        profile = f", profile {request.profile!r}" if request.profile else ""
        message = f"no policy is for {here}{profile}"
    elif not search.kinds:
        code = ReasonCode.AUTH_MISSING
        message = f"a credential is needed: {_or(accepts)}"
    else:
        code = ReasonCode.AUTH_KIND
        message = f"{_or(sorted(search.kinds))} is not looked at here; send {_or(accepts)}"
    reason = Reason(code, message, "presented" if accepts else "")
    step = TraceStep("select", "policies", "refused", message)
    return NotSelected((reason,), accepts, (*search.skipped(), step))


def _kinds_of(rows: Iterable[Iterable[CredentialKind]]) -> tuple[CredentialKind, ...]:
    return tuple(dict.fromkeys(kind for kinds in rows for kind in sorted(kinds)))


def _or(words: Sequence[str]) -> str:
    return " or ".join(words)


def _address(text: str) -> Address | None:
    try:
        return normal_address(text.partition("%")[0])  # a link-local peer comes with its zone
    except ValueError:
        return None  # a Unix socket's peer has no address: it is in no network
