"""Which policy fits a request, found by masks: one bit for each way to fit, in order of priority.

Made once at load for each protocol, endpoint and operation. A request costs one look-up for its profile, one
for each length of network prefix and one for each kind of credential, however many policies there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Generic, Protocol, TypeVar

from gateway.model.decision import TraceStep
from gateway.model.enrolment import Operation
from gateway.model.evidence import CredentialKind

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
PolicyT = TypeVar("PolicyT")
Bits = int  # bit 0 is the row that is tried first

MAX_KEPT = 256
MAX_TOLD = 20  # skipped policies that a trace names; of the others it says how many
_LISTED = 8


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Requests that a case is not for: those for which everything holds that is said; an empty part says
    nothing. ``endpoints`` and ``operations`` are settled when the table is made."""

    endpoints: frozenset[str] | None = None
    operations: frozenset[Operation] = frozenset()
    auth: frozenset[CredentialKind] = frozenset()
    profiles: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def is_about(self, endpoint: str, operation: Operation) -> bool:
        """Whether it may exclude requests to this endpoint for this operation."""
        return (self.endpoints is None or endpoint in self.endpoints) and (
            not self.operations or operation in self.operations
        )

    @property
    def depends_on_request(self) -> bool:
        """Whether it excludes some of the requests that it is about only."""
        return bool(self.auth or self.profiles or self.networks)

    def excludes(self, profile: str | None, address: Address | None, kinds: Set[CredentialKind]) -> bool:
        """Whether a request that it is about is excluded."""
        return (
            not (self.auth and self.auth.isdisjoint(kinds))
            and not (self.profiles and profile not in self.profiles)
            and not (self.networks and not is_inside(address, self.networks))
        )


@dataclass(frozen=True, slots=True)
class MatchCase:
    """One way in which a request fits a policy: everything in it must hold, and no exclusion.

    ``profiles`` and ``networks`` may be empty: any, also none.
    """

    endpoints: frozenset[str]
    operations: frozenset[Operation]
    auth: frozenset[CredentialKind]
    profiles: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def places(self) -> Iterator[tuple[str, Operation]]:
        """Endpoint and operation of every request that may fit."""
        for endpoint in sorted(self.endpoints):
            for operation in sorted(self.operations):
                if not any(
                    one.is_about(endpoint, operation) and not one.depends_on_request
                    for one in self.exclusions
                ):
                    yield endpoint, operation


@dataclass(frozen=True, slots=True)
class Skips:
    """The words why a case did not fit, made once: the trace of a request only points at them."""

    profile: TraceStep
    address: TraceStep
    kind: TraceStep
    excluded: TraceStep


@dataclass(frozen=True, slots=True)
class Row(Generic[PolicyT]):
    """A case of a policy at one endpoint and operation. ``first``: its other cases there follow it."""

    policy: PolicyT
    first: bool
    case: MatchCase
    exclusions: tuple[Exclusion, ...]
    skips: Skips


@dataclass(frozen=True, slots=True)
class SelectionTable(Generic[PolicyT]):
    """The rows of one endpoint and operation, and for each what a request may bring the rows that it fits.

    ``of_networks`` maps version and prefix length to networks by their number. ``of_profile`` and
    ``of_networks`` leave out the rows of ``any_profile`` and ``any_address``. ``told`` keeps what traces say
    of skipped policies, at most ``MAX_KEPT`` times: most requests are like others before them.
    """

    rows: tuple[Row[PolicyT], ...]
    numbers: tuple[
        int, ...
    ]  # of each row: how many policies come before its own; at the end, how many in all
    any_profile: Bits
    of_profile: Mapping[str, Bits]
    any_address: Bits
    of_networks: Mapping[tuple[int, int], Mapping[int, Bits]]
    of_kind: Mapping[CredentialKind, Bits]
    excluding: Bits  # rows that have exclusions
    told: dict[tuple[Bits, ...], tuple[TraceStep, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def fitting_profile(self, profile: str | None) -> Bits:
        return self.any_profile if profile is None else self.any_profile | self.of_profile.get(profile, 0)

    def fitting_address(self, address: Address | None) -> Bits:
        """An IPv4-mapped address must have been made an IPv4 address before."""
        found = self.any_address
        if address is not None:
            number, version, length = int(address), address.version, address.max_prefixlen
            for (of_version, prefix), networks in self.of_networks.items():
                if of_version == version:
                    found |= networks.get(number >> (length - prefix), 0)
        return found

    def fitting_kinds(self, kinds: Iterable[CredentialKind]) -> Bits:
        found = 0
        for kind in kinds:
            found |= self.of_kind.get(kind, 0)
        return found


def make_table(rows: Iterable[Row[PolicyT]]) -> SelectionTable[PolicyT]:
    """Index rows that are in order of priority."""
    listed = tuple(rows)
    any_profile = any_address = excluding = 0
    of_profile: dict[str, Bits] = {}
    of_kind: dict[CredentialKind, Bits] = {}
    of_networks: dict[tuple[int, int], dict[int, Bits]] = {}
    for position, row in enumerate(listed):
        bit, case = 1 << position, row.case
        any_profile |= 0 if case.profiles else bit
        any_address |= 0 if case.networks else bit
        excluding |= bit if row.exclusions else 0
        for profile in case.profiles:
            of_profile[profile] = of_profile.get(profile, 0) | bit
        for kind in case.auth:
            of_kind[kind] = of_kind.get(kind, 0) | bit
        for network in case.networks:
            of_length = of_networks.setdefault((network.version, network.prefixlen), {})
            number = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            of_length[number] = of_length.get(number, 0) | bit
    begun = 0
    numbers = [(begun := begun + row.first) - 1 for row in listed]
    return SelectionTable(
        rows=listed,
        numbers=(*numbers, begun),
        any_profile=any_profile,
        of_profile=of_profile,
        any_address=any_address,
        of_networks=of_networks,
        of_kind=of_kind,
        excluding=excluding,
    )


def make_rows(
    policy: PolicyT, name: str, where: str, cases: Iterable[MatchCase]
) -> Iterator[tuple[tuple[str, Operation], Row[PolicyT]]]:
    """The rows of a policy, each with the endpoint and operation where it counts."""
    begun: set[tuple[str, Operation]] = set()
    for case in cases:
        skips = _skips(name, where, case)
        for place in case.places:
            first = place not in begun
            begun.add(place)
            exclusions = tuple(one for one in case.exclusions if one.is_about(*place))
            yield place, Row(policy, first, case, exclusions, skips)


def _skips(name: str, where: str, case: MatchCase) -> Skips:
    def skipped(why: str) -> TraceStep:
        return TraceStep("select", name, "skipped", why, where)

    return Skips(
        profile=skipped(f"it is for the profile {any_of(sorted(case.profiles))}"),
        address=skipped(f"the source address is not in {any_of([str(one) for one in case.networks])}"),
        kind=skipped(f"it is for {any_of(sorted(case.auth))}"),
        excluded=skipped("it is not for such requests, by its match.not"),
    )


class _Selectable(Protocol):
    """What a policy must say of itself to be put into tables."""

    @property
    def name(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def cases(self) -> tuple[MatchCase, ...]: ...


SelectableT = TypeVar("SelectableT", bound=_Selectable)


def tables(
    policies: Iterable[SelectableT],
) -> dict[tuple[str, str, Operation], SelectionTable[SelectableT]]:
    """A table for each protocol, endpoint and operation; ``policies`` are in order of priority."""
    rows: dict[tuple[str, str, Operation], list[Row[SelectableT]]] = {}
    for policy in policies:
        for place, row in make_rows(policy, policy.name, policy.where, policy.cases):
            rows.setdefault((policy.protocol, *place), []).append(row)
    return {place: make_table(listed) for place, listed in rows.items()}


def is_inside(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def any_of(words: list[str]) -> str:
    more = len(words) - _LISTED
    return " or ".join(words[:_LISTED]) + (f" or {more} more" if more > 0 else "")
