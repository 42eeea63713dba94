"""Finds policies that no request can ever select, because others with lower numbers take all of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import product

from gateway.model.enrolment import Operation
from gateway.model.evidence import MTLS, RENEWAL_CERT, CredentialKind
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import AdmissionPolicy, Bundle
from gateway.policy.selection import CHALLENGES
from gateway.policy.selection_table import MatchCase, Network


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
    """What ``not`` takes away within a cell is left in it: more than fits must be taken by others."""
    for case in policy.cases:
        axes = product(
            case.places, sorted(case.auth), sorted(case.profiles) or (None,), case.networks or (None,)
        )
        for (endpoint, operation), kind, profile, network in axes:
            yield _Cell(endpoint, operation, kind, profile, network)


def _takes(policy: AdmissionPolicy, cell: _Cell) -> bool:
    return any(_case_takes(case, cell) for case in policy.cases)


def _case_takes(case: MatchCase, cell: _Cell) -> bool:
    presented = {cell.kind}
    if cell.kind == MTLS and cell.operation in RENEWING:
        presented.add(RENEWAL_CERT)  # as selection counts it
    elif cell.kind in CHALLENGES:
        presented |= CHALLENGES
    return (
        cell.endpoint in case.endpoints
        and cell.operation in case.operations
        and not case.auth.isdisjoint(presented)
        and (not case.profiles or cell.profile in case.profiles)
        and (not case.networks or any(_holds(one, cell.network) for one in case.networks))
        # What it spares some requests of this cell, it does not take.
        and not any(one.is_about(cell.endpoint, cell.operation) for one in case.exclusions)
    )


def _holds(network: Network, inner: Network | None) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(network)
    return isinstance(inner, IPv6Network) and inner.subnet_of(network)
