"""Holds a renewal against the certificate that it renews (RFC 7030 section 4.2.2)."""

from __future__ import annotations

from datetime import datetime

from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.keys import ClientKey
from gateway.model.names import DistinguishedName, GeneralName
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.names import names_match, san_sets_match
from gateway.policy.content_rules import NewKey, RenewalRule
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.rules import CompiledPolicy, SubjectForm

RENEWING = frozenset({Operation.RENEW, Operation.REKEY})
PlannedNames = tuple[DistinguishedName, tuple[GeneralName, ...]]


def renewal_reasons(
    policy: CompiledPolicy,
    request: EnrolmentRequest,
    facts: Facts,
    names: PlannedNames | None,
    *,
    proven: bool,
) -> list[Reason]:
    """Everything that is wrong with a renewal. ``names``: those of the plan, None where they are refused.

    ``proven``: the renewed certificate is itself the verified credential. Then the policy's trust store has
    decided, and it may name another CA, whose devices are taken over. Otherwise it must be one of ours.
    """
    previous = facts.previous
    if previous is None or not (proven or previous.issued_here):
        text = "the certificate that is to be renewed was not issued here; enrol for a first one instead"
        return [_reason(policy, ReasonCode.RENEWAL_NOT_OURS, text, "renews")]
    found = []
    opens = window_opens(policy.renewal, previous.not_before, previous.not_after)
    if opens is not None and facts.now < opens:
        text = f"it is too early to renew; this is possible from {opens:%Y-%m-%dT%H:%M:%SZ} on"
        found.append(_reason(policy, ReasonCode.RENEWAL_WINDOW, text, "renews", "window"))
    if names is not None:
        found += _name_reasons(policy, request, previous, *names)
    if isinstance(request.key, ClientKey):
        found += _key_reasons(policy, request, request.key, previous)
    return found


def window_opens(rule: RenewalRule, not_before: datetime, not_after: datetime) -> datetime | None:
    """From when on a certificate with this life may be renewed; None: at any time."""
    if rule.window is not None:
        return not_after - rule.window
    if rule.window_percent is not None:
        return not_after - (not_after - not_before) * rule.window_percent / 100
    return None


def _name_reasons(
    policy: CompiledPolicy,
    request: EnrolmentRequest,
    previous: PreviousCertificate,
    subject: DistinguishedName,
    sans: tuple[GeneralName, ...],
) -> list[Reason]:
    found = []
    code = ReasonCode.RENEWAL_NAMES_DIFFER
    asked = request.identity.sans or policy.renewal.copy_missing_san
    if previous.sans and not asked and not san_sets_match(sans, previous.sans):
        text = "the CSR has no alternative names, but the certificate to renew has; ask for the same ones"
        found.append(_reason(policy, code, text, "identity.sans", "missing_san"))
    elif policy.renewal.deny_name_change and not san_sets_match(sans, previous.sans):
        text = f"the alternative names differ from those of the certificate to renew: {_texts(previous.sans)}"
        found.append(_reason(policy, code, text, "identity.sans", "name_change"))
    if policy.names.subject is SubjectForm.KEEP_FROM_PREVIOUS:
        # What is kept is the old subject, whatever is asked for; but then nothing else may be asked for.
        subject = request.identity.subject or previous.subject
        differs = not names_match(subject, previous.subject)
    else:
        differs = policy.renewal.deny_name_change and not names_match(subject, previous.subject)
    if differs:
        text = f"the subject {subject} differs from that of the certificate to renew, {previous.subject}"
        found.append(_reason(policy, code, text, "identity.subject", "name_change"))
    return found


def _key_reasons(
    policy: CompiledPolicy, request: EnrolmentRequest, key: ClientKey, previous: PreviousCertificate
) -> list[Reason]:
    same = key.public_key.spki_sha256 == previous.spki_sha256
    if same is not (request.operation is Operation.RENEW):
        # A front end that names the operation wrongly must not lead to another policy's rules.
        text = (
            f"the operation is {request.operation}, but the key {'is the same' if same else 'is another one'}"
        )
        return [_reason(policy, ReasonCode.POLICY_UNACCOUNTED, text, "key")]
    if same and policy.renewal.new_key is NewKey.REQUIRED:
        text = "a renewal needs a new key here; make a new key pair"
        return [_reason(policy, ReasonCode.KEY_REUSE, text, "key", "new_key")]
    if not same and policy.renewal.new_key is NewKey.FORBIDDEN:
        text = "a renewal must keep its key here; sign the CSR with the key of the certificate to renew"
        return [_reason(policy, ReasonCode.KEY_REUSE, text, "key", "new_key")]
    return []


def _texts(sans: tuple[GeneralName, ...]) -> str:
    return ", ".join(str(name) for name in sans[:20]) or "none"


def _reason(policy: CompiledPolicy, code: ReasonCode, text: str, path: str, key: str = "") -> Reason:
    rule = f"{policy.name}.renewal.{key}" if key else f"{policy.name}.renewal"
    return Reason(code, text, path, rule, policy.renewal.where)
