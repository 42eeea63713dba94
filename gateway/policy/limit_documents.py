"""``limits`` of a Policy or Guardrail document: how many certificates, by whom and for what.

``count`` within ``window``: a sliding window over what was granted. ``active``: certificates that are neither
expired nor revoked. Those of a Guardrail count whatever goes by one of the protocols and endpoints that it
holds for, whichever policy grants it: ``gateway.enrolment.reserve`` asks ``Bundle.guardrails_at``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from gateway.policy.complaints import Misfit, Path, did_you_mean
from gateway.policy.limit_rules import ACTIVE_SCOPES, LimitRule, LimitScope, OnExceed
from gateway.policy.name_documents import StrictModel
from gateway.policy.terms import Duration, duration_text

MAX_COUNT = 10_000_000
MAX_ACTIVE = 1000
_LONGEST = timedelta(days=366)


class LimitRules(StrictModel):
    """One limit: ``count`` within ``window``, or ``active``."""

    per: LimitScope = Field(
        description="What is counted by: account (ACME), client (who asks; a certificate by its subject), "
        "credential (the stored one), subject, name (each alternative name), registered-domain, source-ip "
        "(IPv6 by /64), policy, endpoint or global"
    )
    count: int | None = Field(
        None, ge=1, le=MAX_COUNT, description="So many requests may be granted within the window"
    )
    window: Duration | None = Field(None, description="The time that `count` is about, such as 3h")
    active: int | None = Field(
        None,
        ge=1,
        le=MAX_ACTIVE,
        description="So many certificates may be neither expired nor revoked, without the one that is being "
        "renewed. By client, subject or name",
    )
    on_exceed: OnExceed = Field(
        OnExceed.DENY,
        description="deny, pend (people must approve), or with `active` revoke-oldest",
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> LimitRules:
        if (self.count is None) == (self.active is None):
            raise Misfit("write either count with window, or active")
        if self.count is not None and self.window is None:
            raise Misfit("the key 'window' is missing; add one, such as window: 3h")
        if self.window is not None:
            if self.active is not None:
                raise Misfit("'window' belongs to count; remove it", ("window",))
            if not timedelta(seconds=1) <= self.window <= _LONGEST:
                raise Misfit("write a window from 1s to 366d", ("window",))
        if self.active is not None and self.per not in ACTIVE_SCOPES:
            raise Misfit(
                f"active certificates are not counted by {str(self.per)!r}; "
                f"{did_you_mean(self.per, [str(one) for one in ACTIVE_SCOPES])}",
                ("per",),
            )
        if self.on_exceed is OnExceed.REVOKE_OLDEST and self.active is None:
            raise Misfit(
                "only an `active` limit has an oldest one to revoke; write deny or pend", ("on_exceed",)
            )
        return self


Limits = Annotated[tuple[LimitRules, ...], Field(max_length=50)]


def check_limits(limits: Sequence[LimitRules], *, accounts: bool) -> None:
    """Refuse, for a Policy, limits by what its requests never have. Raises Misfit."""
    for index, limit in enumerate(limits):
        if limit.per is LimitScope.ACCOUNT and not accounts:
            raise Misfit(
                "only ACME has accounts, and acme-account is not under authenticate; write client",
                ("limits", index, "per"),
            )


def compile_limits(
    limits: Sequence[LimitRules], owner: str, where: Callable[[Path], str]
) -> tuple[LimitRule, ...]:
    """``owner`` names the document (``policy:NAME`` or ``guardrail:NAME``): its windows are its own.
    ``where`` tells the place of a path in it."""
    return tuple(
        LimitRule(
            per=limit.per,
            most=limit.count if limit.count is not None else limit.active or 0,
            window_s=int(limit.window.total_seconds()) if limit.window is not None else None,
            on_exceed=limit.on_exceed,
            owner=owner,
            rule=f"{owner.partition(':')[2]}.limits[{index}]",
            text=_text(limit),
            where=where(("limits", index)),
        )
        for index, limit in enumerate(limits)
    )


def _text(limit: LimitRules) -> str:
    if limit.window is not None:
        return f"{limit.count} within {duration_text(limit.window)} per {limit.per}"
    return f"{limit.active} active per {limit.per}"
