"""The decision: select a policy, judge the request by it, build what will be signed.

Pure and synchronous: times and facts come in. Nothing of a request reaches the plan unless a rule names it;
what no rule speaks for is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from gateway.model.decision import Allow, Decision, Deny, TraceStep
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import MTLS, RENEWAL_CERT, CredentialKind, Evidence
from gateway.model.keys import KeyToCome
from gateway.model.reasons import Reason, ReasonCode
from gateway.model.wanted import Wanted
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
