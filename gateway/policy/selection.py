"""Which policy judges a request: by endpoint, operation, profile, source address and what is *presented*.

Trust comes later: the credential is verified with the rules of the policy that was selected here, and one
that fails verification denies; it never falls through to the next policy (decisions: "Enrolment").
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gateway.model.decision import TraceStep
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import MTLS, RENEWAL_CERT, CredentialKind
from gateway.model.reasons import Reason, ReasonCode
from gateway.policy.name_rules import normal_address
from gateway.policy.rules import Bundle, CompiledPolicy, Network

_RENEWING = frozenset({Operation.RENEW, Operation.REKEY})


@dataclass(frozen=True, slots=True)
class Selected:
    """The policy that judges, and what the choice looked like."""

    policy: CompiledPolicy
    trace: tuple[TraceStep, ...]


@dataclass(frozen=True, slots=True)
class NotSelected:
    """No policy judges, so the request is refused. ``accepts``: kinds that some policy here would look at."""

    reasons: tuple[Reason, ...]
    accepts: tuple[CredentialKind, ...]
    trace: tuple[TraceStep, ...]


def select(bundle: Bundle, request: EnrolmentRequest) -> Selected | NotSelected:
    """Give the first policy in order of priority that fits the request and one of its credentials' kinds."""
    kinds = presented_kinds(request)
    candidates = bundle.index.get((request.protocol, request.endpoint, request.operation), ())
    skipped: list[TraceStep] = []
    looked_at: list[CompiledPolicy] = []
    address: IPv4Address | IPv6Address | None = None
    for policy in candidates:
        if policy.profiles and request.profile not in policy.profiles:
            skipped.append(_skipped(policy, f"it is for the profile {_or(policy.profiles)}"))
            continue
        if policy.source_networks:
            address = address or _address(request.remote.address)
            if address is None or not _inside(address, policy.source_networks):
                skipped.append(_skipped(policy, f"the source address {request.remote.address} is not in it"))
                continue
        if policy.auth.isdisjoint(kinds):
            looked_at.append(policy)
            skipped.append(_skipped(policy, f"it is for {_or(policy.auth)}"))
            continue
        return Selected(policy, (*skipped, policy.chosen_step) if skipped else (policy.chosen_step,))
    return _none_selected(request, kinds, looked_at, skipped)


def accepted_kinds(
    bundle: Bundle, protocol: str, endpoint: str, operation: Operation
) -> tuple[CredentialKind, ...]:
    """Credential kinds that some policy looks at here, in order of priority."""
    return _kinds_of(bundle.index.get((protocol, endpoint, operation), ()))


def presented_kinds(request: EnrolmentRequest) -> frozenset[CredentialKind]:
    """The kinds of the presented credentials.

    A TLS client certificate at a renewal also counts as the certificate that is renewed (RFC 7030 section
    4.2.2); a renewal certificate never counts as a plain client certificate.
    """
    kinds = frozenset(credential.kind for credential in request.presented)
    if MTLS in kinds and request.operation in _RENEWING:
        return kinds | {RENEWAL_CERT}
    return kinds


def _none_selected(
    request: EnrolmentRequest,
    kinds: frozenset[CredentialKind],
    looked_at: list[CompiledPolicy],
    skipped: list[TraceStep],
) -> NotSelected:
    accepts = _kinds_of(looked_at)
    here = f"{request.protocol} endpoint {request.endpoint!r}, operation {request.operation}"
    if not looked_at:
        code = ReasonCode.POLICY_NO_MATCH
        message = f"no policy is for {here}" + (f", profile {request.profile!r}" if request.profile else "")
    elif not kinds:
        code = ReasonCode.AUTH_MISSING
        message = f"a credential is needed: {_or(accepts)}"
    else:
        code = ReasonCode.AUTH_KIND
        message = f"{_or(kinds)} is not looked at here; send {_or(accepts)}"
    step = TraceStep("select", "policies", "refused", message)
    return NotSelected((Reason(code, message, "presented" if accepts else ""),), accepts, (*skipped, step))


def _kinds_of(policies: tuple[CompiledPolicy, ...] | list[CompiledPolicy]) -> tuple[CredentialKind, ...]:
    return tuple(dict.fromkeys(kind for policy in policies for kind in sorted(policy.auth)))


def _skipped(policy: CompiledPolicy, why: str) -> TraceStep:
    return TraceStep("select", policy.name, "skipped", why, policy.where)


def _or(words: frozenset[str] | frozenset[CredentialKind] | tuple[CredentialKind, ...]) -> str:
    return " or ".join(words if isinstance(words, tuple) else sorted(words))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return normal_address(text.partition("%")[0])  # a link-local peer comes with its zone
    except ValueError:
        return None  # a Unix socket's peer has no address: it is in no network


def _inside(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
