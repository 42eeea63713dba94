"""What waiting does to a granted request: when its certificate begins and ends, and whether it may still be.

An end that policy set moves on with the wait. One that the client asked for stays as it is, or the request is
refused (RFC 8555 section 7.4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.enrolment.plan_json import NOT_AFTER, NOT_BEFORE, AskedDates
from gateway.model.enrolment import CertificatePlan
from gateway.model.evidence import ACME_EAB
from gateway.model.reasons import Reason, ReasonCode
from gateway.store.credentials import CredentialRow

LEAST_LIFE = timedelta(minutes=1)  # of a certificate whose end the client named
_ACCOUNT_RULE = "external-account"
_STORED_RULE = "stored-credential"


def stored_reasons(found: Iterable[CredentialRow | None], now: datetime) -> tuple[Reason, ...]:
    """Why the stored credentials behind a request stand behind it no longer; None is one that is gone.

    What was not sent to a CA before a credential was revoked is never sent: whoever approves later does so in
    vain. That one expired or was used up meanwhile is no matter: it says until when, and how often, a request
    may begin, and a challenge of one hour would else always be too short for an approval of one day. An
    external account is the exception, since its end is the end of the accounts that are bound to it.
    """
    for row in found:
        if row is None or row.revoked_at is not None:
            return (_withdrawn(row),)
        if row.kind == ACME_EAB and row.expires_at is not None and row.expires_at <= now:
            text = (
                f"the external account {row.name!r} behind this request expired at "
                f"{row.expires_at:%Y-%m-%d %H:%M}Z, while it waited; ask for a new one and open a new "
                "account"
            )
            return (Reason(ReasonCode.AUTH_ACCOUNT, text, "credential", rule=_ACCOUNT_RULE),)
    return ()


def _withdrawn(row: CredentialRow | None) -> Reason:
    if row is not None and row.kind == ACME_EAB:
        text = "the external account behind this request was revoked while it waited"
        return Reason(ReasonCode.AUTH_ACCOUNT, text, "credential", rule=_ACCOUNT_RULE)
    text = "the credential behind this request was revoked while it waited; ask again with a new one"
    return Reason(ReasonCode.AUTH_FAILED, text, "credential", rule=_STORED_RULE)


def shifted(
    plan: CertificatePlan, asked: AskedDates, decided_at: datetime, now: datetime, latest: datetime | None
) -> CertificatePlan:
    """The plan with those of its dates moved that policy set, and not beyond ``latest``, the issuer's end.

    The certificate lives as long as it was decided on, counted from now or from the begin that was asked for.
    """
    waited = timedelta(seconds=int((now - decided_at).total_seconds()))
    not_before, not_after = plan.not_before, plan.not_after
    if NOT_BEFORE not in asked:
        not_before += waited
    if NOT_AFTER not in asked:
        life = plan.not_after - max(plan.not_before, decided_at)
        not_after = max(not_before, decided_at + waited) + life
        not_after = min(not_after, latest) if latest is not None else not_after
    return replace(plan, not_before=not_before, not_after=not_after)


def date_reasons(
    plan: CertificatePlan, asked: AskedDates, now: datetime, latest: datetime | None
) -> tuple[Reason, ...]:
    """Why it is too late for the plan's dates. ``latest``: the issuer's own end, None if it is not known."""
    end = f"{plan.not_after:%Y-%m-%dT%H:%M:%SZ}"
    if NOT_AFTER not in asked:
        if plan.not_after > max(plan.not_before, now):
            return ()
        text = f"its certificate would have to end at {end}, since the request waited too long; ask again"
    elif plan.not_after - now < LEAST_LIFE:
        text = f"the requested notAfter, {end}, is past or less than a minute away; ask for a later one"
    elif latest is not None and plan.not_after > latest:
        text = (
            f"the requested notAfter, {end}, lies after the end of the issuing CA's own certificate, "
            f"{latest:%Y-%m-%dT%H:%M:%SZ}; ask for an earlier one"
        )
    elif plan.not_after <= plan.not_before:
        text = f"the requested notAfter, {end}, does not lie after the begin; ask for a later one"
    else:
        return ()
    return (Reason(ReasonCode.VALIDITY, text, "not_after", rule="validity"),)
