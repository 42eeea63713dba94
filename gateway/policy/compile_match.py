"""The ``match`` part of a policy to cases of selection, and whether two policies may fit the same request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

from gateway.model.enrolment import Operation
from gateway.model.evidence import CredentialKind
from gateway.policy.complaints import Path, did_you_mean
from gateway.policy.match_documents import CertificateConditions, Conditions, Match, RevocationMatch
from gateway.policy.rules import AdmissionPolicy
from gateway.policy.selection_table import Exclusion, MatchCase, Network
from gateway.policy.yaml_marks import ComplaintList, Document

EndpointLabels = Mapping[str, Mapping[str, str]]  # labels of each endpoint of one protocol, by its name


def compile_match(
    match: Match | RevocationMatch,
    kinds: frozenset[CredentialKind],
    endpoints: EndpointLabels,
    document: Document,
    found: ComplaintList,
) -> tuple[MatchCase, ...]:
    """The ways in which a request fits. ``kinds``: what counts where ``auth`` is not written.

    Labels are settled here; a case that fits no endpoint goes into ``found``.
    """
    if isinstance(match, RevocationMatch):
        at = _endpoints(match, endpoints, ("match",), document, found)
        return (
            MatchCase(at, frozenset({Operation.REVOKE}), _kinds(match) or kinds, networks=match.source_ip),
        )
    exclusions = tuple(
        _exclusion(one, endpoints, _place_of(document, index), document, found)
        for index, one in enumerate(match.exclusions)
    )
    cases = []
    for index, one in match.merged:
        path: Path = (
            ("match",) if index is None or match.labels or match.endpoint else ("match", "any", index)
        )
        case = MatchCase(
            endpoints=_endpoints(one, endpoints, path, document, found),
            operations=frozenset(Operation(word) for word in one.operation),
            auth=_kinds(one) or kinds,
            profiles=frozenset(one.profile),
            networks=one.source_ip,
            exclusions=exclusions,
        )
        if case.endpoints and not any(True for _ in case.places):
            text = "nothing is left of this match; exclude less, or remove the policy"
            found.add(document, ("match", "not"), text)
        cases.append(case)
    return tuple(cases)


def _kinds(conditions: Conditions) -> frozenset[CredentialKind]:
    return frozenset(CredentialKind(word) for word in conditions.auth)


def _place_of(document: Document, index: int) -> Path:
    value = document.value
    for step in ("match", "not"):
        value = value.get(step) if isinstance(value, dict) else None
    return ("match", "not", index) if isinstance(value, list) else ("match", "not")


def _exclusion(
    conditions: CertificateConditions,
    endpoints: EndpointLabels,
    path: Path,
    document: Document,
    found: ComplaintList,
) -> Exclusion:
    somewhere = conditions.endpoint or conditions.labels
    return Exclusion(
        endpoints=_endpoints(conditions, endpoints, path, document, found) if somewhere else None,
        operations=frozenset(Operation(word) for word in conditions.operation),
        auth=_kinds(conditions),
        profiles=frozenset(conditions.profile),
        networks=conditions.source_ip,
    )


def _endpoints(
    conditions: Conditions, endpoints: EndpointLabels, path: Path, document: Document, found: ComplaintList
) -> frozenset[str]:
    named = frozenset(conditions.endpoint) or frozenset(endpoints)
    if not conditions.labels:
        return named
    labelled = frozenset(name for name in named if _has(endpoints.get(name, {}), conditions.labels))
    # Excluding what is not there yet excludes nothing; a policy that is for nothing is a mistake.
    if not labelled and path[:2] != ("match", "not"):
        wanted = ", ".join(f"{key}: {' or '.join(values)}" for key, values in conditions.labels.items())
        known = {f"{key}: {value}" for name in named for key, value in endpoints.get(name, {}).items()}
        text = f"no endpoint that is meant here has the labels {wanted}; {did_you_mean(wanted, known)}"
        found.add(document, (*path, "labels"), text)
    return labelled


def _has(labels: Mapping[str, str], wanted: Mapping[str, tuple[str, ...]]) -> bool:
    return all(labels.get(key) in values for key, values in wanted.items())


def overlap(one: AdmissionPolicy, other: AdmissionPolicy) -> bool:
    """Whether some request could fit both. Credentials do not tell apart: a request may bring two. Nor does
    what ``not`` says of single requests."""
    return one.protocol == other.protocol and any(
        _cases_meet(case, other_case) for case in one.cases for other_case in other.cases
    )


def _cases_meet(one: MatchCase, other: MatchCase) -> bool:
    return (
        not one.endpoints.isdisjoint(other.endpoints)
        and not one.operations.isdisjoint(other.operations)
        and not (one.profiles and other.profiles and one.profiles.isdisjoint(other.profiles))
        and _networks_meet(one.networks, other.networks)
        and not set(one.places).isdisjoint(other.places)
    )


def _networks_meet(ones: Iterable[Network], others: Iterable[Network]) -> bool:
    ones, others = tuple(ones), tuple(others)
    if not ones or not others:
        return True
    return any(_meet(one, other) for one in ones for other in others)


def _meet(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)
