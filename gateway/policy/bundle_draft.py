"""A bundle in the making: documents as they were read, what was made of them, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.policy.complaints import Value
from gateway.policy.document import AnyDocument, Compat, Endpoint
from gateway.policy.guardrail_rules import CompiledGuardrail
from gateway.policy.lists import CompiledList
from gateway.policy.registry import Registry
from gateway.policy.rules import (
    AdmissionPolicy,
    CompiledBackend,
    CompiledCompat,
    CompiledEndpoint,
    CompiledPolicy,
    CompiledTrustStore,
)
from gateway.policy.sources import FileReader, ListReader, PolicySource, read_list_beside
from gateway.policy.yaml_marks import ComplaintList, Document


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document of a known kind, as a model and as text. ``document`` holds what it inherits as well,
    ``written`` only what stands in it."""

    model: AnyDocument
    document: Document
    source: PolicySource
    written: Value

    @property
    def key(self) -> tuple[str, str, str]:
        """What must be unique: the name of an endpoint or of habits within their protocol, any other name
        within its kind."""
        protocol = self.model.protocol if isinstance(self.model, Endpoint | Compat) else ""
        return self.model.kind, protocol, self.model.metadata.name


@dataclass(slots=True)
class BundleDraft:
    registry: Registry
    read_file: FileReader
    read_list: ListReader = read_list_beside
    found: ComplaintList = field(default_factory=ComplaintList)
    read: list[ReadDocument] = field(default_factory=list)
    endpoints: dict[tuple[str, str], CompiledEndpoint] = field(default_factory=dict)
    backends: dict[str, CompiledBackend] = field(default_factory=dict)
    trust_stores: dict[str, CompiledTrustStore] = field(default_factory=dict)
    lists: dict[str, CompiledList] = field(default_factory=dict)
    policies: list[AdmissionPolicy] = field(default_factory=list)
    shadows: list[CompiledPolicy] = field(default_factory=list)
    guardrails: list[CompiledGuardrail] = field(default_factory=list)
    compatibility: list[CompiledCompat] = field(default_factory=list)
    declared: set[tuple[str, str, str]] = field(default_factory=set)
    unreadable: bool = False

    def names(self, kind: str, protocol: str = "") -> list[str]:
        return [name for one, of, name in sorted(self.declared) if one == kind and of == protocol]

    def endpoint_labels(self, protocol: str) -> dict[str, Mapping[str, str]]:
        """The labels of every endpoint of a protocol, by its name."""
        known = {name: one.labels for (of, name), one in self.endpoints.items() if of == protocol}
        return {name: known.get(name, {}) for name in self.names("Endpoint", protocol)}
