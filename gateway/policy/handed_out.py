"""Finds policies that issue by another CA than the one whose certificates their endpoint hands out."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.decision import Route
from gateway.policy.rules import Bundle, CompiledBackend, CompiledEndpoint, CompiledPolicy


@dataclass(frozen=True, slots=True)
class ForeignIssuer:
    """A policy and one of its endpoints, whose clients get certificates by a CA that they never hear of."""

    policy: CompiledPolicy
    endpoint: CompiledEndpoint
    route: Route
    issuing: str
    handed_out: str

    def __str__(self) -> str:
        route, protocol = self.route, self.endpoint.protocol
        if route.backend == self.endpoint.backend:
            remedy = (
                f"write ca: {self.issuing} in the Endpoint, or issue: {{profile: {self.handed_out}}} here"
            )
        else:
            remedy = f"write backend: {route.backend} in the Endpoint, or issue: {{backend: ...}} as there"
        return (
            f"{self.policy.where}: {self.policy.name} issues by the CA {self.issuing!r}, but its {protocol} "
            f"endpoint {self.endpoint.name!r} hands out {self.handed_out!r} "
            f"({self.endpoint.options.hands_out}), so clients may be unable to verify what they get; {remedy}"
        )


def foreign_issuers(bundle: Bundle) -> tuple[ForeignIssuer, ...]:
    """Every such policy with each such endpoint, of protocols that hand out CA certificates by themselves."""
    places = (
        (policy, bundle.endpoints[policy.protocol, name])
        for policy in bundle.policies
        if isinstance(policy, CompiledPolicy)
        for name in sorted(policy.endpoints)
    )
    return tuple(
        ForeignIssuer(policy, endpoint, route, issuing, handed_out)
        for policy, endpoint in places
        if hasattr(endpoint.options, "hands_out")
        for route in policy.routes
        for issuing, handed_out in [_cas(bundle, route, endpoint)]
        if issuing != handed_out
    )


def _cas(bundle: Bundle, route: Route, endpoint: CompiledEndpoint) -> tuple[str, str]:
    """The CA that issues and the one that is handed out; the same word where they cannot be told apart."""
    if route.backend != endpoint.backend:
        return route.backend, endpoint.backend
    backend = bundle.backends[route.backend]
    return _ca(backend, route.profile), _ca(backend, endpoint.ca)


def _ca(backend: CompiledBackend, profile: str | None) -> str:
    """Where a backend does not tell its CAs by profiles, a profile may be any template of the one CA."""
    default: str | None = getattr(backend.options, "default_profile", None)
    return backend.name if default is None else profile or default
