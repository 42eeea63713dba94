"""What the policy of an issued certificate says of its renewal, to be told to clients (RFC 9773)."""

from __future__ import annotations

from gateway.model.certificate import CertificateRecord
from gateway.model.renewal_advice import RenewalAdvice
from gateway.policy.renewal_check import window_opens
from gateway.policy.rules import Bundle, CompiledPolicy


def renewal_advice(bundle: Bundle, record: CertificateRecord) -> RenewalAdvice:
    """As the policy of that name says now, whatever it said at the time; nothing if it is gone."""
    for policy in bundle.policies:
        if policy.name == record.policy and isinstance(policy, CompiledPolicy):
            opens_at = window_opens(policy.renewal, record.not_before, record.not_after)
            return RenewalAdvice(opens_at, offered=policy.renewal.ari)
    return RenewalAdvice()
