"""Policy sources to a bundle: read, validate, cross-check, compile. Every mistake is reported at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from pydantic import BaseModel

from gateway.errors import ConfigurationError
from gateway.model.enrolment import Operation
from gateway.policy.compile import compile_policy, compile_revocation, overlap
from gateway.policy.complaints import Path, Value, did_you_mean
from gateway.policy.document import (
    DOCUMENT_KINDS,
    PLANNED_KINDS,
    AnyDocument,
    Backend,
    Compat,
    Endpoint,
    Policy,
    RevocationPolicy,
    TrustStore,
    policy_model,
)
from gateway.policy.registry import Registry
from gateway.policy.rules import (
    AdmissionPolicy,
    Bundle,
    CompiledBackend,
    CompiledCompat,
    CompiledEndpoint,
    CompiledPolicy,
    CompiledTrustStore,
)
from gateway.policy.sources import FileReader, PolicySource, read_beside, read_directory
from gateway.policy.trust import certificate_pem, compile_trust_store
from gateway.policy.yaml_marks import MAX_COMPLAINTS, ComplaintList, Document, read_documents, validate

__all__ = ["Bundle", "PolicySource", "Registry", "load_bundle", "read_directory"]

DEFAULT_ENDPOINT = "default"


@dataclass(frozen=True, slots=True)
class _Read:
    """A document of a known kind, as a model and as it was written."""

    model: AnyDocument
    document: Document
    source: PolicySource

    @property
    def key(self) -> tuple[str, str, str]:
        """What must be unique: the name of an endpoint or of habits within their protocol, any other name
        within its kind."""
        protocol = self.model.protocol if isinstance(self.model, Endpoint | Compat) else ""
        return self.model.kind, protocol, self.model.metadata.name


@dataclass(slots=True)
class _Loader:
    registry: Registry
    read_file: FileReader
    found: ComplaintList = field(default_factory=ComplaintList)
    read: list[_Read] = field(default_factory=list)
    endpoints: dict[tuple[str, str], CompiledEndpoint] = field(default_factory=dict)
    backends: dict[str, CompiledBackend] = field(default_factory=dict)
    trust_stores: dict[str, CompiledTrustStore] = field(default_factory=dict)
    policies: list[AdmissionPolicy] = field(default_factory=list)
    compatibility: list[CompiledCompat] = field(default_factory=list)
    declared: set[tuple[str, str, str]] = field(default_factory=set)
    unreadable: bool = False

    def names(self, kind: str, protocol: str = "") -> list[str]:
        return [name for one, of, name in sorted(self.declared) if one == kind and of == protocol]


def load_bundle(
    sources: Sequence[PolicySource], registry: Registry, read_file: FileReader = read_beside
) -> Bundle:
    """Make a bundle of all documents. ``read_file`` gives the files that trust stores name.

    Raises ConfigurationError with one line for every mistake: ``file:line:column: path: what is wrong; what
    would be right``.
    """
    loader = _Loader(registry, read_file)
    for source in sources:
        _read_source(loader, source)
    _check_unique(loader)
    for one in loader.read:
        _compile_one(loader, one)
    _compile_policies(loader)
    _check_default_profiles(loader)
    loader.found.raise_if_any(MAX_COMPLAINTS)
    if not loader.policies:
        name = sources[0].name if sources else "policies"
        raise ConfigurationError(f"{name}:1:1: there is no Policy, so nothing would be issued; write one")
    return _bundle(loader)


def _read_source(loader: _Loader, source: PolicySource) -> None:
    try:
        documents = read_documents(source.name, source.text)
    except ConfigurationError as error:
        loader.found.take(error)
        loader.unreadable = True
        return
    for document in documents:
        model = _kind_of(loader, document)
        if model is None:
            loader.unreadable = True
            continue
        try:
            loader.read.append(_Read(validate(model, document), document, source))
        except ConfigurationError as error:
            loader.found.take(error)
            loader.unreadable = True


def _kind_of(loader: _Loader, document: Document) -> type[AnyDocument] | None:
    if not isinstance(document.value, dict):
        loader.found.add(
            document, (), "this is no document; begin with apiVersion: pkigate/v1 and kind: Policy"
        )
        return None
    kind = document.value.get("kind")
    if isinstance(kind, str) and kind in DOCUMENT_KINDS:
        return policy_model(document.value) if kind == "Policy" else DOCUMENT_KINDS[kind][0]
    if kind is None:
        text = f"the key 'kind' is missing; add one of {', '.join(DOCUMENT_KINDS)}"
    elif kind in PLANNED_KINDS:
        text = f"documents of the kind {kind!r} are not available in this version; remove this one"
    else:
        text = f"{kind!r} is no kind of document; {did_you_mean(str(kind), DOCUMENT_KINDS)}"
    loader.found.add(document, ("kind",) if kind is not None else (), text)
    return None


def _check_unique(loader: _Loader) -> None:
    first: dict[tuple[str, str, str], Document] = {}
    for one in loader.read:
        other = first.setdefault(one.key, one.document)
        loader.declared.add(one.key)
        if other is not one.document:
            text = (
                f"another {one.model.kind} has the name {one.model.metadata.name!r} already, at "
                f"{other.where(('metadata', 'name'))}; choose another name"
            )
            loader.found.add(one.document, ("metadata", "name"), text)


def _compile_one(loader: _Loader, one: _Read) -> None:
    model = one.model
    if isinstance(model, Endpoint):
        _compile_endpoint(loader, model, one.document)
    elif isinstance(model, Backend):
        options = _options(loader, one.document, model.type, loader.registry.backend_options, ("type",))
        loader.backends[model.metadata.name] = CompiledBackend(model.metadata.name, model.type, options)
    elif isinstance(model, TrustStore):
        for index, name in enumerate(model.backends):
            _refer(loader, one.document, ("backends", index), "Backend", name)
        store = compile_trust_store(model, one.document, one.source, loader.read_file, loader.found)
        loader.trust_stores[model.metadata.name] = store
    elif isinstance(model, Compat):
        _compile_compat(loader, model, one.document)


def _compile_endpoint(loader: _Loader, endpoint: Endpoint, document: Document) -> None:
    """``ca`` is checked later, when every backend's options are known."""
    name, protocol = endpoint.metadata.name, endpoint.protocol
    options = _options(loader, document, protocol, loader.registry.endpoint_options, ("protocol",))
    if name in loader.registry.reserved_endpoint_names.get(protocol, frozenset()):
        text = (
            f"{name!r} is a word of the protocol {protocol} and cannot name an endpoint; choose another name"
        )
        loader.found.add(document, ("metadata", "name"), text)
    _refer(loader, document, ("backend",), "Backend", endpoint.backend)
    loader.endpoints[protocol, name] = CompiledEndpoint(
        name, protocol, endpoint.backend, options, int(endpoint.grace.total_seconds()), endpoint.ca
    )


def _compile_compat(loader: _Loader, compat: Compat, document: Document) -> None:
    protocol, models = compat.protocol, loader.registry.compat_models
    model = models.get(protocol)
    if model is None:
        text = (
            f"no installed plug-in takes habits of clients of {protocol!r}; {did_you_mean(protocol, models)}"
        )
        loader.found.add(document, ("protocol",), text)
        return
    try:
        settings = validate(model, document, without=frozenset(Compat.model_fields))
    except ConfigurationError as error:
        loader.found.take(error)
        return
    name, where = compat.metadata.name, document.where()
    for other in loader.compatibility:
        if (other.protocol, other.priority) == (protocol, compat.priority):
            text = f"{other.name!r} at {other.where} has the same priority; give one of them another number"
            loader.found.add(document, ("priority",), text)
    loader.compatibility.append(CompiledCompat(name, protocol, compat.priority, settings, where))


def _options(
    loader: _Loader, document: Document, word: str, known: Iterable[str], path: Path
) -> BaseModel | None:
    models = loader.registry.endpoint_options if path == ("protocol",) else loader.registry.backend_options
    if word not in models:
        what = "protocol" if path == ("protocol",) else "type of CA"
        loader.found.add(
            document, path, f"no installed plug-in brings the {what} {word!r}; {did_you_mean(word, known)}"
        )
        return None
    try:
        return validate(models[word], document, at=("options",))
    except ConfigurationError as error:
        loader.found.take(error)
        return None


def _refer(loader: _Loader, document: Document, path: Path, kind: str, name: str, protocol: str = "") -> None:
    if (kind, protocol, name) in loader.declared or loader.unreadable:
        # A document that could not be read may be the one that is meant; its own mistakes come first.
        return
    of = f" of {protocol}" if protocol else ""
    hint = did_you_mean(name, loader.names(kind, protocol))
    hint += " " if hint.endswith("?") else ". "
    article = "an" if kind == "Endpoint" else "a"
    text = f"there is no {kind}{of} {name!r}; {hint}Otherwise add {article} {kind} document of that name"
    loader.found.add(document, path, text)


def _compile_policies(loader: _Loader) -> None:
    compiled: list[tuple[AdmissionPolicy, Document]] = []
    for one in loader.read:
        model, document = one.model, one.document
        if not isinstance(model, Policy | RevocationPolicy):
            continue
        _check_references(loader, model, document)
        endpoints = frozenset(loader.names("Endpoint", model.match.protocol))
        if isinstance(model, RevocationPolicy):
            compiled.append((compile_revocation(model, document, endpoints), document))
            continue
        policy = compile_policy(model, document, endpoints, loader.found, lab=loader.registry.lab)
        _check_binding(loader, policy, document)
        compiled.append((policy, document))
    for (one_policy, _), (other, document) in combinations(compiled, 2):
        if one_policy.priority == other.priority and overlap(one_policy, other):
            text = (
                f"the policy {one_policy.name!r} at {one_policy.where} has the same priority "
                f"{other.priority}, and some requests fit both; give one of them another number"
            )
            loader.found.add(document, ("priority",), text)
    loader.policies = [policy for policy, _ in sorted(compiled, key=lambda pair: pair[0].priority)]


def _check_references(loader: _Loader, policy: Policy | RevocationPolicy, document: Document) -> None:
    match, protocol = policy.match, policy.match.protocol
    known = loader.registry.endpoint_options
    if protocol not in known:
        text = f"no installed plug-in brings the protocol {protocol!r}; {did_you_mean(protocol, known)}"
        loader.found.add(document, ("match", "protocol"), text)
    else:
        path: Path = ("match", "endpoint")
        single = isinstance(_at(document.value, path), str)
        for index, name in enumerate(match.endpoint):
            _refer(loader, document, path if single else (*path, index), "Endpoint", name, protocol)
        if not match.endpoint and not loader.names("Endpoint", protocol) and not loader.unreadable:
            text = f"there is no Endpoint of {protocol}, so this policy is for nothing; write one"
            loader.found.add(document, ("match", "protocol"), text)
    for index, rule in enumerate(policy.issue if isinstance(policy, Policy) else ()):
        single = isinstance(_at(document.value, ("issue",)), dict)
        path = ("issue", "backend") if single else ("issue", index, "backend")
        _refer(loader, document, path, "Backend", rule.backend)
    for key, certificate in policy.authenticate.trusts.items():
        _refer(loader, document, ("authenticate", key, "trust"), "TrustStore", certificate.trust)


def _check_binding(loader: _Loader, policy: CompiledPolicy, document: Document) -> None:
    """Where nothing is proven, every account must be somebody's whom the administrator knows."""
    if policy.authenticate.acme is None or policy.authenticate.acme.challenges:
        return
    for name in sorted(policy.endpoints):
        endpoint = loader.endpoints.get((policy.protocol, name))
        if endpoint is None or endpoint.options is None:
            continue  # its own mistake is told already
        if not getattr(endpoint.options, "binds_accounts", False):
            text = (
                f"no challenge is asked for, and anybody may open an account at the {policy.protocol} "
                f"endpoint {name!r}, so anybody could have any name; write options: {{eab: always}} there, "
                "or name a challenge here"
            )
            loader.found.add(document, ("authenticate", "acme-account", "challenges"), text)


def _check_default_profiles(loader: _Loader) -> None:
    """The profile of orders that name none (``options.default_profile``) must be one that can be had."""
    if loader.unreadable:
        return
    for one in loader.read:
        if not isinstance(one.model, Endpoint):
            continue
        place = one.model.protocol, one.model.metadata.name
        wanted = getattr(loader.endpoints[place].options, "default_profile", None)
        offered = {
            profile
            for policy in loader.policies
            if policy.protocol == place[0] and place[1] in policy.endpoints
            if Operation.ENROLL in policy.operations
            for profile in policy.profiles
        }
        if wanted is not None and wanted not in offered:
            hint = did_you_mean(wanted, offered)
            hint += " " if hint.endswith("?") else ". "
            text = (
                f"no policy of this endpoint is for the profile {wanted!r}; {hint}A policy is for a profile "
                "by match: {profile: ...}"
            )
            loader.found.add(one.document, ("options", "default_profile"), text)


def _at(value: Value, path: Path) -> Value:
    for step in path:
        value = value.get(str(step)) if isinstance(value, dict) else None
    return value


def _bundle(loader: _Loader) -> Bundle:
    documents_json = _canonical(loader)
    index: dict[tuple[str, str, Operation], tuple[CompiledPolicy, ...]] = {}
    revocation: dict[tuple[str, str], tuple[AdmissionPolicy, ...]] = {}
    for policy in loader.policies:
        for endpoint in policy.endpoints:
            if not isinstance(policy, CompiledPolicy):
                place = (policy.protocol, endpoint)
                revocation[place] = (*revocation.get(place, ()), policy)
                continue
            for operation in policy.operations:
                key = (policy.protocol, endpoint, operation)
                index[key] = (*index.get(key, ()), policy)
    habits = sorted(loader.compatibility, key=lambda compat: compat.priority)
    return Bundle(
        sha256=hashlib.sha256(documents_json.encode()).hexdigest(),
        endpoints=loader.endpoints,
        backends=loader.backends,
        trust_stores=loader.trust_stores,
        policies=tuple(loader.policies),
        documents_json=documents_json,
        index=index,
        revocation=revocation,
        compatibility={
            protocol: tuple(one for one in habits if one.protocol == protocol)
            for protocol in {one.protocol for one in habits}
        },
    )


def _canonical(loader: _Loader) -> str:
    """All documents as JSON with sorted keys, ordered by kind and name, files written out.

    So the bundle's name depends on what it says alone, not on file names, order, comments or layout.
    """
    documents = []
    for one in sorted(loader.read, key=lambda read: read.key):
        value = dict(one.document.value) if isinstance(one.document.value, dict) else {}
        if isinstance(one.model, TrustStore):
            value.pop("files", None)
            certificates = loader.trust_stores[one.model.metadata.name].certificates_der
            value["certificates"] = [certificate_pem(certificate_der) for certificate_der in certificates]
        documents.append(value)
    return json.dumps(documents, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
