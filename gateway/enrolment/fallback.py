"""Which CA is asked next where one is known not to have acted (policy: ``issue: [{fallback: ...}]``).

One certificate comes of a request, whatever happens: another CA is asked only where the plug-in promises that
the order was not and will not be carried out, and no earlier send of it may have been either. The request is
that other CA's, durably, before it is asked; whoever takes over after a crash goes on with that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gateway.enrolment.backends import BackendSet
from gateway.enrolment.closing import Work
from gateway.enrolment.plan_json import NOT_AFTER, asked_dates_from_json, plan_to_json
from gateway.errors import BackendUnavailable, NotActed
from gateway.model.enrolment import CertificatePlan
from gateway.store.requests import RequestRow

Place = tuple[str, str | None]  # backend and profile


@dataclass(frozen=True, slots=True)
class StandIns:
    """All that a request may come to, the CA that policy chose first, and for which errors it goes on."""

    places: tuple[Place, ...]
    fallback_on: frozenset[str]


def stand_ins(row: RequestRow) -> StandIns | None:
    """As policy decided; None: there are none."""
    route: Any = (row.decision or {}).get("route")
    if not isinstance(route, Mapping) or not route.get("fallback"):
        return None
    first: Place = (str(route["backend"]), route.get("profile"))
    others: list[Place] = [(str(backend), profile) for backend, profile in route["fallback"]]
    return StandIns((first, *others), frozenset(map(str, route.get("fallback_on", ()))))


def falls_back(row: RequestRow, error: BackendUnavailable) -> bool:
    """Whether another CA may be asked after this error."""
    found = stand_ins(row)
    return found is not None and error.not_acted is not None and error.not_acted.value in found.fallback_on


def before_any_order(error: BackendUnavailable, why: NotActed = NotActed.CONNECT_ERROR) -> BackendUnavailable:
    """The same fault of a call that asked for no certificate, or of a CA in this process: nobody acted."""
    if error.not_acted is not None:
        return error
    return BackendUnavailable(
        str(error), retry_after_s=error.retry_after_s, detail=error.detail, not_acted=why
    )


async def next_work(work: Work, error: BackendUnavailable, backends: BackendSet) -> Work | None:
    """The request as the next CA's that can be asked; None: there is none.

    A CA that is not open here, whose own end is not known or lies before what the client asked for, or that
    would need a CSR that there is none of, is passed over.
    """
    found, row = stand_ins(work.row), work.row
    if found is None or not falls_back(row, error):
        return None
    here = (row.backend or "", row.profile)
    behind = found.places[found.places.index(here) + 1 :] if here in found.places else ()
    for backend, profile in behind:
        plan = await _plan_for(work, backend, profile, backends)
        if plan is not None:
            row = replace(
                row,
                backend=backend,
                profile=profile,
                ca_handle=None,
                plan=plan_to_json(plan, asked_dates_from_json(row.plan or {})),
                decision=_noted(row, error, backend),
            )
            return replace(work, row=row, plan=plan)
    return None


def first_place(row: RequestRow) -> dict[str, Any]:
    """The columns of a request that is to begin anew with the CA that policy chose."""
    found = stand_ins(row)
    if found is None:
        return {}
    backend, profile = found.places[0]
    return {"backend": backend, "profile": profile}


async def bounded(work: Work, backends: BackendSet) -> CertificatePlan | None:
    """The plan, not beyond the end of the CA that is to sign it; None: the client asked for what lies beyond.

    Raises BackendUnavailable.
    """
    row = work.row
    issuer = await backends.issuer(row.backend or "", row.profile)
    return _within(work, issuer.not_after)


async def _plan_for(
    work: Work, backend: str, profile: str | None, backends: BackendSet
) -> CertificatePlan | None:
    try:
        if backends.get(backend).needs_csr and work.row.csr_der is None:
            return None
        issuer = await backends.issuer(backend, profile)
    except BackendUnavailable:
        return None
    return _within(work, issuer.not_after)


def _within(work: Work, end: datetime) -> CertificatePlan | None:
    plan = work.plan
    if plan.not_after <= end:
        return plan
    if NOT_AFTER in asked_dates_from_json(work.row.plan or {}) or end <= plan.not_before:
        return None
    return replace(plan, not_after=end)


def _noted(row: RequestRow, error: BackendUnavailable, backend: str) -> dict[str, object]:
    """The decision with one more line in its trace."""
    decision = dict(row.decision or {})
    trace: Any = decision.get("trace", ())
    chosen: Mapping[str, object] = next((step for step in reversed(trace) if step.get("step") == "route"), {})
    why = error.not_acted.value if error.not_acted is not None else ""
    step = {
        **chosen,
        "step": "route",
        "verdict": "chosen",
        "message": f"backend {backend}, since {row.backend} did not act ({why})",
    }
    return {**decision, "trace": [*trace, step]}
