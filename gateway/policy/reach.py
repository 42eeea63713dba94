"""Finds policies that no request can ever select, because others with lower numbers take all of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import product

from gateway.model.enrolment import Operation
from gateway.model.evidence import MTLS, RENEWAL_CERT, CredentialKind
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import AdmissionPolicy, Bundle, Network
from gateway.policy.selection import CHALLENGES


@dataclass(frozen=True, slots=True)
class HiddenPolicy:
    """A policy that is never selected; ``behind`` are the policies that take its requests."""

    policy: AdmissionPolicy
    behind: tuple[AdmissionPolicy, ...]

    def __str__(self) -> str:
        takers = ", ".join(f"{one.name} (priority {one.priority})" for one in self.behind)
        verb = "hides" if len(self.behind) == 1 else "hide"
        return (
            f"{self.policy.where}: {takers} {verb} {self.policy.name} (priority {self.policy.priority}) "
            "completely, so it is never used; give it a lower number, or narrow what it stands behind"
        )


@dataclass(frozen=True, slots=True)
class _Cell:
    """The narrowest kind of request that selection tells apart; None: whatever profile or address."""

    endpoint: str
    operation: Operation
    kind: CredentialKind
    profile: str | None
    network: Network | None


def hidden_policies(bundle: Bundle) -> tuple[HiddenPolicy, ...]:
    """Every policy that can never be selected. One credential is assumed: more of them select no others."""
    return tuple(
        HiddenPolicy(policy, tuple(takers))
        for position, policy in enumerate(bundle.policies)
        if (takers := _takers(policy, bundle.policies[:position]))
    )


def _takers(policy: AdmissionPolicy, earlier: Sequence[AdmissionPolicy]) -> list[AdmissionPolicy]:
    """The policies that together take every request of this one; none if some request is left to it."""
    candidates = [one for one in earlier if one.protocol == policy.protocol]
    found: dict[str, AdmissionPolicy] = {}
    for cell in _cells(policy):
        taker = next((one for one in candidates if _takes(one, cell)), None)
        if taker is None:
            return []
        found.setdefault(taker.name, taker)
    return list(found.values())


def _cells(policy: AdmissionPolicy) -> Iterator[_Cell]:
    axes = product(
        sorted(policy.endpoints),
        sorted(policy.operations),
        sorted(policy.auth),
        sorted(policy.profiles) or (None,),
        policy.source_networks or (None,),
    )
    return (_Cell(*place) for place in axes)


def _takes(policy: AdmissionPolicy, cell: _Cell) -> bool:
    presented = {cell.kind}
    if cell.kind == MTLS and cell.operation in RENEWING:
        presented.add(RENEWAL_CERT)  # as selection counts it
    elif cell.kind in CHALLENGES:
        presented |= CHALLENGES
    return (
        cell.endpoint in policy.endpoints
        and cell.operation in policy.operations
        and not policy.auth.isdisjoint(presented)
        and (not policy.profiles or cell.profile in policy.profiles)
        and (not policy.source_networks or any(_holds(one, cell.network) for one in policy.source_networks))
    )


def _holds(network: Network, inner: Network | None) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(network)
    return isinstance(inner, IPv6Network) and inner.subnet_of(network)
