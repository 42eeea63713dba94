"""The decision: select a policy, judge the request by it, build what will be signed.

Pure and synchronous: times and facts come in. Nothing of a request reaches the plan unless a rule names it;
what no rule speaks for is refused.
"""

from __future__ import annotations

from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.rules import (
    AuthenticationRule,
    BasicRule,
    Bundle,
    CertificateRule,
    CompiledPolicy,
    PopLinking,
    Require,
)
from gateway.policy.selection import NotSelected, Selected

__all__ = [
    "AuthenticationRule",
    "BasicRule",
    "Bundle",
    "CertificateRule",
    "CompiledPolicy",
    "Facts",
    "NotSelected",
    "PopLinking",
    "PreviousCertificate",
    "Require",
    "Selected",
]
