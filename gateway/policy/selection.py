"""Which policy judges a request: by endpoint, operation, profile, source address and what is *presented*.

Trust comes later: the credential is verified with the rules of the policy that was selected here, and one
that fails verification denies; it never falls through to the next policy (decisions: "Enrolment").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

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
from gateway.policy.rules import AdmissionPolicy, Bundle, CompiledPolicy, Network

CHALLENGES = frozenset({CHALLENGE_STATIC, CHALLENGE_DYNAMIC})
_RENEWING = frozenset({Operation.RENEW, Operation.REKEY})
Policy = TypeVar("Policy", bound=AdmissionPolicy)


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
    search = _Search(request, presented_kinds(request))
    policies = bundle.index.get((request.protocol, request.endpoint, request.operation), ())
    policy = search.first(policies)
    return search.none_selected() if policy is None else Selected(policy, search.trace(policy))


def select_revocation(bundle: Bundle, request: EnrolmentRequest) -> Admitted | NotSelected:
    """As ``select``, but only policies for revocations are looked at: none fits anything else."""
    search = _Search(request, presented_kinds(request))
    asked = request.operation is Operation.REVOKE
    policies = bundle.revocation.get((request.protocol, request.endpoint), ()) if asked else ()
    policy = search.first(policies)
    return search.none_selected() if policy is None else Admitted(policy, search.trace(policy))


def accepted_kinds(
    bundle: Bundle, protocol: str, endpoint: str, operation: Operation
) -> tuple[CredentialKind, ...]:
    """Credential kinds that some policy looks at here, in order of priority."""
    return _kinds_of(bundle.candidates(protocol, endpoint, operation))


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


@dataclass(slots=True)
class _Search:
    """One look through the policies, and why some of them were not chosen."""

    request: EnrolmentRequest
    kinds: frozenset[CredentialKind]
    skipped: list[TraceStep] = field(default_factory=list)
    looked_at: list[AdmissionPolicy] = field(default_factory=list)

    def first(self, policies: tuple[Policy, ...]) -> Policy | None:
        """The first policy that fits."""
        request = self.request
        address: IPv4Address | IPv6Address | None = None
        for policy in policies:
            if policy.profiles and request.profile not in policy.profiles:
                self._skip(policy, f"it is for the profile {_or(policy.profiles)}")
                continue
            if policy.source_networks:
                address = address or _address(request.remote.address)
                if address is None or not _inside(address, policy.source_networks):
                    self._skip(policy, f"the source address {request.remote.address} is not in it")
                    continue
            if policy.auth.isdisjoint(self.kinds):
                self.looked_at.append(policy)
                self._skip(policy, f"it is for {_or(policy.auth)}")
                continue
            return policy
        return None

    def trace(self, policy: AdmissionPolicy) -> tuple[TraceStep, ...]:
        return (*self.skipped, policy.chosen_step) if self.skipped else (policy.chosen_step,)

    def none_selected(self) -> NotSelected:
        request, accepts = self.request, _kinds_of(self.looked_at)
        here = f"{request.protocol} endpoint {request.endpoint!r}, operation {request.operation}"
        if not self.looked_at:
            code = ReasonCode.POLICY_NO_MATCH
            profile = f", profile {request.profile!r}" if request.profile else ""
            message = f"no policy is for {here}{profile}"
        elif not self.kinds:
            code = ReasonCode.AUTH_MISSING
            message = f"a credential is needed: {_or(accepts)}"
        else:
            code = ReasonCode.AUTH_KIND
            message = f"{_or(self.kinds)} is not looked at here; send {_or(accepts)}"
        reason = Reason(code, message, "presented" if accepts else "")
        step = TraceStep("select", "policies", "refused", message)
        return NotSelected((reason,), accepts, (*self.skipped, step))

    def _skip(self, policy: AdmissionPolicy, why: str) -> None:
        self.skipped.append(TraceStep("select", policy.name, "skipped", why, policy.where))


def _kinds_of(policies: Sequence[AdmissionPolicy]) -> tuple[CredentialKind, ...]:
    return tuple(dict.fromkeys(kind for policy in policies for kind in sorted(policy.auth)))


def _or(words: frozenset[str] | frozenset[CredentialKind] | tuple[CredentialKind, ...]) -> str:
    return " or ".join(words if isinstance(words, tuple) else sorted(words))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return normal_address(text.partition("%")[0])  # a link-local peer comes with its zone
    except ValueError:
        return None  # a Unix socket's peer has no address: it is in no network


def _inside(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
