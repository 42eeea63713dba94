"""Policy sources to a bundle: read, validate, cross-check, compile. Every mistake is reported at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import TypeGuard

from pydantic import BaseModel

from gateway.errors import ConfigurationError
from gateway.policy.bundle_draft import BundleDraft, ReadDocument
from gateway.policy.compile import compile_policy, compile_revocation
from gateway.policy.compile_guardrail import compile_guardrail, guardrails_by_place
from gateway.policy.compile_match import overlap
from gateway.policy.complaints import Path, did_you_mean
from gateway.policy.document import (
    Backend,
    Compat,
    Endpoint,
    Policy,
    RevocationPolicy,
    TrustStore,
)
from gateway.policy.embedded_tests import TestResult, run_tests
from gateway.policy.extends import check_template
from gateway.policy.guardrail_documents import Guardrail
from gateway.policy.list_documents import List, compile_list
from gateway.policy.policy_template import PolicyTemplate
from gateway.policy.read_bundle import read_all
from gateway.policy.references import (
    check_asked_lists,
    check_binding,
    check_default_profiles,
    check_guardrail,
    check_lists,
    check_profiles,
    check_protocol,
    check_references,
    refer,
)
from gateway.policy.registry import Registry
from gateway.policy.requirement_references import check_requirements
from gateway.policy.rules import (
    AdmissionPolicy,
    Bundle,
    CompiledBackend,
    CompiledCompat,
    CompiledEndpoint,
    CompiledPolicy,
)
from gateway.policy.selection_table import tables
from gateway.policy.sources import (
    FileReader,
    ListReader,
    PolicySource,
    read_beside,
    read_directory,
    read_list_beside,
)
from gateway.policy.trust import certificate_pem, compile_trust_store
from gateway.policy.yaml_marks import MAX_COMPLAINTS, ComplaintList, Document, validate

__all__ = ["Bundle", "PolicySource", "Registry", "load_bundle", "read_directory"]


def load_bundle(
    sources: Sequence[PolicySource],
    registry: Registry,
    read_file: FileReader = read_beside,
    read_list: ListReader = read_list_beside,
) -> Bundle:
    """Make a bundle of all documents. ``read_file`` gives the files that trust stores name, ``read_list``
    those of lists.

    Raises ConfigurationError with one line for every mistake: ``file:line:column: path: what is wrong; what
    would be right``. A test in a policy that fails is a mistake too.
    """
    bundle, results = load_with_tests(sources, registry, read_file, read_list)
    failed = ComplaintList()
    for result in results:
        for difference in result.differences:
            text = f"test {result.name!r}: {difference.text}"
            failed.add(result.document, (*result.path, *difference.at), text)
    failed.raise_if_any(MAX_COMPLAINTS)
    return bundle


def load_with_tests(
    sources: Sequence[PolicySource],
    registry: Registry,
    read_file: FileReader = read_beside,
    read_list: ListReader = read_list_beside,
) -> tuple[Bundle, tuple[TestResult, ...]]:
    """As ``load_bundle``, with what came of every test that stands in a policy. Failed ones are no mistake.

    Raises ConfigurationError.
    """
    draft = BundleDraft(registry, read_file, read_list)
    read_all(draft, sources)
    for one in draft.read:
        _compile_one(draft, one)
    _compile_policies(draft)
    check_profiles(draft)
    check_default_profiles(draft)
    draft.found.raise_if_any(MAX_COMPLAINTS)
    if not draft.policies:
        name = sources[0].name if sources else "policies"
        raise ConfigurationError(f"{name}:1:1: there is no Policy, so nothing would be issued; write one")
    bundle = _bundle(draft)
    tests = (
        (one.model.metadata.name, one.model.tests, one.document)
        for one in draft.read
        if isinstance(one.model, Policy | RevocationPolicy)
    )
    return bundle, run_tests(bundle, registry, tests)


def _compile_one(draft: BundleDraft, one: ReadDocument) -> None:
    model = one.model
    if isinstance(model, Endpoint):
        _compile_endpoint(draft, model, one.document)
    elif isinstance(model, Backend):
        options = _options(draft, one.document, model.type, draft.registry.backend_options, ("type",))
        draft.backends[model.metadata.name] = CompiledBackend(model.metadata.name, model.type, options)
    elif isinstance(model, TrustStore):
        for index, name in enumerate(model.backends):
            refer(draft, one.document, ("backends", index), "Backend", name)
        for index, protocol in enumerate(model.protocols):
            check_protocol(draft, one.document, ("protocols", index), protocol)
        store = compile_trust_store(model, one.document, one.source, draft.read_file, draft.found)
        draft.trust_stores[model.metadata.name] = store
    elif isinstance(model, List):
        compiled = compile_list(model, one.document, one.source, draft.read_list, draft.found)
        draft.lists[model.metadata.name] = compiled
    elif isinstance(model, Guardrail):
        check_guardrail(draft, model, one.document)
        compiled_guardrail = compile_guardrail(model, one.document, draft.found)
        check_asked_lists(draft, compiled_guardrail, one.document)
        draft.guardrails.append(compiled_guardrail)
    elif isinstance(model, PolicyTemplate):
        check_template(one.document, draft.found)
    elif isinstance(model, Compat):
        _compile_compat(draft, model, one.document)


def _compile_endpoint(draft: BundleDraft, endpoint: Endpoint, document: Document) -> None:
    """``ca`` is checked later, when every backend's options are known."""
    name, protocol = endpoint.metadata.name, endpoint.protocol
    options = _options(draft, document, protocol, draft.registry.endpoint_options, ("protocol",))
    if name in draft.registry.reserved_endpoint_names.get(protocol, frozenset()):
        text = (
            f"{name!r} is a word of the protocol {protocol} and cannot name an endpoint; choose another name"
        )
        draft.found.add(document, ("metadata", "name"), text)
    refer(draft, document, ("backend",), "Backend", endpoint.backend)
    draft.endpoints[protocol, name] = CompiledEndpoint(
        name,
        protocol,
        endpoint.backend,
        options,
        int(endpoint.grace.total_seconds()),
        endpoint.ca,
        endpoint.metadata.labels,
    )


def _compile_compat(draft: BundleDraft, compat: Compat, document: Document) -> None:
    protocol, models = compat.protocol, draft.registry.compat_models
    model = models.get(protocol)
    if model is None:
        text = (
            f"no installed plug-in takes habits of clients of {protocol!r}; {did_you_mean(protocol, models)}"
        )
        draft.found.add(document, ("protocol",), text)
        return
    try:
        settings = validate(model, document, without=frozenset(Compat.model_fields))
    except ConfigurationError as error:
        draft.found.take(error)
        return
    name, where = compat.metadata.name, document.where()
    for other in draft.compatibility:
        if (other.protocol, other.priority) == (protocol, compat.priority):
            text = f"{other.name!r} at {other.where} has the same priority; give one of them another number"
            draft.found.add(document, ("priority",), text)
    draft.compatibility.append(CompiledCompat(name, protocol, compat.priority, settings, where))


def _options(
    draft: BundleDraft, document: Document, word: str, known: Iterable[str], path: Path
) -> BaseModel | None:
    models = draft.registry.endpoint_options if path == ("protocol",) else draft.registry.backend_options
    if word not in models:
        what = "protocol" if path == ("protocol",) else "type of CA"
        draft.found.add(
            document, path, f"no installed plug-in brings the {what} {word!r}; {did_you_mean(word, known)}"
        )
        return None
    try:
        return validate(models[word], document, at=("options",))
    except ConfigurationError as error:
        draft.found.take(error)
        return None


def _compile_policies(draft: BundleDraft) -> None:
    compiled: list[tuple[AdmissionPolicy, Document]] = []
    for one in draft.read:
        model, document = one.model, one.document
        if not isinstance(model, Policy | RevocationPolicy):
            continue
        check_references(draft, model, document)
        check_requirements(draft, model, document)
        endpoints = draft.endpoint_labels(model.match.protocol)
        if isinstance(model, RevocationPolicy):
            compiled.append((compile_revocation(model, document, endpoints, draft.found), document))
            continue
        policy = compile_policy(model, document, endpoints, draft.found, lab=draft.registry.lab)
        check_binding(draft, policy, document)
        check_lists(draft, policy, document)
        compiled.append((policy, document))
    for (one_policy, _), (other, document) in combinations(compiled, 2):
        if is_shadow(one_policy) is not is_shadow(other):
            continue  # what decides and what is on trial are looked for apart from each other
        if one_policy.priority == other.priority and overlap(one_policy, other):
            text = (
                f"the policy {one_policy.name!r} at {one_policy.where} has the same priority "
                f"{other.priority}, and some requests fit both; give one of them another number"
            )
            draft.found.add(document, ("priority",), text)
    ordered = [policy for policy, _ in sorted(compiled, key=lambda pair: pair[0].priority)]
    draft.policies = [policy for policy in ordered if not is_shadow(policy)]
    draft.shadows = [policy for policy in ordered if is_shadow(policy)]


def is_shadow(policy: AdmissionPolicy) -> TypeGuard[CompiledPolicy]:
    """Whether it is on trial and decides nothing."""
    return isinstance(policy, CompiledPolicy) and policy.shadow


def _bundle(draft: BundleDraft) -> Bundle:
    documents_json = _canonical(draft)
    issuing = [policy for policy in draft.policies if isinstance(policy, CompiledPolicy)]
    revoking = [policy for policy in draft.policies if not isinstance(policy, CompiledPolicy)]
    habits = sorted(draft.compatibility, key=lambda compat: compat.priority)
    return Bundle(
        sha256=hashlib.sha256(documents_json.encode()).hexdigest(),
        endpoints=draft.endpoints,
        backends=draft.backends,
        trust_stores=draft.trust_stores,
        policies=tuple(draft.policies),
        documents_json=documents_json,
        tables=tables(issuing),
        revocation={(protocol, name): table for (protocol, name, _), table in tables(revoking).items()},
        compatibility={
            protocol: tuple(one for one in habits if one.protocol == protocol)
            for protocol in {one.protocol for one in habits}
        },
        lists=draft.lists,
        shadows=tuple(draft.shadows),
        shadow_tables=tables(draft.shadows),
        guardrails=tuple(draft.guardrails),
        guardrail_places=guardrails_by_place(draft.guardrails, draft.endpoints),
    )


def _canonical(draft: BundleDraft) -> str:
    """All documents as JSON with sorted keys, ordered by kind and name, files written out.

    So the bundle's name depends on what it says alone, not on file names, order, comments or layout.
    """
    documents = []
    for one in sorted(draft.read, key=lambda read: read.key):
        value = dict(one.written) if isinstance(one.written, dict) else {}
        if isinstance(one.model, TrustStore):
            value.pop("files", None)
            certificates = draft.trust_stores[one.model.metadata.name].certificates_der
            value["certificates"] = [certificate_pem(certificate_der) for certificate_der in certificates]
        documents.append(value)
    return json.dumps(documents, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
