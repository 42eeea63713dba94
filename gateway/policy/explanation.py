"""A decision on a request that somebody describes, made of facts, a real CSR and a real certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.model.enrolment import EnrolmentRequest, Operation, RequestedIdentity
from gateway.model.reasons import Reason
from gateway.pki.certificate import parse_certificate
from gateway.pki.csr import ParsedCsr, parse_csr, verify_possession
from gateway.policy.registry import Registry
from gateway.policy.rules import AdmissionPolicy, Bundle
from gateway.policy.sample_credentials import kinds_of
from gateway.policy.sample_documents import SampleClient, SampleRequest
from gateway.policy.sample_request import Given, make_trial
from gateway.policy.selection import accepted_kinds
from gateway.policy.trial import Trial, Tried, decide


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with what it was made of. ``on_the_wire``: a refusal in the words of its protocol."""

    trial: Trial
    tried: Tried
    on_the_wire: Mapping[str, str]


def explain(
    bundle: Bundle,
    registry: Registry,
    sample: SampleRequest,
    *,
    csr_der: bytes | None = None,
    certificate_der: bytes | None = None,
) -> Explanation:
    """Decide on a sample; a CSR replaces its names and key, a certificate its client.

    Raises MalformedMessage where one of them cannot be read, or the CSR's signature is wrong.
    """
    given = Given(certificate_der=certificate_der)
    if csr_der is not None:
        given = _with_csr(given, parse_csr(csr_der))
    if certificate_der is not None:
        parse_certificate(certificate_der)
        if sample.client is None:
            sample = sample.model_copy(update={"client": SampleClient.model_validate({})})
    trial = make_trial(sample, _nearest(bundle, sample), given)
    return explained(bundle, registry, trial)


def explained(bundle: Bundle, registry: Registry, trial: Trial) -> Explanation:
    """Decide on a trial that is ready."""
    tried = decide(bundle, trial)
    return Explanation(trial, tried, on_the_wire(bundle, registry, trial.request, tried))


def on_the_wire(
    bundle: Bundle, registry: Registry, request: EnrolmentRequest, tried: Tried
) -> Mapping[str, str]:
    """What a client hears of a refusal; nothing where its protocol does not say, or nothing is refused."""
    reasons: tuple[Reason, ...] = getattr(tried.decision, "reasons", ())
    words = registry.refusal_words.get(request.protocol)
    if words is None or not reasons:
        return {}
    accepts = accepted_kinds(bundle, request.protocol, request.endpoint, request.operation)
    return words(reasons, accepts=accepts, names_only=tried.names_refused)


def _nearest(bundle: Bundle, sample: SampleRequest) -> AdmissionPolicy:
    """The policy whose match says what the sample does not: the first one that fits what it says."""
    protocol, endpoint = sample.protocol, sample.endpoint
    fitting = [
        policy
        for policy in bundle.policies
        if (protocol is None or policy.protocol == protocol)
        and (endpoint is None or endpoint in policy.endpoints)
        and (sample.operation is None or Operation(sample.operation) in policy.operations)
        and (sample.profile is None or sample.profile in policy.profiles or not policy.profiles)
    ]
    for policy in fitting:
        operation = Operation(sample.operation) if sample.operation else min(policy.operations)
        said = kinds_of(sample, policy, operation)
        if not policy.auth.isdisjoint(said):
            return policy
    # Nothing fits: the selection will say so, whatever the rest of the request is like.
    of_protocol = (policy for policy in bundle.policies if policy.protocol == protocol)
    return next(iter(fitting or of_protocol), bundle.policies[0])


def _with_csr(given: Given, csr: ParsedCsr) -> Given:
    """Names and key of a real CSR (with RFC 6402's ChangeSubjectName); its signature must be right."""
    key = verify_possession(csr)
    subject, sans = csr.identity.subject, csr.identity.sans
    if csr.change_subject_name is not None:
        changed = csr.change_subject_name
        subject = changed.subject if changed.subject is not None else subject
        sans = changed.sans or sans
    identity = RequestedIdentity(subject, sans, csr.identity.extensions, csr.identity.attributes)
    return replace(given, identity=identity, key=key, csr_der=csr.csr_der)
