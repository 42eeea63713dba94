"""What differs between two bundles in meaning, not in text (``pkigate policy diff``).

Defaults are written out, so that a key with its default value is no change. The order of documents and of
lists that mean sets, files, layout and comments do not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from pydantic import BaseModel

from gateway.errors import ConfigurationError
from gateway.policy.complaints import Value
from gateway.policy.document import DOCUMENT_KINDS, Endpoint, Policy, policy_model
from gateway.policy.extends import with_inherited
from gateway.policy.reach import hidden_policies
from gateway.policy.registry import Registry
from gateway.policy.rules import Bundle
from gateway.policy.terms import EXTENDED_KEY_USAGE_NAMES, duration_text
from gateway.policy.yaml_marks import ComplaintList, Document, read_documents, validate

# Lists of words whose order says something; that of all others does not.
_ORDERED = frozenset({"challenges", "add", "fallback", "issuing", "cross_certificates"})
_NAMED_BY = ("name", "id")

Leaf = str | int | bool | tuple[str, ...]
DocumentKey = tuple[str, str, str]
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key; None: it is not there. A tuple is a list."""

    path: str
    before: Leaf | None
    after: Leaf | None


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """``key``: kind, protocol (of endpoints and habits) and name; ``change``: added, removed or changed."""

    key: DocumentKey
    change: str
    keys: tuple[KeyChange, ...] = ()


@dataclass(frozen=True, slots=True)
class PlaceChange:
    """Which policies are looked at, in this order, for requests at a protocol, endpoint and operation."""

    place: Place
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BundleDifference:
    """``newly_hidden``: policies that no request can select any more, in the words of the warning."""

    documents: tuple[DocumentChange, ...]
    places: tuple[PlaceChange, ...]
    newly_hidden: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.documents or self.places or self.newly_hidden)


def compare_bundles(before: Bundle, after: Bundle, registry: Registry) -> BundleDifference:
    """Say what changes from one bundle to the other."""
    old, new = _documents(before, registry), _documents(after, registry)
    changes = tuple(
        change
        for key in sorted(old.keys() | new.keys())
        if (change := _change(key, old.get(key), new.get(key)))
    )
    served_before, served_after = _served(before), _served(after)
    places = tuple(
        PlaceChange(place, served_before.get(place, ()), served_after.get(place, ()))
        for place in sorted(served_before.keys() | served_after.keys())
        if served_before.get(place, ()) != served_after.get(place, ())
    )
    hidden_before = {one.policy.name for one in hidden_policies(before)}
    hidden = tuple(str(one) for one in hidden_policies(after) if one.policy.name not in hidden_before)
    return BundleDifference(changes, places, hidden)


def _change(
    key: DocumentKey, old: Mapping[str, Leaf] | None, new: Mapping[str, Leaf] | None
) -> DocumentChange | None:
    if old is None or new is None:
        return DocumentChange(key, "added" if old is None else "removed")
    keys = tuple(
        KeyChange(path, old.get(path), new.get(path))
        for path in dict.fromkeys((*old, *new))
        if old.get(path) != new.get(path)
    )
    return DocumentChange(key, "changed", keys) if keys else None


def _served(bundle: Bundle) -> dict[Place, tuple[str, ...]]:
    found: dict[Place, tuple[str, ...]] = {}
    for policy in bundle.policies:
        for endpoint in policy.endpoints:
            for operation in policy.operations:
                place = (policy.protocol, endpoint, operation.value)
                found[place] = (*found.get(place, ()), policy.name)
    return found


def _documents(bundle: Bundle, registry: Registry) -> dict[DocumentKey, dict[str, Leaf]]:
    """Every document as its keys with their values, by its name."""
    read = [
        document
        for value in json.loads(bundle.documents_json)
        for document in read_documents("bundle", json.dumps(value))
    ]
    found: dict[DocumentKey, dict[str, Leaf]] = {}
    for written, complete in zip(read, with_inherited(read, ComplaintList()), strict=True):
        document = complete or written
        value = _meant(document, registry)
        leaves: dict[str, Leaf] = {}
        _flatten(value, "", leaves)
        found[_key(document.value)] = leaves
    return found


def _key(value: Value) -> DocumentKey:
    assert isinstance(value, dict)
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else ""
    kind = str(value.get("kind"))
    protocol = str(value.get("protocol", "")) if kind in ("Endpoint", "Compat") else ""
    return kind, protocol, str(name)


def _meant(document: Document, registry: Registry) -> Any:
    """A document with its defaults; as it is written if it is for others to extend only."""
    value = document.value
    assert isinstance(value, dict)
    kind = str(value.get("kind"))
    model_type = policy_model(value) if kind == "Policy" else DOCUMENT_KINDS[kind][0]
    try:
        model = validate(model_type, document)
    except ConfigurationError:
        return value
    meant = model.model_dump(by_alias=True)
    options = _options(model, registry)
    if options is not None:
        meant["options"] = options
    if isinstance(model, Policy):
        validity = meant["validity"]
        validity["max"] = validity["max"] or validity["default"]
        meant["match"]["auth"] = meant["match"]["auth"] or model.authenticate.kinds
        for part in meant["names"].values():
            if isinstance(part, dict) and "on_extra" in part:
                part["on_extra"] = part["on_extra"] or meant["names"]["on_extra"]
    return meant


def _options(model: BaseModel, registry: Registry) -> dict[str, Any] | None:
    written = getattr(model, "options", None)
    if written is None:
        return None
    models = registry.endpoint_options if isinstance(model, Endpoint) else registry.backend_options
    known = models.get(getattr(model, "protocol", "") or getattr(model, "type", ""))
    return None if known is None else known.model_validate(written).model_dump(by_alias=True)


def _flatten(value: Any, path: str, into: dict[str, Leaf]) -> None:
    """Each word, number and list of words by the way to it, with dots."""
    if isinstance(value, Mapping):
        known = len(into)
        for key, inner in value.items():
            _flatten(inner, f"{path}.{key}" if path else str(key), into)
        if len(into) == known and path:
            into[path] = "{}"  # that it is there may be all that it says
    elif isinstance(value, Sequence | frozenset | set) and not isinstance(value, str | bytes):
        items = list(value)
        if any(isinstance(item, Mapping) for item in items):
            for index, item in enumerate(items):
                _flatten(item, f"{path}[{_name(item, index)}]", into)
        else:
            words = [str(_leaf(item)) for item in items]
            ordered = path.rpartition(".")[2] in _ORDERED
            into[path] = tuple(words if ordered else sorted(set(words)))
    elif value is not None:
        into[path] = _leaf(value)


def _name(item: Any, index: int) -> str:
    if isinstance(item, Mapping):
        for key in _NAMED_BY:
            if item.get(key):
                return str(item[key])
    return str(index)


def _leaf(value: Any) -> Leaf:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, bool | int):
        return value
    text = str(value)
    if text.startswith("-----BEGIN "):
        return f"PEM with SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return EXTENDED_KEY_USAGE_NAMES.get(text, text)
