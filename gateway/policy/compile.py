"""Policy documents to compiled rules; texts for messages are made here, once."""

from __future__ import annotations

from gateway.model.decision import TraceStep
from gateway.model.enrolment import Operation
from gateway.policy.compile_authentication import compile_authentication
from gateway.policy.compile_conditions import compile_conditions
from gateway.policy.compile_content import (
    compile_extensions,
    compile_keys,
    compile_renewal,
    compile_validity,
)
from gateway.policy.compile_match import EndpointLabels, compile_match
from gateway.policy.compile_names import compile_names
from gateway.policy.document import Policy, RevocationPolicy
from gateway.policy.limit_documents import compile_limits
from gateway.policy.match_documents import Match
from gateway.policy.rules import (
    AdmissionPolicy,
    CompiledPolicy,
)
from gateway.policy.yaml_marks import ComplaintList, Document


def compile_policy(
    policy: Policy, document: Document, endpoints: EndpointLabels, found: ComplaintList, *, lab: bool
) -> CompiledPolicy:
    """Make the form that the engine uses. ``endpoints``: all endpoints of the policy's protocol.

    What only shows when the parts are put together goes into ``found``.
    """
    name, where = policy.metadata.name, document.where()
    authenticate = compile_authentication(policy.authenticate, document)
    keys = compile_keys(policy.keys, policy.match.protocol, document)
    cases = compile_match(policy.match, authenticate.kinds, endpoints, document, found)
    return CompiledPolicy(
        name=name,
        where=where,
        priority=policy.priority,
        protocol=policy.match.protocol,
        endpoints=frozenset().union(*(case.endpoints for case in cases)),
        operations=frozenset().union(*(case.operations for case in cases)),
        cases=cases,
        authenticate=authenticate,
        keys=keys,
        names=compile_names(policy.names, document, lab=lab),
        extensions=compile_extensions(policy.extensions, keys, document, found),
        validity=compile_validity(policy.validity, document),
        renewal=compile_renewal(policy.renewal, document),
        limits=compile_limits(policy.limits, f"policy:{name}", document.where),
        conditions=compile_conditions(policy, document, found),
        chosen_step=_chosen_step(policy, document),
        description=policy.metadata.description,
        shadow=policy.mode == "shadow",
    )


def compile_revocation(
    policy: RevocationPolicy, document: Document, endpoints: EndpointLabels, found: ComplaintList
) -> AdmissionPolicy:
    """Make the form that the engine uses. ``endpoints``: all endpoints of the policy's protocol."""
    authenticate = compile_authentication(policy.authenticate, document)
    cases = compile_match(policy.match, authenticate.kinds, endpoints, document, found)
    return AdmissionPolicy(
        name=policy.metadata.name,
        where=document.where(),
        priority=policy.priority,
        protocol=policy.match.protocol,
        endpoints=frozenset().union(*(case.endpoints for case in cases)),
        operations=frozenset({Operation.REVOKE}),
        cases=cases,
        authenticate=authenticate,
        chosen_step=_chosen_step(policy, document),
    )


def _chosen_step(policy: Policy | RevocationPolicy, document: Document) -> TraceStep:
    match = policy.match
    operations = match.operations if isinstance(match, Match) else match.operation
    words = f"{match.protocol} {'/'.join(match.endpoint) or 'any endpoint'} {'/'.join(operations)}"
    text = f"{words}, priority {policy.priority}"
    return TraceStep("select", policy.metadata.name, "chosen", text, document.where())
