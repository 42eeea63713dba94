"""Compiled limits, and what of a request they are about: one use for each limit and thing that it counts by.

Pure: the windows themselves are read and reserved by ``gateway.enrolment.reserve``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.model.decision import ApprovalRule


class LimitScope(StrEnum):
    """What a limit counts by."""

    ACCOUNT = "account"
    CLIENT = "client"
    CREDENTIAL = "credential"
    SUBJECT = "subject"
    NAME = "name"
    REGISTERED_DOMAIN = "registered-domain"
    SOURCE_IP = "source-ip"
    POLICY = "policy"
    ENDPOINT = "endpoint"
    GLOBAL = "global"


ACTIVE_SCOPES = (LimitScope.NAME, LimitScope.SUBJECT, LimitScope.CLIENT)


# Of what goes over a limit with on_exceed: pend, where the policy has no approval of its own.
PEND_APPROVAL = ApprovalRule(required=1, expires_s=7 * 86_400, retry_after_s=60)


class OnExceed(StrEnum):
    """What becomes of a request beyond a limit."""

    DENY = "deny"
    PEND = "pend"
    REVOKE_OLDEST = "revoke-oldest"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """``most`` within ``window_s`` seconds; without a window so many active certificates.

    ``owner`` is the document that says it: requests under the limits of one document share its windows.
    Active certificates are counted whatever document asks.
    """

    per: LimitScope
    most: int
    window_s: int | None
    on_exceed: OnExceed
    owner: str
    rule: str
    text: str
    where: str = ""
