"""A plan as JSON and back, for requests that wait: approval, a slow CA, a crash in between."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.model.enrolment import CertificatePlan, EnrolmentRequest, Extension
from gateway.model.names import AttributeTypeAndValue, DistinguishedName, GeneralName, NameKind

VERSION = 1
NOT_BEFORE, NOT_AFTER = "not_before", "not_after"
AskedDates = frozenset[str]  # which of the two the client named itself, so that nothing may move them


def asked_dates(request: EnrolmentRequest) -> AskedDates:
    """The dates that the client named."""
    named = ((NOT_BEFORE, request.not_before), (NOT_AFTER, request.not_after))
    return frozenset(name for name, date in named if date is not None)


def plan_to_json(plan: CertificatePlan, asked: AskedDates = frozenset()) -> dict[str, object]:
    """Without loss; DER as base64, times as seconds since 1970."""
    return {
        "plan_version": VERSION,
        "subject": [[[a.oid, a.value, a.tag] for a in rdn] for rdn in plan.subject.rdns],
        "sans": [[name.kind.value, name.value, _b64(name.der)] for name in plan.sans],
        "spki": _b64(plan.spki_der),
        "not_before": to_epoch_s(plan.not_before),
        "not_after": to_epoch_s(plan.not_after),
        "key_usage": list(plan.key_usage),
        "extended_key_usage": list(plan.extended_key_usage),
        "extensions": [[e.oid, e.critical, _b64(e.value_der)] for e in plan.extensions],
        "without": list(plan.without),
        "asked_dates": sorted(asked),
    }


def plan_from_json(stored: Mapping[str, Any]) -> CertificatePlan:
    """Raises ValueError if it was not made by ``plan_to_json`` of a known version."""
    if stored.get("plan_version") != VERSION:
        raise ValueError(f"a plan of version {stored.get('plan_version')} cannot be read by this release")
    return CertificatePlan(
        subject=DistinguishedName(
            tuple(tuple(AttributeTypeAndValue(*a) for a in rdn) for rdn in stored["subject"])
        ),
        sans=tuple(GeneralName(NameKind(kind), value, b64decode(der)) for kind, value, der in stored["sans"]),
        spki_der=b64decode(stored["spki"]),
        not_before=from_epoch_s(stored["not_before"]),
        not_after=from_epoch_s(stored["not_after"]),
        key_usage=tuple(stored["key_usage"]),
        extended_key_usage=tuple(stored["extended_key_usage"]),
        extensions=tuple(
            Extension(oid, critical, b64decode(der)) for oid, critical, der in stored["extensions"]
        ),
        without=tuple(stored.get("without", ())),  # plans of earlier releases have none
    )


def asked_dates_from_json(stored: Mapping[str, Any]) -> AskedDates:
    """The dates that the client named, of a plan in JSON."""
    return frozenset(map(str, stored.get("asked_dates", ())))


def _b64(value: bytes) -> str:
    return b64encode(value).decode()
